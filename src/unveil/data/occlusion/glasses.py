"""Clear glasses: the frames occlude, the lenses do not, except where they reflect a light. h, w: the window."""

import math

import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import MIN_THICKNESS, Alpha, Occluded, Window, unoccluded
from unveil.data.occlusion.frame import FaceFrame, require_ibug68
from unveil.data.occlusion.scene import MARGIN, photograph
from unveil.data.occlusion.sunglasses import SHAPES, bridge_bars, lens_outlines, temple_bars
from unveil.data.occlusion.textures import jitter, random_colour
from unveil.types import Image, Points

FRAMES = ((22, 20, 20), (40, 30, 26), (90, 55, 30), (150, 150, 155), (190, 160, 90), (60, 20, 30), (230, 228, 225))


def glasses(image: Image, points_px: Points, rng: np.random.Generator) -> Occluded:
    """Put clear glasses on the face.

    Args:
        image: RGB, (H, W, 3).
        points_px: The 68 landmarks of ibug68, (68, 2), in pixels.
        rng: The same state gives the same result.

    Returns:
        The image with glasses; the mask has frames and bright reflections.
    """
    require_ibug68("glasses", points_px)
    frame = FaceFrame.of(points_px)
    shape = list(SHAPES)[rng.integers(len(SHAPES) - 1)]  # without the shield
    lenses, axes = lens_outlines(points_px, rng, shape)
    size = float(np.linalg.norm(axes[0]))
    temples = temple_bars(points_px, lenses, size)
    window = Window.around(np.concatenate([*lenses, *temples]), image, MARGIN)
    if window.empty:
        return unoccluded(image)
    thick = rng.random() < 0.55
    thickness = size * (rng.uniform(0.05, 0.13) if thick else rng.uniform(0.012, 0.05))
    rims = [np.concatenate([lens, lens[:1]]) for lens in lenses]
    if not thick and rng.random() < 0.25:
        rims = [lens[30:64] for lens in lenses]  # half-rim: only the upper part
    bars = window.stroke(*rims, thickness=max(thickness, MIN_THICKNESS))
    bars = np.maximum(bars, window.stroke(*bridge_bars(lenses, rng), thickness=max(thickness, MIN_THICKNESS)))
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
    return photograph(
        image, window, np.asarray(paint, np.float32), np.asarray(alpha, np.float32), frame, rng, shadow=0.3
    )


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
