"""Warp a face towards the shape of another: poses and expressions that are not photographed. L landmarks, S pixels.

The image follows a smooth thin-plate spline (Bookstein 1989) that is fixed at the crop's edge, and the landmarks follow
the image, so the annotation stays as accurate as it was.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop, fit_similarity, unit_to_crop_px
from unveil.types import Image, Points

CELLS = 20  # along a side: the spline is computed once for each cell and interpolated between them
SMOOTHING = 0.02  # how far the spline may miss its points, so that neighbours are not torn apart
MIN_AREA = 0.2  # the smallest area of a cell after the warp, as a share of its area before


@dataclass(frozen=True, slots=True, eq=False)
class ShapeSampler:
    """Draws the landmarks of one face from a set.

    Args:
        points_px: Landmarks of all faces, (N, L, 2).
        weights: Probability of each face, (N,); None draws all with the same probability.
    """

    points_px: NDArray[np.float32]
    weights: NDArray[np.float64] | None = None

    def __call__(self, rng: np.random.Generator) -> Points:
        """Return the landmarks of one face, (L, 2) in pixels.

        Args:
            rng: Source of randomness.
        """
        points: Points = self.points_px[rng.choice(len(self.points_px), p=self.weights)]
        return points


def interpolate_shape(target: Points, points: Points, share: float) -> Points:
    """Return points (L, 2) moved part of the way to another face's points.

    The other face is first shifted, rotated and scaled to lie as near as possible.

    Args:
        target: Points (L, 2) of the other face.
        points: Points (L, 2).
        share: Part of the way, 0 to 1.
    """
    scale, angle, shift = fit_similarity(target.astype(np.float64), points.astype(np.float64))
    aligned = Crop((float(shift[0]), float(shift[1])), 2 * scale, angle).to_px(target)
    return np.asarray(points + share * (aligned - points), np.float32)


def tps_warp(image: Image, points_unit: Points, target_unit: Points) -> tuple[Image, Points]:
    """Warp an image so that its landmarks come near to target points.

    Args:
        image: RGB, (S, S, 3).
        points_unit: Its landmarks, (L, 2).
        target_unit: Where they should lie, (L, 2).

    Returns:
        The warped image and its landmarks; both unchanged where the warp would fold the image.
    """
    from scipy.interpolate import RBFInterpolator

    fixed = np.concatenate([target_unit, _edge()])
    offsets = np.concatenate([points_unit, _edge()]) - fixed  # from where a pixel is to where it was
    spline = RBFInterpolator(fixed, offsets, smoothing=SMOOTHING, kernel="thin_plate_spline")
    cells = spline(_centres(CELLS)).reshape(CELLS, CELLS, 2).astype(np.float32)
    if _areas(cells).min() < MIN_AREA:
        return image, points_unit
    size = len(image)
    offsets_map = np.asarray(cv2.resize(cells, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    sources = _centres(size).reshape(size, size, 2) + offsets_map
    return _lookup(image, sources), _invert(points_unit, offsets_map)


def _invert(points_unit: Points, offsets: NDArray[np.float32]) -> Points:
    """Return the places (L, 2) at which the offsets (S, S, 2) point back to the given points, by iteration."""
    moved = points_unit
    for _ in range(15):
        moved = points_unit - _lookup(offsets, moved[:, None])[:, 0]
    return np.asarray(moved, np.float32)


def _lookup(values: NDArray[Any], places_unit: NDArray[np.float32]) -> NDArray[Any]:
    """Return values (S, S, C) at places (H, W, 2) in unit coordinates, bilinear: (H, W, C)."""
    places = unit_to_crop_px(places_unit, len(values))
    x, y = places[..., 0], places[..., 1]
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _areas(cells: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return each cell's area under offsets (N, N, 2) as a share of its area before: below zero where it folds."""
    down, right = (np.gradient(cells, 2 / CELLS, axis=axis) for axis in (0, 1))
    return np.asarray((1 + right[..., 0]) * (1 + down[..., 1]) - right[..., 1] * down[..., 0])


@cache
def _centres(size: int) -> NDArray[np.float32]:
    """Return the centres of a crop's pixels, row by row, (size * size, 2)."""
    return _grid((2 * np.arange(size) + 1) / size - 1)


@cache
def _edge() -> NDArray[np.float32]:
    """Return the fixed points around the crop, (16, 2)."""
    grid = _grid(np.linspace(-1, 1, 5))
    return np.asarray(grid[np.abs(grid).max(axis=1) == 1])


def _grid(ticks: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2), np.float32)
