"""PFLD's weighted error. B faces, L landmarks, C classes."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unveil.baselines.pfld import PfldPrediction


def attribute_weights(attributes: Bool[Tensor, "B C"], shares: Float[Tensor, "C"]) -> Float[Tensor, "B"]:
    """Return ω: the sum of 1 / share over a face's classes, so that rare classes weigh more; 0 without a class.

    Args:
        attributes: The classes of each face.
        shares: The share of each class in the training set, so that a face has the same weight in every batch.
    """
    return (attributes.float() / shares.clamp(min=1e-3)).sum(dim=1)


def pfld_loss(
    prediction: PfldPrediction,
    points_unit: Float[Tensor, "B L 2"],
    angles: Float[Tensor, "B 3"],
    weights: Float[Tensor, "B"],
) -> Float[Tensor, ""]:
    """Return (1 + ω)·(1 + Σ_k(1 - cos θ_k))·‖d‖²: the mean over faces of the sum over landmarks.

    θ_k are the errors of yaw, pitch and roll in radians. The ones are ours: without them a face with a perfect pose, or
    without a class, has no gradient.

    Args:
        prediction: Output of the network.
        points_unit: Ground truth in unit coordinates.
        angles: Ground truth of yaw, pitch and roll in radians.
        weights: ω of each face, by `attribute_weights`.

    Source: Guo et al. 2019, equation 2.
    """
    pose = (1 - torch.cos(prediction.angles - angles)).sum(dim=1)
    distance = (prediction.points_unit - points_unit).square().sum(dim=(1, 2))
    return ((1 + weights) * (1 + pose) * distance).mean()
