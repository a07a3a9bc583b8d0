"""`unveil train`: a preset, a pack or folder of faces, and any setting of the preset changed on the command line."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from unveil.cli.pictures import check_writable

if TYPE_CHECKING:
    from unveil.training.config import AnyRun

LATEST = Path("runs/latest")


@dataclass(frozen=True)
class Options:
    """What to train on, how, and where to."""

    data: Path
    config: "AnyRun"
    more: tuple[Path, ...]
    scheme: str | None
    out: Path
    resume: bool


def parse(arguments: Sequence[str]) -> Options:
    """The preset's name first, then its settings; of a run that is resumed, its own settings. Exits as tyro does."""
    with _training_libraries():
        from unveil.training.config import AnyRun
        from unveil.training.presets import ALL, preset_named

    if not arguments or arguments[0].startswith("-"):
        if arguments and arguments[0] in ("-h", "--help"):
            print(f"usage: unveil train PRESET --data PATH ...\n\nPRESET is one of: {', '.join(ALL)}")
            print("unveil train PRESET --help lists its settings")
            raise SystemExit(0)
        raise ValueError(f"name a preset first: unveil train PRESET --data PATH; there are {', '.join(ALL)}")
    config, rest = preset_named(arguments[0]), list(arguments[1:])
    if (run := _resumed_run(rest)) is not None:
        if not any(run.glob("**/checkpoint.pt")) or not (run / "config.json").is_file():
            raise ValueError(f"{run}: no checkpoint to resume; leave --resume out to start the run")
        config = _settings_of(run, type(config))
    prog = f"unveil train {arguments[0]}"

    def options(
        data: Annotated[Path, tyro.conf.arg(metavar="PATH")],
        config: tyro.conf.AvoidSubcommands[tyro.conf.OmitArgPrefixes[AnyRun]] = config,
        more: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH ...")] = (),
        scheme: Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME")] = None,
        out: Annotated[Path, tyro.conf.arg(metavar="RUN")] = LATEST,
        resume: tyro.conf.FlagCreatePairsOff[bool] = False,
    ) -> Options:
        """Trains a network. Ctrl-C saves; --resume goes on with the same order of faces.

        Args:
            data: A pack that `unveil prepare` wrote, or a folder of pictures with .pts files.
            config: The preset's settings.
            more: Sets of faces, as --data takes them, that only train: those that a teacher labelled, say.
            scheme: Of a folder not annotated in ibug68: its scheme file, or a built-in scheme. A pack carries its own.
            out: Where weights, checkpoint, settings and TensorBoard scalars go.
            resume: Go on from RUN's checkpoint, with RUN's settings and whatever else is given.
        """
        return Options(data, config, more, scheme, out, resume)

    from pydantic import ValidationError

    try:
        return tyro.cli(options, prog=prog, args=rest)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][-1]).replace("_", "-") if first["loc"] else error.title
        raise ValueError(f"--{name} {first['input']}: {first['msg']}") from error


def _resumed_run(arguments: Sequence[str]) -> Path | None:
    """The run that --resume goes on with, whose settings are the command line's defaults, so needed before tyro's."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--out", type=Path, nargs="?", default=LATEST)
    peek.add_argument("--resume", action="store_true")
    found = peek.parse_known_args(arguments)[0]
    return (found.out or LATEST) if found.resume else None


def _settings_of(run: Path, kind: "type[AnyRun]") -> "AnyRun":
    """What a run was told; ValueError if another kind of preset told it."""
    from pydantic import ValidationError

    path = run / "config.json"
    try:
        content = json.loads(path.read_bytes())
        network = content["model"]["network"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the settings of a run; start anew with another --out") from error
    try:
        return kind.model_validate(content, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"{path}: {where}: {first['msg']}; it is a run of {network!r}, resume it with a preset of that network"
        ) from error


@contextmanager
def _training_libraries() -> Iterator[None]:
    """Around what imports them: ValueError, in one line, for a library that only the extra [train] installs."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"training needs {error.name}: pip install 'unveil[train]'") from None


def run(options: Options) -> int:
    from rich.console import Console

    from unveil.data.pack import read_faces
    from unveil.schemes.scheme_file import find_scheme

    try:
        with _training_libraries():
            from unveil.training.memory import keep_freed_memory
            from unveil.training.tasks import fit_task, task_of
            from unveil.training.trainer import LaunchError

            keep_freed_memory()
            check_writable(options.out)
            if not options.resume and any(options.out.glob("**/checkpoint.pt")):
                raise ValueError(f"{options.out}: holds a run; add --resume to go on with it, or name another --out")
            scheme = None if options.scheme is None else find_scheme(options.scheme)
            faces = read_faces(options.data, scheme)
            more = [read_faces(path, scheme) for path in options.more]
            task = task_of(faces, options.config, more)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    first = os.environ.get("RANK", "0") == "0"  # of the processes that accelerate or torchrun started
    console = Console(stderr=True, quiet=not first)
    parameters = sum(weight.numel() for weight in task.model.parameters()) / 1e6
    training, held_out = len(task.slices.training), len(task.slices.validation)
    for note in task.notes:
        console.print(note, highlight=False)
    console.print(f"{task.faces.label}: {training} faces train, {held_out} validate; {parameters:.2f} M parameters")
    try:
        outcome = fit_task(task, options.out, resume=options.resume, console=console)
    except LaunchError as error:
        if first:  # the others know no more
            print(f"error: {error}", file=sys.stderr)
        return 2
    best = ", ".join(f"{name} {value:.3f}" for name, value in outcome.best.items())
    ended = ", interrupted: go on with --resume" if outcome.interrupted else ""
    if first:
        print(f"{options.out}: step {outcome.step}{ended}; best {best}")
    return 130 if outcome.interrupted else 0
