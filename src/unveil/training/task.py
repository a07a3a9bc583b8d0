"""What the training loop asks of a task: a model, its data, one step, and its validation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Optimizer

from unveil.data.datasets.samples import Faces
from unveil.data.splits import Split
from unveil.models.network import NetworkSpec
from unveil.training.config import TrainConfig

Batch: TypeAlias = dict[str, Tensor]
Losses: TypeAlias = dict[str, Tensor]
"""The loss to minimise under `loss`, and terms to log."""


class LaunchError(ValueError):
    """A run that cannot start as it was asked to. The message is one line with the fix."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a run ended: its last step, the metrics of its best validation, and whether it was interrupted."""

    step: int
    best: dict[str, float]
    interrupted: bool


def set_trainable(model: nn.Module, part: str) -> None:
    """Let one submodule train alone: the others get no gradient and their norms collect no statistics.

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
        """Minimise `loss` of what `losses` returns for the model, by one step of one submodule's weights.

        Args:
            losses: Computes the losses with the model that it gets.
            part: Name of the submodule to train; "" is the whole model.
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
    faces: Faces
    split: Split
    notes: tuple[str, ...] = ()

    @property
    @abstractmethod
    def config(self) -> TrainConfig:
        """The settings."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, object]]:
        """Return the optimiser's groups."""

    @abstractmethod
    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        """Yield training batches from step `start`, each process its own part of them.

        Raises:
            ValueError: The faces are too few for the batches of all processes.
        """

    @abstractmethod
    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        """Move a batch to the device and convert it to what the losses take."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """Return the losses of a prepared batch."""

    @abstractmethod
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return metrics of the averaged `ema_module` on the validation split; `score` is the one to minimise."""

    @abstractmethod
    def sample_image(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return an image of a batch's faces and predictions, (3, H, W), uint8."""

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
        """Train to the end or until Ctrl-C; see `unveil.training.trainer.fit`."""
        from unveil.training.trainer import fit  # the loop is generic over tasks

        return fit(self, out, resume=resume, console=console)
