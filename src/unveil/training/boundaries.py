"""Boundary maps drawn from landmarks, and the loss of a network that draws them too (Wu et al. 2018).

B faces, T stacks, L landmarks, K contours, S stretches of one contour, H and W pixels.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from unveil.schemes.scheme import Contour

SPREAD_PX = 1.0  # of a line, in pixels of the map


def boundary_maps(
    points_unit: Float[Tensor, "B L 2"], contours: Sequence[Contour], height: int, width: int
) -> Float[Tensor, "B K H W"]:
    """One on each contour's straight stretches, falling as a bell with the distance from them."""
    size = points_unit.new_tensor([width, height])
    points_px = (points_unit + 1) / 2 * size - 0.5
    y, x = torch.meshgrid(
        *(torch.arange(n, device=size.device, dtype=size.dtype) for n in (height, width)), indexing="ij"
    )
    pixels = torch.stack([x.flatten(), y.flatten()], dim=-1)  # (H W, 2)
    maps = []
    for contour in contours:
        ends = [*contour.points[1:], *contour.points[:1]]
        stretches = len(contour.points) - (not contour.closed)
        start = points_px[:, list(contour.points[:stretches]), None]  # (B, S, 1, 2)
        along = points_px[:, ends[:stretches], None] - start
        share = ((pixels - start) * along).sum(dim=-1) / along.square().sum(dim=-1).clamp_min(1e-9)
        nearest = start + share.clamp(0, 1)[..., None] * along  # (B, S, H W, 2)
        maps.append((pixels - nearest).square().sum(dim=-1).amin(dim=1))
    squared = torch.stack(maps, dim=1).reshape(-1, len(contours), height, width)
    return torch.exp(-squared / (2 * SPREAD_PX**2))


def boundary_loss(
    logits: Float[Tensor, "B T K H W"], points_unit: Float[Tensor, "B L 2"], contours: Sequence[Contour]
) -> Float[Tensor, ""]:
    """Cross-entropy of every stack's maps against the drawn ones."""
    truth = boundary_maps(points_unit, contours, *logits.shape[-2:])
    return F.binary_cross_entropy_with_logits(logits, truth[:, None].expand_as(logits).to(logits.dtype))
