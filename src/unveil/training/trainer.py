"""The one training loop: steps, averaged weights, checkpoints, progress. What is trained is the task's business."""

import copy
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

from unveil.io.annotations import written_whole
from unveil.models.checkpoints import Blueprint, weights_bytes
from unveil.training.config import Run, Schedule


class Task(Protocol):
    """A model, its data and its losses.

    A step has turns. Each trains one part of the model with that part's own loss; parts are named as `get_submodule`
    names them, and "" is the whole, the only turn of most tasks. `kept` is the part that is averaged, validated and
    saved.
    """

    model: nn.Module
    kept: str
    blueprint: Blueprint

    @property
    def config(self) -> Run: ...
    def turns(self, step: int, /) -> tuple[str, ...]: ...
    def parameter_groups(self) -> list[dict[str, object]]: ...
    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[dict[str, Tensor]]: ...
    def prepare(self, batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]: ...
    def losses(self, model: nn.Module, batch: dict[str, Tensor], turn: str, step: int, /) -> dict[str, Tensor]: ...
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]: ...
    def picture(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor: ...


class LaunchError(ValueError):
    """A run that cannot start as it was asked to; the message is one line with the mend."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    step: int
    best: dict[str, float]
    interrupted: bool


def rate_at(step: int, schedule: Schedule) -> float:
    """The learning rate's factor: rises over the warm-up, may shrink, falls linearly over the last `decay` steps."""
    rising = min(1.0, (step + 1) / max(1, schedule.warmup))
    falling = min(1.0, max(0.0, (schedule.steps - step) / max(1, schedule.decay)))
    return rising * falling * float(schedule.shrink ** (step // schedule.shrink_every))


class Average:
    """An exponential moving average of the weights; young averages forget faster, so progress shows from the start."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = ([*network.parameters(), *statistics(network)] for network in (self.model, model))
        torch._foreach_lerp_(mine, theirs, 1 - decay)


def statistics(model: nn.Module) -> list[Tensor]:
    """The means and variances of batch norms, which are averaged like weights; other buffers never change."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    return [kept for norm in norms for kept in (norm.running_mean, norm.running_var) if kept is not None]


def let_learn(model: nn.Module, part: str) -> None:
    """This part alone trains: no other gets gradients, so the optimiser passes it over, and its norms count nothing."""
    model.requires_grad_(False).eval()
    model.get_submodule(part).requires_grad_(True).train()


def channels_last(model: nn.Module) -> nn.Module:
    """The layout in which CPUs and tensor cores convolve fastest."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def precision_for(wish: str, device: torch.device) -> str:
    """accelerate's name. `auto` takes bfloat16 only where the hardware has it: elsewhere it is ten times slower."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return "bf16" if wish == "bfloat16" or (wish == "auto" and fast) else "no"


@dataclass(slots=True)
class State:
    """What a checkpoint holds: all that a run needs to go on where it stopped."""

    learner: nn.Module
    average: Average
    optimiser: Optimizer
    step: int = 0
    best: dict[str, float] = field(default_factory=lambda: {"score": float("inf")})

    def save(self, path: Path) -> None:
        state = {"model": self.learner.state_dict(), "average": self.average.model.state_dict()}
        with written_whole(path) as temporary:
            torch.save(
                state | {"optimiser": self.optimiser.state_dict(), "step": self.step, "best": self.best}, temporary
            )

    def load(self, path: Path) -> None:
        """LaunchError if the file is cut, or of another network or version."""
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            self.learner.load_state_dict(saved["model"])
            self.average.model.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.best = saved["step"], saved["best"]
        except (RuntimeError, ValueError, KeyError, EOFError, UnpicklingError) as error:
            reason = " ".join(str(error).split())[:120]
            mend = f"start anew; --start {path.with_name('last.safetensors')} keeps what fits of its weights"
            raise LaunchError(f"{path}: not of this network or version ({reason}); {mend}") from error


def fit(task: Task, out: Path, *, resume: bool = False, console: Console | None = None) -> Outcome:
    """Trains until the schedule ends or Ctrl-C, which saves. Writes weights (last, best), checkpoint and scalars.

    Of several processes, started by accelerate or torchrun, each takes its part of every batch; the first validates,
    writes and reports. LaunchError, before anything is written, if they are too many for the task's faces.
    """
    config, schedule = task.config, task.config.schedule
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    turns_differ = DistributedDataParallelKwargs(find_unused_parameters=any(task.turns(0)))
    AcceleratorState._reset_state()  # an earlier run in this process may have had another precision
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=precision_for(config.precision, device),
        kwargs_handlers=[turns_differ],
    )
    first, processes = accelerator.is_main_process, accelerator.num_processes
    if device.type == "cpu":
        torch.set_num_threads(config.threads)
    optimiser = torch.optim.AdamW(task.parameter_groups(), betas=(0.9, 0.99))
    model, optimiser = accelerator.prepare(channels_last(task.model), optimiser)
    learner = accelerator.unwrap_model(model)
    kept = learner.get_submodule(task.kept)
    average = Average(kept, schedule.ema)
    base_rates = [group["lr"] for group in optimiser.param_groups]
    state = State(learner, average, optimiser)
    if resume:
        state.load(out / "checkpoint.pt")
    try:
        batches = task.batches(state.step, accelerator.process_index, processes)
    except ValueError as error:
        raise LaunchError(str(error)) from error
    if first:
        out.mkdir(parents=True, exist_ok=True)
        with written_whole(out / "config.json") as temporary:
            temporary.write_text(config.model_dump_json(indent=2) + "\n")
    writer = SummaryWriter(str(out / "tensorboard"), purge_step=state.step or None) if first else None

    def save() -> None:
        state.save(out / "checkpoint.pt")
        save_weights(average.model, task.blueprint, out / "last.safetensors")

    def validate(step: int, writer: SummaryWriter) -> None:
        figures = task.validate(average.model, accelerator.device)
        for name, value in figures.items():
            writer.add_scalar(f"validation/{name}", value, step)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        progress.console.print(f"step {step}  {time.strftime('%H:%M:%S')}  {shown}", highlight=False)
        if figures["score"] < state.best["score"]:
            state.best = figures | {"step": step}
            save_weights(average.model, task.blueprint, out / "best.safetensors")
            with written_whole(out / "best.json") as temporary:
                temporary.write_text(json.dumps(state.best, indent=2) + "\n")

    speed, shown, learning = 0.0, "", None
    recent: dict[str, float] = {}
    stopped = False
    with training_progress(console if first else Console(quiet=True)) as progress, interruptible() as interrupted:
        bar = progress.add_task("", total=schedule.steps, completed=state.step, faces=0.0, losses="")
        clock, since = time.monotonic(), state.step
        while (step := state.step) < schedule.steps and not (stopped := any_process(accelerator, interrupted)):
            for group, rate in zip(optimiser.param_groups, base_rates, strict=True):
                group["lr"] = rate * rate_at(step, schedule)
            batch = task.prepare(next(batches), accelerator.device)
            losses: dict[str, Tensor] = {}
            for turn in task.turns(step):
                if turn != learning:
                    let_learn(learner, learning := turn)
                with accelerator.autocast():
                    found = task.losses(model, batch, turn, step)
                optimiser.zero_grad()
                accelerator.backward(found["loss"])
                accelerator.clip_grad_norm_(model.parameters(), schedule.clip)
                optimiser.step()
                losses = found | losses  # shown is the first turn's loss
            average.update(kept, step)
            step = state.step = step + 1
            if writer is None:  # another process reports
                continue
            if step % 10 == 0:
                latest = {name: loss.item() for name, loss in losses.items()}
                recent = {name: 0.8 * recent.get(name, value) + 0.2 * value for name, value in latest.items()}
                speed = (step - since) * schedule.batch * processes / (time.monotonic() - clock)
                shown = "  ".join(f"{name} {value:.3g}" for name, value in recent.items())
                progress.update(bar, completed=step, faces=speed, losses=shown)
            if step % 50 == 0:
                for name, value in recent.items():
                    writer.add_scalar(f"training/{name}", value, step)
                writer.add_scalar("training/faces_per_second", speed, step)
                if not progress.console.is_terminal:
                    progress.console.print(
                        f"step {step}/{schedule.steps}  {speed:.1f} faces/s  {shown}", highlight=False
                    )
                clock, since = time.monotonic(), step
            if step % config.picture_every == 0:
                writer.add_image("training/faces", task.picture(average.model, batch), step)
            if step % config.validate_every == 0 or step == schedule.steps:
                validate(step, writer)
            if step % config.checkpoint_every == 0:  # after the validation, so that it knows the best score
                save()
    if writer is not None:
        save()
        writer.close()
    return Outcome(state.step, state.best, stopped or bool(interrupted))


def any_process(accelerator: Accelerator, seen: list[int]) -> bool:
    """Whether one of the processes was told to stop: all have to leave after the same step, or some wait for ever."""
    if accelerator.num_processes == 1:
        return bool(seen)
    return bool(accelerator.reduce(torch.tensor(float(len(seen)), device=accelerator.device)) > 0)


def save_weights(model: nn.Module, blueprint: Blueprint, path: Path) -> None:
    """The weights as safetensors, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_bytes(weights_bytes(model, blueprint))


def training_progress(console: Console | None) -> Progress:
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[faces]:.1f} faces/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
        console=console or Console(stderr=True),
    )


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Ctrl-C or a termination request fills the list; the loop ends its step, saves and returns."""
    seen: list[int] = []

    def note(number: int, _: Any) -> None:
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
