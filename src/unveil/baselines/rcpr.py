"""RCPR, robust cascaded pose regression: random ferns on pixel differences, which also predict what is occluded.

B faces, M shapes of a face that are refined together, L landmarks, S pixels of a crop's side, Z regressors of a stage,
K ferns of a regressor, D bits of a fern. A state (L, 3) is a shape in unit coordinates and each landmark's occlusion,
0 visible to 1 occluded.
"""

from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from unveil.models.network import LandmarkNetwork, NetworkConfig, Prediction
from unveil.schemes.scheme import Scheme

GRID = 3  # zones of the face: the cells of a grid over the mean shape's box
LUMA = (0.299, 0.587, 0.114)
MIN_WEIGHT = 0.05  # of a regressor whose zone is all occluded


class RcprConfig(NetworkConfig):
    """Sizes of an `Rcpr`."""

    network: Literal["rcpr"] = "rcpr"
    input_size: int = 128
    stages: Annotated[int, Field(ge=2)] = 40
    """Number of stages."""
    regressors: Annotated[int, Field(ge=1, le=GRID**2)] = 3
    """Regressors of a stage; each reads pixels of one zone of the face."""
    ferns: Annotated[int, Field(ge=1)] = 15
    """Ferns of a regressor."""
    depth: Annotated[int, Field(ge=1, le=8)] = 5
    """Pixel differences of a fern."""
    starts: Annotated[int, Field(ge=1)] = 5
    """Shapes that the cascade starts from; the result is their median."""
    rounds: Annotated[int, Field(ge=1)] = 3
    """Sets of starts, of which the first one that agrees is used, or the one that differs least (smart restarts)."""
    early: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the stages after which the starts of a set have to agree."""

    @override
    def build(self, scheme: Scheme) -> "Rcpr":
        return Rcpr(scheme, self)


class FernStage(nn.Module):
    """One stage: Z regressors of K ferns, averaged with weights that fall with the occlusion of their zones.

    Args:
        landmarks: Number of landmarks, L.
        config: The sizes.
    """

    ends: Tensor
    place: Tensor
    threshold: Tensor
    zones: Tensor

    def __init__(self, landmarks: int, config: RcprConfig) -> None:
        super().__init__()
        self.sizes = (config.regressors, config.ferns, config.depth)
        self.register_buffer("ends", torch.zeros(*self.sizes, 2, 2, dtype=torch.long))
        self.register_buffer("place", torch.zeros(*self.sizes, 2))
        self.register_buffer("threshold", torch.zeros(*self.sizes))
        self.register_buffer("zones", torch.zeros(config.regressors, landmarks))
        self.bins = nn.Parameter(torch.zeros(config.regressors * config.ferns * 2**config.depth, 3 * landmarks))

    def forward(self, grey: Float[Tensor, "B 1 S S"], state: Float[Tensor, "B M L 3"]) -> Float[Tensor, "B M L 3"]:
        """Return the states after this stage.

        Args:
            grey: Brightness of the crops in [0, 1].
            state: The states before this stage.
        """
        values = pixels_at(grey, interpolate(state[..., :2], self.ends.flatten(0, -2), self.place.flatten()))
        pairs = torch.unflatten(values, 2, (*self.sizes, 2))
        bits = (pairs[..., 0] - pairs[..., 1] > self.threshold).long()
        regressors, ferns, depth = self.sizes
        powers = 2 ** torch.arange(depth, device=bits.device)
        first = torch.arange(regressors * ferns, device=bits.device).reshape(regressors, ferns) << depth
        index = (bits * powers).sum(dim=-1) + first  # (B, M, Z, K)
        updates = self.bins[index].sum(dim=3)  # (B, M, Z, 3L)
        return self.combine(state, updates)

    def combine(self, state: Float[Tensor, "B M L 3"], updates: Float[Tensor, "B M Z L3"]) -> Float[Tensor, "B M L 3"]:
        """Return the states plus the mean of the regressors' updates, weighted by the visible share of each zone.

        Args:
            state: The states before this stage.
            updates: Sum of the ferns of each regressor.
        """
        weights = (1 - (state[..., 2] @ self.zones.T).clamp(0, 1)).clamp_min(MIN_WEIGHT)  # (B, M, Z)
        update = (weights[..., None] * updates).sum(dim=2) / weights.sum(dim=2)[..., None]
        return state + torch.unflatten(update, 2, (-1, 3))


class Rcpr(LandmarkNetwork):
    """The cascade from several starts; where the starts of a set differ after the early stages, from another set.

    Args:
        scheme: The landmark scheme.
        config: The sizes.

    Source: Burgos-Artizzu et al. 2013, sections 3.1 to 3.3.
    """

    outputs = 2
    starts: Tensor
    max_spread: Tensor

    def __init__(self, scheme: Scheme, config: RcprConfig) -> None:
        super().__init__(scheme)
        self.rounds, self.early = config.rounds, max(1, round(config.early * config.stages))
        self.register_buffer("starts", torch.zeros(config.rounds * config.starts, scheme.points, 3))
        self.register_buffer("max_spread", torch.tensor(1.0))
        self.stages = nn.ModuleList(FernStage(scheme.points, config) for _ in range(config.stages))

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Prediction:
        """Predict landmarks and visibility.

        Args:
            images: RGB in [0, 1].

        Returns:
            The prediction, with one step and without uncertainty.
        """
        grey, state = to_grey(images), self.starts.expand(images.shape[0], -1, -1, -1)
        for stage in self.stages[: self.early]:
            state = stage(grey, state)
        state = self.agreeing(state)
        for stage in self.stages[self.early :]:
            state = stage(grey, state)
        result = state.sort(dim=1).values[:, state.shape[1] // 2]  # the median of each coordinate
        visible = (1 - result[..., 2]).clamp(1e-3, 1 - 1e-3)
        return Prediction(result[:, None, :, :2], torch.logit(visible))

    def agreeing(self, state: Float[Tensor, "B RM L 3"]) -> Float[Tensor, "B M L 3"]:
        """Return the first set of starts that agrees, or the one that differs least (smart restarts).

        Args:
            state: The states of all R sets after the early stages.
        """
        sets = torch.unflatten(state, 1, (self.rounds, -1))
        spread = spread_of(sets[..., :2])  # (B, R)
        order = torch.arange(self.rounds, device=spread.device)
        rank = torch.where(spread < self.max_spread, order.to(spread.dtype), self.rounds + spread)
        chosen = F.one_hot(rank.argmin(dim=1), self.rounds).to(state.dtype)
        return (chosen[:, :, None, None, None] * sets).sum(dim=1)


def to_grey(images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 1 S S"]:
    """Return the luma of images.

    Args:
        images: RGB in [0, 1].
    """
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)


def interpolate(
    points: Float[Tensor, "*N L 2"], ends: Int[Tensor, "Q 2"], place: Float[Tensor, "Q"]
) -> Float[Tensor, "*N Q 2"]:
    """Return points on lines between two landmarks.

    Args:
        points: Landmarks.
        ends: Indices of the two landmarks of each point.
        place: Position of each point on its line: 0 is the first landmark, 1 the second.
    """
    first, second = points[..., ends[:, 0], :], points[..., ends[:, 1], :]
    return first + place[:, None] * (second - first)


def pixels_at(grey: Float[Tensor, "B 1 S S"], points: Float[Tensor, "B M Q 2"]) -> Float[Tensor, "B M Q"]:
    """Return the brightness at points.

    Args:
        grey: Brightness of the crops.
        points: Points in unit coordinates; those outside the crop are moved to its edge.
    """
    return F.grid_sample(grey, points, padding_mode="border", align_corners=False)[:, 0]


def spread_of(shapes: Float[Tensor, "*N M L 2"]) -> Float[Tensor, "*N"]:
    """Return the mean distance of the landmarks of M shapes from the mean of these shapes.

    Args:
        shapes: The shapes.
    """
    distances: Tensor = (shapes - shapes.mean(dim=-3, keepdim=True)).norm(dim=-1)
    return distances.mean(dim=(-2, -1))
