"""PFLD's weighted error, and its targets beside the landmarks: Euler angles, and the classes that weight a face.

B faces, L landmarks, C classes.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from unveil.baselines.pfld import PfldPrediction
from unveil.schemes.ibug68 import MOUTH_OPENING
from unveil.schemes.pose import five_points, head_pose
from unveil.schemes.scheme import IBUG68
from unveil.types import Points

CLASSES = ("profile", "head up", "head down", "mouth open", "occluded")
PROFILE, TILTED = 25.0, 12.0  # degrees of yaw and of pitch; the pose of the generic face is off by a few degrees
OPEN = 0.12  # gap between the inner lips, in eye-to-eye distances
OCCLUDED = 0.1  # share of occluded landmarks


class Attributes(NamedTuple):
    """Pose and classes of a face.

    Args:
        angles: Yaw, pitch and roll in radians, (3,).
        classes: Whether the face is in each of `CLASSES`, (5,).
    """

    angles: NDArray[np.float32]
    classes: NDArray[np.bool_]


def attributes_of(points: Points, visible: NDArray[np.bool_]) -> Attributes:
    """Return pose and classes of a face.

    Args:
        points: Landmarks of scheme ibug68, (68, 2), in any coordinates with square pixels.
        visible: False where an occluder covers a landmark, (68,).
    """
    five = five_points(IBUG68, points)
    pose = head_pose(five)
    between = max(math.dist(five[0], five[1]), 1e-6)
    gap = math.dist(*(points[i] for i in MOUTH_OPENING)) / between
    classes = (
        abs(pose.yaw) > PROFILE,
        pose.pitch > TILTED,
        pose.pitch < -TILTED,
        gap > OPEN,
        float((~visible).mean()) > OCCLUDED,
    )
    return Attributes(np.radians(np.array(pose, np.float32)), np.array(classes))


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
