"""What PFLD is told of a face beside its landmarks: Euler angles, and the classes that weigh it. L landmarks."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unveil.schemes.ibug68 import MOUTH_OPENING
from unveil.schemes.pose import five_points, head_pose
from unveil.schemes.scheme import IBUG68
from unveil.types import Points

CLASSES = ("profile", "head up", "head down", "mouth open", "occluded")
PROFILE, TILTED = 25.0, 12.0  # degrees of yaw and of pitch; the generic face is good to a few
OPEN = 0.12  # gap between the inner lips, in eye-to-eye distances
OCCLUDED = 0.1  # share of the landmarks that are covered


@dataclass(frozen=True, slots=True, eq=False)
class Attributes:
    """Yaw, pitch and roll in radians, (3,), and which of `CLASSES` the face is in, (5,)."""

    angles: NDArray[np.float32]
    classes: NDArray[np.bool_]


def attributes_of(points: Points, visible: NDArray[np.bool_]) -> Attributes:
    """From the 68 landmarks, (68, 2), in any square coordinates, and which of them no occluder covers, (68,)."""
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
