"""A face's landmarks drawn for a restorer: what is covered is painted better where the parts are known to be.

Landmarks as the guide of inpainting are LaFIn's (Yang et al. 2019); the contours in one map, and how training makes
them err, are ours. L landmarks, S pixels of a crop's side.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.schemes.scheme import Contour
from unveil.types import Points

SHIFT = 4  # bits behind the point of OpenCV's coordinates
FAR_UNIT = 8.0  # from the crop's middle: no line is drawn farther


def guide(points_unit: Points, contours: Sequence[Contour], size: int) -> NDArray[np.uint8]:
    """The contours as smooth white lines a pixel wide on black, (S, S), of landmarks (L, 2) in the crop's unit
    coordinates. Black without contours."""
    drawn = np.zeros((size, size), np.uint8)
    pixels = (np.clip(points_unit, -FAR_UNIT, FAR_UNIT) + 1) * (size / 2) - 0.5
    places = np.round(pixels * 2**SHIFT).astype(np.int32)
    for contour in contours:
        line = places[list(contour.points)]
        cv2.polylines(drawn, [line], contour.closed, 255, 1, cv2.LINE_AA, SHIFT)
    return drawn


def misplaced(points_unit: Points, contours: Sequence[Contour], spread_unit: float, rng: np.random.Generator) -> Points:
    """The landmarks as a model might find them under an occluder: all of them sheared, turned and moved together, each
    contour moved by itself, each point a little more. `spread_unit` is how far on average; faces differ in it."""
    spread = spread_unit * rng.uniform(0, 2)
    together = np.eye(2) + rng.normal(0, spread, (2, 2))
    found = points_unit @ together.T + rng.normal(0, spread, 2)
    for contour in contours:
        found[list(contour.points)] += rng.normal(0, spread, 2)
    found += rng.normal(0, spread / 3, found.shape)
    return np.asarray(found, np.float32)
