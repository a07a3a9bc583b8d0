"""DRN: the deep regression network of DRDA and GAN-IA, three stages of a sigmoid network on shape-indexed SIFT.

B faces, L landmarks, D features of a face (L x 128). Sizes after the same authors' CFAN (ours: the paper has none).
"""

import math
from itertools import pairwise
from typing import Annotated, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from unveil.baselines.sdm import LinearStage
from unveil.baselines.shape_indexed import DESCRIPTOR, Stage
from unveil.models.layers import zeroed
from unveil.models.network import Network, NetworkConfig
from unveil.schemes.scheme import Scheme


class DrnConfig(NetworkConfig):
    """Sizes of DRN, and of SDM, which is a DRN without hidden layers."""

    network: Literal["drn"] = "drn"
    input_size: int = 128
    hidden: tuple[int, ...] = (1296, 784, 400)
    """Widths of the hidden layers of each stage."""
    stages: Annotated[int, Field(ge=1)] = 3
    """Number of stages."""

    @override
    def build(self, scheme: Scheme) -> "Drn":
        return Drn(scheme, self)


class RegressionStage(nn.Module):
    """Φ_t: from the SIFT descriptors at the landmarks to the landmarks' offsets; a fresh stage predicts zero.

    Without hidden layers it is SDM's linear map.

    Args:
        landmarks: Number of landmarks, L.
        hidden: Widths of the hidden layers.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, landmarks: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        count = landmarks * DESCRIPTOR
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("scale", torch.ones(count))
        layers: list[nn.Module] = []
        *_, last_width = widths = (count, *hidden)
        for before, after in pairwise(widths):
            layers += [_sigmoid_linear(before, after, centre=0.5 if layers else 0.0), nn.Sigmoid()]
        self.layers = nn.Sequential(*layers, zeroed(nn.Linear(last_width, 2 * landmarks)))

    def standardise(self, features: Float[Tensor, "N L 128"]) -> None:
        """Set the mean and the standard deviation of each feature; call it before a fresh stage trains.

        Args:
            features: Features of the N training views.
        """
        flat = features.flatten(1)
        self.mean.copy_(flat.mean(dim=0))
        self.scale.copy_(1 / flat.std(dim=0).clamp(min=1e-3))

    def set_linear(self, linear: LinearStage) -> None:
        """Replace the weights by a closed-form solution.

        Args:
            linear: The solution.

        Raises:
            ValueError: The stage has hidden layers.
        """
        if len(self.layers) > 1:
            raise ValueError("a stage with hidden layers has no closed form; give it hidden=()")
        last = self.layers[0]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            self.mean.copy_(torch.from_numpy(linear.mean))
            last.weight.copy_(torch.from_numpy(linear.weights.T))
            last.bias.copy_(torch.from_numpy(linear.bias))

    def forward(self, features: Float[Tensor, "B L 128"]) -> Float[Tensor, "B L 2"]:
        """Return offsets in unit coordinates.

        Args:
            features: Features at the landmarks.
        """
        standard = (features.flatten(1) - self.mean) * self.scale
        offsets: Tensor = self.layers(standard)
        return offsets.reshape(features.shape[0], -1, 2)


class Drn(Network):
    """All stages, and the shape that the first one starts from.

    `shape_indexed.cascade` extracts the features between the stages.

    Args:
        scheme: The landmark scheme.
        config: The sizes.

    Source: GAN-IA, section 3.4.
    """

    mean_shape: Tensor

    def __init__(self, scheme: Scheme, config: DrnConfig) -> None:
        super().__init__()
        self.register_buffer("mean_shape", torch.zeros(scheme.points, 2))
        self.stages = nn.ModuleList(RegressionStage(scheme.points, config.hidden) for _ in range(config.stages))

    def forward(self, features: Float[Tensor, "T B L 128"]) -> Float[Tensor, "T B L 2"]:
        """Return the offsets of every stage, in unit coordinates.

        Args:
            features: The features of each of the T stages.
        """
        return torch.stack([stage(given) for stage, given in zip(self.stages, features, strict=True)])

    def stage(self, index: int) -> RegressionStage:
        """Return one stage.

        Args:
            index: The stage, counted from 0.
        """
        return cast(RegressionStage, self.stages[index])

    def as_stages(self) -> tuple[Stage, ...]:
        """Return the stages for `cascade`, as functions of numpy arrays."""
        return tuple(_numpy_stage(stage) for stage in self.stages)


def _numpy_stage(stage: nn.Module) -> Stage:
    device = next(stage.parameters()).device

    def offsets(features: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(stage(torch.from_numpy(features).to(device)).cpu().numpy(), np.float32)

    return offsets


def _sigmoid_linear(before: int, after: int, centre: float) -> nn.Linear:
    """Return a layer with outputs of mean 0 and deviation 1 for inputs around `centre`, where a sigmoid is steep."""
    layer = nn.Linear(before, after)
    # The sigmoid of a standard normal variable has a standard deviation of 0.21, a standardised feature one of 1.
    deviation = 0.21 if centre else 1.0
    nn.init.normal_(layer.weight, std=1 / (deviation * math.sqrt(before)))
    with torch.no_grad():
        layer.bias.copy_(-centre * layer.weight.sum(dim=1))
    return layer
