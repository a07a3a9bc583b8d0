"""Masks that are cut flat and laid on through six anchors, as templates are: their edges do not follow the jaw.

Mask coordinates: x from -1 to 1 between the sides, y from 0 at the nose bridge to 1 at the chin. N counts points.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Occluded, Window
from unveil.data.occlusion.fabric import STRAP, base_colour, fabric
from unveil.data.occlusion.frame import require_ibug68
from unveil.data.occlusion.library import Template
from unveil.data.occlusion.mask_shape import spline
from unveil.data.occlusion.template import TURNED, lay_template, yaw_of
from unveil.types import Image, Points

HEIGHT, WIDTH = 128, 160
ROOM = 0.3  # round the mask, for straps, in mask coordinates
ANCHORS = ((-1.0, 0.24), (0.0, 0.0), (1.0, 0.24), (-0.88, 0.7), (0.0, 1.0), (0.88, 0.7))


def flat_mask(image: Image, points_px: Points, rng: np.random.Generator) -> Occluded:
    """Put a flat mask of random cut and fabric on the face; its sides may lie outside or inside the jaw.

    Args:
        image: RGB, (H, W, 3).
        points_px: The 68 landmarks of ibug68, (68, 2), in pixels.
        rng: The same state gives the same result.

    Returns:
        The masked image.
    """
    require_ibug68("flat", points_px)
    yaw = yaw_of(points_px)
    aside = 0.0 if abs(yaw) <= TURNED else float(np.sign(yaw)) * rng.uniform(0.2, 0.6)
    return lay_template(image, points_px, draw_template(rng, aside), rng)


def draw_template(rng: np.random.Generator, aside: float = 0.0) -> Template:
    """Draw a mask with its anchors.

    Args:
        rng: The same state gives the same mask.
        aside: Where the mask's middle lies, -1 to 1; 0 for a frontal head.

    Returns:
        The mask as a template.
    """
    size = np.array([WIDTH, HEIGHT])

    def to_px(points: NDArray[np.float64]) -> NDArray[np.float64]:
        turned = points + np.stack([aside * (1 - np.clip(points[:, 0], -1, 1) ** 2), np.zeros(len(points))], axis=1)
        low, high = np.array([-1 - ROOM, -ROOM]), np.array([1 + ROOM, 1 + ROOM])
        return np.asarray((turned - low) / (high - low) * size - 0.5)

    outline = _outline(rng)
    window = Window(0, 0, WIDTH, HEIGHT)
    alpha = window.fill(to_px(outline))
    (left, top), (right, bottom) = to_px(outline).min(axis=0), to_px(outline).max(axis=0)
    x = (np.arange(WIDTH, dtype=np.float32) - np.float32(left)) / np.float32(max(right - left, 1))
    y = (np.arange(HEIGHT, dtype=np.float32) - np.float32(top)) / np.float32(max(bottom - top, 1))
    flat = fabric(rng)
    across, down = np.meshgrid(x * (flat.shape[1] - 1), y * (flat.shape[0] - 1))
    paint = cv2.remap(flat, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.3:  # a hem in another shade
        hem = window.stroke(to_px(np.concatenate([outline, outline[:1]])), thickness=rng.uniform(1, 8))
        paint = paint * (1 + hem[..., None] * np.float32(rng.uniform(-0.4, 0.3)))
    if rng.random() < 0.6:
        lines = window.stroke(*(to_px(line) for line in _straps(rng, outline)), thickness=rng.uniform(2, 3.4))
        colour = STRAP if rng.random() < 0.7 else base_colour(rng)
        paint = paint + ((1 - alpha) * (lines > 0))[..., None] * (colour - paint)
        alpha = np.maximum(alpha, lines)
    rgb = np.clip(paint, 0, 255) * alpha[..., None]
    pixels = np.concatenate([rgb, 255 * alpha[..., None]], axis=2).astype(np.uint8)
    return Template("flat", pixels, to_px(np.array(ANCHORS)).astype(np.float32))


def _outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a closed line (N, 2) from the middle of the upper edge: pleated, cup, fold or cloth, or between them."""
    wide, low = rng.uniform(0.72, 1.16), rng.uniform(0.5, 1.08)
    corner, foot = rng.uniform(-0.04, 0.36), rng.uniform(0.62, 0.95)
    bridge, chin = rng.uniform(-0.14, 0.12), rng.uniform(0.93, 1.16)
    low = min(low, wide + 0.05)
    hollow, belly = rng.uniform(-0.06, 0.1), rng.uniform(0.0, 0.14)
    top = np.array([[0.22, bridge + 0.02 + hollow / 3], [0.6 * wide, (bridge + corner) / 2 + hollow], [wide, corner]])
    side = np.array([[(wide + low) / 2 + belly * rng.uniform(-0.4, 1), (corner + foot) / 2], [low, foot]])
    bottom = np.array([[0.55 * low, foot + (chin - foot) * rng.uniform(0.55, 0.95)], [0.2 * low, chin]])
    half = np.concatenate([top, side, bottom])
    skew = rng.normal(0, 0.03, (2, len(half), 2))
    right, left = half + skew[0], (half + skew[1]) * (-1, 1)
    edges = [np.array([[0.0, bridge]]), right, np.array([[0.0, chin]]), left[::-1], np.array([[0.0, bridge]])]
    corners = np.concatenate(edges)
    return corners if rng.random() < 0.35 else spline(corners, 96)


def _straps(rng: np.random.Generator, outline: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return four lines (2, 2) from the upper and lower corners to the ears or around the head."""
    lift, drop = rng.uniform(-0.25, 0.3), rng.uniform(-0.35, 0.15)
    lines = []
    for sign in (-1.0, 1.0):
        half = outline[sign * outline[:, 0] > 0.4] if (sign * outline[:, 0] > 0.4).any() else outline
        upper, lower = half[half[:, 1].argmin()], half[half[:, 1].argmax()]
        end = sign * (1 + ROOM)
        lines += [np.stack([upper, [end, upper[1] + lift]]), np.stack([lower, [end, lower[1] + drop]])]
    return lines
