"""A task: a model, its data, one step and its validation; and the loop that trains it."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias, cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Optimizer

from unveil.data.datasets.samples import Faces
from unveil.data.splits import Split
from unveil.models.network import Network, NetworkSpec
from unveil.training.config import TrainConfig
from unveil.training.reporting import Reporter
from unveil.training.runtime import any_process, interruptible, precision_for
from unveil.training.state import CHECKPOINT, EMA, LaunchError, TrainState, save_weights, write_best, write_settings

Batch: TypeAlias = dict[str, Tensor]
Losses: TypeAlias = dict[str, Tensor]
"""The loss to minimise under `loss`, and terms to log."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """The result of a run.

    Args:
        step: The last step.
        best: Metrics of the best validation; `score` is the one that is minimised.
        interrupted: Whether Ctrl-C or a termination request ended the run.
    """

    step: int
    best: dict[str, float]
    interrupted: bool


def set_trainable(model: nn.Module, part: str) -> None:
    """Make one submodule train alone: the others get no gradient, and their norms collect no statistics.

    Args:
        model: The model.
        part: Name of the submodule, as `get_submodule` takes it; "" is the whole model.
    """
    model.requires_grad_(False).eval()
    model.get_submodule(part).requires_grad_(True).train()


class Updater:
    """One update of weights: forward, backward, clipping and the optimiser's step, on one or several processes.

    Args:
        accelerator: Precision and processes.
        model: The model as the accelerator wraps it. Calling it exchanges gradients between processes.
        optimiser: The optimiser of all parameters.
        max_grad_norm: Limit of the gradient's norm.
    """

    def __init__(self, accelerator: Accelerator, model: nn.Module, optimiser: Optimizer, max_grad_norm: float) -> None:
        self.accelerator, self.model, self.optimiser, self.max_grad_norm = accelerator, model, optimiser, max_grad_norm
        self._learner = accelerator.unwrap_model(model)
        self._part: str | None = None

    def __call__(self, losses: Callable[[nn.Module], Losses], part: str = "") -> Losses:
        """Minimise a loss by one step of the weights of one submodule.

        Args:
            losses: Computes the losses from the wrapped model; `loss` is the one to minimise.
            part: Name of the submodule to train; "" is the whole model.

        Returns:
            The losses before the step.
        """
        if part != self._part:
            set_trainable(self._learner, part)
            self._part = part
        with self.accelerator.autocast():
            found = losses(self.model)
        self.optimiser.zero_grad()
        self.accelerator.backward(found["loss"])
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
        self.optimiser.step()
        return found


class Task(ABC):
    """Base of what `fit` trains.

    Attributes:
        model: All parameters that train.
        ema_module: Name of the submodule whose weights are averaged, validated and saved; "" is the whole model.
        partial_updates: Whether an update may leave parameters without gradient.
        spec: What a weights file says about the network.
        config: The settings, without what the faces do not allow.
        faces: All faces.
        split: Which of them train and which validate.
        notes: Lines to show before training starts.
    """

    model: nn.Module
    ema_module: str = ""
    partial_updates: bool = False
    spec: NetworkSpec
    config: TrainConfig
    faces: Faces
    split: Split
    notes: tuple[str, ...] = ()

    def parameter_groups(self) -> list[dict[str, object]]:
        """Return the optimiser's groups: by default those of the model."""
        return [self.config.schedule.optimiser_group(group) for group in cast(Network, self.model).param_groups()]

    @abstractmethod
    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        """Yield training batches, each process its own part of them.

        Args:
            start: The first step, counted from 0.
            process: Rank of this process.
            processes: Number of processes.

        Raises:
            ValueError: The faces are too few for the batches of all processes.
        """

    @abstractmethod
    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        """Return a batch on the device, as `losses` takes it.

        Args:
            batch: A batch of `batches`.
            device: The device.
        """

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """Return the losses of a batch.

        Args:
            model: The model, or the accelerator's wrapper of it.
            batch: A prepared batch.
        """

    @abstractmethod
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return metrics on the validation split; `score` is the one to minimise.

        Args:
            model: The averaged `ema_module`.
            device: The device that computes.
        """

    @abstractmethod
    def sample_image(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return an image of a batch's faces and predictions, (3, H, W), uint8.

        Args:
            model: The averaged `ema_module`.
            batch: A prepared batch.
        """

    def step(self, update: Updater, batch: Batch, step: int) -> Losses:
        """Train on one prepared batch: by default one update of the whole model.

        Args:
            update: Updates weights.
            batch: The batch.
            step: The step, counted from 0.

        Returns:
            The losses to log.
        """
        del step
        return update(lambda model: self.losses(model, batch))

    def fit(self, out: Path, *, resume: bool = False, console: Console | None = None) -> FitResult:
        """Train until the schedule ends, or until Ctrl-C or a termination request, which saves.

        The run's folder gets `config.json`, `checkpoint.pt`, `last.safetensors`, `best.safetensors` with `best.json`,
        `metrics.jsonl` and `tensorboard/`. Of several processes, started by accelerate or torchrun, each trains on its
        part of every batch; the first one validates, writes and reports.

        Args:
            out: The run's folder.
            resume: Continue from its checkpoint.
            console: Where to print; stderr by default.

        Returns:
            The result of the run.

        Raises:
            LaunchError: The checkpoint does not fit, a tracker is not installed, or there are more processes than the
                faces allow. Nothing is written.
        """
        config, schedule = self.config, self.config.schedule
        accelerator = _accelerator(self, out)
        if accelerator.device.type == "cpu":
            torch.set_num_threads(config.threads)
        optimiser = torch.optim.AdamW(self.parameter_groups(), betas=(0.9, 0.99))
        # The memory layout in which CPUs and tensor cores convolve fastest.
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model, optimiser = accelerator.prepare(self.model, optimiser)
        learner = accelerator.unwrap_model(model)
        averaged = learner.get_submodule(self.ema_module)
        ema = EMA(averaged, schedule.ema)
        lrs = [group["lr"] for group in optimiser.param_groups]
        state = TrainState(self.spec.network, learner, averaged, ema, optimiser, config.compact_checkpoint)
        if resume:
            state.load(out / CHECKPOINT)
        try:
            batches = self.batches(state.step, accelerator.process_index, accelerator.num_processes)
        except ValueError as error:
            raise LaunchError(str(error)) from error
        first = accelerator.is_main_process
        if first:
            write_settings(config, out)
        if config.tracker:
            accelerator.init_trackers("unveil", config=json.loads(config.model_dump_json()))

        def save() -> None:
            state.save(out / CHECKPOINT)
            save_weights(ema.model, self.spec, out / "last.safetensors")

        def validate(step: int) -> None:
            metrics = self.validate(ema.model, accelerator.device)
            reporter.validation(step, metrics)
            if "step" not in state.best or metrics["score"] < state.best["score"] or math.isnan(state.best["score"]):
                state.best = metrics | {"step": step}
                write_best(ema.model, self.spec, state.best, out)

        update = Updater(accelerator, model, optimiser, schedule.max_grad_norm)
        faces_per_step = schedule.batch * accelerator.num_processes
        reporter = Reporter(
            out, console, steps=schedule.steps, batch=faces_per_step, start=state.step, accelerator=accelerator
        )
        stopped = False
        with reporter, interruptible() as interrupted, _closing(batches):
            while state.step < schedule.steps and not (stopped := any_process(accelerator, interrupted)):
                factor = schedule.lr_factor(state.step)
                for group, lr in zip(optimiser.param_groups, lrs, strict=True):
                    group["lr"] = lr * factor
                batch = self.prepare(next(batches), accelerator.device)
                losses = self.step(update, batch, state.step)
                ema.update(averaged, state.step)
                step = state.step = state.step + 1
                if step % config.checkpoint_every == 0 and not bool(torch.isfinite(losses["loss"].detach()).all()):
                    raise LaunchError(f"{out}: the loss of step {step} is not finite; lower --lr and --resume")
                if not first:
                    continue
                reporter.training(step, losses, schedule.lr * factor)
                if step % config.image_every == 0:
                    reporter.image(step, self.sample_image(ema.model, batch))
                if step % config.validate_every == 0 or step == schedule.steps:
                    validate(step)
                if step % config.checkpoint_every == 0:  # after the validation, so that it holds the best score
                    save()
            if first:
                save()
                if "step" not in state.best:  # interrupted before the first validation, which will replace this file
                    save_weights(ema.model, self.spec, out / "best.safetensors")
        if config.tracker:
            accelerator.end_training()
        return FitResult(state.step, state.best, stopped or bool(interrupted))


@contextmanager
def _closing(batches: Iterator[Batch]) -> Iterator[None]:
    """End the process that loads batches, which ignores signals, when the block ends."""
    try:
        yield
    finally:
        if (end := getattr(batches, "_shutdown_workers", None)) is not None:
            end()


def _accelerator(task: Task, out: Path) -> Accelerator:
    config = task.config
    for tracker in config.tracker:
        if find_spec(tracker) is None:
            raise LaunchError(f"--tracker {tracker}: {tracker} is not installed; pip install {tracker}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    AcceleratorState._reset_state()  # an earlier run in this process may have had another precision
    try:
        return Accelerator(
            cpu=device.type == "cpu",
            mixed_precision=precision_for(config.precision, device),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=task.partial_updates)],
            log_with=list(config.tracker) or None,
            project_dir=str(out),
        )
    except (ImportError, ValueError) as error:
        raise LaunchError(f"--tracker {' '.join(config.tracker)}: {error}") from error
