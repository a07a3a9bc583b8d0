"""Rectangles of random noise, the occlusion of GlomFace's training: sides of 30 to 130 px of a 224 px crop."""

from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Draw, Occluded, Paint, Window, paste, scale_for_coverage, unoccluded
from unveil.data.occlusion.frame import FaceImage, face_outline, face_region
from unveil.geometry import Crop, tight_box
from unveil.types import Image

SHORTEST, LONGEST = 30 / 224, 130 / 224  # of the crop that a model gets


def noise_occluder(coverage: float | None = None) -> Draw:
    """Return the occluder: a rectangle of noise over the face.

    Args:
        coverage: Scale the rectangle until it covers this fraction of the face; None: the paper's sizes.

    Source:
        GlomFace, section 4.2.
    """
    return partial(_occlude, coverage=coverage)


def _occlude(face: FaceImage, rng: np.random.Generator, coverage: float | None) -> Occluded:
    image, points_px = face.image, face.points_px
    if coverage == 0:
        return unoccluded(image)
    outline = face_outline(points_px)
    low, high = outline.min(axis=0), outline.max(axis=0)
    limit = np.array(image.shape[1::-1], np.float64)
    low, high = np.clip(low, 0, limit - 1), np.clip(high, 0, limit - 1)
    centre = rng.uniform(low, np.maximum(high, low + 1e-6))
    half = rng.uniform(SHORTEST, LONGEST, 2) * Crop.around(tight_box(points_px)).side / 2
    if coverage is not None:
        region = face_region(points_px, image.shape)
        scale, _ = scale_for_coverage(lambda scale: _rectangle(image, centre, half * scale), region, coverage)
        half = half * scale
    mask = _rectangle(image, centre, half)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return unoccluded(image)
    window = Window(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return paste(image, window, _noise(rng, window), np.ones((window.height, window.width), np.float32))


def _rectangle(image: Image, centre: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the pixels (H, W) of a rectangle, clipped to the image."""
    height, width = image.shape[:2]
    x0, y0 = np.clip(np.round(centre - half), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.round(centre + half), 0, (width, height)).astype(int)
    mask = np.zeros((height, width), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def _noise(rng: np.random.Generator, window: Window) -> Paint:
    """Draw uniform noise, coloured or grey, in cells of one to four pixels."""
    cell = int(rng.choice((1, 1, 2, 4)))
    channels = 3 if rng.random() < 0.7 else 1
    coarse = rng.integers(0, 256, (-(-window.height // cell), -(-window.width // cell), channels)).astype(np.float32)
    fine = cv2.resize(coarse, window.size, interpolation=cv2.INTER_NEAREST)
    colours = np.repeat(fine[..., None], 3, axis=2) if fine.ndim == 2 else fine
    return np.asarray(colours, np.float32)
