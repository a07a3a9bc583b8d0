"""A cascaded regressor without any hierarchy, after MDM (Trigeorgis et al. 2016): the control for GlomFace.

B faces, L landmarks, D features of a token, W of the memory, T steps. Backbone, patches and memory are those of
`GlomFaceLight`.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from unveil.models.backbones import PyramidBackbone, memory_init
from unveil.models.heads import INITIAL_LOG_SCALE, OFFSET_SCALE_UNIT
from unveil.models.network import LandmarkNetwork, NetworkConfig, ParamGroup, Prediction, group_parameters
from unveil.models.patches import FeaturePatches
from unveil.models.whole_part import GRUMemory
from unveil.schemes.scheme import Scheme


class PlainConfig(NetworkConfig):
    """Sizes of the regressor without a hierarchy."""

    network: Literal["plain"] = "plain"
    input_size: int = 160
    dim: int = 128
    """Features of a landmark's token."""
    memory_dim: int = 256
    """Features of the memory of the whole face."""
    patch_spacings_unit: tuple[float, ...] = (0.10, 0.07, 0.045)
    """Spacing of the sampling grid in each step; their number is the number of steps."""
    channels: int = 64
    """Channels of the feature map."""
    width_mult: float = 1.0
    """Factor of the backbone's channels; ImageNet weights fit 1.0 only."""

    @override
    def build(self, scheme: Scheme) -> "PlainRegressor":
        return PlainRegressor(scheme, self)


class PlainRegressor(LandmarkNetwork):
    """One recurrent memory of all landmarks' tokens, and one linear layer from it to all offsets.

    Args:
        scheme: The landmark scheme.
        config: The sizes.
    """

    def __init__(self, scheme: Scheme, config: PlainConfig) -> None:
        super().__init__(scheme)
        self.steps = len(config.patch_spacings_unit)
        self.backbone = PyramidBackbone(config.channels, config.width_mult)
        self.memory_init = memory_init(config.channels, config.memory_dim)
        self.patches = FeaturePatches(scheme.points, config.channels, config.dim, config.patch_spacings_unit)
        self.memory = GRUMemory(scheme.points, config.dim, 16, config.memory_dim)
        self.head = nn.Linear(config.memory_dim, scheme.points * 4)
        nn.init.zeros_(self.head.weight)  # the first prediction is the mean shape
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Predict landmarks, visibility and uncertainty.

        Args:
            images: RGB in [0, 1]; H and W are multiples of 16.

        Returns:
            The prediction of all T steps.
        """
        features, coarse = self.backbone(images)  # (B, C, H/4, W/4), (B, C, H/16, W/16)
        memory = self.memory_init(coarse)  # (B, W)
        points = self.mean_shape.expand(images.shape[0], -1, -1)  # (B, L, 2)
        shapes = []
        for step in range(self.steps):
            patches = self.patches(features, points.detach(), step)  # (B, L, D)
            memory = self.memory(patches, memory)  # (B, W)
            outputs = self.head(memory).reshape(-1, points.shape[1], 4)  # (B, L, 4)
            points = points.detach() + OFFSET_SCALE_UNIT * outputs[..., :2]
            shapes.append(points)
        return Prediction(torch.stack(shapes, dim=1), outputs[..., 2], outputs[..., 3] + INITIAL_LOG_SCALE)

    @override
    def load_imagenet(self) -> None:
        self.backbone.trunk.load_imagenet()

    @override
    def param_groups(self, *, backbone_lr_scale: float = 1.0, memory_lr_scale: float = 1.0) -> list[ParamGroup]:
        wide = [(module, memory_lr_scale) for module in (self.memory_init, self.memory)]
        return group_parameters(self, [(self.backbone.trunk, backbone_lr_scale), *wide])
