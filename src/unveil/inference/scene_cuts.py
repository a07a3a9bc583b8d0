"""Detection of scene cuts in a video, so that identities do not continue across them. H and W the size of a frame."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.types import Image, Points

COLUMNS, ROWS, CELL = 8, 6, 4  # the thumbnail has 8 x 6 cells of 4 x 4 pixels
SAMPLES_PER_PIXEL = 4  # of the frame for each pixel of the thumbnail, along each axis
CHANGED_LEVELS = 20.0  # mean absolute difference in grey levels from which a cell counts as changed
CUT_SHARE = 0.55  # of the cells: if so many change at once, the scene has changed
MAYBE_CUT_SHARE = 0.25  # if so many change and a face changes as well, the scene has changed
SUDDEN = 3.0  # a cut changes so many times more than the frames before it: camera motion is continuous
HISTORY = 5  # frames of that comparison
LEAST_HISTORY = 2  # frames before which nothing counts as sudden
FACE_SIDE = 24  # pixels of a face's thumbnail
OTHER_FACE, SAME_FACE = 0.55, 0.85  # correlation of a face's thumbnails in two frames: below and above


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is compared between frames.

    Args:
        thumbnail: The frame, reduced, float32.
        changes: Mean absolute differences between the latest frames in grey levels, latest last.
        changed_share: Share of the cells that changed since the frame before.
        sudden: Whether the frame differs much more from the frame before than the frames before it did.
    """

    thumbnail: NDArray[np.float32]
    changes: tuple[float, ...] = ()
    changed_share: float = 0.0
    sudden: bool = False

    @classmethod
    def first(cls, image_rgb: Image) -> Self:
        """Return the scene of the first frame.

        Args:
            image_rgb: RGB frame (H, W, 3).
        """
        return cls(_thumbnail(image_rgb))

    def update(self, image_rgb: Image) -> "Scene":
        """Compare the next frame.

        A change of brightness, as by a flash or automatic exposure, is compensated.

        Args:
            image_rgb: RGB frame (H, W, 3).

        Returns:
            The scene of that frame.
        """
        thumbnail = _thumbnail(image_rgb)
        difference = np.abs(_exposure_matched(thumbnail, self.thumbnail) - self.thumbnail)
        cells = cv2.resize(difference, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA).mean(axis=2)  # means over cells
        change = float(cells.mean())
        usual = sorted(self.changes)[len(self.changes) // 2] if len(self.changes) >= LEAST_HISTORY else math.inf
        return Scene(
            thumbnail,
            (*self.changes, change)[-HISTORY:],
            float((cells > CHANGED_LEVELS).mean()),
            change > SUDDEN * usual,
        )

    def is_cut(self, correlations: Sequence[float]) -> bool:
        """Return whether a scene cut lies before this frame.

        Args:
            correlations: For each face that was tracked into this frame, the correlation of its thumbnails.

        Returns:
            True if most of the frame changed and no face continues, or if some of it changed and every face did.
        """
        if not self.sudden:
            return False
        if self.changed_share > CUT_SHARE:
            return not any(correlation > SAME_FACE for correlation in correlations)
        return self.changed_share > MAYBE_CUT_SHARE and bool(correlations) and max(correlations) < OTHER_FACE


def face_thumbnail(image_rgb: Image, points_px: Points) -> NDArray[np.float32]:
    """Return a small grey image of a face, to compare it with the same face in the next frame.

    Args:
        image_rgb: RGB frame (H, W, 3).
        points_px: Landmarks (L, 2) in pixels.

    Returns:
        The axis-aligned tight box of the landmarks, resampled, (24, 24), with mean 0 and norm 1.
    """
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    scale = np.maximum(high - low, 1e-3) / FACE_SIDE
    matrix = np.array([[scale[0], 0, low[0]], [0, scale[1], low[1]]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(image_rgb, matrix, (FACE_SIDE, FACE_SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    centred = grey - grey.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-6), np.float32)


def _thumbnail(image_rgb: Image) -> NDArray[np.float32]:
    width, height = COLUMNS * CELL, ROWS * CELL
    steps: Sequence[int] = [
        max(1, side // (SAMPLES_PER_PIXEL * cells))
        for side, cells in zip(image_rgb.shape[:2], (height, width), strict=True)
    ]
    sampled = np.ascontiguousarray(image_rgb[:: steps[0], :: steps[1]])  # reading every pixel of a 4K frame is slow
    return np.asarray(cv2.resize(sampled, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _exposure_matched(thumbnail: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the thumbnail with the reference's mean and spread, unless it has no contrast."""
    spread, wanted = float(thumbnail.std()), float(reference.std())
    if spread < 1 or wanted < 1:
        return thumbnail
    return np.asarray((thumbnail - thumbnail.mean()) * (wanted / spread) + reference.mean(), np.float32)
