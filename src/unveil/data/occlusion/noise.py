"""Rectangles of random noise, the occlusion GlomFace is trained against: sides of 30 to 130 px of a 224 px crop."""

from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Occluded, Occluder, Paint, Window, paste, untouched, with_share
from unveil.data.occlusion.frame import face_outline, face_region
from unveil.geometry import Crop, tight_box
from unveil.types import Image, Points

SHORTEST, LONGEST = 30 / 224, 130 / 224  # of the crop that a model sees


def noise_occluder(share: float | None = None) -> Occluder:
    """A rectangle of noise over the face; with `share`, scaled until it covers that share of it."""
    return partial(_occlude, share=share)


def _occlude(image: Image, points_px: Points, rng: np.random.Generator, share: float | None) -> Occluded:
    if share == 0:
        return untouched(image)
    low, high = face_outline(points_px).min(axis=0), face_outline(points_px).max(axis=0)
    limit = np.array(image.shape[1::-1], np.float64)
    low, high = np.clip(low, 0, limit - 1), np.clip(high, 0, limit - 1)
    centre = rng.uniform(low, np.maximum(high, low + 1e-6))
    half = rng.uniform(SHORTEST, LONGEST, 2) * Crop.around(tight_box(points_px)).side / 2
    if share is not None:
        scale, _ = with_share(
            lambda scale: _rectangle(image, centre, half * scale), face_region(points_px, image.shape), share
        )
        half = half * scale
    mask = _rectangle(image, centre, half)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return untouched(image)
    window = Window(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return paste(image, window, _noise(rng, window), np.ones((window.height, window.width), np.float32))


def _rectangle(image: Image, centre: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The pixels (H, W) of a rectangle, cut to the picture."""
    height, width = image.shape[:2]
    x0, y0 = np.clip(np.round(centre - half), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.round(centre + half), 0, (width, height)).astype(int)
    mask = np.zeros((height, width), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def _noise(rng: np.random.Generator, window: Window) -> Paint:
    """Uniform noise, coloured or grey, in cells of one to four pixels."""
    cell = int(rng.choice((1, 1, 2, 4)))
    channels = 3 if rng.random() < 0.7 else 1
    coarse = rng.integers(0, 256, (-(-window.height // cell), -(-window.width // cell), channels)).astype(np.float32)
    fine = cv2.resize(coarse, (window.width, window.height), interpolation=cv2.INTER_NEAREST)
    colours = np.repeat(fine[..., None], 3, axis=2) if fine.ndim == 2 else fine
    return np.asarray(colours, np.float32)
