"""Laying a cut-out picture on a photograph through a matrix, in the photograph's light."""

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Occluded, Window, in_keeping, paste, untouched
from unveil.types import Image


def corners(pixels: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the picture's corners (4, 2) go under a 3x3 matrix."""
    height, width = pixels.shape[:2]
    square = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    mapped = np.concatenate([square, np.ones((4, 1))], axis=1) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def warp(pixels: NDArray[np.uint8], matrix: NDArray[np.float64], window: Window) -> NDArray[np.uint8]:
    """The RGBA cut-out resampled to the window, (h, w, 4). It is halved first where it would be sampled with gaps."""
    shift = np.array([[1, 0, -window.x0], [0, 1, -window.y0], [0, 0, 1.0]])
    matrix = shift @ matrix
    spread = np.ptp(corners(pixels, matrix), axis=0).max() / max(pixels.shape[:2])
    shrink = max(float(spread), 0.02)
    if shrink < 0.7:
        small = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        grow = np.array([pixels.shape[1] / small.shape[1], pixels.shape[0] / small.shape[0]])
        matrix = matrix @ np.array([[grow[0], 0, (grow[0] - 1) / 2], [0, grow[1], (grow[1] - 1) / 2], [0, 0, 1]])
        pixels = np.asarray(small, np.uint8)
    size = (window.width, window.height)
    return np.asarray(cv2.warpPerspective(pixels, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


def lay(
    image: Image, window: Window, rgba: NDArray[np.uint8], gain: NDArray[np.float32], shadow: float = 0.0
) -> Occluded:
    """Paste a premultiplied cut-out (h, w, 4); `gain` (3,) multiplies its colours."""
    if window.empty:
        return untouched(image)
    alpha = rgba[..., 3].astype(np.float32) / np.float32(255)
    paint = rgba[..., :3] * (gain / np.maximum(alpha, 1 / 255)[..., None])
    return paste(image, window, in_keeping(image, np.minimum(paint, 255)), alpha, shadow)
