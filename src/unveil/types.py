"""What the pipeline returns: one face, its landmarks, and how sure we are of each. L landmarks."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float32]
"""Landmark coordinates, (L, 2) of x and y. The variable's name says the frame: `points_px` or `points_unit`."""

Image: TypeAlias = NDArray[np.uint8]
"""An RGB picture, (H, W, 3)."""


def is_said(values: NDArray[np.float32]) -> bool:
    """Whether a model says a face's visibility or uncertainty at all: one that does not has NaN in their places."""
    return not bool(np.isnan(values).all())


class Box(NamedTuple):
    """A rectangle in pixels. Pixel (0, 0) is the centre of the first pixel."""

    x0: float
    y0: float
    x1: float
    y1: float


class Pose(NamedTuple):
    """Head pose in degrees: yaw to the image's right, pitch up and roll clockwise are positive."""

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One aligned face, in pixels of the picture it was found in.

    `visibility` is each landmark's probability of being seen rather than covered or turned away. `uncertainty` is each
    landmark's expected distance from the truth in pixels: a covered chin can be certain, a seen cheek uncertain. Of a
    model that gives points alone, as PFLD does, both are NaN, and files have nothing in their places.
    """

    box: Box
    score: float
    landmarks: Points
    visibility: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    pose: Pose | None
    """None, as are the five points, if the model's scheme does not name them."""
    five_points: Points | None
    """Left eye, right eye, nose tip, left and right mouth corner, (5, 2), as recognition models want them."""
