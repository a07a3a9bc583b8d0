"""A small stacked hourglass (Newell et al. 2016), with or without boundary maps: what GlomFace is measured against.

B faces, L landmarks, K contours, T stacks, C channels, H and W pixels of the maps at stride 4.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.models.backbones import LiteFeatures
from unveil.models.conv_norm import NormedConv
from unveil.models.glomface import Prediction
from unveil.models.heads import FIRST_SPREAD
from unveil.models.layers import ScaledConv
from unveil.schemes.scheme import Scheme


class StackedHourglass(nn.Module):
    """Each stack draws a heatmap a landmark, and with `boundaries` a map a contour; the next stack sees all of them.

    A landmark lies at its heatmap's mean place, so a stack's shape is trained as a step's is. ValueError if boundaries
    are wanted and the scheme has no contours.
    """

    def __init__(
        self,
        scheme: Scheme,
        *,
        stacks: int = 2,
        depth: int = 3,
        channels: int = 64,
        width: float = 1.0,
        boundaries: bool = False,
    ) -> None:
        super().__init__()
        if boundaries and not scheme.contours:
            raise ValueError(f"scheme {scheme.name!r} has no contours to draw boundaries from; add them or do without")
        self.register_buffer("calibration", torch.tensor([1.0, 0.0, 1.0]))  # as of GlomFaceLight
        self.landmarks, self.draws_boundaries = scheme.points, boundaries
        maps = scheme.points + len(scheme.contours) * boundaries
        self.features = LiteFeatures(channels, width)
        self.hourglasses = nn.ModuleList(Hourglass(channels, depth) for _ in range(stacks))
        self.draw = nn.ModuleList(ScaledConv(channels, maps, 1) for _ in range(stacks))
        self.show = nn.ModuleList(ScaledConv(maps, channels, 1, gain=0.1) for _ in range(stacks - 1))
        self.norm = nn.ModuleList(NormedConv(channels, channels, 1) for _ in range(stacks))
        self.tell = ScaledConv(channels, 2 * scheme.points, 1, gain=0.1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Prediction:
        """RGB in [0, 1], channels first."""
        features, _ = self.features(images)
        shapes, boundaries = [], []
        for stack, (hourglass, norm, draw) in enumerate(zip(self.hourglasses, self.norm, self.draw, strict=True)):
            thought = norm(hourglass(features))
            drawn = draw(thought)
            heat = drawn[:, : self.landmarks].flatten(2).softmax(dim=-1).unflatten(2, drawn.shape[2:])  # (B, L, H, W)
            shapes.append(mean_place(heat))
            boundaries.append(drawn[:, self.landmarks :])
            if stack < len(self.show):
                features = features + thought + self.show[stack](drawn)
        told = self.tell(thought).unflatten(1, (2, self.landmarks))
        visibility, log_spread = (told * heat[:, None]).sum(dim=(-2, -1)).unbind(dim=1)  # read where the heatmap lies
        lines = torch.stack(boundaries, dim=1) if self.draws_boundaries else None
        return Prediction(torch.stack(shapes, dim=1), visibility, log_spread + FIRST_SPREAD, lines)


class Hourglass(nn.Module):
    """Down `depth` times by two and up again, with a way across at every size."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.across = Residual(channels)
        self.inner = nn.Sequential(Residual(channels), Hourglass(channels, depth - 1)) if depth else None

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        across: Tensor = self.across(x)
        if self.inner is None:
            return across
        # To the size that it had, which need not be even.
        return across + F.interpolate(self.inner(F.max_pool2d(x, 2)), size=x.shape[-2:], mode="nearest")


class Residual(nn.Module):
    """Two convolutions beside a way round them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = NormedConv(channels, channels, 3)
        self.add = NormedConv(channels, channels, 3, activation="none")
        assert isinstance(self.add.norm, nn.BatchNorm2d)
        nn.init.constant_(self.add.norm.weight, 0.3)  # near the way round, to begin with

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        added: Tensor = self.add(self.look(x))
        return x + added


def mean_place(heat: Float[Tensor, "B L H W"]) -> Float[Tensor, "B L 2"]:
    """The mean of the pixels' unit coordinates, weighted by maps that sum to one (soft-argmax)."""
    # Sums and not matrix products: autocast would round the coordinates to bfloat16.
    shares = heat.sum(dim=2), heat.sum(dim=3)  # of the columns, of the rows
    return torch.stack([(share * ticks(share.shape[-1], heat)).sum(dim=-1) for share in shares], dim=-1)


def ticks(count: int, like: Tensor) -> Float[Tensor, "N"]:
    """Unit coordinates of the centres of a row of pixels."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) * 2 + 1) / count - 1
