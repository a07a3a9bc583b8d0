"""PFLD: landmarks in one pass, taught by a head-pose net that stays behind after training (Guo et al. 2019).

B faces, L landmarks, C channels; the crop has 112 px. MobileNetV2's blocks; the last three maps decide together.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.models.conv_norm import NormedConv
from unveil.models.network import NetworkConfig, ParamGroup
from unveil.schemes.scheme import Scheme

# expansion, channels, repeats, stride of the first; the pose net looks at the first row's map, 28 px wide
BOTTLENECKS = ((2, 64, 5, 2), (2, 128, 1, 2), (4, 128, 6, 1), (2, 16, 1, 1))


class PfldConfig(NetworkConfig):
    """Sizes of PFLD."""

    network: Literal["pfld"] = "pfld"
    input_size: Literal[112] = 112
    width_mult: float = 1.0
    """Factor of all channel counts; the paper has 1 and 0.25."""

    def build(self, scheme: Scheme) -> "Pfld":
        return Pfld(scheme, self)


class PfldPrediction(NamedTuple):
    """Landmarks in unit coordinates of the crop; yaw, pitch and roll in radians."""

    points_unit: Float[Tensor, "B L 2"]
    angles: Float[Tensor, "B 3"]


class Bottleneck(nn.Module):
    """Widen, filter each channel by itself, narrow again (Sandler et al. 2018)."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = expansion * channels_in
        self.layers = nn.Sequential(
            NormedConv(channels_in, wide, 1),
            NormedConv(wide, wide, 3, stride=stride, groups=wide),
            NormedConv(wide, channels_out, 1, activation="none"),
        )
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H2 W2"]:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class PoseNet(nn.Module):
    """Euler angles from the 28 px map; it is there for what the map learns by it."""

    def __init__(self, channels: int, width: float) -> None:
        super().__init__()
        wide, narrow = _scaled(128, width), _scaled(32, width)
        self.layers = nn.Sequential(
            NormedConv(channels, wide, 3, stride=2),
            NormedConv(wide, wide, 3),
            NormedConv(wide, narrow, 3, stride=2),
            nn.Conv2d(narrow, wide, 7),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(wide, 32),
            nn.ReLU(),
            nn.Linear(32, 3),
        )

    def forward(self, x: Float[Tensor, "B C 28 28"]) -> Float[Tensor, "B 3"]:
        angles: Tensor = self.layers(x)
        return angles


class Pfld(nn.Module):
    """PFLD with its pose net. After `set_mean_shape` the first prediction lies near the mean shape."""

    def __init__(self, scheme: Scheme, config: PfldConfig) -> None:
        super().__init__()
        width = config.width_mult
        first = _scaled(64, width)
        self.stem = nn.Sequential(NormedConv(3, first, 3, stride=2), NormedConv(first, first, 3, groups=first))
        rows, last = [], first
        for expansion, channels, repeats, stride in BOTTLENECKS:
            blocks = []
            for repeat in range(repeats):
                blocks.append(Bottleneck(last, _scaled(channels, width), expansion, 1 if repeat else stride))
                last = _scaled(channels, width)
            rows.append(nn.Sequential(*blocks))
        self.shared, *rest = rows
        self.fine = nn.Sequential(*rest)
        middle, coarse = _scaled(32, width), _scaled(128, width)
        self.middle = NormedConv(last, middle, 3, stride=2)
        self.coarse = nn.Sequential(nn.Conv2d(middle, coarse, 7), nn.ReLU())  # one pixel: nothing to norm over
        self.points = nn.Linear(last + middle + coarse, 2 * scheme.points)
        self.pose = PoseNet(_scaled(BOTTLENECKS[0][1], width), width)
        nn.init.normal_(self.points.weight, std=1e-3)
        nn.init.zeros_(self.points.bias)

    def set_mean_shape(self, mean_shape: Float[Tensor, "L 2"]) -> None:
        """Set the shape that a fresh network predicts, in unit coordinates."""
        with torch.no_grad():
            self.points.bias.copy_(mean_shape.flatten())

    def param_groups(self) -> list[ParamGroup]:
        """Return all parameters as one group."""
        return [ParamGroup(list(self.parameters()))]

    def forward(self, images: Float[Tensor, "B 3 112 112"]) -> PfldPrediction:
        """RGB in [0, 1], channels first."""
        shared = self.shared(self.stem(images * 2 - 1))
        return PfldPrediction(self._points(shared), self.pose(shared))

    def landmarks(self, images: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B L 2"]:
        """Without the pose net: what is exported."""
        return self._points(self.shared(self.stem(images * 2 - 1)))

    def _points(self, shared: Float[Tensor, "B C 28 28"]) -> Float[Tensor, "B L 2"]:
        fine = self.fine(shared)
        middle = self.middle(fine)
        scales = [F.adaptive_avg_pool2d(scale, 1).flatten(1) for scale in (fine, middle, self.coarse(middle))]
        points: Tensor = self.points(torch.cat(scales, dim=1))
        return points.reshape(points.shape[0], -1, 2)


def _scaled(channels: int, width: float) -> int:
    return max(4, round(channels * width))
