"""GlomFace: T steps refine a shape; each combines evidence from part to whole and reasons from whole to part.

Source: Zhu et al. 2022, figure 3. B faces, L landmarks, D features of a landmark, W of the memory, T steps. Coordinates
are unit coordinates of the crop.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from unveil.models.backbones import BackboneNetwork, PyramidBackbone, memory_init
from unveil.models.heads import INITIAL_LOG_SCALE, LandmarkHead, LocalShapeHead, VisibilityHead
from unveil.models.network import LandmarkNetwork, NetworkConfig, ParamGroup, Prediction, group_parameters
from unveil.models.part_whole import PartWholeEncoder, attention_mixers, non_local_mixers, second_pass
from unveil.models.patches import FeaturePatches, ImagePatches
from unveil.models.whole_part import GRUMemory, RNNMemory, WholePartDecoder
from unveil.schemes.hierarchy import Hierarchy
from unveil.schemes.scheme import Scheme


class GlomFaceConfig(NetworkConfig):
    """Sizes of the paper's GlomFace."""

    network: Literal["glomface"] = "glomface"
    input_size: int = 224
    iterations: Annotated[int, Field(ge=1)] = 4
    """Refinement steps, T in the paper."""
    patch_size: int = 40
    """Samples along a side of a patch."""
    patch_spacing_unit: float = 2 / 224
    """Distance between two samples: one pixel of a 224 px face."""
    patch_channels: tuple[int, int, int] = (32, 64, 128)
    """Channels of the three convolutions of the patch CNN."""
    patch_non_local: bool = False
    """Give each patch a non-local block of its own below the hierarchy (ours; not in section 3.2)."""
    memory_dim: int = 1024
    """Features of the memory of the whole face."""
    mlp_dims: tuple[int, ...] = (1024, 512, 128)
    """Hidden features of the decoder's MLPs, from the level below the whole down."""
    part_dims: tuple[int, ...] = (1024, 256, 64)
    """Features of a part, from the level below the whole down."""
    coord_conv: bool = False
    """CoordConv layers in the patch CNN, as in GlomFace*."""
    frozen_norm: bool = False
    """Batch norm keeps its initial statistics."""
    aux_heads: bool = True
    """Predict visibility and uncertainty too (ours)."""
    detach_steps: bool = False
    """Stop the gradient between steps; equation 3 lets it flow through L_t = L_{t-1} + Δl_t."""

    @override
    def build(self, scheme: Scheme) -> "GlomFace":
        return GlomFace(scheme, self)


class GlomFace(LandmarkNetwork):
    """The paper's network: image patches, non-local blocks within parts, and a tree decoded from a recurrent memory.

    With `aux_heads` one linear layer predicts visibility and uncertainty from each landmark's mixed features; the paper
    has neither.

    Args:
        scheme: The landmark scheme.
        config: The sizes.

    Raises:
        ValueError: The scheme has more levels below the whole than the config has dims for.

    Example:
        >>> network = GlomFaceConfig(iterations=1).build(IBUG68)
        >>> network(torch.rand(1, 3, 224, 224)).points_unit.shape
        torch.Size([1, 68, 2])
    """

    def __init__(self, scheme: Scheme, config: GlomFaceConfig) -> None:
        super().__init__(scheme)
        hierarchy = scheme.hierarchy
        self.outputs = 3 if config.aux_heads else 1
        part_dims = _dims_below_whole(scheme, hierarchy, config.part_dims, "part_dims")
        mlp_dims = _dims_below_whole(scheme, hierarchy, config.mlp_dims, "mlp_dims")
        self.config = config
        self.patches = ImagePatches(
            config.patch_channels,
            size=config.patch_size,
            spacing_unit=config.patch_spacing_unit,
            coord_conv=config.coord_conv,
            frozen_norm=config.frozen_norm,
        )
        dim = self.patches.places * self.patches.channels
        self.encoder = PartWholeEncoder(
            non_local_mixers(hierarchy, self.patches.places, self.patches.channels, patch_level=config.patch_non_local)
        )
        self.memory = RNNMemory(scheme.points * dim, config.memory_dim)
        self.decoder = WholePartDecoder(
            hierarchy, config.memory_dim, part_dims, mlp_dims=mlp_dims, evidence_dim=scheme.points * dim
        )
        self.shape_head = LocalShapeHead(hierarchy, self.decoder.smallest_dim, self.decoder.parent_dim)
        self.aux_head = nn.Linear(dim, 2) if config.aux_heads else None

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Predict landmarks, and with `aux_heads` visibility and uncertainty.

        Args:
            images: RGB in [0, 1].

        Returns:
            The prediction of all T steps.
        """
        memory = images.new_zeros(images.shape[0], self.config.memory_dim)  # (B, W)
        points = self.mean_shape.expand(images.shape[0], -1, -1)  # (B, L, 2)
        shapes = []
        for _ in range(self.config.iterations):
            patches = self.patches(images, points.detach())  # (B, L, D)
            mixed = self.encoder(patches)  # (B, L, D)
            memory = self.memory(mixed, memory)  # (B, W)
            parts, parents = self.decoder(memory, mixed.flatten(1))  # (P, B, Q), (O, B, R)
            points = _next_shape(points, self.shape_head(parts, parents), detach=self.config.detach_steps)
            shapes.append(points)
        if self.aux_head is None:
            return Prediction(torch.stack(shapes, dim=1))
        visibility_logit, log_scale = self.aux_head(mixed).unbind(dim=-1)  # (B, L) each
        return Prediction(torch.stack(shapes, dim=1), visibility_logit, log_scale + INITIAL_LOG_SCALE)

    @override
    def param_groups(self, *, backbone_lr_scale: float = 1.0, memory_lr_scale: float = 1.0) -> list[ParamGroup]:
        # No backbone: the patch CNN starts from random weights.
        wide = [self.memory, *(level.get_submodule("fc1") for level in self.decoder.levels[:1])]
        return group_parameters(self, [(module, memory_lr_scale) for module in wide])


class SharedMapConfig(NetworkConfig):
    """Sizes of a `SharedMapNetwork`."""

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


class SharedMapNetwork(BackboneNetwork):
    """Base of networks whose steps read one feature map and update a memory of the whole face.

    Args:
        scheme: The landmark scheme.
        config: The sizes.
        refined: Hidden channels of a refined pyramid; None for the plain pyramid.
    """

    memory_modules = ("memory_init", "memory")
    memory: GRUMemory

    def __init__(self, scheme: Scheme, config: SharedMapConfig, refined: int | None = None) -> None:
        super().__init__(scheme)
        self.backbone = PyramidBackbone(config.channels, config.width_mult, refined)
        self.memory_init = memory_init(config.channels, config.memory_dim)
        self.patches = FeaturePatches(scheme.points, config.channels, config.dim, config.patch_spacings_unit)

    def start(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B C H4 W4"], Float[Tensor, "B M"], Float[Tensor, "B L 2"]]:
        """Return the feature map, and the memory and the shape before the first step.

        Args:
            images: RGB in [0, 1]; H and W are multiples of 16.
        """
        features, coarse = self.backbone(images)  # (B, C, H/4, W/4), (B, C, H/16, W/16)
        return features, self.memory_init(coarse), self.mean_shape.expand(images.shape[0], -1, -1)


class GlomFaceLightConfig(SharedMapConfig):
    """Sizes of the light GlomFace, and switches that remove parts of it for ablations."""

    network: Literal["glomface-light"] = "glomface-light"
    part_dims: tuple[int, ...] = (128, 96, 64)
    """Features of a part, from the level below the whole down; a scheme with fewer levels uses the last of them."""
    levels: Annotated[int, Field(ge=2)] | None = None
    """Use this many levels of the hierarchy, from the whole down, with the landmarks as the last."""
    phm: bool = True
    """Landmarks exchange features within parts (the part-to-whole half)."""
    whm: bool = True
    """The memory is decoded into parts (the whole-to-part half); else the head reads the memory itself."""
    memory: bool = True
    """A step reads the memory of the step before."""
    token_head: bool = True
    """The head reads each landmark's own token too; without it all offsets come from the whole-to-part half."""
    detach_steps: bool = True
    """Stop the gradient between steps."""
    visibility_dim: Annotated[int, Field(ge=1)] | None = None
    """Hidden features of a visibility head that reads a wide neighbourhood of each landmark; None leaves it out, and
    the visibility comes from the landmark's own token."""
    refined: Annotated[int, Field(ge=2)] | None = None
    """Hidden channels of the residual blocks of a refined pyramid; None for the plain pyramid."""
    passes: Literal[1, 2] = 1
    """Passes of the part-to-whole half, from the smallest parts to the whole."""
    ellipse: bool = False
    """Predict an ellipse of uncertainty for each landmark, for `--shape-loss ellipse`."""

    @override
    def build(self, scheme: Scheme) -> "GlomFaceLight":
        return GlomFaceLight(scheme, self)


class GlomFaceLight(SharedMapNetwork):
    """The hierarchy over one shared feature map: the paper's future work, a face in under a GFLOP.

    Args:
        scheme: The landmark scheme.
        config: The sizes and switches.

    Raises:
        ValueError: The scheme has more levels below the whole than the config has dims for.

    Example:
        >>> network = GlomFaceLightConfig().build(IBUG68)
        >>> network(torch.rand(1, 3, 160, 160)).visibility_logit.shape
        torch.Size([1, 68])
    """

    def __init__(self, scheme: Scheme, config: GlomFaceLightConfig) -> None:
        super().__init__(scheme, config, config.refined)
        levels = config.levels
        hierarchy = scheme.hierarchy if levels is None else Hierarchy(scheme.hierarchy.levels[1 - levels :])
        decoded = hierarchy if config.whm else Hierarchy(hierarchy.levels[-1:])
        part_dims = _dims_below_whole(scheme, decoded, config.part_dims, "part_dims")
        self.config = config
        self.encoder = PartWholeEncoder(attention_mixers(hierarchy, config.dim)) if config.phm else nn.Identity()
        self.second_pass = second_pass(hierarchy, config.dim) if config.passes == 2 else nn.Identity()
        self.memory = GRUMemory(scheme.points, config.dim, 16, config.memory_dim)
        self.decoder = WholePartDecoder(decoded, config.memory_dim, part_dims)
        smallest, hidden = self.decoder.smallest_dim, config.visibility_dim
        self.head = LandmarkHead(decoded, config.dim, smallest, read_tokens=config.token_head, ellipse=config.ellipse)
        self.visibility_head = (
            None if hidden is None else VisibilityHead(decoded, config.dim, smallest, config.channels, hidden)
        )

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Prediction:
        """Predict landmarks, visibility and uncertainty.

        Args:
            images: RGB in [0, 1]; H and W are multiples of 16.

        Returns:
            The prediction of all T steps.
        """
        features, memory, points = self.start(images)  # (B, C, H/4, W/4), (B, W), (B, L, 2)
        shapes, ellipses = [], []
        for step in range(len(self.config.patch_spacings_unit)):
            patches = self.patches(features, points.detach(), step)  # (B, L, D)
            mixed = self.second_pass(self.encoder(patches))  # (B, L, D)
            whole = self.memory(mixed, memory)  # (B, W)
            memory = whole if self.config.memory else memory
            parts, _ = self.decoder(whole)  # (P, B, Q)
            offsets, visibility_logit, log_scale = self.head(mixed, parts)  # (B, L, 2), (B, L), (B, L)
            points = _next_shape(points, offsets, detach=self.config.detach_steps)
            shapes.append(points)
            ellipses.append(self.head.ellipses(mixed, parts))
        if self.visibility_head is not None:
            visibility_logit = self.visibility_head(mixed, parts, features, points.detach())
        predicted = [ellipse for ellipse in ellipses if ellipse is not None]
        return Prediction(
            torch.stack(shapes, dim=1),
            visibility_logit,
            log_scale,
            ellipses=torch.stack(predicted, dim=1) if predicted else None,
        )

    @override
    def visibility_module(self) -> str:
        return super().visibility_module() if self.visibility_head is None else "visibility_head"


def _next_shape(
    points: Float[Tensor, "B L 2"], offsets: Float[Tensor, "B L 2"], *, detach: bool
) -> Float[Tensor, "B L 2"]:
    """Return L_t = L_{t-1} + Δl_t; `detach` stops the gradient to the steps before (equation 3 does not)."""
    return (points.detach() if detach else points) + offsets


def _dims_below_whole(scheme: Scheme, hierarchy: Hierarchy, dims: Sequence[int], name: str) -> Sequence[int]:
    """Return the last of `dims`, one for each level below the whole; raise ValueError if there are too few."""
    below = len(hierarchy.levels) - 1
    if below > len(dims):
        levels = f"scheme {scheme.name!r} has {below} levels below its whole"
        raise ValueError(f"{name} has {len(dims)} values, but {levels}; give one for each")
    return tuple(dims[len(dims) - below :])
