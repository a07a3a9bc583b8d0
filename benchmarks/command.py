"""Benchmarks as commands: the parameters of functions become options, an error becomes one line on stderr."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import tyro

from unveil.cli.progress import error_message

CONFIG = (tyro.conf.FlagCreatePairsOff,)

# Options of several benchmarks, with their help.
Root: TypeAlias = Annotated[Path, tyro.conf.arg(help="300W as it is released.")]
Out: TypeAlias = Annotated[Path, tyro.conf.arg(help="The folder of the results, which git ignores.")]
Occluders: TypeAlias = Annotated[Path | None, tyro.conf.arg(help="Mask templates in masks/, folders of sprites.")]
Data: TypeAlias = Annotated[Path, tyro.conf.arg(help="A pack of training faces with 68 points.")]
Steps: TypeAlias = Annotated[int, tyro.conf.arg(help="Fewer steps for a trial of the command.")]
Runs: TypeAlias = Annotated[Path, tyro.conf.arg(help="A folder of runs.")]
Photographs: TypeAlias = Annotated[
    Path | None, tyro.conf.arg(help="A folder of images; without it a portrait under drawn occluders.")
]
Model: TypeAlias = Annotated[str, tyro.conf.arg(help="A shipped model's name, or a folder.")]
Iterations: TypeAlias = Annotated[int, tyro.conf.arg(help="Restorations before networks without stages.")]
Threads: TypeAlias = Annotated[int, tyro.conf.arg(help="Of each network.")]
Limit: TypeAlias = Annotated[int | None, tyro.conf.arg(help="At most so many faces of each set.")]
Partial: TypeAlias = Annotated[bool, tyro.conf.arg(help="Accept a release that is shorter than the official one.")]


def run(*functions: Callable[..., None], args: Sequence[str] | None = None) -> int:
    """Run a function with its options; of several functions, the one that the first argument names.

    Args:
        functions: Their parameters are the options; the docstring is the help text.
        args: The arguments; by default those of the process.

    Returns:
        The exit status: 0, or 2 with one line on stderr.
    """
    try:
        if len(functions) == 1:
            tyro.cli(functions[0], args=args, config=CONFIG)
        else:
            commands = {function.__name__: function for function in functions}
            tyro.extras.subcommand_cli_from_dict(commands, args=args, config=CONFIG)
    except (ValueError, OSError) as error:
        print(f"error: {error_message(error)}", file=sys.stderr)
        return 2
    return 0


def write_results(out: Path, name: str, record: object, text: str) -> None:
    """Write `NAME.json` and `NAME.md` into a folder, and print the text."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    (out / f"{name}.md").write_text(text)
    print(text, end="")
