"""Drawn beards, moustaches and goatees: short hairs on the jaw, the chin and the upper lip. N corners."""

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Occluded, Window, unoccluded
from unveil.data.occlusion.frame import FaceFrame, FaceImage
from unveil.data.occlusion.mask_shape import spline
from unveil.data.occlusion.scene import MARGIN, hair_colour, photograph
from unveil.data.occlusion.textures import value_noise
from unveil.schemes.ibug68 import CHIN, JAW, NOSE_BASE, OUTER_LIPS

LEFT_CORNER, RIGHT_CORNER, LIP_TOP, LIP_BOTTOM = 48, 54, 51, 57
NOSTRIL_SIDES = (31, 35)


def beard(face: FaceImage, rng: np.random.Generator) -> Occluded:
    """Return the face with a beard, a moustache, a goatee or all of them.

    Stubble through which the skin is visible is not in the mask.

    Args:
        face: The face.
        rng: The random generator.
    """
    image, frame, points = face.image, face.frame, face.points
    draw = rng.random()
    outlines: list[NDArray[np.float64]] = []
    if draw < 0.65:
        outlines.append(_full(points, rng))
    elif draw < 0.85:
        outlines.append(_goatee(points, rng))
    if draw >= 0.85 or rng.random() < 0.7:
        outlines.append(_moustache(points, rng))
    outlines_px = [frame.to_px(outline) for outline in outlines]
    window = Window.around(np.concatenate(outlines_px), image, MARGIN)
    if window.empty:
        return unoccluded(image)
    lips = points[OUTER_LIPS]
    centre = lips.mean(axis=0)
    mouth = window.fill(frame.to_px(centre + (lips - centre) * rng.uniform(0.8, 1.0)))
    region = np.maximum.reduce([window.fill(outline) for outline in outlines_px]) * (1 - mouth)
    soft = max(frame.size * rng.uniform(0.02, 0.09), 0.6)
    region = cv2.GaussianBlur(region, (0, 0), soft)
    noise = value_noise(rng, window.height, window.width, int(np.clip(window.width / 4, 6, 48)))
    thick = rng.uniform(0.75, 1.1) if rng.random() < 0.85 else rng.uniform(0.3, 0.5)
    alpha = (
        np.clip((region - 0.5) * rng.uniform(1.6, 3.0) + 0.5 + 0.8 * (noise - 0.5), 0, 1)
        * min(thick, 1.0)
        * (region > 0.1)
    )
    paint, strokes = _hairs(window, frame, region, rng)
    alpha = np.maximum(alpha, strokes * thick * 0.9).clip(0, 1)
    return photograph(face, window, paint, np.asarray(alpha, np.float32), rng, shadow=0.2)


def _full(face: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the outline (N, 2) of a beard from ear to ear, longer than the jaw."""
    first = int(rng.integers(1, 5))
    jaw = face[JAW][first : 17 - first]
    centre = np.array([face[CHIN, 0], face[NOSE_BASE, 1]])
    length = rng.uniform(0.0, 0.12) if rng.random() < 0.7 else rng.uniform(0.15, 0.7)
    fall = np.sin(np.linspace(0, np.pi, len(jaw)))[:, None]
    lower = jaw + (jaw - centre) * (0.03 + 0.06 * fall) + np.array([0, length]) * fall
    cheek, below = rng.uniform(0.1, 0.6), rng.uniform(0.0, 0.12)
    left, right = face[LEFT_CORNER], face[RIGHT_CORNER]
    upper = [
        jaw[-1] + cheek * 0.5 * (right - jaw[-1]) + np.array([0, 0.1]),
        right + np.array([0.12, -cheek * 0.25]),
        right + np.array([0.02, 0.04]),
        np.array([face[LIP_BOTTOM, 0], face[LIP_BOTTOM, 1] + 0.03 + below]),
        left + np.array([-0.02, 0.04]),
        left + np.array([-0.12, -cheek * 0.25]),
        jaw[0] + cheek * 0.5 * (left - jaw[0]) + np.array([0, 0.1]),
    ]
    top = np.array([lower[-1], *upper, lower[0]])
    return np.concatenate([spline(lower, 40), spline(top, 40)[1:-1]])


def _goatee(face: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the outline (N, 2) of a beard on the chin."""
    lip, chin = face[LIP_BOTTOM], face[CHIN]
    width, length = rng.uniform(0.15, 0.42), rng.uniform(0.0, 0.35)
    height = chin - lip
    corners = np.array([[-0.5, 0.25], [0.5, 0.25], [1.0, 0.6], [0.6, 1.0], [0.0, 1.05], [-0.6, 1.0], [-1.0, 0.6]])
    across = np.array([height[1], -height[0]])
    across *= -width / max(float(np.linalg.norm(across)), 1e-6)
    points = lip + corners[:, :1] * across + corners[:, 1:] * height + np.array([0, length]) * (corners[:, 1:] > 0.9)
    return spline(np.concatenate([points, points[:1]]), 40)


def _moustache(face: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the outline (N, 2) of a moustache between the nose and the upper lip; it may hang over the lip."""
    wide, hang, droop = rng.uniform(0.6, 1.25), rng.uniform(-0.02, 0.08), rng.uniform(0.0, 0.25)
    base, lip = face[NOSE_BASE], face[LIP_TOP]
    left, right = ((face[corner] - lip) * wide + lip for corner in (LEFT_CORNER, RIGHT_CORNER))
    down = np.array([0.0, droop])
    sides = [face[side] * 0.6 + lip * 0.4 for side in NOSTRIL_SIDES]
    top = base + 0.35 * (lip - base)
    bottom = lip + np.array([0.0, hang])
    points = [left + down, sides[0], top, sides[1], right + down, (right + bottom) / 2, bottom, (left + bottom) / 2]
    return spline(np.array([*points, points[0]]), 48)


def _hairs(
    window: Window, frame: FaceFrame, region: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return short hairs that grow downwards: their paint (h, w, 3) and opacity (h, w)."""
    colour = hair_colour(rng)
    scale, shape = 2, (2 * window.height, 2 * window.width)
    paint = np.empty((*shape, 3), np.uint8)
    paint[:] = np.clip(colour * 0.85, 0, 255)
    ink = np.zeros(shape, np.uint8)
    rows, columns = np.nonzero(region > 0.35)
    if len(rows):
        count = int(np.clip(len(rows) / 6, 20, 700))
        chosen = rng.integers(len(rows), size=count)
        starts = np.stack([columns[chosen], rows[chosen]], axis=1) + rng.uniform(-0.5, 0.5, (count, 2))
        outward = (starts + np.array([window.x0, window.y0]) - frame.centre) @ frame.right / frame.size
        direction = frame.down + (0.5 * outward + rng.normal(0, 0.35, count))[:, None] * frame.right
        ends = starts + direction * (frame.size * rng.uniform(0.03, 0.12))
        lines = (np.stack([starts, ends], axis=1) * scale * 16).astype(np.int32)
        thickness = max(1, round(scale * frame.size * rng.uniform(0.004, 0.012)))
        for line, gain in zip(lines, np.exp(rng.normal(0, 0.25, count)), strict=True):
            cv2.polylines(paint, [line], False, np.clip(colour * gain, 0, 255).tolist(), thickness, cv2.LINE_AA, 4)
        cv2.polylines(ink, list(lines), False, 255, thickness, cv2.LINE_AA, 4)
    small = cv2.resize(paint, window.size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small, cv2.resize(ink, window.size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
