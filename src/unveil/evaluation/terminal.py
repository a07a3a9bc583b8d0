"""Figures on the terminal."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unveil.evaluation.figures import Lines

WIDE = 200  # columns of a table that goes into a file or a pipe


def print_table(title: str, header: Sequence[str], lines: Lines, notes: Sequence[str]) -> None:
    """A table on stdout, as wide as it has to be, and below it what has to be said of it."""
    table = Table(title=Text(title), title_justify="left")
    for i, name in enumerate(header):
        table.add_column(Text(name), justify="right" if i else "left")
    for name, cells in lines:
        table.add_row(Text(name), *map(Text, cells))
    console = Console(width=None if sys.stdout.isatty() else WIDE, soft_wrap=True)
    console.print(table)
    for note in notes:
        console.print(Text(note))
