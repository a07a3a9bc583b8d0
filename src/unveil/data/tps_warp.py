"""A face bent towards the shape of another: poses and expressions that nobody photographed. L landmarks, S pixels.

The picture follows a smooth thin-plate spline (Bookstein 1989) that ends at the crop's edge, and the landmarks follow
the picture, so the annotation stays as true as it was.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop, similarity, unit_to_crop_px
from unveil.types import Image, Points

CELLS = 20  # a side: the spline is computed once for each, and smooth between them
STIFFNESS = 0.02  # how much the spline may miss, which keeps neighbours from being torn apart
LEAST_AREA = 0.2  # what a cell may be squeezed to


@dataclass(frozen=True, slots=True, eq=False)
class OtherShapes:
    """Draws the landmarks (L, 2) of one of so many faces, (N, L, 2), by weight or all alike."""

    points_px: NDArray[np.float32]
    weights: NDArray[np.float64] | None = None

    def __call__(self, rng: np.random.Generator) -> Points:
        points: Points = self.points_px[rng.choice(len(self.points_px), p=self.weights)]
        return points


def towards(another: Points, points: Points, share: float) -> Points:
    """So much of the way from points (L, 2) to another face's, shifted, turned and scaled to lie as near as it can."""
    scale, angle, shift = similarity(another.astype(np.float64), points.astype(np.float64))
    target = Crop((float(shift[0]), float(shift[1])), 2 * scale, angle).to_px(another)
    return np.asarray(points + share * (target - points), np.float32)


def bent(image: Image, points_unit: Points, towards: Points) -> tuple[Image, Points]:
    """The picture (S, S, 3) with its landmarks (L, 2) brought near to others, both in unit coordinates.

    As it was where that would fold the picture.
    """
    from scipy.interpolate import RBFInterpolator

    known = np.concatenate([towards, _edge()])
    moved = np.concatenate([points_unit, _edge()]) - known  # from where a pixel is to where it was
    spline = RBFInterpolator(known, moved, smoothing=STIFFNESS, kernel="thin_plate_spline")
    cells = spline(_centres(CELLS)).reshape(CELLS, CELLS, 2).astype(np.float32)
    if _areas(cells).min() < LEAST_AREA:
        return image, points_unit
    size = len(image)
    moves = np.asarray(cv2.resize(cells, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    was = _centres(size).reshape(size, size, 2) + moves
    return _looked_up(image, was), _followed(points_unit, moves)


def _followed(points_unit: Points, moves: NDArray[np.float32]) -> Points:
    """Where the points are now, (L, 2): there, the moves (S, S, 2) lead back to where they were."""
    now = points_unit
    for _ in range(15):
        now = points_unit - _looked_up(moves, now[:, None])[:, 0]
    return np.asarray(now, np.float32)


def _looked_up(values: NDArray[Any], where_unit: NDArray[np.float32]) -> NDArray[Any]:
    """Values (S, S, C) at places (H, W, 2) in unit coordinates, bilinear: (H, W, C)."""
    where = unit_to_crop_px(where_unit, len(values))
    x, y = where[..., 0], where[..., 1]
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _areas(cells: NDArray[np.float32]) -> NDArray[np.floating]:
    """What becomes of each cell's area under moves (N, N, 2): (N, N), below zero where the picture folds."""
    down, right = (np.gradient(cells, 2 / CELLS, axis=axis) for axis in (0, 1))
    return np.asarray((1 + right[..., 0]) * (1 + down[..., 1]) - right[..., 1] * down[..., 0])


@cache
def _centres(size: int) -> NDArray[np.float32]:
    """The middles of a crop's pixels, row by row, (size * size, 2)."""
    return _square((2 * np.arange(size) + 1) / size - 1)


@cache
def _edge() -> NDArray[np.float32]:
    """Places round the crop, (16, 2), that stay where they are."""
    square = _square(np.linspace(-1, 1, 5))
    return np.asarray(square[np.abs(square).max(axis=1) == 1])


def _square(line: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2), np.float32)
