"""PFLD: landmarks in one pass, with an auxiliary head-pose network during training (Guo et al. 2019).

B faces, L landmarks, C channels; the crop has 112 px. The blocks are those of MobileNetV2. One linear layer predicts
the landmarks from the last three maps.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from unveil.models.conv_norm import NormedConv
from unveil.models.network import Network, NetworkConfig
from unveil.schemes.scheme import Scheme

# expansion, channels, repeats, stride of the first block; the pose network's input is the first row's map, 28 px wide
BOTTLENECKS = ((2, 64, 5, 2), (2, 128, 1, 2), (4, 128, 6, 1), (2, 16, 1, 1))


class PfldConfig(NetworkConfig):
    """Sizes of PFLD."""

    network: Literal["pfld"] = "pfld"
    input_size: Literal[112] = 112
    width_mult: float = 1.0
    """Factor of all channel counts; the paper has 1 and 0.25."""

    @override
    def build(self, scheme: Scheme) -> "Pfld":
        return Pfld(scheme, self)


class PfldPrediction(NamedTuple):
    """Output of PFLD.

    Args:
        points_unit: Landmarks in unit coordinates of the crop.
        angles: Yaw, pitch and roll in radians.
    """

    points_unit: Float[Tensor, "B L 2"]
    angles: Float[Tensor, "B 3"]


class _Bottleneck(nn.Module):
    """Expand, filter each channel separately, project (Sandler et al. 2018)."""

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


class _PoseNet(nn.Module):
    """Euler angles from the 28 px map: an auxiliary task that improves the shared map."""

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


class Pfld(Network):
    """PFLD with its pose network. After `set_mean_shape` the first prediction lies near the mean shape.

    Args:
        scheme: The landmark scheme.
        config: The sizes.
    """

    def __init__(self, scheme: Scheme, config: PfldConfig) -> None:
        super().__init__()
        width = config.width_mult
        first = _scaled(64, width)
        self.stem = nn.Sequential(NormedConv(3, first, 3, stride=2), NormedConv(first, first, 3, groups=first))
        rows, last = [], first
        for expansion, channels, repeats, stride in BOTTLENECKS:
            blocks = []
            for repeat in range(repeats):
                blocks.append(_Bottleneck(last, _scaled(channels, width), expansion, 1 if repeat else stride))
                last = _scaled(channels, width)
            rows.append(nn.Sequential(*blocks))
        self.shared, *rest = rows
        self.fine = nn.Sequential(*rest)
        middle, coarse = _scaled(32, width), _scaled(128, width)
        self.middle = NormedConv(last, middle, 3, stride=2)
        self.coarse = nn.Sequential(nn.Conv2d(middle, coarse, 7), nn.ReLU())  # one pixel, so no batch norm
        self.points = nn.Linear(last + middle + coarse, 2 * scheme.points)
        self.pose = _PoseNet(_scaled(BOTTLENECKS[0][1], width), width)
        nn.init.normal_(self.points.weight, std=1e-3)
        nn.init.zeros_(self.points.bias)

    @override
    def set_mean_shape(self, mean_shape: Float[Tensor, "L 2"]) -> None:
        with torch.no_grad():
            self.points.bias.copy_(mean_shape.flatten())

    def forward(self, images: Float[Tensor, "B 3 112 112"]) -> PfldPrediction:
        """Return landmarks and Euler angles.

        Args:
            images: RGB in [0, 1].
        """
        shared = self.shared(self.stem(images * 2 - 1))  # (B, C, 28, 28)
        return PfldPrediction(self._points(shared), self.pose(shared))

    def landmarks(self, images: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B L 2"]:
        """Return the landmarks alone, without running the pose network; the export uses this.

        Args:
            images: RGB in [0, 1].
        """
        return self._points(self.shared(self.stem(images * 2 - 1)))

    def _points(self, shared: Float[Tensor, "B C 28 28"]) -> Float[Tensor, "B L 2"]:
        fine = self.fine(shared)  # (B, C, 14, 14)
        middle = self.middle(fine)  # (B, C, 7, 7)
        scales = [F.adaptive_avg_pool2d(scale, 1).flatten(1) for scale in (fine, middle, self.coarse(middle))]
        points: Tensor = self.points(torch.cat(scales, dim=1))
        return points.reshape(points.shape[0], -1, 2)


def _scaled(channels: int, width: float) -> int:
    return max(4, round(channels * width))
