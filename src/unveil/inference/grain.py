"""Grain and sharpness of the photograph, for the pixels that a restorer paints.

H, W the photograph's sides, S those of a restored crop, N those of the working crop, T the period of the noise. A face
in a large photograph has more pixels than the restorer paints. The upsampled crop has no grain, so the finest bands of
the photograph's skin are measured and noise of the same strength is added. A robust standard deviation ignores edges
and hair.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop
from unveil.types import Image

TILE = 256  # pixels: the noise repeats after that many
PATCH = 64  # pixels of a sample of the photograph
PATCHES = 24
MAX_BANDS = 5
MAX_LEVEL = 6.0  # levels of standard deviation in one band: more is texture, not grain
MAD_TO_SD = 1.4826  # of a normal distribution
SHARPENING = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Grain:
    """Periodic noise.

    Args:
        tile: One period, (T, T, 3), in levels.
    """

    tile: NDArray[np.float32]

    def at(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return the noise of a strip of the photograph.

        Args:
            rows: Rows of the photograph.
            columns: Columns of the photograph.
        """
        y = np.arange(rows.start, rows.stop) % len(self.tile)
        x = np.arange(columns.start, columns.stop) % len(self.tile)
        return np.asarray(self.tile[y[:, None], x], np.float32)


def measure_grain(image_rgb: Image, crop: Crop, known: NDArray[np.bool_], scale: float) -> Grain | None:
    """Measure the grain of the visible skin.

    Args:
        image_rgb: The photograph, (H, W, 3).
        crop: The face's crop.
        known: Which pixels of the working crop are visible skin, (N, N).
        scale: Pixels of the photograph for one of the restored crop.

    Returns:
        The noise; None if no skin is visible.
    """
    rng = np.random.default_rng(0)
    bands = min(MAX_BANDS, 1 + math.ceil(math.log2(max(scale, 1))))
    samples: list[NDArray[np.float32]] = []
    y, x = np.nonzero(cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8)))
    if not len(y):
        return None
    for index in rng.choice(len(y), min(PATCHES, len(y)), replace=False):
        unit = (np.array([[x[index], y[index]]], np.float32) + 0.5) * (2 / len(known)) - 1
        column, row = np.round(crop.to_px(unit)[0]).astype(int) - PATCH // 2
        window = image_rgb[max(row, 0) : max(row + PATCH, 0), max(column, 0) : max(column + PATCH, 0)]
        if min(window.shape[:2]) == PATCH:
            samples.append(window.astype(np.float32))
    if not samples:
        return None
    levels = np.array([[_band_levels(sample, bands)] for sample in samples])[:, 0]  # (samples, bands, 3)
    # Flat skin is in the lower half; the upper one has pores, hair and edges in it.
    strength = np.minimum(np.percentile(levels, 40, axis=0), MAX_LEVEL)
    return Grain(_noise(strength, rng))


def sharpen(restored: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Return the restored crop sharpened, before it is upsampled.

    Args:
        restored: The crop, (S, S, 3).
        scale: Factor of the upsampling, at least 1.
    """
    amount = SHARPENING * min(1.0, scale - 1)
    return np.asarray(restored + amount * (restored - cv2.GaussianBlur(restored, (0, 0), 1.0)), np.float32)


def _band_levels(pixels: NDArray[np.float32], bands: int) -> NDArray[np.float64]:
    """Return the robust standard deviation of each band and channel, (bands, 3)."""
    levels, current = [], pixels
    for band in range(bands):
        smoother = cv2.GaussianBlur(pixels, (0, 0), 0.7 * 2**band)
        detail = current - smoother
        levels.append(MAD_TO_SD * np.median(np.abs(detail - np.median(detail, axis=(0, 1))), axis=(0, 1)))
        current = np.asarray(smoother, np.float32)
    return np.array(levels)


def _noise(strength: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return noise of that standard deviation in each band and channel, (T, T, 3); the channels share a pattern."""
    white = rng.standard_normal((TILE, TILE)).astype(np.float32)
    tile = np.zeros((TILE, TILE, 3), np.float32)
    spectrum = np.fft.rfft2(white)
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])
    passed = np.ones_like(frequency)
    for band, level in enumerate(strength):
        smoother = np.exp(-2 * (math.pi * frequency * 0.7 * 2**band) ** 2)
        detail = np.fft.irfft2(spectrum * (passed - smoother), s=(TILE, TILE))
        tile += (detail / max(float(detail.std()), 1e-6))[..., None] * level
        passed = smoother
    return tile
