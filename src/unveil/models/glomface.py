"""GlomFace: a shape is refined in T steps that gather evidence upward and reason downward (Zhu et al. 2022, figure 3).

B faces, L landmarks, D features of a landmark, W of the whole, T steps. Coordinates are unit coordinates of the crop.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unveil.face.schemes import Scheme
from unveil.models.features import LiteFeatures
from unveil.models.layers import mlp
from unveil.models.part_whole import PartWhole, attention_mixers
from unveil.models.patches import FeaturePatches
from unveil.models.whole_part import Disentangle, Recall


class Prediction(NamedTuple):
    """What a landmark model says. Visibility is a logit; the spread is ln of the expected error in unit coordinates."""

    shapes_unit: Float[Tensor, "B T L 2"]
    visibility: Float[Tensor, "B L"]
    log_spread: Float[Tensor, "B L"]

    @property
    def points_unit(self) -> Float[Tensor, "B L 2"]:
        return self.shapes_unit[:, -1]


class LandmarkHead(nn.Module):
    """Offset, visibility and spread of each landmark from its own evidence and from its smallest part's reasoning."""

    def __init__(self, owners: Int[Tensor, "L"], dim: int, part: int) -> None:
        super().__init__()
        self.register_buffer("owners", owners, persistent=False)
        self.decide = mlp(dim + part, dim, 4)
        last = self.decide[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # the first guess is the mean shape
        nn.init.zeros_(last.bias)

    def forward(
        self, tokens: Float[Tensor, "B L D"], parts: Float[Tensor, "P B Q"]
    ) -> tuple[Float[Tensor, "B L 2"], Float[Tensor, "B L"], Float[Tensor, "B L"]]:
        context = parts.transpose(0, 1)[:, self.get_buffer("owners")]
        decided = self.decide(torch.cat([tokens, context], dim=-1).flatten(0, 1)).reshape(*tokens.shape[:2], 4)
        return 0.1 * decided[..., :2], decided[..., 2], decided[..., 3] - 4.0


class GlomFaceLight(nn.Module):
    """The hierarchy over one shared feature map: the paper's future work, a face in under a GFLOP.

    `part_widths` are the features of a part, from the level below the whole down; a scheme with fewer levels takes the
    last of them, one with only the whole none.
    """

    def __init__(
        self,
        scheme: Scheme,
        mean_shape: Float[Tensor, "L 2"],
        *,
        dim: int = 128,
        whole: int = 256,
        part_widths: tuple[int, ...] = (128, 96, 64),
        spacings_unit: tuple[float, ...] = (0.10, 0.07, 0.045),
        channels: int = 64,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        hierarchy, landmarks = scheme.hierarchy, scheme.points
        below = len(hierarchy.levels) - 1
        if below > len(part_widths):
            has = f"scheme {scheme.name!r} has {below} levels below its whole"
            raise ValueError(f"part_widths has {len(part_widths)} widths, but {has}; give one for each")
        part_widths = part_widths[len(part_widths) - below :]
        self.register_buffer("mean_shape", mean_shape)
        # Gain and offset of the visibility's logit, gain of the spread: measured on held-out faces after training.
        self.register_buffer("calibration", torch.tensor([1.0, 0.0, 1.0]))
        self.steps = len(spacings_unit)
        self.features = LiteFeatures(channels, width)
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * channels, whole), nn.Tanh())
        self.patches = FeaturePatches(landmarks, channels, dim, spacings_unit)
        self.part_whole = PartWhole(attention_mixers(hierarchy, dim))
        self.recall = Recall(landmarks, dim, 16, whole)
        self.disentangle = Disentangle(hierarchy, whole, part_widths)
        smallest = enumerate(hierarchy.levels[0].parts)
        owners = torch.tensor([i for _, i in sorted((point, i) for i, part in smallest for point in part.points)])
        self.head = LandmarkHead(owners, dim, part_widths[-1] if part_widths else whole)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Prediction:
        """RGB in [0, 1], channels first."""
        features, coarse = self.features(images)
        memory = self.context(coarse)
        points = self.get_buffer("mean_shape").expand(images.shape[0], -1, -1)
        shapes = []
        for step in range(self.steps):
            patches = self.patches(features, points.detach(), step)
            mixed = self.part_whole(patches)
            memory = self.recall(mixed, memory)
            offsets, visibility, log_spread = self.head(mixed, self.disentangle(memory))
            points = points.detach() + offsets
            shapes.append(points)
        return Prediction(torch.stack(shapes, dim=1), visibility, log_spread)
