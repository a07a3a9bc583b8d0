"""Landmarks drawn as an image, the extra input channel of a guided restorer. L landmarks, S pixels of a crop's side.

Source: landmarks as the guide of face inpainting are from LaFIn (Yang et al. 2019). The single map of contours and the
perturbation during training are ours.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.schemes.scheme import Contour
from unveil.types import Points

SUBPIXEL_BITS = 4  # fractional bits of OpenCV's fixed-point coordinates
MAX_UNIT = 8.0  # coordinates are clipped to this distance from the crop's centre


def draw_landmark_map(points_unit: Points, contours: Sequence[Contour], size: int) -> NDArray[np.uint8]:
    """Return the contours as antialiased white lines on black, one pixel wide, (S, S).

    Args:
        points_unit: Landmarks (L, 2) in the crop's unit coordinates.
        contours: Lines to draw; without contours the map is black.
        size: Side of the map in pixels.
    """
    drawn = np.zeros((size, size), np.uint8)
    pixels = (np.clip(points_unit, -MAX_UNIT, MAX_UNIT) + 1) * (size / 2) - 0.5
    fixed = np.round(pixels * 2**SUBPIXEL_BITS).astype(np.int32)
    for contour in contours:
        line = fixed[list(contour.points)]
        cv2.polylines(drawn, [line], contour.closed, 255, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    return drawn


def perturb_landmarks(
    points_unit: Points, contours: Sequence[Contour], sigma_unit: float, rng: np.random.Generator
) -> Points:
    """Return landmarks, (L, 2), with errors as a model makes under an occluder.

    One random affine transform moves all landmarks, one shift each contour, and a smaller shift each landmark.

    Args:
        points_unit: Landmarks (L, 2) in the crop's unit coordinates.
        contours: Contours that move as a whole.
        sigma_unit: Mean standard deviation; each face draws its own between 0 and twice this value.
        rng: Source of randomness.
    """
    sigma = sigma_unit * rng.uniform(0, 2)
    affine = np.eye(2) + rng.normal(0, sigma, (2, 2))
    perturbed = points_unit @ affine.T + rng.normal(0, sigma, 2)
    for contour in contours:
        perturbed[list(contour.points)] += rng.normal(0, sigma, 2)
    perturbed += rng.normal(0, sigma / 3, perturbed.shape)
    return np.asarray(perturbed, np.float32)
