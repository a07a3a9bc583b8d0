"""Pictures or frames on the command line: one line on stderr for each trouble, a progress bar, and the exit status."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

HANDFUL = 5  # pictures; a progress bar for fewer would only flicker


class Job:
    """Counts what went well and what failed. Use it in a `with`, which ends the progress bar."""

    def __init__(self, total: int | None, label: str, speed: str = "") -> None:
        """`total` is None where nobody knows it; `speed` is the unit of the speed, which is shown if it is given."""
        self.done = self.failed = 0
        self._console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        speeds = (_Speed(speed),) if speed else ()
        hidden = (total is not None and total <= HANDFUL) or not sys.stderr.isatty()
        self._progress = Progress(*columns, *speeds, console=self._console, transient=True, disable=hidden)
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
        """0 all well, 1 some failed, 2 nothing could be done."""
        return 0 if not self.failed else 1 if self.done else 2

    def succeed(self) -> None:
        self.done += 1
        self._progress.advance(self._task)

    def fail(self, message: str) -> None:
        """Counts a failure and says why; the others go on."""
        self.failed += 1
        self._say("error", message)
        self._progress.advance(self._task)

    def warn(self, message: str) -> None:
        self._say("warning", message)

    def _say(self, kind: str, message: str) -> None:
        line = " ".join(message.split())
        self._console.print(f"{kind}: {line}")


class _Speed(ProgressColumn):
    """How many a second, lately."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f} {self.unit}")


def reason(error: Exception) -> str:
    """An exception as one line for a user."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ValueError | OSError):
        return str(error)
    return f"{type(error).__name__}: {error}"
