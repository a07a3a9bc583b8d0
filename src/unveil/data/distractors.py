"""What a restorer must not take for an occluder: cast shadows, spectacle frames, beards, motion blur.

H and W are the image's sides. Each function changes an image (H, W, 3) of a face with the 68 landmarks of ibug68 in
pixels. The same generator state gives the same change, so that both images of a pair get it alike.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.schemes.ibug68 import BRIDGE, JAW, LEFT_EAR, LEFT_EYE, NOSE_BASE, OUTER_LIPS, RIGHT_EAR, RIGHT_EYE
from unveil.types import Image, Points

SHIFT = 4  # fractional bits of OpenCV's coordinates
BEARD = tuple(range(JAW.start + 3, JAW.stop - 3))  # the jaw from below one ear to below the other


def cast_shadow(image: Image, points_px: Points, rng: np.random.Generator) -> Image:
    """Darken a random polygon of the face, with a hard or a soft edge, as the shadow of something outside the image."""
    height, width = image.shape[:2]
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    size = float(np.linalg.norm(high - low))
    count = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * math.pi, count))
    radii = size * rng.uniform(0.15, 0.7, count)
    centre = rng.uniform(low - 0.2 * size, high + 0.2 * size)
    corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    opacity = _filled(corners, height, width)
    opacity = cv2.GaussianBlur(opacity, (0, 0), size * float(np.exp(rng.uniform(math.log(0.004), math.log(0.06)))))
    light = 1 - opacity[..., None] * rng.uniform(0.25, 0.8) * (1 - rng.uniform(0, 0.12, 3))
    return _image(image * light)


def spectacles(image: Image, points_px: Points, rng: np.random.Generator) -> Image:
    """Draw a thin frame of clear glasses around the eyes."""
    height, width = image.shape[:2]
    eyes = [points_px[part].mean(axis=0) for part in (LEFT_EYE, RIGHT_EYE)]
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    if apart < 4:
        return image
    angle = math.degrees(math.atan2(*(eyes[1] - eyes[0])[::-1]))
    reach = apart * np.array([rng.uniform(0.32, 0.44), rng.uniform(0.22, 0.38)])
    thickness = max(1, round(apart * rng.uniform(0.012, 0.06)))
    canvas = np.zeros((height, width), np.uint8)

    def fixed(point: NDArray[np.floating]) -> tuple[int, int]:
        x, y = np.round(np.clip(point, -4096, 4096) * 2**SHIFT).astype(int)
        return int(x), int(y)

    for eye in eyes:
        axes = fixed(reach)
        cv2.ellipse(canvas, fixed(eye), axes, angle, 0, 360, 255, thickness, cv2.LINE_AA, SHIFT)
    across = (eyes[1] - eyes[0]) / apart
    inner = (eyes[0] + across * reach[0], eyes[1] - across * reach[0])
    cv2.line(canvas, fixed(inner[0]), fixed(inner[1]), 255, thickness, cv2.LINE_AA, SHIFT)
    if rng.random() < 0.7:
        for eye, ear, sign in ((eyes[0], LEFT_EAR, -1), (eyes[1], RIGHT_EAR, 1)):
            outer = fixed(eye + sign * across * reach[0])
            cv2.line(canvas, outer, fixed(points_px[ear]), 255, thickness, cv2.LINE_AA, SHIFT)
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.3 else np.full(3, rng.uniform(0, 90))
    opacity = canvas.astype(np.float32)[..., None] / 255 * rng.uniform(0.6, 1.0)
    return _image(image + opacity * (colour.astype(np.float32) - image))


def beard(image: Image, points_px: Points, rng: np.random.Generator) -> Image:
    """Darken the jaw and the upper lip by a noisy texture."""
    height, width = image.shape[:2]
    jaw, nose = points_px[list(BEARD)], points_px[NOSE_BASE]
    size = float(np.linalg.norm(points_px[RIGHT_EAR] - points_px[LEFT_EAR]))
    if size < 8:
        return image
    top = nose + rng.uniform(0.1, 0.3) * (points_px[OUTER_LIPS].mean(axis=0) - nose)
    opacity = _filled(np.concatenate([jaw, top[None]]), height, width)
    opacity -= _filled(points_px[OUTER_LIPS], height, width)
    opacity = cv2.GaussianBlur(np.clip(opacity, 0, 1), (0, 0), max(0.03 * size, 0.5))
    fine = rng.normal(0, 1, (height, width)).astype(np.float32)
    hairs = cv2.GaussianBlur(fine, (0, 0), max(size / 250, 0.3))
    hairs = np.clip(0.75 + 0.5 * hairs / max(float(hairs.std()), 1e-6) * 0.5, 0, 1)
    colour = np.array([60, 45, 35], np.float32) * rng.uniform(0.2, 2.2) + rng.normal(0, 8, 3).astype(np.float32)
    weight = (opacity * hairs * rng.uniform(0.35, 0.95))[..., None]
    return _image(image + weight * (np.clip(colour, 0, 255) - image))


def motion_blur(image: Image, points_px: Points, rng: np.random.Generator) -> Image:
    """Blur along a line of up to an eighteenth of the face's width."""
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
    return canvas.astype(np.float32) / 255


def _image(pixels: NDArray[np.floating]) -> Image:
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
