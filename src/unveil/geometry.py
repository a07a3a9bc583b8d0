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


def box_iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0 to 1.

    Args:
        a: One box in pixels.
        b: The other.
    """
    shared = shared_area(a, b)
    return shared / max(box_area(a) + box_area(b) - shared, 1e-9)


def longer_side(box: Box) -> float:
    """Return the longer side of a box.

    Args:
        box: The box, in any unit.
    """
    return max(box.x1 - box.x0, box.y1 - box.y0)


def box_area(box: Box) -> float:
    """Return the area of a box, 0 for a reversed one.

    Args:
        box: A box in pixels.
    """
    return max(0.0, box.x1 - box.x0) * max(0.0, box.y1 - box.y0)


def shared_area(a: Box, b: Box) -> float:
    """Return the area of the intersection of two boxes.

    Args:
        a: One box in pixels.
        b: The other.
    """
    return box_area(Box(max(a.x0, b.x0), max(a.y0, b.y0), min(a.x1, b.x1), min(a.y1, b.y1)))


def shared_areas(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas of the intersections of one box with others, (N,).

    Args:
        box: x0, y0, x1, y1 in pixels, (4,).
        others: The same of the others, (N, 4).
    """
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return np.asarray(sides.clip(min=0).prod(axis=1), np.float64)


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


def undo_quarter_turns(points_px: Points, turns: int, width: int, height: int) -> Points:
    """Map points of a turned image back to the image.

    Args:
        points_px: Points (N, 2) in pixels of `np.rot90(image, turns)`.
        turns: Number of counter-clockwise quarter turns, 0 to 3.
        width: Width of the unturned image in pixels.
        height: Height of the unturned image in pixels.

    Returns:
        The points in pixels of the unturned image.
    """
    x, y = points_px[:, 0], points_px[:, 1]
    unturned = ((x, y), (width - 1 - y, x), (width - 1 - x, height - 1 - y), (y, height - 1 - x))[turns]
    return np.stack(unturned, axis=1).astype(np.float32)


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
    source: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> tuple[float, float, NDArray[np.float64]]:
    """Fit the similarity transform from `source` to `target` with the least squared error, without reflection.

    Args:
        source: Points (N, 2).
        target: Points (N, 2).
        weights: Weight of each point, (N,); equal weights if None.

    Returns:
        Scale, clockwise angle in radians (y points down) and shift (2,).

    Source: Umeyama 1991. In the plane, complex numbers reduce it to one division.
    """
    a, b = source @ (1, 1j), target @ (1, 1j)
    a0, b0 = np.average(a, weights=weights), np.average(b, weights=weights)
    a, b, conjugate = a - a0, b - b0, np.conj(a - a0) * (1 if weights is None else weights)
    rotation = conjugate @ b / max((conjugate @ a).real, 1e-12)
    shift = b0 - rotation * a0
    return max(abs(rotation), 1e-6), math.atan2(rotation.imag, rotation.real), np.array([shift.real, shift.imag])


# The tight box of a face that is rotated by 45 degrees against that of the upright face: its growth, and the shift of
# its centre towards the top of the head, in diagonals of the upright box. Of the mean shape of 300W's training faces.
OBLIQUE_GROWTH, OBLIQUE_SHIFT = 0.05, 0.066


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
    def around(cls, box: Box, margin: float = 1.0, angle: float = 0.0) -> Self:
        """Return the crop that a model expects of a face of which only a box is known.

        Args:
            box: Tight landmark box in pixels, parallel to the image's sides also if the face is rotated.
            margin: Side of the crop in diagonals of the tight box of the upright face.
            angle: Clockwise rotation of the face in radians.

        Returns:
            The crop. Its centre is that of the box for an upright face and at quarter turns. In between, the box is
            larger than the upright face's box and extends beyond the top of the head.
        """
        diagonal = math.hypot(box.x1 - box.x0, box.y1 - box.y0)
        obliqueness = abs(math.sin(2 * angle))
        side = diagonal / (1 + OBLIQUE_GROWTH * obliqueness)
        shift = OBLIQUE_SHIFT * obliqueness * side
        x, y = (box.x0 + box.x1) / 2 - shift * math.sin(angle), (box.y0 + box.y1) / 2 + shift * math.cos(angle)
        return cls((x, y), margin * side, angle)

    def image_box(self, box: Box) -> Box:
        """Return the box in the image of a face whose upright box in the crop is known: the inverse of `around`.

        Args:
            box: Tight box of the upright face in unit coordinates of the crop.

        Returns:
            Tight landmark box in image pixels, parallel to the image's sides; exact at quarter turns.
        """
        half = self.side / 2
        width, height = half * (box.x1 - box.x0), half * (box.y1 - box.y0)
        cos, sin = abs(math.cos(self.angle)), abs(math.sin(self.angle))
        obliqueness = abs(math.sin(2 * self.angle))
        side = math.hypot(width, height)
        centre = np.array([[(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]], np.float32)
        x, y = self.to_px(centre)[0].tolist()
        shift = OBLIQUE_SHIFT * obliqueness * side
        x, y = x + shift * math.sin(self.angle), y - shift * math.cos(self.angle)
        across, down = width * cos + height * sin, width * sin + height * cos
        scale = side * (1 + OBLIQUE_GROWTH * obliqueness) / math.hypot(across, down) / 2
        return Box(x - scale * across, y - scale * down, x + scale * across, y + scale * down)

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
        """Convert unit coordinates to image pixels.

        Args:
            points_unit: Points (L, 2) in unit coordinates.

        Returns:
            Points (L, 2) in image pixels.
        """
        matrix = self.unit_to_px()
        return (points_unit @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)

    def to_unit(self, points_px: Points) -> Points:
        """Convert image pixels to unit coordinates.

        Args:
            points_px: Points (L, 2) in image pixels.

        Returns:
            Points (L, 2) in unit coordinates.
        """
        matrix = self.unit_to_px()
        return ((points_px - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T).astype(np.float32)

    def extract(self, image: Image, size: int, *, replicate: bool = False) -> Image:
        """Resample the crop.

        Args:
            image: Image (H, W, 3).
            size: Side of the result in pixels.
            replicate: Whether the image's border continues outside it; else it is black there.

        Returns:
            The crop, (size, size, 3).
        """
        matrix = self.unit_to_px()
        if self.side > 2 * size:  # without this step, bilinear sampling of a large face skips pixels
            image, to_reduced = self._reduced_window(image, 2 * size / self.side)
            if not image.size:
                return np.zeros((size, size, 3), np.uint8)
            matrix = to_reduced[:, :2] @ matrix + np.pad(to_reduced[:, 2:], ((0, 0), (2, 0)))
        pixel_to_unit = np.array([[2 / size, 0, 1 / size - 1], [0, 2 / size, 1 / size - 1], [0, 0, 1]])
        warp = matrix @ pixel_to_unit
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
        return np.asarray(cv2.warpAffine(image, warp, (size, size), flags=flags, borderMode=border), np.uint8)

    def _reduced_window(self, image: Image, scale: float) -> tuple[Image, NDArray[np.float64]]:
        """Return the part of an image that the crop covers, reduced, and the matrix (2, 3) from image to its pixels."""
        reach = self.side / 2 * (abs(math.cos(self.angle)) + abs(math.sin(self.angle))) + 2 / scale
        (x0, x1, columns), (y0, y1, rows) = (
            _reduced_span(centre - reach, centre + reach, length, scale)
            for centre, length in zip(self.centre, (image.shape[1], image.shape[0]), strict=True)
        )
        window = image[y0:y1, x0:x1]
        if not window.size:
            return window, np.eye(2, 3)
        reduced = np.asarray(cv2.resize(window, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
        fx, fy = columns / (x1 - x0), rows / (y1 - y0)
        # Pixel centres are whole numbers, so a scale acts about (-0.5, -0.5).
        return reduced, np.array([[fx, 0, fx * (0.5 - x0) - 0.5], [0, fy, fy * (0.5 - y0) - 0.5]])


def _reduced_span(first: float, last: float, length: int, scale: float) -> tuple[int, int, int]:
    """Return the pixels from first to last, as start and stop, and their number after reduction.

    They begin and end where pixels of the whole reduced image do, so that the result hardly depends on the window.
    """
    exact = max(1, round(scale * length)) / length
    start, stop = (min(max(first, 0), length) * exact, min(max(last, 0), length) * exact)
    start, stop = math.floor(start), math.ceil(stop)
    return round(start / exact), min(round(stop / exact), length), stop - start
