"""A cascaded regressor without any hierarchy, after MDM (Trigeorgis et al. 2016): the control for GlomFace.

B faces, L landmarks, D features of a token, W of the memory, T steps. Backbone, patches and memory are those of
`GlomFaceLight`.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from unveil.models.glomface import SharedMapConfig, SharedMapNetwork
from unveil.models.heads import INITIAL_LOG_SCALE, OFFSET_SCALE_UNIT
from unveil.models.layers import zeroed
from unveil.models.network import Prediction
from unveil.models.whole_part import GRUMemory
from unveil.schemes.scheme import Scheme


class PlainConfig(SharedMapConfig):
    """Sizes of the regressor without a hierarchy."""

    network: Literal["plain"] = "plain"

    @override
    def build(self, scheme: Scheme) -> "PlainRegressor":
        return PlainRegressor(scheme, self)


class PlainRegressor(SharedMapNetwork):
    """One recurrent memory of all landmarks' tokens, and one linear layer from it to all offsets.

    Args:
        scheme: The landmark scheme.
        config: The sizes.
    """

    def __init__(self, scheme: Scheme, config: PlainConfig) -> None:
        super().__init__(scheme, config)
        self.steps = len(config.patch_spacings_unit)
        self.memory = GRUMemory(scheme.points, config.dim, 16, config.memory_dim)
        self.head = zeroed(nn.Linear(config.memory_dim, scheme.points * 4))  # the first prediction is the mean shape

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Predict landmarks, visibility and uncertainty.

        Args:
            images: RGB in [0, 1]; H and W are multiples of 16.

        Returns:
            The prediction of all T steps.
        """
        features, memory, points = self.start(images)  # (B, C, H/4, W/4), (B, W), (B, L, 2)
        shapes = []
        for step in range(self.steps):
            patches = self.patches(features, points.detach(), step)  # (B, L, D)
            memory = self.memory(patches, memory)  # (B, W)
            outputs = self.head(memory).reshape(-1, points.shape[1], 4)  # (B, L, 4)
            points = points.detach() + OFFSET_SCALE_UNIT * outputs[..., :2]
            shapes.append(points)
        return Prediction(torch.stack(shapes, dim=1), outputs[..., 2], outputs[..., 3] + INITIAL_LOG_SCALE)
