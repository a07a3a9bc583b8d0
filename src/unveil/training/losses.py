"""The losses of landmark networks. B faces, T steps, L landmarks; errors are in crop pixels unless said otherwise."""

import math
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from unveil.models.network import Prediction

ShapeLoss: TypeAlias = Literal["l2", "nll", "ellipse", "nme", "wing"]
NLL_WEIGHT = 8.0  # brings the gradient of `nll` near that of `wing`, which the other weights are chosen for


def wing(error: Float[Tensor, "..."], width: float = 10.0, curvature: float = 2.0) -> Float[Tensor, "..."]:
    """Return the Wing loss: logarithmic for small errors, so that they count, and linear for large ones.

    Args:
        error: Errors of coordinates, pixels.
        width: Size of an error where the loss becomes linear, pixels.
        curvature: Curvature of the logarithmic part, pixels.

    Source: Feng et al. 2018.
    """
    constant = width - width * math.log(1 + width / curvature)
    size = error.abs()
    return torch.where(size < width, width * torch.log1p(size / curvature), size - constant)


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


def landmark_loss(
    prediction: Prediction,
    points_unit: Float[Tensor, "B L 2"],
    visible: Bool[Tensor, "B L"],
    *,
    size: int,
    kind: ShapeLoss,
    lengths_unit: Float[Tensor, "B"],
    visibility_weight: float,
    uncertainty_weight: float,
    labelled: Bool[Tensor, "B"] | None = None,
    unlabelled_weight: float = 1.0,
) -> dict[str, Float[Tensor, ""]]:
    """Return the weighted sum under `loss`, its terms, and `nme`: the error in percent of the faces' lengths.

    Args:
        prediction: The network's output; an output that is None adds no term.
        points_unit: Ground truth in unit coordinates.
        visible: Ground truth, False where a landmark is occluded.
        size: The crop's side, pixels.
        kind: The loss of the shapes.
        lengths_unit: Normaliser of each face, in unit coordinates.
        visibility_weight: Weight of the visibility loss.
        uncertainty_weight: Weight of the uncertainty loss.
        labelled: See `visibility_loss`.
        unlabelled_weight: See `visibility_loss`.
    """
    half = size / 2
    error = (prediction.points_unit - points_unit).norm(dim=-1)
    log_scale = prediction.log_scale
    log_scale_px = None if log_scale is None else log_scale + math.log(half)
    ellipses = prediction.ellipses
    to_px = torch.tensor([math.log(half), 0.0, math.log(half)], device=error.device)
    ellipses_px = None if ellipses is None else ellipses + to_px
    terms = {
        "shape": shape_loss(
            prediction.shapes_unit * half, points_unit * half, kind, lengths_unit * half, log_scale_px, ellipses_px
        )
    }
    loss = terms["shape"]
    if prediction.visibility_logit is not None:
        terms["visibility"] = visibility_loss(prediction.visibility_logit, visible, labelled, unlabelled_weight)
        loss = loss + visibility_weight * terms["visibility"]
    if log_scale is not None:
        terms["uncertainty"] = uncertainty_loss(log_scale, error)
        loss = loss + uncertainty_weight * terms["uncertainty"]
    return {"loss": loss, **terms, "nme": (error.mean(dim=1) / lengths_unit).mean() * 100}
