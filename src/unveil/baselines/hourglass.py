"""A stacked hourglass (Newell et al. 2016), with or without boundary maps (Wu et al. 2018): a control for GlomFace.

B faces, L landmarks, K contours, T stacks, C channels, H and W pixels of the maps at stride 4.
"""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from unveil.models.backbones import BackboneNetwork, PyramidBackbone
from unveil.models.conv_norm import NormedConv
from unveil.models.heads import INITIAL_LOG_SCALE
from unveil.models.layers import ScaledConv
from unveil.models.network import NetworkConfig, Prediction
from unveil.schemes.scheme import Scheme


class HourglassConfig(NetworkConfig):
    """Sizes of the stacked hourglass."""

    network: Literal["hourglass"] = "hourglass"
    input_size: int = 160
    stacks: Annotated[int, Field(ge=1)] = 2
    """Number of hourglasses."""
    depth: Annotated[int, Field(ge=0)] = 3
    """Halvings inside an hourglass."""
    channels: int = 64
    """Channels of the maps."""
    width_mult: float = 1.0
    """Factor of the backbone's channels; ImageNet weights fit 1.0 only."""
    boundaries: bool = False
    """Predict a map of each contour too, and pass it to the next stack."""

    @override
    def build(self, scheme: Scheme) -> "StackedHourglass":
        return StackedHourglass(scheme, self)


class StackedHourglass(BackboneNetwork):
    """Stacks that predict a heatmap per landmark, and with `boundaries` a map per contour, as inputs of the next stack.

    A landmark is the mean position of its heatmap, so the loss of a stack's shape is that of a step's shape.

    Args:
        scheme: The landmark scheme.
        config: The sizes.

    Raises:
        ValueError: The config asks for boundaries and the scheme has no contours.
    """

    def __init__(self, scheme: Scheme, config: HourglassConfig) -> None:
        super().__init__(scheme)
        if config.boundaries and not scheme.contours:
            raise ValueError(f"scheme {scheme.name!r} has no contours for boundary maps; add them or use hourglass")
        channels, stacks = config.channels, config.stacks
        self.points, self.boundaries = scheme.points, config.boundaries
        maps = scheme.points + len(scheme.contours) * config.boundaries
        self.backbone = PyramidBackbone(channels, config.width_mult)
        self.hourglasses = nn.ModuleList(_Hourglass(channels, config.depth) for _ in range(stacks))
        self.heatmap_heads = nn.ModuleList(ScaledConv(channels, maps, 1) for _ in range(stacks))
        self.feedback = nn.ModuleList(ScaledConv(maps, channels, 1, gain=0.1) for _ in range(stacks - 1))
        self.projections = nn.ModuleList(NormedConv(channels, channels, 1) for _ in range(stacks))
        self.aux_head = ScaledConv(channels, 2 * scheme.points, 1, gain=0.1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Predict landmarks, visibility and uncertainty, and with `boundaries` the contours' maps.

        Args:
            images: RGB in [0, 1]; H and W are multiples of 16.

        Returns:
            The prediction of all T stacks.
        """
        features, _ = self.backbone(images)  # (B, C, H, W)
        shapes, boundaries = [], []
        stacks = zip(self.hourglasses, self.projections, self.heatmap_heads, strict=True)
        for stack, (hourglass, projection, head) in enumerate(stacks):
            projected = projection(hourglass(features))
            maps = head(projected)
            heat = maps[:, : self.points].flatten(2).softmax(dim=-1).unflatten(2, maps.shape[2:])  # (B, L, H, W)
            shapes.append(_mean_position(heat))
            boundaries.append(maps[:, self.points :])
            if stack < len(self.feedback):
                features = features + projected + self.feedback[stack](maps)
        aux = self.aux_head(projected).unflatten(1, (2, self.points))  # (B, 2, L, H, W)
        visibility_logit, log_scale = (aux * heat[:, None]).sum(dim=(-2, -1)).unbind(dim=1)  # where the heatmap lies
        boundary_logits = torch.stack(boundaries, dim=1) if self.boundaries else None
        return Prediction(torch.stack(shapes, dim=1), visibility_logit, log_scale + INITIAL_LOG_SCALE, boundary_logits)


class _Hourglass(nn.Module):
    """Halve the map `depth` times and enlarge it again, with a skip connection at every size."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.skip = _Residual(channels)
        self.inner = nn.Sequential(_Residual(channels), _Hourglass(channels, depth - 1)) if depth else None

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        skip: Tensor = self.skip(x)
        if self.inner is None:
            return skip
        # To the size before pooling, which may be odd.
        return skip + F.interpolate(self.inner(F.max_pool2d(x, 2)), size=x.shape[-2:], mode="nearest")


class _Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = NormedConv(channels, channels, 3)
        self.conv2 = NormedConv(channels, channels, 3, activation="none")
        assert isinstance(self.conv2.norm, nn.BatchNorm2d)
        nn.init.constant_(self.conv2.norm.weight, 0.3)  # starts near the identity

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        added: Tensor = self.conv2(self.conv1(x))
        return x + added


def _mean_position(heat: Float[Tensor, "B L H W"]) -> Float[Tensor, "B L 2"]:
    """Return the mean of the pixels' unit coordinates, weighted by maps that sum to one (soft-argmax)."""
    # Sums and not matrix products: autocast would round the coordinates to bfloat16.
    marginals = heat.sum(dim=2), heat.sum(dim=3)  # of the columns, of the rows
    return torch.stack([(one * _pixel_centres(one.shape[-1], heat)).sum(dim=-1) for one in marginals], dim=-1)


def _pixel_centres(count: int, like: Tensor) -> Float[Tensor, "N"]:
    """Return the unit coordinates of the centres of a row of pixels."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) * 2 + 1) / count - 1
