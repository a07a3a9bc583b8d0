"""Image changes that a restorer must not treat as occluders: cast shadows and motion blur.

H and W are the image's sides. Each function changes an image (H, W, 3) of a face with the 68 landmarks of ibug68 in
pixels. The same generator state gives the same change, so that it can be applied to both images of a pair.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.schemes.ibug68 import BRIDGE, RIGHT_EAR
from unveil.types import Image, Points

SHIFT = 4  # fractional bits of OpenCV's coordinates


def cast_shadow(image: Image, points_px: Points, rng: np.random.Generator) -> Image:
    """Darken a random polygon of the face, with a hard or a soft edge, as the shadow of an object outside the image.

    Args:
        image: RGB, (H, W, 3).
        points_px: Landmarks (68, 2) in pixels.
        rng: Source of randomness.

    Returns:
        The changed image.
    """
    height, width = image.shape[:2]
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    size = float(np.linalg.norm(high - low))
    count = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * math.pi, count))
    radii = size * rng.uniform(0.15, 0.7, count)
    centre = rng.uniform(low - 0.2 * size, high + 0.2 * size)
    corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    opacity = _filled(corners, height, width)
    sigma = size * float(np.exp(rng.uniform(math.log(0.004), math.log(0.06))))
    opacity = np.asarray(cv2.GaussianBlur(opacity, (0, 0), sigma), np.float32)
    light = 1 - opacity[..., None] * rng.uniform(0.25, 0.8) * (1 - rng.uniform(0, 0.12, 3))
    return _image(image * light)


def motion_blur(image: Image, points_px: Points, rng: np.random.Generator) -> Image:
    """Blur along a line of up to an eighteenth of the face's width.

    Args:
        image: RGB, (H, W, 3).
        points_px: Landmarks (68, 2) in pixels.
        rng: Source of randomness.

    Returns:
        The blurred image.
    """
    size = float(np.linalg.norm(points_px[RIGHT_EAR] - points_px[BRIDGE]) + 1) * 2
    length = int(np.clip(size * rng.uniform(0.015, 0.055), 3, 31)) | 1
    kernel = np.zeros((length, length), np.float32)
    middle, angle = (length - 1) / 2, rng.uniform(0, math.pi)
    step = middle * np.array([math.cos(angle), math.sin(angle)])
    ends = [tuple(np.round(middle + sign * step).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _filled(outline: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    canvas = np.zeros((height, width), np.uint8)
    fixed = np.round(np.clip(outline, -4096, 4096) * 2**SHIFT).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 255, cv2.LINE_AA, SHIFT)
    return np.asarray(canvas.astype(np.float32) / 255, np.float32)


def _image(pixels: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(pixels + 0.5, 0, 255), np.uint8)
