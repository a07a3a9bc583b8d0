"""Training targets of PFLD beside the landmarks: Euler angles, and the classes that weight a face. L landmarks."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unveil.schemes.ibug68 import MOUTH_OPENING
from unveil.schemes.pose import five_points, head_pose
from unveil.schemes.scheme import IBUG68
from unveil.types import Points

CLASSES = ("profile", "head up", "head down", "mouth open", "occluded")
PROFILE, TILTED = 25.0, 12.0  # degrees of yaw and of pitch; the pose of the generic face is off by a few degrees
OPEN = 0.12  # gap between the inner lips, in eye-to-eye distances
OCCLUDED = 0.1  # share of occluded landmarks


@dataclass(frozen=True, slots=True, eq=False)
class Attributes:
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
