"""Shape-indexed patches: samples of the image, or of a feature map, around every landmark.

B faces, L landmarks, K samples a landmark, C channels, D features. Coordinates are unit coordinates of the crop.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.models.layers import Norm, mlp


def sample(features: Float[Tensor, "B C H W"], points_unit: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K C"]:
    """Return a map's values at points, bilinear between pixels and zero outside the map.

    Args:
        features: The map.
        points_unit: The points.
    """
    sampled = F.grid_sample(features, points_unit[:, :, None], mode="bilinear", align_corners=False)  # (B, C, K, 1)
    return sampled.flatten(2).transpose(1, 2)


def square_grid(count: int, spacing_unit: float) -> Float[Tensor, "K 2"]:
    """Return the offsets of a square grid centred on zero, row by row.

    Args:
        count: Samples along a side; K = count².
        spacing_unit: Distance between two samples.
    """
    ticks = (torch.arange(count) - (count - 1) / 2) * spacing_unit
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)


def sample_patches(
    features: Float[Tensor, "B C H W"], points_unit: Float[Tensor, "B L 2"], grid: Float[Tensor, "K 2"]
) -> Float[Tensor, "B L K C"]:
    """Return a map's values at the offsets of a grid around each landmark.

    Args:
        features: The map.
        points_unit: The landmarks.
        grid: The offsets.
    """
    batch, landmarks = points_unit.shape[:2]
    samples = sample(features, (points_unit[:, :, None] + grid).flatten(1, 2))
    return samples.reshape(batch, landmarks, grid.shape[0], features.shape[1])


class FeaturePatches(nn.Module):
    """Landmark tokens from a shared feature map: a small grid around each point, its position, and its identity.

    The grid narrows from step to step: the first step localises the part, the last one its edge.

    Args:
        landmarks: Number of landmarks.
        channels: Channels of the map.
        dim: Features of a token.
        spacings_unit: Distance between two samples of the grid, one for each step.
        count: Samples along a side of the grid.
    """

    grids: Tensor

    def __init__(self, landmarks: int, channels: int, dim: int, spacings_unit: Sequence[float], count: int = 3) -> None:
        super().__init__()
        grids = torch.stack([square_grid(count, spacing) for spacing in spacings_unit])
        self.register_buffer("grids", grids, persistent=False)
        self.embed = mlp(count * count * channels, dim, dim)
        self.position_embed = nn.Linear(2, dim)
        self.landmark_embed = nn.Parameter(torch.randn(landmarks, dim) * 0.02)

    def forward(
        self, features: Float[Tensor, "B C H W"], points_unit: Float[Tensor, "B L 2"], step: int
    ) -> Float[Tensor, "B L D"]:
        """Return each landmark's token.

        Args:
            features: The shared feature map.
            points_unit: The landmarks.
            step: The refinement step, counted from 0, which selects the grid.
        """
        patches = sample_patches(features, points_unit, self.grids[step]).flatten(2)  # (B, L, K C)
        # Two axes instead of three: ONNX then has one operation for a matrix product with its bias.
        embedded = self.embed(patches.flatten(0, 1)) + self.position_embed(points_unit.flatten(0, 1))
        tokens: Tensor = embedded.reshape(-1, *self.landmark_embed.shape) + self.landmark_embed
        return tokens


class ImagePatches(nn.Module):
    """The paper's patches: 40 px of the 224 px face around each landmark, through one small shared CNN.

    Three valid convolutions, each with batch norm, ReLU and 2 x 2 max pooling, leave `side` x `side` places.

    Args:
        channels: Channels of the three convolutions.
        size: Samples along a side of a patch.
        spacing_unit: Distance between two samples.
        coord_conv: Whether every map also has its x and y in [-1, 1] as channels (CoordConv, Liu et al. 2018).
        frozen_norm: Whether batch norm keeps its initial statistics.

    Source: Zhu et al. 2022, section 3.2.
    """

    KERNELS = (7, 5, 3)
    grid: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        *,
        size: int = 40,
        spacing_unit: float = 2 / 224,
        coord_conv: bool = False,
        frozen_norm: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("grid", square_grid(size, spacing_unit), persistent=False)
        layers: list[nn.Module] = []
        before, side = 3, size
        for after, kernel in zip(channels, self.KERNELS, strict=True):
            if coord_conv:
                layers.append(Coordinates(side))
            # Batch norm removes the convolution's bias.
            layers.append(nn.Conv2d(before + 2 * coord_conv, after, kernel, bias=False))
            layers += [Norm(after, frozen=frozen_norm), nn.ReLU(), nn.MaxPool2d(2)]
            before, side = after, (side - kernel + 1) // 2
        self.cnn = nn.Sequential(*layers)
        self.size, self.places, self.channels = size, side * side, before

    def forward(self, images: Float[Tensor, "B 3 H W"], points_unit: Float[Tensor, "B L 2"]) -> Float[Tensor, "B L D"]:
        """Return each landmark's features, place after place.

        Args:
            images: RGB in [0, 1].
            points_unit: The landmarks.
        """
        landmarks = points_unit.shape[1]
        patches = sample_patches(images * 2 - 1, points_unit, self.grid)  # (B, L, K, 3)
        patches = patches.reshape(-1, self.size, self.size, 3).permute(0, 3, 1, 2)  # (B L, 3, size, size)
        maps = self.cnn(patches).flatten(2).transpose(1, 2)  # (B L, S, C)
        return torch.reshape(maps, (-1, landmarks, self.places * self.channels))


class Coordinates(nn.Module):
    """Append two channels to a square map: x and y of its pixels, from -1 to 1 (CoordConv, Liu et al. 2018).

    Args:
        side: Side of the map, pixels.
    """

    xy: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
        self.register_buffer("xy", torch.stack([x, y])[None], persistent=False)

    def forward(self, maps: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Return the map with two more channels, D = C + 2.

        Args:
            maps: The map.
        """
        return torch.cat([maps, self.xy.expand(maps.shape[0], -1, -1, -1)], dim=1)
