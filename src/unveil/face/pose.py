"""Head pose from landmarks: a generic 3D face is turned until its corners fall on ours (`cv2.solvePnP`)."""

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.face.schemes import Scheme
from unveil.types import Points, Pose

# Millimetres, the nose tip at the origin, x to the image's right, y down, z away from the viewer: the proportions of an
# average adult head, so angles are good to a few degrees and no better.
GENERIC_FACE = {
    "left eye": (-32.0, -36.0, 28.0),
    "right eye": (32.0, -36.0, 28.0),
    "nose tip": (0.0, 0.0, 0.0),
    "left mouth corner": (-25.0, 32.0, 24.0),
    "right mouth corner": (25.0, 32.0, 24.0),
}
FOCAL_LENGTH = 4.0  # in crop sides: a portrait lens, so perspective stays weak


@cache
def _model() -> NDArray[np.float64]:
    return np.array(list(GENERIC_FACE.values()))


def five_points(scheme: Scheme, points_px: Points) -> Points:
    """Left eye, right eye, nose tip, mouth corners: (5, 2). ValueError where the scheme does not say which they are."""
    if scheme.five_points is None:
        raise ValueError(f"scheme {scheme.name!r} does not name its five points")
    return np.stack([points_px[list(indices)].mean(axis=0) for indices in scheme.five_points]).astype(np.float32)


def head_pose(five_points_px: Points) -> Pose:
    """Yaw, pitch and roll in degrees from five points."""
    points = five_points_px.astype(np.float64)
    centre, side = points.mean(axis=0), max(float(np.ptp(points, axis=0).max()), 1e-6)
    camera = np.array([[FOCAL_LENGTH, 0, 0], [0, FOCAL_LENGTH, 0], [0, 0, 1.0]])
    flags = cv2.SOLVEPNP_SQPNP
    found, rotation, _ = cv2.solvePnP(_model(), (points - centre) / side, camera, None, flags=flags)
    if not found:
        return Pose(0.0, 0.0, 0.0)
    matrix, _ = cv2.Rodrigues(rotation)
    yaw = math.degrees(math.asin(float(np.clip(-matrix[0, 2], -1, 1))))
    pitch = math.degrees(math.atan2(matrix[1, 2], matrix[2, 2]))
    roll = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    return Pose(yaw, pitch, roll)
