"""Face detector: one-stage, anchor-free, with strides 8, 16 and 32.

B images, H and W pixels, C channels, N cells of all strides together.

Source: the family of YuNet (Wu et al. 2023) and SCRFD (Guo et al. 2021): a small plain CNN, a top-down pyramid and one
head shared by all strides. Each cell predicts a score, the tight landmark box and five points (eyes, nose tip, mouth
corners).
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from unveil.models.conv_norm import NormedConv
from unveil.models.network import Network, NetworkConfig, ParamGroup, group_parameters
from unveil.schemes.scheme import Scheme

STRIDES = (8, 16, 32)
INITIAL_SCORE = -4.6  # logit of a fresh network's score: one per cent, so that the many empty cells do not dominate


class DetectorNetworkConfig(NetworkConfig):
    """Sizes of `FaceDetectorNetwork`.

    Attributes:
        input_size: Side of the training images; inference takes any multiple of 32.
        widths: Channels of the stem and of the stages at strides 4, 8, 16 and 32.
        depths: Depthwise-separable blocks at strides 8, 16 and 32.
        neck: Channels of the pyramid and of the head.
    """

    network: Literal["detector"] = "detector"
    input_size: int = 320
    widths: tuple[int, int, int, int, int] = (16, 24, 48, 96, 128)
    depths: tuple[int, int, int] = (2, 4, 4)
    neck: int = 48

    @override
    def build(self, scheme: Scheme) -> "FaceDetectorNetwork":
        return FaceDetectorNetwork(self)  # the same for every scheme


class DetectorOutput(NamedTuple):
    """Raw predictions of all cells, in the coordinates of each cell's stride."""

    scores: Float[Tensor, "B N"]
    """Logits; the sigmoid estimates a power of the overlap (IoU) of predicted and true box, 0 without a face."""
    distances: Float[Tensor, "B N 4"]
    """ln of the distances from the cell's centre to the left, top, right and bottom side, in strides."""
    points: Float[Tensor, "B N 10"]
    """Offsets (x, y) of the five points from the cell's centre, in fours of a stride."""


class _SeparableBlock(nn.Module):
    """A depthwise 3 x 3 and a 1 x 1 convolution with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = NormedConv(channels, channels, 3, groups=channels)
        self.pointwise = NormedConv(channels, channels, 1, activation="none")

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return F.relu(x + self.pointwise(self.depthwise(x)))


class FaceDetectorNetwork(Network):
    """Face detector for images of any size that is a multiple of 32.

    Args:
        config: Sizes of the network.

    Example:
        >>> output = FaceDetectorNetwork()(torch.zeros(1, 3, 64, 96))
        >>> output.scores.shape
        torch.Size([1, 126])
    """

    def __init__(self, config: DetectorNetworkConfig | None = None) -> None:
        super().__init__()
        config = config or DetectorNetworkConfig()
        stem, four, *widths = config.widths
        self.stem = nn.Sequential(NormedConv(3, stem, 3, stride=2), NormedConv(stem, four, 3, stride=2))
        self.stages = nn.ModuleList()
        for before, width, depth in zip((four, *widths), widths, config.depths, strict=False):
            blocks = (_SeparableBlock(width) for _ in range(depth))
            self.stages.append(nn.Sequential(NormedConv(before, width, 3, stride=2), *blocks))
        self.laterals = nn.ModuleList(NormedConv(width, config.neck, 1, activation="none") for width in widths)
        self.smooth = nn.ModuleList(_SeparableBlock(config.neck) for _ in widths)
        self.head = nn.Sequential(_SeparableBlock(config.neck), _SeparableBlock(config.neck))
        self.predict = nn.Conv2d(config.neck, 15, 1)
        nn.init.normal_(self.predict.weight, std=0.01)
        bias = torch.zeros(15)
        bias[0] = INITIAL_SCORE
        self.predict.bias = nn.Parameter(bias)
        self.scales = nn.Parameter(torch.ones(len(widths)))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> DetectorOutput:
        """Predict all cells, those of stride 8 first, row by row.

        Args:
            images: RGB in [-1, 1]; H and W are multiples of 32.

        Returns:
            The raw predictions; `decode` converts them to pixels.
        """
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        top: Tensor | None = None
        levels: list[Tensor] = []
        for index in reversed(range(len(maps))):
            lateral = self.laterals[index](maps[index])
            merged = lateral if top is None else lateral + F.interpolate(top, scale_factor=2.0, mode="nearest")
            top = self.smooth[index](F.relu(merged))
            levels.insert(0, top)
        predicted = torch.cat([self.predict(self.head(level)).flatten(2) for level in levels], dim=2).transpose(1, 2)
        return DetectorOutput(predicted[..., 0], predicted[..., 1:5], predicted[..., 5:])

    @override
    def param_groups(self, *, backbone_lr_scale: float = 1.0, memory_lr_scale: float = 1.0) -> list[ParamGroup]:
        return group_parameters(self)


def cell_centres(height: int, width: int) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N"]]:
    """Return the centres of all cells in pixels of the image, and their strides, in the order of `DetectorOutput`.

    The centre of the first pixel is (0, 0), so the centre of a cell of stride s lies at (s - 1) / 2 + k s.

    Args:
        height: Height of the image, pixels.
        width: Width of the image, pixels.
    """
    centres, strides = [], []
    for stride in STRIDES:
        y = torch.arange(height // stride) * stride + (stride - 1) / 2
        x = torch.arange(width // stride) * stride + (stride - 1) / 2
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 2)
        centres.append(grid)
        strides.append(torch.full((len(grid),), float(stride)))
    return torch.cat(centres), torch.cat(strides)


def decode(
    output: DetectorOutput, centres: Float[Tensor, "N 2"], strides: Float[Tensor, "N"]
) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N 4"], Float[Tensor, "B N 5 2"]]:
    """Convert raw predictions to pixels of the image.

    Args:
        output: Raw predictions.
        centres: Centres of the cells, pixels.
        strides: Strides of the cells, pixels.

    Returns:
        Scores in [0, 1], boxes (x0, y0, x1, y1), and five points, in pixels.
    """
    reach = output.distances.float().clamp(max=6).exp() * strides[:, None]
    boxes = torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], dim=-1)
    points = (
        output.points.float().reshape(*output.points.shape[:-1], 5, 2) * (4 * strides[:, None, None]) + centres[:, None]
    )
    return output.scores.float().sigmoid(), boxes, points
