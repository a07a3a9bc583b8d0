"""What training minimises. B faces, T steps, L landmarks; errors are in pixels of the crop unless said otherwise."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from unveil.models.glomface import Prediction
from unveil.schemes.scheme import Contour
from unveil.training.boundaries import boundary_loss

ShapeLoss = Literal["l2", "nll", "nme", "wing"]
NLL_WEIGHT = 8.0  # brings the gradient of `nll` near that of `wing`, which the other terms are weighed against


def wing(error: Float[Tensor, "..."], width: float = 10.0, curvature: float = 2.0) -> Float[Tensor, "..."]:
    """Wing loss (Feng et al. 2018): a logarithm below `width` pixels, so that small errors count, linear above."""
    constant = width - width * math.log(1 + width / curvature)
    size = error.abs()
    return torch.where(size < width, width * torch.log1p(size / curvature), size - constant)


def shape_loss(
    shapes: Float[Tensor, "B T L 2"],
    truth: Float[Tensor, "B L 2"],
    kind: ShapeLoss,
    lengths: Float[Tensor, "B"],
    log_spread: Float[Tensor, "B L"],
) -> Float[Tensor, ""]:
    """The error of every step's shape, summed over the steps.

    `l2` is the paper's equation 3, `nme` its code's point distance over the faces' `lengths`, in the paper
    those between the eyes. `nll` is the negative log-likelihood under Laplace's distribution, whose scale the network
    says itself: where it expects to be wrong, behind an occluder, it learns less from being so.
    """
    error = shapes - truth[:, None]
    if kind == "nll":
        scale = log_spread[:, None, :, None]
        return NLL_WEIGHT * (error.abs() * torch.exp(-scale) + scale).mean(dim=(0, 2, 3)).sum()
    if kind == "wing":
        return wing(error).mean(dim=(0, 2, 3)).sum()
    if kind == "l2":
        return error.square().sum(dim=(2, 3)).mean(dim=0).sum()
    return (error.square().sum(dim=-1).add(1e-9).sqrt() / lengths[:, None, None]).mean(dim=(0, 2)).sum()


def visibility_loss(logits: Float[Tensor, "B L"], visible: Bool[Tensor, "B L"]) -> Float[Tensor, ""]:
    return F.binary_cross_entropy_with_logits(logits, visible.float())


def spread_loss(log_spread: Float[Tensor, "B L"], error: Float[Tensor, "B L"]) -> Float[Tensor, ""]:
    """Negative log-likelihood of distances that are exponential with mean `spread`; shapes learn nothing from it."""
    return (log_spread + error.detach() * torch.exp(-log_spread)).mean()


def alignment_loss(
    prediction: Prediction,
    points_unit: Float[Tensor, "B L 2"],
    visible: Bool[Tensor, "B L"],
    *,
    size: int,
    kind: ShapeLoss,
    lengths_unit: Float[Tensor, "B"],
    visibility_weight: float,
    spread_weight: float,
    contours: Sequence[Contour] = (),
    boundary_weight: float = 0.0,
) -> dict[str, Float[Tensor, ""]]:
    """The sum under `loss`, its terms, and `nme`: the error in percent of the faces' lengths."""
    half = size / 2
    error = (prediction.points_unit - points_unit).norm(dim=-1)
    terms = {
        "shape": shape_loss(
            prediction.shapes_unit * half,
            points_unit * half,
            kind,
            lengths_unit * half,
            prediction.log_spread + math.log(half),
        ),
        "visibility": visibility_loss(prediction.visibility, visible),
        "spread": spread_loss(prediction.log_spread, error),
    }
    loss = terms["shape"] + visibility_weight * terms["visibility"] + spread_weight * terms["spread"]
    if prediction.boundaries is not None:
        terms["boundary"] = boundary_loss(prediction.boundaries, points_unit, contours)
        loss = loss + boundary_weight * terms["boundary"]
    return {"loss": loss, **terms, "nme": (error.mean(dim=1) / lengths_unit).mean() * 100}
