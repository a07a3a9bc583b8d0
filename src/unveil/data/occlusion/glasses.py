"""Dark and clear glasses drawn from the eyes. N corners of an outline; h, w: the window."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import (
    MIN_THICKNESS,
    Alpha,
    Occluded,
    Paint,
    Window,
    match_saturation,
    paste,
    soften,
    unoccluded,
)
from unveil.data.occlusion.frame import FaceImage
from unveil.data.occlusion.scene import MARGIN, photograph
from unveil.data.occlusion.textures import Colour, jitter, random_colour
from unveil.schemes.ibug68 import BROWS, LEFT_EAR, LEFT_EYE, NOSE_BRIDGE, RIGHT_EAR, RIGHT_EYE, UPPER_LIP
from unveil.types import Image, Points

TINTS = ((12, 12, 14), (30, 22, 18), (62, 38, 22), (20, 34, 60), (24, 50, 36), (90, 30, 60), (70, 70, 76))
FRAMES = ((22, 20, 20), (40, 30, 26), (90, 55, 30), (150, 150, 155), (190, 160, 90), (60, 20, 30), (230, 228, 225))
# Each shape: the exponent of its superellipse, height over width, rise of the outer corner, droop of the outer bottom.
SHAPES = {
    "round": (2.0, 0.95, 0.0, 0.0),
    "rectangle": (4.5, 0.62, 0.02, 0.0),
    "wayfarer": (3.2, 0.74, 0.08, -0.04),
    "aviator": (2.6, 0.86, 0.0, 0.14),
    "cat-eye": (2.6, 0.68, 0.22, -0.05),
    "shield": (3.5, 0.72, 0.0, 0.0),
}


def sunglasses(face: FaceImage, rng: np.random.Generator) -> Occluded:
    """Return the face with sunglasses: lenses, rims, bridge and temples; at most 40 % of the light passes.

    Args:
        face: The face.
        rng: The random generator.
    """
    image, points_px = face.image, face.points_px
    shape = list(SHAPES)[rng.integers(len(SHAPES))]
    lenses, axes = _lens_outlines(points_px, rng, shape)
    size = float(np.linalg.norm(axes[0]))
    temples = _temple_bars(points_px, lenses, size)
    everything = np.concatenate([*lenses, *temples])
    window = Window.around(everything, image, margin=6)
    if window.empty:
        return unoccluded(image)
    paint, opacity = _glass(image, window, rng, lenses)
    alpha = window.fill(*lenses) * opacity
    rim = random_colour(rng) if rng.random() < 0.35 else jitter(rng, (25, 22, 22), 10)
    thickness = size * rng.uniform(0.015, 0.08)
    rims = [np.concatenate([lens, lens[:1]]) for lens in lenses]
    bars = window.stroke(*rims, thickness=thickness)
    bars = np.maximum(bars, window.stroke(*_bridge_bars(lenses, rng), thickness=max(thickness, MIN_THICKNESS)))
    bars = np.maximum(bars, window.stroke(*temples, thickness=max(MIN_THICKNESS, size * rng.uniform(0.03, 0.09))))
    paint += bars[..., None] * (rim - paint)
    alpha = soften(np.maximum(alpha, bars), rng.uniform(0.3, 0.8))
    return paste(image, window, match_saturation(image, paint), alpha, shadow=rng.uniform(0, 0.3))


def glasses(face: FaceImage, rng: np.random.Generator) -> Occluded:
    """Return the face with clear glasses; the mask has their frames and bright reflections.

    Args:
        face: The face.
        rng: The random generator.
    """
    image, points_px = face.image, face.points_px
    shape = list(SHAPES)[rng.integers(len(SHAPES) - 1)]  # without the shield
    lenses, axes = _lens_outlines(points_px, rng, shape)
    size = float(np.linalg.norm(axes[0]))
    temples = _temple_bars(points_px, lenses, size)
    window = Window.around(np.concatenate([*lenses, *temples]), image, MARGIN)
    if window.empty:
        return unoccluded(image)
    thick = rng.random() < 0.55
    thickness = size * (rng.uniform(0.05, 0.13) if thick else rng.uniform(0.012, 0.05))
    rims = [np.concatenate([lens, lens[:1]]) for lens in lenses]
    if not thick and rng.random() < 0.25:
        rims = [lens[30:64] for lens in lenses]  # half-rim: only the upper part
    bars = window.stroke(*rims, thickness=max(thickness, MIN_THICKNESS))
    bars = np.maximum(bars, window.stroke(*_bridge_bars(lenses, rng), thickness=max(thickness, MIN_THICKNESS)))
    if temples:
        bars = np.maximum(bars, window.stroke(*temples, thickness=max(MIN_THICKNESS, size * rng.uniform(0.02, 0.08))))
    glass = window.fill(*lenses)
    reflection = glass * _reflections(window, lenses, rng)
    tint = glass * np.float32(rng.uniform(0, 0.1))
    colour = random_colour(rng) if rng.random() < 0.15 else jitter(rng, FRAMES[rng.integers(len(FRAMES))], 12)
    light = jitter(rng, (235, 240, 250), 10)
    alpha = np.maximum.reduce([bars, reflection, tint])
    paint = np.empty((window.height, window.width, 3), np.float32)
    paint[:] = light
    dark = np.where(reflection >= tint, 0, 1)[..., None] * np.float32(rng.uniform(0.1, 0.9))
    paint = paint * (1 - dark)
    paint += bars[..., None] * (colour - paint)
    return photograph(face, window, np.asarray(paint, np.float32), np.asarray(alpha, np.float32), rng, shadow=0.3)


def _lens_outlines(
    points_px: Points, rng: np.random.Generator, shape: str
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the two outlines (64, 2) in pixels, left first, and the axes (2, 2) between the eyes and down.

    The lenses share the plane of the eyes and brows: foreshortened with the face, so that glasses turn with the head.
    """
    left, right = (points_px[eye].mean(axis=0).astype(np.float64) for eye in (LEFT_EYE, RIGHT_EYE))
    across, middle = right - left, (left + right) / 2
    between = max(float(np.linalg.norm(across)), 1.0)
    height = max(float(np.linalg.norm(points_px[NOSE_BRIDGE].astype(np.float64).mean(axis=0) - middle)), 0.0)
    upright = np.array([-across[1], across[0]]) / between
    true_width = max(between, 0.85 * float(np.linalg.norm(points_px[UPPER_LIP].mean(axis=0) - middle)), height)
    down = upright * true_width
    exponent, ratio, rise, droop = SHAPES[shape]
    width = rng.uniform(0.36, 0.50)
    tall = width * ratio * rng.uniform(0.85, 1.2)
    drop = rng.uniform(0.0, 0.12)
    outward = max(width + rng.uniform(0.03, 0.1) - 0.5, 0.0)  # the lenses do not meet
    angles = np.linspace(0, math.tau, 64, endpoint=False)
    cos, sin = np.cos(angles), np.sin(angles)
    x = np.sign(cos) * np.abs(cos) ** (2 / exponent) * width
    y = np.sign(sin) * np.abs(sin) ** (2 / exponent) * tall
    if shape == "shield":
        x = np.where(x < 0, np.maximum(x * 1.15, -0.5 - outward), x)
    y = y - rise * np.clip(x / width, 0, 1) ** 2 * (y < 0) + droop * np.clip(-x / width + 0.3, -0.5, 1) * (y > 0) * 0.5
    lenses = []
    for eye, side in ((left, -1.0), (right, 1.0)):
        centre = eye + side * outward * across + drop * down
        lenses.append(centre + (side * x)[:, None] * across + y[:, None] * down)
    return lenses, np.stack([across, down])


def _bridge_bars(lenses: list[NDArray[np.float64]], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return one or two bars (2, 2) from lens to lens; index 32 is a lens's inner end."""
    bars = [np.stack([lenses[0][32 + step], lenses[1][32 + step]]) for step in ((4,) if rng.random() < 0.7 else (2, 9))]
    return [bar for bar in bars if np.isfinite(bar).all()]


def _temple_bars(points_px: Points, lenses: list[NDArray[np.float64]], size: float) -> list[NDArray[np.float64]]:
    """Return bars (2, 2) from the lenses' outer ends to the ears, on the sides where the cheek is visible."""
    temples = []
    for lens, ear in zip(lenses, (points_px[LEFT_EAR], points_px[RIGHT_EAR]), strict=True):
        end = lens[60]
        outward = float((ear - end) @ (end - lens.mean(axis=0)))
        if outward > 0 and float(np.linalg.norm(ear - end)) > 0.08 * size:
            above = points_px[BROWS].mean(axis=0) - points_px[NOSE_BRIDGE].mean(axis=0)
            temples.append(np.stack([end, ear + 0.1 * above]))
    return temples


def _glass(
    image: Image, window: Window, rng: np.random.Generator, lenses: list[NDArray[np.float64]]
) -> tuple[Paint, NDArray[np.float32]]:
    """Return the lenses' paint (h, w, 3) and opacity (h, w): a tint, lighter downwards, with a reflection."""
    tint: Colour = jitter(rng, TINTS[rng.integers(len(TINTS))], 10) if rng.random() < 0.85 else random_colour(rng)
    points = np.concatenate(lenses)
    top, bottom = points[:, 1].min(), max(points[:, 1].max(), points[:, 1].min() + 1)
    rows = np.arange(window.y0, window.y1, dtype=np.float32)
    down = np.clip((rows - top) / (bottom - top), 0, 1)[:, None].astype(np.float32)
    opacity = 1.0 if rng.random() < 0.5 else rng.uniform(0.72, 0.98)
    fade = rng.uniform(0.62, 1.0) if rng.random() < 0.4 else 1.0
    opacities = np.broadcast_to(opacity * (1 - (1 - fade) * down), (window.height, window.width)).astype(np.float32)
    opacities = np.maximum(opacities, np.float32(0.62))
    paint = np.empty((window.height, window.width, 3), np.float32)
    paint[:] = tint + down[..., None] * np.float32(rng.uniform(0, 40))
    if rng.random() < 0.6:
        paint += _reflection(image, window, rng)
    return paint, opacities


def _reflection(image: Image, window: Window, rng: np.random.Generator) -> Paint:
    """Return reflected light (h, w, 3): the image itself, mirrored and blurred, or a slanting streak."""
    strength = np.float32(rng.uniform(0.05, 0.35))
    if rng.random() < 0.5:
        small = cv2.resize(image, (12, 12), interpolation=cv2.INTER_AREA)[::-1, ::-1]
        large = cv2.resize(np.ascontiguousarray(small), (window.width, window.height), interpolation=cv2.INTER_CUBIC)
        return large.astype(np.float32) * strength
    y, x = np.mgrid[0 : window.height, 0 : window.width].astype(np.float32) / max(window.width, 1)
    streak = np.exp(-(((x * rng.uniform(4, 10) + y * rng.uniform(-6, 6)) % 2 - 1) ** 2) * rng.uniform(4, 14))
    return np.asarray((255 * strength * streak)[..., None], np.float32)


def _reflections(window: Window, lenses: list[NDArray[np.float64]], rng: np.random.Generator) -> Alpha:
    """Return the opacity (h, w) of reflected lights: faint streaks, sometimes a bright window or flash."""
    found = np.zeros((window.height, window.width), np.float32)
    if rng.random() < 0.5:
        return found
    y, x = np.mgrid[window.y0 : window.y1, window.x0 : window.x1].astype(np.float32)
    angle, offset = rng.uniform(0, math.pi), rng.uniform(-0.3, 0.3, 2)
    bright = rng.uniform(0.55, 1.0) if rng.random() < 0.3 else rng.uniform(0.08, 0.45)
    both = rng.random() < 0.7
    for lens in lenses if both else lenses[: 1 + int(rng.integers(2))]:
        centre, extent = lens.mean(axis=0), np.ptp(lens, axis=0).max() / 2
        u, v = (x - centre[0]) / extent - offset[0], (y - centre[1]) / extent - offset[1]
        along = u * math.cos(angle) + v * math.sin(angle)
        across = v * math.cos(angle) - u * math.sin(angle)
        spot = np.exp(-((along / rng.uniform(0.15, 0.4)) ** 4) - (across / rng.uniform(0.3, 1.5)) ** 4)
        found = np.maximum(found, np.float32(bright) * spot.astype(np.float32))
    return found
