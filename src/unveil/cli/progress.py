"""Progress of a command: a bar, one line on stderr for each problem, and the exit status."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Bar: TypeAlias = Callable[[str], Callable[[int, int], None]]
"""Starts a progress bar with a label; returns what is called with the number of items that are done and their total."""

MIN_ITEMS_FOR_BAR = 6  # with fewer items a progress bar would only flicker


class Job:
    """Count successes and failures, and show a progress bar inside a `with` block.

    Args:
        total: The number of items, None if it is unknown.
        label: Text beside the bar.
        rate_unit: Unit of the rate, as in "frames/s"; no rate is shown if it is empty.
    """

    def __init__(self, total: int | None, label: str, rate_unit: str = "") -> None:
        self.done = self.failed = 0
        self._console = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        rates = (_Rate(rate_unit),) if rate_unit else ()
        hidden = (total is not None and total < MIN_ITEMS_FOR_BAR) or not sys.stderr.isatty()
        self._progress = Progress(*columns, *rates, console=self._console, transient=True, disable=hidden)
        self._task = self._progress.add_task(label, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def status(self) -> int:
        """The exit status: 0 no failure, 1 some items failed, 2 all items failed."""
        return 0 if not self.failed else 1 if self.done else 2

    def succeed(self) -> None:
        """Count an item that is done."""
        self.done += 1
        self._progress.advance(self._task)

    def fail(self, message: str) -> None:
        """Count a failure and print it.

        Args:
            message: One line that names the item and the problem.
        """
        self.failed += 1
        self._print("error", message)
        self._progress.advance(self._task)

    def warn(self, message: str) -> None:
        """Print a warning.

        Args:
            message: One line.
        """
        self._print("warning", message)

    def _print(self, kind: str, message: str) -> None:
        self._console.print(f"{kind}: {one_line(message)}")


class _Rate(ProgressColumn):
    """The recent number of items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f} {self.unit}")


@contextmanager
def progress_bars() -> Iterator[Bar]:
    """Show a progress bar for each label, if stderr is a terminal.

    Yields:
        A function that starts a bar.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:

        def bar(label: str) -> Callable[[int, int], None]:
            task = progress.add_task(label, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield bar


def one_line(text: str) -> str:
    """Return text on one line, with control characters escaped.

    Args:
        text: The text.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


def error_message(error: Exception) -> str:
    """Return an exception as one line for the user.

    Args:
        error: The exception.
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ValueError | OSError):
        return str(error)
    return f"{type(error).__name__}: {error}"
