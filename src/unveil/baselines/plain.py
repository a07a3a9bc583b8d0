"""A cascaded regressor without any hierarchy, after MDM (Trigeorgis et al. 2016): what GlomFace is measured against.

B faces, L landmarks, D features of a landmark, W of the memory, T steps. CNN, samples and memory are those of
`GlomFaceLight`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.models.backbones import LiteFeatures, context
from unveil.models.glomface import Prediction
from unveil.models.heads import FIRST_SPREAD, REACH_UNIT
from unveil.models.patches import FeaturePatches
from unveil.models.whole_part import Recall
from unveil.schemes.scheme import Scheme


class PlainRegressor(nn.Module):
    """All landmarks' notes in one row into a recurrent memory, and out of it all offsets."""

    def __init__(
        self,
        scheme: Scheme,
        mean_shape: Float[Tensor, "L 2"],
        *,
        dim: int = 128,
        whole: int = 256,
        spacings_unit: Sequence[float] = (0.10, 0.07, 0.045),
        channels: int = 64,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_buffer("mean_shape", mean_shape)
        self.register_buffer("calibration", torch.tensor([1.0, 0.0, 1.0]))  # as of GlomFaceLight
        self.steps = len(spacings_unit)
        self.features = LiteFeatures(channels, width)
        self.context = context(channels, whole)
        self.patches = FeaturePatches(scheme.points, channels, dim, spacings_unit)
        self.recall = Recall(scheme.points, dim, 16, whole)
        self.decide = nn.Linear(whole, scheme.points * 4)
        nn.init.zeros_(self.decide.weight)  # the first guess is the mean shape
        nn.init.zeros_(self.decide.bias)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Prediction:
        """RGB in [0, 1], channels first."""
        features, coarse = self.features(images)
        memory = self.context(coarse)
        points = self.get_buffer("mean_shape").expand(images.shape[0], -1, -1)
        shapes = []
        for step in range(self.steps):
            patches = self.patches(features, points.detach(), step)
            memory = self.recall(patches, memory)
            decided = self.decide(memory).reshape(-1, points.shape[1], 4)
            points = points.detach() + REACH_UNIT * decided[..., :2]
            shapes.append(points)
        return Prediction(torch.stack(shapes, dim=1), decided[..., 2], decided[..., 3] + FIRST_SPREAD)
