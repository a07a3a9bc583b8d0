"""The losses of landmark networks. B faces, T steps, L landmarks; errors are in crop pixels unless said otherwise."""

import math
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

ShapeLoss: TypeAlias = Literal["l2", "nll", "ellipse", "nme", "wing"]
WING_WIDTH, WING_CURVATURE = 10.0, 2.0  # pixels
NLL_WEIGHT = 8.0  # brings the gradient of `nll` near that of `wing`, which the other weights are chosen for


def wing(error: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the Wing loss: logarithmic for small errors, so that they count, and linear from `WING_WIDTH` on.

    Args:
        error: Errors of coordinates, pixels.

    Source: Feng et al. 2018.
    """
    constant = WING_WIDTH - WING_WIDTH * math.log(1 + WING_WIDTH / WING_CURVATURE)
    size = error.abs()
    return torch.where(size < WING_WIDTH, WING_WIDTH * torch.log1p(size / WING_CURVATURE), size - constant)


def shape_loss(
    shapes: Float[Tensor, "B T L 2"],
    target: Float[Tensor, "B L 2"],
    kind: ShapeLoss,
    lengths: Float[Tensor, "B"],
    log_scale: Float[Tensor, "B L"] | None = None,
    ellipses: Float[Tensor, "B T L 3"] | None = None,
) -> Float[Tensor, ""]:
    """Return the error of every step's shape, summed over the steps.

    Args:
        shapes: Predictions.
        target: Ground truth.
        kind: `l2` is the paper's equation 3. `nme` is its code's: the point distance over `lengths`. `wing` as above.
            `ellipse` is the negative log-likelihood of a two-dimensional Laplace distribution with the predicted
            ellipse (LUVLi, Kumar et al. 2020): an error along a contour costs less than one across it.
            `nll` is the negative log-likelihood of Laplace's distribution with the predicted scale, so that landmarks
            with a large predicted error, such as those behind an occluder, have a small gradient.
        lengths: Normaliser of each face, the distance between the eyes in the paper.
        log_scale: Natural logarithm of the predicted scale, for `nll`.
        ellipses: Predicted ellipses in the unit of the shapes, for `ellipse`.

    Raises:
        ValueError: `nll` for a network that predicts no scale, or `ellipse` for one that predicts no ellipses.
    """
    error = shapes - target[:, None]
    if kind == "ellipse":
        if ellipses is None:
            raise ValueError("--shape-loss ellipse: the network predicts no ellipses; add --ellipse")
        log_first, slope, log_second = ellipses.float().unbind(dim=-1)
        first = error[..., 0] * torch.exp(-log_first)
        second = (error[..., 1] - slope * error[..., 0]) * torch.exp(-log_second)
        distance = (3 * (first.square() + second.square()) + 1e-4).sqrt()  # Mahalanobis
        return 0.5 * NLL_WEIGHT * (log_first + log_second + distance).mean(dim=(0, 2)).sum()
    if kind == "nll":
        if log_scale is None:
            raise ValueError("--shape-loss nll: the network predicts no uncertainty; add --aux-heads")
        scale = log_scale[:, None, :, None]
        return NLL_WEIGHT * (error.abs() * torch.exp(-scale) + scale).mean(dim=(0, 2, 3)).sum()
    if kind == "wing":
        return wing(error).mean(dim=(0, 2, 3)).sum()
    if kind == "l2":
        return error.square().sum(dim=(2, 3)).mean(dim=0).sum()
    return (error.square().sum(dim=-1).add(1e-9).sqrt() / lengths[:, None, None]).mean(dim=(0, 2)).sum()


def visibility_loss(
    logits: Float[Tensor, "B L"],
    visible: Bool[Tensor, "B L"],
    labelled: Bool[Tensor, "B"] | None = None,
    unlabelled_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the visibility logits.

    Args:
        logits: Predictions.
        visible: Ground truth.
        labelled: Whether someone annotated the occlusion of the face itself; None for all.
        unlabelled_weight: Weight of the visible landmarks of the other faces: hair or a hand of their own may occlude
            them.
    """
    loss = F.binary_cross_entropy_with_logits(logits, visible.float(), reduction="none")
    if labelled is not None and unlabelled_weight != 1:
        loss = loss * torch.where(visible & ~labelled[:, None], unlabelled_weight, 1.0)
    return loss.mean()


def uncertainty_loss(log_scale: Float[Tensor, "B L"], error: Float[Tensor, "B L"]) -> Float[Tensor, ""]:
    """Return the negative log-likelihood of distances under an exponential distribution with the predicted mean.

    Args:
        log_scale: Natural logarithm of the predicted mean.
        error: Distances between prediction and ground truth, in the same unit; they get no gradient.
    """
    return (log_scale + error.detach() * torch.exp(-log_scale)).mean()
