"""Boxes, crops and coordinate transforms. L landmarks; `px` are image pixels, `unit` are crop coordinates.

Unit coordinates run from -1 at the crop's left or top edge to 1 at its right or bottom edge, as `grid_sample` defines
them with `align_corners=False`: pixel i of a crop of S pixels lies at (2i + 1) / S - 1.
"""

import math
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.types import Box, Image, Points


def tight_box(points_px: Points) -> Box:
    """Return the smallest box around the landmarks. The models are trained on this box.

    Args:
        points_px: Landmarks (L, 2) in pixels.

    Returns:
        The box in pixels.
    """
    (x0, y0), (x1, y1) = points_px.min(axis=0), points_px.max(axis=0)
    return Box(float(x0), float(y0), float(x1), float(y1))


def flip_points(points_px: Points, width: int, flip_order: tuple[int, ...]) -> Points:
    """Return the landmarks of the mirrored image, reordered so that each index keeps its meaning.

    Args:
        points_px: Landmarks (L, 2) in pixels.
        width: Width of the image in pixels.
        flip_order: The scheme's mirror order.

    Returns:
        The mirrored landmarks, (L, 2).
    """
    mirrored = points_px[list(flip_order)].copy()
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    return mirrored


def unit_to_crop_px(points_unit: Points, size: int) -> Points:
    """Convert unit coordinates to pixels of a crop.

    Args:
        points_unit: Points (L, 2) in unit coordinates.
        size: Side of the crop in pixels.

    Returns:
        Points (L, 2) in crop pixels.
    """
    return ((points_unit + 1) * (size / 2) - 0.5).astype(np.float32)


def fit_similarity(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[float, float, NDArray[np.float64]]:
    """Fit the similarity transform from `source` to `target` with the least squared error, without reflection.

    Args:
        source: Points (N, 2).
        target: Points (N, 2).

    Returns:
        Scale, clockwise angle in radians (y points down) and shift (2,).

    Source: Umeyama 1991. In the plane, complex numbers reduce it to one division.
    """
    a, b = source @ (1, 1j), target @ (1, 1j)
    rotation = np.vdot(a - a.mean(), b - b.mean()) / max(np.vdot(a - a.mean(), a - a.mean()).real, 1e-12)
    shift = b.mean() - rotation * a.mean()
    return max(abs(rotation), 1e-6), math.atan2(rotation.imag, rotation.real), np.array([shift.real, shift.imag])


@dataclass(frozen=True, slots=True)
class Crop:
    """A square window on an image.

    Args:
        centre: Centre in image pixels.
        side: Side in image pixels.
        angle: Clockwise rotation in radians.
        mirrored: Whether the crop is mirrored horizontally.
    """

    centre: tuple[float, float]
    side: float
    angle: float = 0.0
    mirrored: bool = False

    @classmethod
    def around(cls, box: Box, margin: float = 1.0) -> Self:
        """Return the upright crop that a model expects.

        Args:
            box: Tight landmark box in pixels.
            margin: Side of the crop in diagonals of the box.

        Returns:
            The crop, centred on the box.
        """
        centre = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        return cls(centre, margin * math.hypot(box.x1 - box.x0, box.y1 - box.y0))

    @classmethod
    def around_points(cls, points_px: Points, angle: float, margin: float = 1.0) -> Self:
        """Return the crop that a model expects of a face that is rotated in the image plane.

        Args:
            points_px: Landmarks (L, 2) in pixels.
            angle: Clockwise rotation of the face in radians.
            margin: Side of the crop in diagonals of the tight box of the upright landmarks.

        Returns:
            The rotated crop.
        """
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        upright = cls.around(tight_box(np.asarray(points_px @ rotation, np.float32)), margin)
        x, y = rotation @ upright.centre
        return cls((float(x), float(y)), upright.side, angle)

    def unit_to_px(self) -> NDArray[np.float64]:
        """Return the matrix (2, 3) from unit coordinates to image pixels."""
        half = self.side / 2
        cos, sin = half * math.cos(self.angle), half * math.sin(self.angle)
        x_sign = -1.0 if self.mirrored else 1.0
        return np.array([[x_sign * cos, -sin, self.centre[0]], [x_sign * sin, cos, self.centre[1]]])

    def to_px(self, points_unit: Points) -> Points:
        """Convert unit coordinates (L, 2) to image pixels (L, 2)."""
        matrix = self.unit_to_px()
        return (points_unit @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)

    def to_unit(self, points_px: Points) -> Points:
        """Convert image pixels (L, 2) to unit coordinates (L, 2)."""
        matrix = self.unit_to_px()
        return ((points_px - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T).astype(np.float32)

    def extract(self, image: Image, size: int) -> Image:
        """Resample the crop.

        Args:
            image: Image (H, W, 3).
            size: Side of the result in pixels.

        Returns:
            The crop, (size, size, 3), black outside the image.
        """
        if self.side > 2 * size:  # without this step, bilinear sampling of a large face skips pixels
            shrink = 2 * size / self.side
            small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            fx, fy = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
            scale = np.array([[fx], [fy]])
            offset = np.array([[(fx - 1) / 2], [(fy - 1) / 2]])
            matrix = self.unit_to_px() * scale
            matrix[:, 2:] += offset
            image = np.asarray(small, np.uint8)
        else:
            matrix = self.unit_to_px()
        pixel_to_unit = np.array([[2 / size, 0, 1 / size - 1], [0, 2 / size, 1 / size - 1], [0, 0, 1]])
        warp = matrix @ pixel_to_unit
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, warp, (size, size), flags=flags), np.uint8)
