"""The interface of the training loop to a task: a model, its data, one step, and its validation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Optimizer

from unveil.data.datasets.samples import Faces
from unveil.data.splits import Split
from unveil.models.network import Network, NetworkSpec
from unveil.training.config import TrainConfig

Batch: TypeAlias = dict[str, Tensor]
Losses: TypeAlias = dict[str, Tensor]
"""The loss to minimise under `loss`, and terms to log."""


class LaunchError(ValueError):
    """A run cannot start with its settings. The message is one line with the fix."""


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
        """Train until the schedule ends, or until Ctrl-C; see `unveil.training.trainer.fit`.

        Args:
            out: The run's folder.
            resume: Continue from its checkpoint.
            console: Where to print; stderr by default.

        Returns:
            The result of the run.

        Raises:
            LaunchError: The run cannot start with its settings.
        """
        from unveil.training.trainer import fit  # here, since the trainer imports this module

        return fit(self, out, resume=resume, console=console)
