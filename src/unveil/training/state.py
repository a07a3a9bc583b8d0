"""State of a run that a checkpoint stores: weights, their average, the optimiser, the step."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unveil.io.files import atomic_write
from unveil.models.checkpoints import convert_state, weights_bytes
from unveil.models.network import NetworkSpec
from unveil.training.config import TrainConfig

CHECKPOINT = "checkpoint.pt"


class LaunchError(ValueError):
    """A run cannot start with its settings. The message is one line with the fix."""


def write_settings(config: TrainConfig, out: Path) -> None:
    """Make the run's folder, with `config.json`.

    Args:
        config: The settings.
        out: The folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "config.json") as temporary:
        temporary.write_text(config.model_dump_json(indent=2) + "\n")


def save_weights(model: nn.Module, spec: NetworkSpec, path: Path) -> None:
    """Write a network's weights as safetensors, atomically.

    Args:
        model: The network.
        spec: Its record.
        path: The file.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(weights_bytes(model, spec))


def write_best(model: nn.Module, spec: NetworkSpec, metrics: Mapping[str, float], out: Path) -> None:
    """Write `best.safetensors` and `best.json`.

    Args:
        model: The network.
        spec: Its record.
        metrics: Its metrics.
        out: The run's folder.
    """
    save_weights(model, spec, out / "best.safetensors")
    with atomic_write(out / "best.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")


class EMA:
    """Exponential moving average of weights, and of the statistics of batch norms; other buffers never change.

    The decay is smaller in the first steps, so that validation shows progress from the start.

    Args:
        model: The network whose weights are averaged.
        decay: Share of the average that stays at each update, in [0, 1].
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the weights.

        Args:
            model: The network after a step.
            step: The step, counted from 0.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        average, current = ([*network.parameters(), *_norm_statistics(network)] for network in (self.model, model))
        torch._foreach_lerp_(average, current, 1 - decay)


def _norm_statistics(model: nn.Module) -> list[Tensor]:
    """Return the means and variances of batch norms."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    return [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]


@dataclass(slots=True)
class TrainState:
    """The state that a checkpoint holds.

    Args:
        network: Name of the network, for the conversion of earlier checkpoints.
        learner: The model without the accelerator's wrapper.
        averaged: The submodule of it that is averaged.
        ema: Its average.
        optimiser: The optimiser.
        compact: Store moments and the average's difference from the weights as bfloat16: 2.5 instead of 4 times the
            weights' size.
        step: Steps that are done.
        best: Metrics of the best validation.
    """

    network: str
    learner: nn.Module
    averaged: nn.Module
    ema: EMA
    optimiser: Optimizer
    compact: bool = False
    step: int = 0
    best: dict[str, float] = field(default_factory=lambda: {"score": float("inf")})

    def save(self, path: Path) -> None:
        """Write the checkpoint atomically.

        Args:
            path: The file.
        """
        average, optimiser = self.ema.model.state_dict(), self.optimiser.state_dict()
        if self.compact:
            current = self.averaged.state_dict()
            average = {name: _difference(value, current[name]) for name, value in average.items()}
            optimiser = _converted(optimiser, torch.bfloat16)
        with atomic_write(path) as temporary:
            torch.save(
                {
                    "model": self.learner.state_dict(),
                    "average": average,
                    "optimiser": optimiser,
                    "step": self.step,
                    "best": self.best,
                    "compact": self.compact,
                },
                temporary,
            )

    def load(self, path: Path) -> None:
        """Restore a checkpoint.

        Args:
            path: The file.

        Raises:
            LaunchError: The file is damaged, or of another network or version.
        """
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            self.learner.load_state_dict(convert_state(self.network, saved["model"]))
            average = convert_state(self.network, saved["average"])
            if saved.get("compact", False):
                current = self.averaged.state_dict()
                average = {name: _sum(value, current[name]) for name, value in average.items()}
            self.ema.model.load_state_dict(average)
            decays = [group["weight_decay"] for group in self.optimiser.param_groups]
            self.optimiser.load_state_dict(saved["optimiser"])  # which converts moments to the parameters' type
            for group, decay in zip(self.optimiser.param_groups, decays, strict=True):
                group["weight_decay"] = decay  # --weight-decay may have changed
            self.step, self.best = saved["step"], saved["best"]
        except (RuntimeError, ValueError, KeyError, EOFError, UnpicklingError) as error:
            reason = " ".join(str(error).split())[:120]
            if "parameter group" in reason:
                raise LaunchError(f"{path}: other parameter groups; keep the run's learning-rate scales") from error
            fix = f"start a new run; --init-from {path.with_name('last.safetensors')} keeps the weights that fit"
            raise LaunchError(f"{path}: not of this network or version ({reason}); {fix}") from error


def _difference(average: Tensor, current: Tensor) -> Tensor:
    return (average - current).to(torch.bfloat16) if average.is_floating_point() else average


def _sum(difference: Tensor, current: Tensor) -> Tensor:
    return current + difference.to(current.device, current.dtype) if difference.is_floating_point() else difference


def _converted(optimiser: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return an optimiser's state with its moments in another type; scalars, as step counts, stay as they are."""

    def convert(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.ndim > 0 else value

    state = {
        index: {name: convert(value) for name, value in moments.items()}
        for index, moments in optimiser["state"].items()
    }
    return {**optimiser, "state": state}
