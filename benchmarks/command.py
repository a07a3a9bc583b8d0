"""Benchmarks as commands: the parameters of functions become options, an error becomes one line on stderr."""

import sys
from collections.abc import Callable, Sequence

import tyro

from unveil.cli.progress import error_message

CONFIG = (tyro.conf.FlagCreatePairsOff,)


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
