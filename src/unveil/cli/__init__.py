"""The command line: `unveil COMMAND ...`. Only the module of the given command is imported."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module

from unveil import __version__

# Each command is a module `unveil.cli.NAME` (`-` is `_`) with a dataclass `Options`, from which tyro builds the parser,
# and `run(options) -> int`, which returns the exit status; if it raises a ValueError or an OSError, its message is one
# line on stderr and the status is 2. A command whose parser depends on the arguments has its own
# `parse(arguments) -> options`.
COMMANDS = {
    "align": "detect faces and predict landmarks, visibility and pose on images",
    "restore": "remove occluders from faces",
    "track": "follow faces through a video or a camera stream",
    "convert": "convert landmark annotations between file formats",
    "prepare": "pack a data set into one file for training",
    "train": "train a network",
    "export": "convert a trained network to a model that align or restore loads",
    "occlude": "add synthetic occluders to a data set",
    "prepare-hair": "cut hair out of portraits, for occluders",
    "evaluate": "measure models or predictions against ground truth",
    "evaluate-detector": "measure face detectors by condition",
    "doctor": "check the installation",
    "batch": "align very many images, on one machine or a cluster",
    "serve": "answer HTTP requests, with a page to try it",
}
OK, SOME_FAILED, NOTHING_DONE, INTERRUPTED, READER_GONE, TERMINATED = 0, 1, 2, 130, 141, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command and its arguments; those of the process if None.

    Returns:
        The exit status: 0 success, 1 some inputs failed, 2 nothing was done, 130 interrupted, 141 the reader of the
        output is gone. A request to terminate raises SystemExit with 143.
    """
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
        hint = f"did you mean {near[0]!r}?" if near else f"commands are {', '.join(COMMANDS)}"
        print(f"error: unknown command {name!r}: {hint}", file=sys.stderr)
        return NOTHING_DONE
    try:
        with _clean_termination():
            status = _run(name, rest)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("interrupted; files that were written are complete", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # for example `unveil ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at exit
        return READER_GONE


@contextmanager
def _clean_termination() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise SystemExit inside the block, so that partly written files are deleted."""

    def leave(_number: int, _frame: object) -> None:
        raise SystemExit(TERMINATED)

    wanted = [kind for name in ("SIGTERM", "SIGHUP") if (kind := getattr(signal, name, None))]
    if threading.current_thread() is not threading.main_thread():
        wanted = []
    replaced = [kind for kind in wanted if signal.getsignal(kind) is signal.SIG_DFL]
    for kind in replaced:
        signal.signal(kind, leave)
    try:
        yield
    finally:
        for kind in replaced:
            signal.signal(kind, signal.SIG_DFL)


def _run(name: str, arguments: Sequence[str]) -> int:
    import tyro

    command = import_module(f"unveil.cli.{name.replace('-', '_')}")
    parse = getattr(command, "parse", None)
    try:
        options = parse(arguments) if parse else tyro.cli(command.Options, prog=f"unveil {name}", args=arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return NOTHING_DONE
    except SystemExit as stop:  # after --help, or after tyro has printed an error
        return stop.code if isinstance(stop.code, int) else NOTHING_DONE
    from unveil.cli.progress import error_message, one_line

    with warnings.catch_warnings():  # as one line, without the place in the code
        warnings.showwarning = lambda text, *_, **__: print("warning:", one_line(str(text)), file=sys.stderr)
        try:
            status: int = command.run(options)
        except BrokenPipeError:
            raise
        except (ValueError, OSError) as error:
            print("error:", one_line(error_message(error)), file=sys.stderr)
            return NOTHING_DONE
    return status


def _usage() -> str:
    lines = [f"  {name:<19}{line}" for name, line in COMMANDS.items()]
    end = "unveil COMMAND --help describes the options; unveil --version prints the version"
    return "\n".join(["usage: unveil COMMAND ...", "", *lines, "", end])
