"""Shape-indexed patches: what the picture, or a feature map, shows round every landmark.

B faces, L landmarks, K samples a landmark, C channels, D features. Coordinates are unit coordinates of the crop.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.models.layers import Norm, mlp


def sample(features: Float[Tensor, "B C H W"], points_unit: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K C"]:
    """The map at points between pixels, bilinear, zero outside."""
    sampled = F.grid_sample(features, points_unit[:, :, None], mode="bilinear", align_corners=False)  # (B, C, K, 1)
    return sampled.flatten(2).transpose(1, 2)


def square_grid(count: int, spacing_unit: float) -> Float[Tensor, "K 2"]:
    """`count` x `count` offsets, `spacing_unit` apart, centred on zero, row by row."""
    ticks = (torch.arange(count) - (count - 1) / 2) * spacing_unit
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)


def patches(
    features: Float[Tensor, "B C H W"], points_unit: Float[Tensor, "B L 2"], grid: Float[Tensor, "K 2"]
) -> Float[Tensor, "B L K C"]:
    """What lies under the grid when it is centred on each landmark."""
    batch, landmarks = points_unit.shape[:2]
    samples = sample(features, (points_unit[:, :, None] + grid).flatten(1, 2))
    return samples.reshape(batch, landmarks, grid.shape[0], features.shape[1])


class FeaturePatches(nn.Module):
    """Landmark tokens from a shared feature map: a small grid round each point, its place, and which landmark it is.

    The grid narrows from step to step: the first looks for the part, the last for its edge.
    """

    def __init__(self, landmarks: int, channels: int, dim: int, spacings_unit: Sequence[float], count: int = 3) -> None:
        super().__init__()
        grids = torch.stack([square_grid(count, spacing) for spacing in spacings_unit])
        self.register_buffer("grids", grids, persistent=False)
        self.embed = mlp(count * count * channels, dim, dim)
        self.place = nn.Linear(2, dim)
        self.identity = nn.Parameter(torch.randn(landmarks, dim) * 0.02)

    def forward(
        self, features: Float[Tensor, "B C H W"], points_unit: Float[Tensor, "B L 2"], step: int
    ) -> Float[Tensor, "B L D"]:
        grid = self.get_buffer("grids")[step]
        seen = patches(features, points_unit, grid).flatten(2)
        # Two axes instead of three: a matrix product with its bias is then one operation of ONNX.
        embedded = self.embed(seen.flatten(0, 1)) + self.place(points_unit.flatten(0, 1))
        tokens: Tensor = embedded.reshape(-1, *self.identity.shape) + self.identity
        return tokens


class PicturePatches(nn.Module):
    """The paper's patches: 40 px of the 224 px face round each landmark, each through one small CNN (section 3.2).

    Three valid convolutions, each with batch norm, ReLU and 2 x 2 max pooling, leave `side` x `side` places. With
    `coordinates` they are CoordConv layers (Liu et al. 2018): every map also has its x and y in [-1, 1].
    """

    KERNELS = (7, 5, 3)

    def __init__(
        self,
        widths: Sequence[int],
        *,
        count: int = 40,
        spacing_unit: float = 2 / 224,
        coordinates: bool = False,
        frozen_norm: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("grid", square_grid(count, spacing_unit), persistent=False)
        layers: list[nn.Module] = []
        before, side = 3, count
        for width, kernel in zip(widths, self.KERNELS, strict=True):
            if coordinates:
                layers.append(Coordinates(side))
            extra, side = 2 * coordinates, (side - kernel + 1) // 2
            # Batch norm takes away the convolution's bias.
            layers.append(nn.Conv2d(before + extra, width, kernel, bias=False))
            layers += [Norm(width, frozen=frozen_norm), nn.ReLU(), nn.MaxPool2d(2)]
            before = width
        self.convolve = nn.Sequential(*layers)
        self.count, self.places, self.channels = count, side * side, before

    def forward(self, images: Float[Tensor, "B 3 H W"], points_unit: Float[Tensor, "B L 2"]) -> Float[Tensor, "B L D"]:
        """RGB in [0, 1]; the features are those of one place after the other."""
        landmarks = points_unit.shape[1]
        seen = patches(images * 2 - 1, points_unit, self.get_buffer("grid"))  # (B, L, K, 3)
        pictures = seen.reshape(-1, self.count, self.count, 3).permute(0, 3, 1, 2)
        maps = self.convolve(pictures).flatten(2).transpose(1, 2)  # (B L, S, C)
        return torch.reshape(maps, (-1, landmarks, self.places * self.channels))


class Coordinates(nn.Module):
    """Puts two maps behind a map's channels: x and y of its pixels, from -1 to 1."""

    def __init__(self, side: int) -> None:
        super().__init__()
        y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
        self.register_buffer("xy", torch.stack([x, y])[None], persistent=False)

    def forward(self, maps: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        return torch.cat([maps, self.get_buffer("xy").expand(maps.shape[0], -1, -1, -1)], dim=1)
