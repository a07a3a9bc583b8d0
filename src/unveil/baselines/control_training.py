"""Training the control networks: the plain regressor as GlomFace is trained, the hourglass with boundary maps too.

B faces, T stacks, L landmarks, K contours, S segments of one contour, H and W pixels of a map.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from unveil.baselines.hourglass import HourglassConfig
from unveil.baselines.plain import PlainConfig
from unveil.models.network import Prediction
from unveil.schemes.scheme import Contour
from unveil.training.config import LandmarkTrainConfig, Weight
from unveil.training.landmarks import LandmarkTask
from unveil.training.task import Batch, Losses

LARGE_HOURGLASS = HourglassConfig(stacks=4, depth=4, channels=96)  # 6.8 M parameters, 4.1 GFLOPs for 68 points
LINE_SIGMA_PX = 1.0  # standard deviation across a drawn contour, in pixels of the map


class PlainTrainConfig(LandmarkTrainConfig):
    """One run that trains the regressor without a hierarchy."""

    model: PlainConfig = PlainConfig()  # type: ignore[assignment]


class HourglassTrainConfig(LandmarkTrainConfig):
    """One run that trains the stacked hourglass."""

    model: HourglassConfig = HourglassConfig()  # type: ignore[assignment]
    boundary_weight: Weight = 10.0
    """Weight of the boundary maps, for a network that predicts them."""


class HourglassTask(LandmarkTask):
    """Train the stacked hourglass; the arguments and errors are those of `LandmarkTask`."""

    @override
    def prediction_losses(self, prediction: Prediction, batch: Batch) -> Losses:
        losses = super().prediction_losses(prediction, batch)
        if prediction.boundary_logits is None:
            return losses
        assert isinstance(self.config, HourglassTrainConfig)
        boundary = _boundary_loss(prediction.boundary_logits, batch["points_unit"], self.faces.scheme.contours)
        return {**losses, "loss": losses["loss"] + self.config.boundary_weight * boundary, "boundary": boundary}


def boundary_maps(
    points_unit: Float[Tensor, "B L 2"], contours: Sequence[Contour], height: int, width: int
) -> Float[Tensor, "B K H W"]:
    """Return a map of each contour: 1 on its straight segments, with a Gaussian profile across them.

    Args:
        points_unit: Landmarks in unit coordinates.
        contours: The contours of the scheme.
        height: Height of the maps, pixels.
        width: Width of the maps, pixels.

    Source: Wu et al. 2018.
    """
    size = points_unit.new_tensor([width, height])
    points_px = (points_unit + 1) / 2 * size - 0.5
    y, x = torch.meshgrid(
        *(torch.arange(n, device=size.device, dtype=size.dtype) for n in (height, width)), indexing="ij"
    )
    pixels = torch.stack([x.flatten(), y.flatten()], dim=-1)  # (H W, 2)
    maps = []
    for contour in contours:
        ends = [*contour.points[1:], *contour.points[:1]]
        segments = len(contour.points) - (not contour.closed)
        start = points_px[:, list(contour.points[:segments]), None]  # (B, S, 1, 2)
        along = points_px[:, ends[:segments], None] - start
        share = ((pixels - start) * along).sum(dim=-1) / along.square().sum(dim=-1).clamp_min(1e-9)
        nearest = start + share.clamp(0, 1)[..., None] * along  # (B, S, H W, 2)
        maps.append((pixels - nearest).square().sum(dim=-1).amin(dim=1))
    squared = torch.stack(maps, dim=1).reshape(-1, len(contours), height, width)
    return torch.exp(-squared / (2 * LINE_SIGMA_PX**2))


def _boundary_loss(
    logits: Float[Tensor, "B T K H W"], points_unit: Float[Tensor, "B L 2"], contours: Sequence[Contour]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of every stack's maps with the drawn ones as ground truth."""
    target = boundary_maps(points_unit, contours, *logits.shape[-2:])
    return F.binary_cross_entropy_with_logits(logits, target[:, None].expand_as(logits).to(logits.dtype))


CONTROL_PRESETS: Mapping[str, LandmarkTrainConfig] = MappingProxyType(
    {
        "plain": PlainTrainConfig(),
        "hourglass": HourglassTrainConfig(),
        "hourglass-boundaries": HourglassTrainConfig(model=HourglassConfig(boundaries=True)),
        "hourglass-large": HourglassTrainConfig(model=LARGE_HOURGLASS),
        "hourglass-large-boundaries": HourglassTrainConfig(
            model=LARGE_HOURGLASS.model_copy(update={"boundaries": True})
        ),
    }
)
"""The controls, trained as `glomface-light` is, so that the network alone differs."""
