"""The command line: `unveil COMMAND ...`. A command's module is imported only when it is the one that runs."""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from unveil import __version__

# Each command is a module `unveil.cli.NAME` with a dataclass `Options`, which tyro makes the command line of, and
# `run(options) -> int`, which answers with the exit status. A command whose options depend on its arguments has its own
# `parse(arguments) -> options`.
COMMANDS = {
    "align": "find faces, their landmarks and which of them are visible",
    "restore": "take away what covers faces",
    "track": "follow faces through a video or a camera's picture",
    "prepare": "pack a data set into one file to train on",
    "train": "train a network",
    "export": "turn a trained network into a model that align or restore loads",
    "occlude": "put a data set under synthetic occluders",
    "evaluate": "measure models on a data set",
    "doctor": "check what is installed here",
    "batch": "align very many pictures, on one machine or a cluster",
    "serve": "answer over HTTP, with a page to try it",
}
OK, SOME_FAILED, NOTHING_DONE, INTERRUPTED, READER_GONE = 0, 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 all well, 1 some failed, 2 nothing could be done, 130 interrupted, 141 nobody reads."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(), file=sys.stdout if arguments else sys.stderr)
        return OK if arguments else NOTHING_DONE
    if arguments[0] in ("-V", "--version"):
        print(f"unveil {__version__}")
        return OK
    name, *rest = arguments
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
        print(f"error: unknown command {name!r}: {hint}", file=sys.stderr)
        return NOTHING_DONE
    try:
        status = _run(name, rest)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("interrupted; what was written before is whole", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at its end
        return READER_GONE


def _run(name: str, arguments: Sequence[str]) -> int:
    import tyro

    command = import_module(f"unveil.cli.{name}")
    parse = getattr(command, "parse", None)
    try:
        options = parse(arguments) if parse else tyro.cli(command.Options, prog=f"unveil {name}", args=arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return NOTHING_DONE
    except SystemExit as stop:  # after --help, or after tyro has said on stderr what is wrong
        return stop.code if isinstance(stop.code, int) else NOTHING_DONE
    status: int = command.run(options)
    return status


def _usage() -> str:
    lines = [f"  {name:<10}{line}" for name, line in COMMANDS.items()]
    return "\n".join(["usage: unveil COMMAND ...", "", *lines, "", "unveil COMMAND --help says more; --version"])
