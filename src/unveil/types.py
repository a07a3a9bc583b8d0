"""Result types of inference. L landmarks, H and W the size of an image."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float32]
"""Landmark coordinates, (L, 2) of x and y. The variable's name says the frame: `points_px` or `points_unit`."""

Image: TypeAlias = NDArray[np.uint8]
"""An RGB image, (H, W, 3)."""


class Box(NamedTuple):
    """A rectangle in pixels. Pixel (0, 0) is the centre of the first pixel.

    Args:
        x0: Left edge.
        y0: Top edge.
        x1: Right edge.
        y1: Bottom edge.
    """

    x0: float
    y0: float
    x1: float
    y1: float


class Detection(NamedTuple):
    """One detected face.

    Args:
        box: Tight box of the face's landmarks, in pixels.
        score: Confidence in [0, 1].
        points: Left eye, right eye, nose tip, left and right mouth corner, (5, 2), in pixels; "left" is the left side
            of an upright image. None if the detector does not return points.
    """

    box: Box
    score: float
    points: Points | None = None


class Pose(NamedTuple):
    """Head pose in degrees.

    Args:
        yaw: Positive to the image's right.
        pitch: Positive upwards.
        roll: Positive clockwise, in (-180, 180].
    """

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One aligned face, in pixels of the image that it was detected in.

    Args:
        box: Tight box that the face was aligned in.
        score: Confidence of the detector in [0, 1]; 1 for a box that the user gave.
        landmarks: Landmarks (L, 2) in pixels.
        visibility: For each landmark, the probability that it is visible, (L,). Occluded and self-occluded landmarks
            have low values. None if the model does not predict it.
        uncertainty: For each landmark, the expected error in pixels, (L,). Visibility and uncertainty are independent:
            an occluded chin can have a low expected error. None if the model does not predict it.
        pose: Head pose. None if the scheme does not define five points.
        five_points: Left eye, right eye, nose tip, left and right mouth corner, (5, 2), in pixels, as face recognition
            models expect them. None if the scheme does not define them.

    Example:
        >>> (face,) = pipeline(image_rgb)
        >>> face.landmarks.shape
        (68, 2)
        >>> occluded = face.visibility is not None and face.visibility < 0.5
    """

    box: Box
    score: float
    landmarks: Points
    visibility: NDArray[np.float32] | None
    uncertainty: NDArray[np.float32] | None
    pose: Pose | None
    five_points: Points | None
