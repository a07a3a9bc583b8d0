"""Shape-indexed patches: what the picture, or a feature map, shows round every landmark.

B faces, L landmarks, K samples a landmark, C channels, D features. Coordinates are unit coordinates of the crop.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.models.layers import mlp


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
