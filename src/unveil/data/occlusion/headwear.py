"""Drawn hats, hoods and scarves: above the brows, around the face, from below. Coordinates are those of `FaceFrame`."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Alpha, Occluded, Paint, Window, unoccluded
from unveil.data.occlusion.fabric import base_colour, fabric
from unveil.data.occlusion.frame import FaceFrame, FaceImage, Head
from unveil.data.occlusion.mask_shape import spline
from unveil.data.occlusion.scene import MARGIN, photograph

Outline = NDArray[np.float64]
"""Corners (N, 2) in face coordinates."""


def hat(face: FaceImage, rng: np.random.Generator) -> Occluded:
    """Return the face under a beanie, a cap with a visor, a hat with a brim, or a helmet.

    Args:
        face: The face.
        rng: The random generator.
    """
    image, frame, head = face.image, face.frame, face.head
    edge = head.brows + (rng.uniform(-0.55, 0.1) if rng.random() < 0.65 else rng.uniform(0.1, 0.5))
    tilt = rng.normal(0, 0.08)
    kind = rng.random()
    dome = _dome(head, edge, tilt, rng)
    parts = [dome]
    if kind < 0.35:  # a beanie with a folded edge
        parts.append(_band(head, edge, tilt, rng.uniform(0.15, 0.5)))
    elif kind < 0.7:
        parts.append(_visor(head, edge, tilt, rng))
    elif kind < 0.9:
        parts.append(_brim(head, edge, tilt, rng))
    outlines = [frame.to_px(part) for part in parts]
    window = Window.around(np.concatenate(outlines), image, MARGIN)
    if window.empty:
        return unoccluded(image)
    masks = [window.fill(outline) for outline in outlines]
    paint = _cloth(window, rng) if kind < 0.9 else _shell(window, rng)
    if kind < 0.35 and rng.random() < 0.8:
        paint *= _ribs(window, frame, rng)[..., None]
    for mask in masks[1:]:
        part = _cloth(window, rng) if rng.random() < 0.3 else paint * np.float32(rng.uniform(0.6, 1.15))
        edge_shade = 0.7 + 0.3 * cv2.GaussianBlur(mask, (0, 0), max(frame.size * 0.1, 0.5))
        shaded = mask * np.asarray(edge_shade, np.float32)
        paint = paint * (1 - mask[..., None]) + part * shaded[..., None]
    return photograph(face, window, np.asarray(paint, np.float32), np.maximum.reduce(masks), rng)


def hood(face: FaceImage, rng: np.random.Generator) -> Occluded:
    """Return the face in a hood, a headscarf or a balaclava; it covers temples, cheeks and often the jaw.

    Args:
        face: The face.
        rng: The random generator.
    """
    image, frame, head = face.image, face.frame, face.head
    angles = np.linspace(0, math.tau, 48, endpoint=False)
    closed = rng.random() < 0.55
    top = head.hairline + rng.uniform(-0.1, 0.75)
    low = head.chin + (rng.uniform(-0.35, 0.2) if closed else rng.uniform(0.4, 1.2))
    half = head.radius * (rng.uniform(0.85, 1.08) if rng.random() < 0.65 else rng.uniform(0.62, 0.85))
    middle = head.middle + rng.normal(0, 0.06)
    power = rng.uniform(1.7, 2.6)
    cos, sin = np.cos(angles), np.sin(angles)
    shape = np.stack([np.sign(cos) * np.abs(cos) ** (2 / power), np.sign(sin) * np.abs(sin) ** (2 / power)], axis=1)
    opening = shape * (half, (low - top) / 2) + (middle, (low + top) / 2)
    wide, high = rng.uniform(1.2, 1.7), rng.uniform(1.05, 1.3)
    bottom = head.chin + rng.uniform(0.7, 1.8)
    arc = head.arc(np.linspace(math.pi, 0, 24), wide, high)
    sides = head.radius * (wide + rng.uniform(0.1, 0.8))
    outer = np.concatenate([arc, [[head.middle + sides, bottom], [head.middle - sides, bottom]]])
    outer_px, opening_px = frame.to_px(outer), frame.to_px(opening)
    window = Window.around(outer_px, image, MARGIN)
    if window.empty:
        return unoccluded(image)
    hole = window.fill(opening_px)
    alpha = window.fill(outer_px) * (1 - hole)
    rim = window.stroke(np.concatenate([opening_px, opening_px[:1]]), thickness=frame.size * rng.uniform(0.04, 0.16))
    depth = cv2.GaussianBlur(hole, (0, 0), max(frame.size * rng.uniform(0.1, 0.3), 1.0))
    paint = _cloth(window, rng) * (1 - np.float32(rng.uniform(0.1, 0.6)) * depth)[..., None]
    paint = paint * (1 + np.float32(rng.uniform(-0.3, 0.3)) * rim)[..., None]
    return photograph(face, window, np.asarray(paint, np.float32), np.asarray(alpha, np.float32), rng)


def _lower_edge(head: Head, edge: float, tilt: float, width: float, sag: float) -> Outline:
    """Return a line (17, 2) across the forehead, left to right, curved down in the middle by `sag`."""
    u = np.linspace(-1, 1, 17)
    x = head.middle + width * head.radius * u
    return np.stack([x, edge + tilt * u + sag * (1 - u**2)], axis=1)


def _dome(head: Head, edge: float, tilt: float, rng: np.random.Generator) -> Outline:
    """Return the part of a hat above its edge."""
    width, height = rng.uniform(1.08, 1.3), rng.uniform(1.08, 1.45)
    line = _lower_edge(head, edge, tilt, width, rng.uniform(-0.12, 0.1))
    arc = head.arc(np.linspace(0.1, math.pi - 0.1, 24), width, height)
    arc = arc[arc[:, 1] < edge - 0.05]
    return np.concatenate([line, arc])


def _band(head: Head, edge: float, tilt: float, height: float) -> Outline:
    """Return the folded edge of a beanie."""
    low = _lower_edge(head, edge + 0.03, tilt, 1.27, 0.05)
    return np.concatenate([low, _lower_edge(head, edge - height, tilt, 1.24, 0.02)[::-1]])


def _visor(head: Head, edge: float, tilt: float, rng: np.random.Generator) -> Outline:
    """Return a cap's visor in front of the forehead; it points to one side of a turned head."""
    width, drop, aside = rng.uniform(0.75, 1.15), rng.uniform(0.12, 0.5), rng.normal(0, 0.15)
    upper = _lower_edge(head, edge - 0.1, tilt, width, -0.05)
    lower = _lower_edge(head, edge, tilt, width * rng.uniform(0.95, 1.1), drop)
    lower[:, 0] += aside * (1 - np.linspace(-1, 1, len(lower)) ** 2)
    return np.concatenate([upper, lower[::-1]])


def _brim(head: Head, edge: float, tilt: float, rng: np.random.Generator) -> Outline:
    """Return the brim of a hat: a flat ellipse."""
    angles = np.linspace(0, math.tau, 40, endpoint=False)
    width, height = rng.uniform(1.4, 2.4), rng.uniform(0.12, 0.35)
    x, y = width * head.radius * np.cos(angles), height * np.sin(angles)
    return np.stack([head.middle + x, edge - 0.05 + y + tilt * np.cos(angles)], axis=1)


def _cloth(window: Window, rng: np.random.Generator) -> Paint:
    """Return fabric that fills the window, (h, w, 3)."""
    return np.asarray(cv2.resize(fabric(rng), window.size, interpolation=cv2.INTER_LINEAR), np.float32)


def _shell(window: Window, rng: np.random.Generator) -> Paint:
    """Return the smooth surface of a helmet with a highlight, (h, w, 3)."""
    y, x = np.mgrid[0 : window.height, 0 : window.width].astype(np.float32)
    x, y = x / window.width - rng.uniform(0.25, 0.75), y / window.height - rng.uniform(0.1, 0.5)
    light = np.exp(-((x / rng.uniform(0.1, 0.3)) ** 2) - (y / rng.uniform(0.1, 0.3)) ** 2)
    shade = 1 - np.float32(rng.uniform(0.2, 0.5)) * (x**2 + y**2) * 2
    colour = base_colour(rng)
    return np.asarray(colour * shade[..., None] + np.float32(rng.uniform(20, 120)) * light[..., None], np.float32)


def _ribs(window: Window, frame: FaceFrame, rng: np.random.Generator) -> Alpha:
    """Return the shading of knitted ribs along the face's axis, (h, w)."""
    y, x = np.mgrid[window.y0 : window.y1, window.x0 : window.x1].astype(np.float32)
    across = (x * np.float32(frame.right[0]) + y * np.float32(frame.right[1])) / np.float32(frame.size)
    ribs = np.sin(across * np.float32(math.tau * rng.uniform(4, 11)))
    return np.asarray(1 + np.float32(rng.uniform(0.05, 0.25)) * ribs, np.float32)


def scarf(face: FaceImage, rng: np.random.Generator) -> Occluded:
    """Return the face behind a scarf, a collar or a turtleneck: over the chin, the mouth or up to the nose.

    Args:
        face: The face.
        rng: The random generator.
    """
    image, frame, head = face.image, face.frame, face.head
    draw = rng.random()
    middle_y = (
        head.chin + rng.uniform(-0.3, 0.12)
        if draw < 0.45
        else head.mouth + rng.uniform(-0.15, 0.3)
        if draw < 0.8
        else head.mouth - rng.uniform(0.25, 0.55)
    )
    rise = rng.uniform(-0.15, 0.55) if draw >= 0.45 else rng.uniform(-0.1, 0.35)
    wide = rng.uniform(1.0, 1.5)
    u = np.linspace(-1, 1, 9)
    y = middle_y - rise * np.abs(u) ** rng.uniform(1.2, 2.5) + rng.normal(0, 0.025, 9) + rng.normal(0, 0.1) * u
    x = head.middle + head.radius * wide * u
    upper = spline(np.stack([x, y], axis=1), 40)
    if draw < 0.2:  # an open collar: it covers the sides of the jaw and leaves the chin
        upper[:, 1] += 0.9 * np.exp(-((np.linspace(-1, 1, 40) / rng.uniform(0.25, 0.5)) ** 2))
    upper[:, 1] += rng.uniform(0.1, 0.4) * np.abs(np.linspace(-1, 1, 40)) ** 8  # round corners
    bottom, flare = head.chin + rng.uniform(0.8, 2.0), rng.uniform(1.1, 2.2)
    lower = np.array(
        [[head.middle + head.radius * wide * flare, bottom], [head.middle - head.radius * wide * flare, bottom]]
    )
    outline_px = frame.to_px(np.concatenate([upper, lower]))
    window = Window.around(outline_px, image, MARGIN)
    if window.empty:
        return unoccluded(image)
    alpha = window.fill(outline_px)
    paint = _cloth(window, rng)
    for offset in np.cumsum(rng.uniform(0.12, 0.4, int(rng.integers(0, 5)))):  # folds run along the upper edge
        fold = frame.to_px(upper + np.array([0, offset]) + rng.normal(0, 0.02, (len(upper), 2)))
        ink = cv2.GaussianBlur(window.stroke(fold, thickness=frame.size * 0.05), (0, 0), max(frame.size * 0.03, 0.6))
        paint *= (1 - np.float32(rng.uniform(0.15, 0.5)) * ink)[..., None]
    hem = window.stroke(frame.to_px(upper + np.array([0, 0.03])), thickness=max(frame.size * 0.06, 1.0))
    paint *= (1 + np.float32(rng.uniform(-0.25, 0.25)) * hem)[..., None]
    return photograph(face, window, np.asarray(paint, np.float32), alpha, rng, shadow=0.6)
