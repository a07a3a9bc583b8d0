"""Reports of a run: a progress bar or log lines, TensorBoard, `metrics.jsonl`, and experiment trackers."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from unveil.io.files import atomic_write

METRICS = "metrics.jsonl"
SHOW_EVERY, LOG_EVERY = 10, 50  # steps
SMOOTHING = 0.8  # of the losses that are shown


class Reporter:
    """Reports of a run, in a `with` block. Of several processes only the first one reports.

    On a terminal it shows a progress bar. Elsewhere, for example in a file, it prints a line every `LOG_EVERY` steps.

    Args:
        out: The run's folder.
        console: Where to print; stderr by default.
        steps: Steps of the run.
        batch: Faces of a step, of all processes together.
        start: Steps that are done; later entries of an earlier attempt are removed.
        accelerator: The accelerator with the experiment trackers.
    """

    def __init__(
        self, out: Path, console: Console | None, *, steps: int, batch: int, start: int, accelerator: Accelerator
    ) -> None:
        self.active = accelerator.is_main_process
        self.console = (console or Console(stderr=True)) if self.active else Console(quiet=True)
        self.out, self.steps, self.batch, self.accelerator = out, steps, batch, accelerator
        self._recent: dict[str, float] = {}
        self._since, self._clock, self._speed, self._shown = start, time.monotonic(), 0.0, ""
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:.1f} faces/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=self.console,
            disable=not (self.active and self.console.is_terminal),
        )
        self._bar = self._progress.add_task("", total=steps, completed=start, speed=0.0, losses="")
        if self.active:
            _keep_until(out / METRICS, start)
            self._tensorboard = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1 if start else None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self.active:
            self._tensorboard.close()

    def training(self, step: int, losses: Mapping[str, Tensor], lr: float) -> None:
        """Report a step: losses are read every `SHOW_EVERY` steps and logged every `LOG_EVERY`.

        Args:
            step: The step, counted from 1.
            losses: The losses of the step.
            lr: The learning rate of the step.
        """
        last = step == self.steps
        if not self.active or not (step % SHOW_EVERY == 0 or last):
            return
        latest = {name: float(loss.detach()) for name, loss in losses.items()}
        self._recent = {
            name: SMOOTHING * self._recent.get(name, value) + (1 - SMOOTHING) * value for name, value in latest.items()
        }
        self._speed = (step - self._since) * self.batch / max(time.monotonic() - self._clock, 1e-9)
        self._shown = "  ".join(f"{name} {value:.3g}" for name, value in self._recent.items())
        self._progress.update(self._bar, completed=step, speed=self._speed, losses=self._shown)
        if step % LOG_EVERY and not last:
            return
        self._log("training", step, {**self._recent, "lr": lr, "faces_per_second": self._speed})
        if not self.console.is_terminal:
            left = timedelta(seconds=round((self.steps - step) * self.batch / max(self._speed, 1e-9)))
            self.line(f"step {step}/{self.steps}  {self._shown}  lr {lr:.2e}  {self._speed:.1f} faces/s  left {left}")
        self._clock, self._since = time.monotonic(), step

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Report the metrics of a validation.

        Args:
            step: The step, counted from 1.
            metrics: The metrics by name.
        """
        self._log("validation", step, metrics)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        self.line(f"step {step}/{self.steps}  validation  {shown}  at {time.strftime('%H:%M:%S')}")

    def image(self, step: int, image: Tensor) -> None:
        """Write a sample image to TensorBoard.

        Args:
            step: The step, counted from 1.
            image: RGB, (3, H, W), uint8.
        """
        if self.active:
            self._tensorboard.add_image("training/faces", image, step)

    def line(self, text: str) -> None:
        """Print one line without wrapping.

        Args:
            text: The line.
        """
        if self.active:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._tensorboard.add_scalar(f"{kind}/{name}", value, step)
        record = {"step": step, "kind": kind, **{name: float(f"{value:.6g}") for name, value in values.items()}}
        with (self.out / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self.accelerator.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)


def _keep_until(path: Path, step: int) -> None:
    """Remove the entries after a step, which a resumed run writes again."""
    kept = []
    with suppress(FileNotFoundError):
        for line in path.read_text("utf-8").splitlines():
            with suppress(ValueError):  # a line that was cut short
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
    with atomic_write(path) as temporary:
        temporary.write_text("".join(kept), "utf-8")
