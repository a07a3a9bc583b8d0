"""Head pose from five landmarks: `cv2.solvePnP` fits a generic 3D face."""

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop, fit_similarity
from unveil.schemes.scheme import Scheme
from unveil.types import Points, Pose

# Millimetres, origin at the nose tip, x to the image's right, y down, z away from the camera: the proportions of an
# average adult head. A smile or an unusual nose position changes the pitch by ten degrees or more.
GENERIC_FACE = {
    "left eye": (-32.0, -36.0, 28.0),
    "right eye": (32.0, -36.0, 28.0),
    "nose tip": (0.0, 0.0, 0.0),
    "left mouth corner": (-25.0, 32.0, 24.0),
    "right mouth corner": (25.0, 32.0, 24.0),
}
FOCAL_LENGTH = 4.0  # in crop sides: a portrait lens with weak perspective
FACE_WIDTH = 68.0  # millimetres: the longest side of the generic face
FIT_STEPS, FIT_TOLERANCE = 4, 7.0  # of reweighted least squares; millimetres up to which a residual has full weight


@cache
def _generic_points() -> NDArray[np.float64]:
    return np.array(list(GENERIC_FACE.values()))


def five_points(scheme: Scheme, points_px: Points) -> Points:
    """Return left eye, right eye, nose tip, left and right mouth corner, (5, 2), in pixels.

    Args:
        scheme: Scheme of the landmarks.
        points_px: Landmarks (L, 2) in pixels.

    Raises:
        ValueError: The scheme does not define its five points.
    """
    if scheme.five_points is None:
        raise ValueError(f"scheme {scheme.name!r} does not name its five points")
    weights = _five_weights(scheme.five_points, scheme.points)
    return np.asarray(weights @ points_px, np.float32)


@cache
def _five_weights(five: tuple[tuple[int, ...], ...], count: int) -> NDArray[np.float32]:
    """Return the matrix (5, L) whose product with the landmarks is the five points."""
    weights = np.zeros((5, count), np.float32)
    for row, indices in zip(weights, five, strict=True):
        row[list(indices)] = 1 / len(indices)
    return weights


def in_plane_angle(five_points_px: Points) -> float:
    """Estimate the rotation of a face in the image plane by a robust fit of a generic face.

    Args:
        five_points_px: Left eye, right eye, nose tip, left and right mouth corner, (5, 2), in pixels.

    Returns:
        The clockwise angle in radians, in (-pi, pi]. Yaw, pitch and one misplaced point hardly change it.
    """
    generic, points = _generic_points()[:, :2], five_points_px.astype(np.float64)
    weights = np.array([1.0, 1.0, 0.0, 1.0, 1.0])  # yaw moves the nose tip most
    for _ in range(FIT_STEPS):
        scale, angle, shift = fit_similarity(generic, points, weights)
        rotation = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        residuals = np.linalg.norm(points - generic @ rotation.T - shift, axis=1) / scale
        weights = 1 / np.maximum(residuals, FIT_TOLERANCE)
    return angle


def upright_crop(points_px: Points, scheme: Scheme, margin: float = 1.0) -> Crop:
    """Return the crop in which a face appears upright, rotated by the roll of its landmarks.

    Args:
        points_px: Landmarks (L, 2) in pixels.
        scheme: Scheme of the landmarks. Without five points, the crop is not rotated.
        margin: Side of the crop in diagonals of the tight box of the upright landmarks.
    """
    angle = 0.0 if scheme.five_points is None else in_plane_angle(five_points(scheme, points_px))
    return Crop.around_points(points_px, angle, margin)


def head_pose(five_points_px: Points) -> Pose:
    """Estimate yaw, pitch and roll.

    Args:
        five_points_px: Left eye, right eye, nose tip, left and right mouth corner, (5, 2), in pixels.

    Returns:
        The pose in degrees. Yaw and pitch are those of the face's direction in the image, as it is; roll is right over
        the whole circle.
    """
    rotation, to_image = _upright_rotation(five_points_px)
    if rotation is None:
        return Pose(0.0, 0.0, 0.0)
    matrix = to_image @ rotation
    pitch = math.degrees(math.atan2(matrix[1, 2], matrix[2, 2]))
    roll = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    return Pose(_yaw(matrix), pitch, roll)


def upright_yaw(five_points_px: Points) -> float:
    """Return the yaw in degrees of a face after it is turned upright.

    Args:
        five_points_px: Left eye, right eye, nose tip, left and right mouth corner, (5, 2), in pixels.
    """
    rotation, _ = _upright_rotation(five_points_px)
    return 0.0 if rotation is None else _yaw(rotation)


def _upright_rotation(five_points_px: Points) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Return the head's rotation (3, 3) after the face is turned upright, and the rotation (3, 3) back to the image.

    The first is None if no pose fits the points.
    """
    angle = in_plane_angle(five_points_px)
    to_image = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    points = five_points_px.astype(np.float64) @ to_image[:2, :2]  # the fit converges near its first guess only
    centre, side = points.mean(axis=0), max(float(np.ptp(points, axis=0).max()), 1e-6)
    camera = np.array([[FOCAL_LENGTH, 0, 0], [0, FOCAL_LENGTH, 0], [0, 0, 1.0]])
    # The initial guess is a frontal face, so that the smaller of two rotations with equal error is returned.
    rotation_guess, shift_guess = np.zeros((3, 1)), np.array([[0.0], [0.0], [FOCAL_LENGTH * FACE_WIDTH]])
    converged, rotation, _ = cv2.solvePnP(
        _generic_points(),
        (points - centre) / side,
        camera,
        None,
        rotation_guess,
        shift_guess,
        True,
        cv2.SOLVEPNP_ITERATIVE,
    )
    return (np.asarray(cv2.Rodrigues(rotation)[0], np.float64) if converged else None), to_image


def _yaw(matrix: NDArray[np.float64]) -> float:
    return math.degrees(math.asin(float(np.clip(-matrix[0, 2], -1, 1))))
