"""GlomFace: a shape is refined in T steps that gather evidence upward and reason downward (Zhu et al. 2022, figure 3).

B faces, L landmarks, D features of a landmark, W of the whole, T steps. Coordinates are unit coordinates of the crop.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unveil.models.backbones import LiteFeatures, context
from unveil.models.heads import FIRST_SPREAD, LandmarkHead, LocalShapes
from unveil.models.part_whole import PartWhole, attention_mixers, non_local_mixers
from unveil.models.patches import FeaturePatches, PicturePatches
from unveil.models.whole_part import Disentangle, Memory, Recall
from unveil.schemes.hierarchy import Hierarchy
from unveil.schemes.scheme import Scheme


class Prediction(NamedTuple):
    """What a landmark model says. Visibility is a logit; the spread is ln of the expected error in unit coordinates."""

    shapes_unit: Float[Tensor, "B T L 2"]
    visibility: Float[Tensor, "B L"]
    log_spread: Float[Tensor, "B L"]
    boundaries: Float[Tensor, "B T K H W"] | None = None
    """Logits of the maps of the K contours, of a network that draws them."""

    @property
    def points_unit(self) -> Float[Tensor, "B L 2"]:
        return self.shapes_unit[:, -1]


class GlomFace(nn.Module):
    """The network of the paper: picture patches, non-local blocks within parts, and a tree below a recurrent memory.

    `part_widths` are the features of a part, from the level below the whole down, `hidden_widths` those inside the MLPs
    that make them; `coordinates` is the paper's GlomFace*. Visibility and spread, which the paper lacks, are read by
    one linear layer from each landmark's mixed features.
    """

    def __init__(
        self,
        scheme: Scheme,
        mean_shape: Float[Tensor, "L 2"],
        *,
        iterations: int = 4,
        patch: int = 40,
        spacing_unit: float = 2 / 224,
        patch_widths: Sequence[int] = (32, 64, 128),
        whole: int = 1024,
        hidden_widths: Sequence[int] = (1024, 512, 128),
        part_widths: Sequence[int] = (1024, 256, 64),
        coordinates: bool = False,
        frozen_norm: bool = False,
    ) -> None:
        super().__init__()
        hierarchy = scheme.hierarchy
        widths = widths_below(scheme, hierarchy, part_widths, "part_widths")
        hidden = widths_below(scheme, hierarchy, hidden_widths, "hidden_widths")
        self.register_buffer("mean_shape", mean_shape)
        self.register_buffer("calibration", torch.tensor([1.0, 0.0, 1.0]))  # as of the light variant
        self.iterations, self.whole = iterations, whole
        self.patches = PicturePatches(
            patch_widths, count=patch, spacing_unit=spacing_unit, coordinates=coordinates, frozen_norm=frozen_norm
        )
        dim = self.patches.places * self.patches.channels
        self.part_whole = PartWhole(non_local_mixers(hierarchy, self.patches.places, self.patches.channels))
        self.memory = Memory(scheme.points * dim, whole)
        self.disentangle = Disentangle(hierarchy, whole, widths, hidden=hidden, evidence=scheme.points * dim)
        self.shapes = LocalShapes(hierarchy, self.disentangle.smallest, self.disentangle.above_smallest)
        self.tell = nn.Linear(dim, 2)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Prediction:
        """RGB in [0, 1], channels first."""
        memory = images.new_zeros(images.shape[0], self.whole)
        points = self.get_buffer("mean_shape").expand(images.shape[0], -1, -1)
        shapes = []
        for _ in range(self.iterations):
            patches = self.patches(images, points.detach())
            mixed = self.part_whole(patches)
            memory = self.memory(mixed, memory)
            parts, above = self.disentangle(memory, mixed.flatten(1))
            points = points.detach() + self.shapes(parts, above)
            shapes.append(points)
        visibility, log_spread = self.tell(mixed).unbind(dim=-1)
        return Prediction(torch.stack(shapes, dim=1), visibility, log_spread + FIRST_SPREAD)


class GlomFaceLight(nn.Module):
    """The hierarchy over one shared feature map: the paper's future work, a face in under a GFLOP.

    `part_widths` are the features of a part, from the level below the whole down; a scheme with fewer levels takes the
    last of them, one with only the whole none. The rest switches parts off, to measure what they are worth: `levels`
    counts the levels that are kept, from the whole down, with the landmarks as the last; without `phm` landmarks do not
    exchange evidence; without `whm` they hear the whole and no parts; without `memory` a step knows of no other.
    """

    def __init__(
        self,
        scheme: Scheme,
        mean_shape: Float[Tensor, "L 2"],
        *,
        dim: int = 128,
        whole: int = 256,
        part_widths: Sequence[int] = (128, 96, 64),
        spacings_unit: Sequence[float] = (0.10, 0.07, 0.045),
        channels: int = 64,
        width: float = 1.0,
        levels: int | None = None,
        phm: bool = True,
        whm: bool = True,
        memory: bool = True,
    ) -> None:
        super().__init__()
        landmarks = scheme.points
        hierarchy = scheme.hierarchy if levels is None else Hierarchy(scheme.hierarchy.levels[1 - levels :])
        parsed = hierarchy if whm else Hierarchy(hierarchy.levels[-1:])
        widths = widths_below(scheme, parsed, part_widths, "part_widths")
        self.register_buffer("mean_shape", mean_shape)
        # Gain and offset of the visibility's logit, gain of the spread: measured on held-out faces after training.
        self.register_buffer("calibration", torch.tensor([1.0, 0.0, 1.0]))
        self.steps, self.remembers = len(spacings_unit), memory
        self.features = LiteFeatures(channels, width)
        self.context = context(channels, whole)
        self.patches = FeaturePatches(landmarks, channels, dim, spacings_unit)
        self.part_whole = PartWhole(attention_mixers(hierarchy, dim)) if phm else nn.Identity()
        self.recall = Recall(landmarks, dim, 16, whole)
        self.disentangle = Disentangle(parsed, whole, widths)
        self.head = LandmarkHead(parsed, dim, self.disentangle.smallest)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Prediction:
        """RGB in [0, 1], channels first."""
        features, coarse = self.features(images)
        memory = self.context(coarse)
        points = self.get_buffer("mean_shape").expand(images.shape[0], -1, -1)
        shapes = []
        for step in range(self.steps):
            patches = self.patches(features, points.detach(), step)
            mixed = self.part_whole(patches)
            whole = self.recall(mixed, memory)
            memory = whole if self.remembers else memory
            parts, _ = self.disentangle(whole)
            offsets, visibility, log_spread = self.head(mixed, parts)
            points = points.detach() + offsets
            shapes.append(points)
        return Prediction(torch.stack(shapes, dim=1), visibility, log_spread)


def widths_below(scheme: Scheme, hierarchy: Hierarchy, widths: Sequence[int], name: str) -> Sequence[int]:
    """The last of the widths, one for each level below the whole; ValueError if there are too few."""
    below = len(hierarchy.levels) - 1
    if below > len(widths):
        has = f"scheme {scheme.name!r} has {below} levels below its whole"
        raise ValueError(f"{name} has {len(widths)} widths, but {has}; give one for each")
    return tuple(widths[len(widths) - below :])
