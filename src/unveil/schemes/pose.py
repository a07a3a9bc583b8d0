"""Head pose from landmarks: a generic 3D face is turned until its corners fall on ours (`cv2.solvePnP`)."""

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.schemes.scheme import Scheme
from unveil.types import Points, Pose

# Millimetres, the nose tip at the origin, x to the image's right, y down, z away from the viewer: the proportions of an
# average adult head. Who smiles, or whose nose sits higher or lower, is read as nodding, by ten degrees or more.
GENERIC_FACE = {
    "left eye": (-32.0, -36.0, 28.0),
    "right eye": (32.0, -36.0, 28.0),
    "nose tip": (0.0, 0.0, 0.0),
    "left mouth corner": (-25.0, 32.0, 24.0),
    "right mouth corner": (25.0, 32.0, 24.0),
}
FOCAL_LENGTH = 4.0  # in crop sides: a portrait lens, so perspective stays weak
FACE_WIDTH = 68.0  # millimetres of the generic face's greatest side, which fills the crop


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
    # From a face that looks ahead: of two turns that fit alike the smaller, and of a mirrored face the mirrored one.
    ahead, away = np.zeros((3, 1)), np.array([[0.0], [0.0], [FOCAL_LENGTH * FACE_WIDTH]])
    found, rotation, _ = cv2.solvePnP(
        _model(), (points - centre) / side, camera, None, ahead, away, True, cv2.SOLVEPNP_ITERATIVE
    )
    if not found:
        return Pose(0.0, 0.0, 0.0)
    matrix, _ = cv2.Rodrigues(rotation)
    yaw = math.degrees(math.asin(float(np.clip(-matrix[0, 2], -1, 1))))
    pitch = math.degrees(math.atan2(matrix[1, 2], matrix[2, 2]))
    roll = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    return Pose(yaw, pitch, roll)
