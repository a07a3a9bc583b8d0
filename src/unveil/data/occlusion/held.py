"""Things held before the mouth or the cheek, drawn: microphones, phones, cups and food, with fingers around them."""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Occluded, Window, unoccluded
from unveil.data.occlusion.fabric import base_colour
from unveil.data.occlusion.frame import FaceImage, Head
from unveil.data.occlusion.scene import MARGIN, photograph, skin_colour
from unveil.data.occlusion.textures import SKIN, Colour, jitter, random_colour, texture, value_noise

Outline = NDArray[np.float64]
"""Corners (N, 2) in the object's own coordinates: its length is about 1, y points to its lower end."""


class _Parts:
    """Parts of an object: outlines with their colours and how round they look, the lowest first."""

    def __init__(self) -> None:
        self.outlines: list[Outline] = []
        self.colours: list[Colour] = []
        self.rounds: list[float] = []

    def add(self, outline: Outline, colour: Colour, roundness: float = 0.0) -> None:
        self.outlines.append(outline)
        self.colours.append(colour)
        self.rounds.append(roundness)


def held_object(face: FaceImage, rng: np.random.Generator) -> Occluded:
    """Return the face behind a microphone, a phone, a cup or food, often with fingers.

    Args:
        face: The face.
        rng: The random generator.
    """
    image, frame, head = face.image, face.frame, face.head
    draw: Callable[[np.random.Generator], _Parts] = (_microphone, _phone, _cup, _food)[rng.integers(4)]
    parts = draw(rng)
    centre, angle, size = _pose(draw, head, rng)
    if rng.random() < 0.6:
        skin = jitter(rng, SKIN[rng.integers(len(SKIN))], 8)
        if rng.random() < 0.7:  # a hand of the person in the photograph
            skin = jitter(rng, tuple(skin_colour(face, skin).tolist()), 6)
        _fingers(parts, skin, rng)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]]) * size
    outlines = [frame.to_px(outline @ turn + centre) for outline in parts.outlines]
    window = Window.around(np.concatenate(outlines), image, MARGIN)
    if window.empty:
        return unoccluded(image)
    paint = np.zeros((window.height, window.width, 3), np.float32)
    alpha = np.zeros((window.height, window.width), np.float32)
    axis = frame.to_px(np.array([[0.0, 0.0], [math.cos(angle), math.sin(angle)]]))
    across = (axis[1] - axis[0]) / max(float(np.linalg.norm(axis[1] - axis[0])), 1e-6)
    light = rng.uniform(-0.6, 0.6)
    for outline, colour, roundness in zip(outlines, parts.colours, parts.rounds, strict=True):
        part = window.fill(outline)
        shaded = colour * _roundness(window, outline, across, roundness, light)[..., None]
        paint += part[..., None] * (shaded - paint)
        alpha = np.maximum(alpha, part)
    if draw is _microphone:
        paint *= _mesh(window, outlines[0])[..., None]
    if draw is _food or rng.random() < 0.2:
        grain = value_noise(rng, window.height, window.width, int(rng.integers(6, 16)))
        paint *= (1 + np.float32(rng.uniform(0.1, 0.5)) * (grain - 0.5))[..., None]
    if draw is _cup and rng.random() < 0.4:
        print_ = texture(rng, window.height, window.width)
        paint += (window.fill(outlines[0]) * np.float32(rng.uniform(0.2, 0.8)))[..., None] * (print_ - paint)
    return photograph(face, window, np.asarray(paint, np.float32), alpha, rng, shadow=0.6)


def _pose(
    draw: Callable[[np.random.Generator], _Parts], head: Head, rng: np.random.Generator
) -> tuple[NDArray[np.float64], float, float]:
    """Return where the object's upper end lies, its turn in radians and its length, in face coordinates."""
    mouth = np.array([head.middle, head.mouth])
    if draw is _phone:
        side = float(rng.choice((-1.0, 1.0)))
        if rng.random() < 0.6:  # at the ear
            place = np.array([head.middle + side * head.radius * rng.uniform(0.55, 0.95), head.ears - 0.4])
            return place, -side * rng.uniform(0.1, 0.6), rng.uniform(1.7, 2.4)
        return (
            mouth + rng.normal(0, 0.3, 2) - np.array([0, rng.uniform(0.2, 0.9)]),
            rng.normal(0, 0.4),
            rng.uniform(1.6, 2.4),
        )
    if draw is _microphone:
        return mouth + rng.normal(0, (0.25, 0.15), 2), rng.normal(0, 0.6), rng.uniform(1.6, 2.6)
    if draw is _cup:
        return mouth + rng.normal(0, (0.15, 0.12), 2) - np.array([0, 0.1]), rng.normal(0, 0.25), rng.uniform(0.9, 1.7)
    return mouth + rng.normal(0, (0.2, 0.1), 2) - np.array([0, 0.1]), rng.normal(0, 0.7), rng.uniform(0.6, 1.4)


def _ellipse(x: float, y: float, a: float, b: float) -> Outline:
    angles = np.linspace(0, math.tau, 40, endpoint=False)
    return np.stack([x + a * np.cos(angles), y + b * np.sin(angles)], axis=1)


def _box(x0: float, y0: float, x1: float, y1: float, taper: float = 0.0, corner: float = 0.0) -> Outline:
    """Return a rectangle with round corners; the lower side is narrower by `taper` on each side."""
    if corner <= 0:
        return np.array([[x0, y0], [x1, y0], [x1 - taper, y1], [x0 + taper, y1]])
    angles = np.linspace(0, math.pi / 2, 6)
    arcs = []
    for cx, cy, start in (
        (x1 - corner, y1 - corner, 0.0),
        (x0 + corner, y1 - corner, math.pi / 2),
        (x0 + corner, y0 + corner, math.pi),
        (x1 - corner, y0 + corner, 1.5 * math.pi),
    ):
        arcs.append(np.stack([cx + corner * np.cos(angles + start), cy + corner * np.sin(angles + start)], axis=1))
    return np.concatenate(arcs)


def _microphone(rng: np.random.Generator) -> _Parts:
    parts = _Parts()
    radius = rng.uniform(0.1, 0.19)
    head = jitter(rng, ((120, 120, 124), (40, 40, 42), (20, 20, 22), (190, 60, 50))[rng.integers(4)], 12)
    parts.add(_ellipse(0, 0, radius, radius * rng.uniform(0.95, 1.25)), head, 0.8)
    body = jitter(rng, ((18, 18, 20), (60, 60, 66), (150, 150, 155))[rng.integers(3)], 8)
    parts.add(_box(-0.55 * radius, 0.8 * radius, 0.55 * radius, 1.3, taper=0.15 * radius), body, 0.8)
    parts.add(_box(-0.62 * radius, 0.8 * radius, 0.62 * radius, radius), jitter(rng, (90, 90, 95), 20), 0.8)
    return parts


def _phone(rng: np.random.Generator) -> _Parts:
    parts = _Parts()
    width, corner = rng.uniform(0.22, 0.27), rng.uniform(0.02, 0.06)
    case = base_colour(rng) if rng.random() < 0.5 else jitter(rng, (25, 25, 28), 10)
    parts.add(_box(-width, 0, width, 1, corner=corner), case, 0.1)
    if rng.random() < 0.6:  # the back, with cameras
        x, y = rng.choice((-1, 1)) * 0.55 * width, rng.uniform(0.08, 0.12)
        parts.add(_box(x - 0.08, y - 0.06, x + 0.08, y + 0.18, corner=0.03), case * np.float32(0.7), 0.0)
        for step in range(int(rng.integers(1, 4))):
            parts.add(_ellipse(x, y + 0.08 * step, 0.03, 0.03), jitter(rng, (15, 15, 20), 5), 0.3)
    else:  # the screen
        screen = random_colour(rng) if rng.random() < 0.5 else jitter(rng, (12, 12, 16), 5)
        parts.add(_box(-0.9 * width, 0.04, 0.9 * width, 0.96, corner=0.02), screen, 0.0)
    return parts


def _cup(rng: np.random.Generator) -> _Parts:
    parts = _Parts()
    half, height = rng.uniform(0.3, 0.5), rng.uniform(0.8, 1.1)
    colour = base_colour(rng) if rng.random() < 0.6 else random_colour(rng)
    parts.add(_box(-half, 0, half, height, taper=half * rng.uniform(0.05, 0.35)), colour, 0.6)
    parts.add(_ellipse(0, 0, half, half * rng.uniform(0.1, 0.3)), colour * np.float32(rng.uniform(0.4, 1.15)), 0.0)
    if rng.random() < 0.4:  # a lid or a handle
        parts.add(_box(-1.05 * half, -0.08, 1.05 * half, 0.06, corner=0.03), jitter(rng, (240, 240, 238), 15), 0.4)
    elif rng.random() < 0.5:
        side = float(rng.choice((-1.0, 1.0)))
        angles = np.linspace(-math.pi / 2, math.pi / 2, 20)
        outer = np.stack([side * (half + 0.28 * np.cos(angles)), 0.45 + 0.3 * np.sin(angles)], axis=1)
        inner = np.stack([side * (half + 0.18 * np.cos(angles)), 0.45 + 0.2 * np.sin(angles)], axis=1)
        parts.add(np.concatenate([outer, inner[::-1]]), colour, 0.3)
    return parts


def _food(rng: np.random.Generator) -> _Parts:
    parts = _Parts()
    draw = rng.random()
    if draw < 0.35:  # an apple or another fruit
        colour = jitter(rng, ((190, 30, 35), (120, 170, 50), (240, 160, 50), (230, 210, 70))[rng.integers(4)], 15)
        parts.add(_ellipse(0, 0.4, 0.45, 0.43), colour, 0.9)
    elif draw < 0.7:  # a burger or a sandwich: layers
        y = 0.0
        for layer in ((200, 140, 70), (80, 150, 60), (110, 60, 35), (240, 200, 90), (195, 135, 70)):
            height = rng.uniform(0.06, 0.25)
            parts.add(_box(-0.5, y, 0.5, y + height, corner=0.45 * height), jitter(rng, layer, 15), 0.5)
            y += 0.85 * height
    else:  # an ice cream in a cone
        for step in range(int(rng.integers(1, 4))):
            cream = jitter(rng, ((250, 235, 200), (120, 70, 45), (240, 160, 180))[rng.integers(3)], 10)
            parts.add(_ellipse(0, 0.2 - 0.25 * step, 0.28, 0.25), cream, 0.6)
        parts.add(np.array([[-0.26, 0.3], [0.26, 0.3], [0.0, 1.1]]), jitter(rng, (205, 150, 85), 12), 0.4)
    return parts


def _fingers(parts: _Parts, skin: Colour, rng: np.random.Generator) -> None:
    """Add the fingers of a hand that holds the object from one side, and the hand beside it."""
    extent = np.concatenate(parts.outlines)
    side = float(rng.choice((-1.0, 1.0)))
    edge = float(np.abs(extent[:, 0]).max())
    low, high = rng.uniform(0.35, 0.6), rng.uniform(0.75, 1.0)
    parts.add(_ellipse(side * (edge + 0.1), (low + high) / 2, 0.22, 0.75 * (high - low) + 0.1), skin, 0.4)
    for y in np.linspace(low, high, int(rng.integers(3, 5))):
        reach = edge * rng.uniform(0.5, 1.2)
        finger = _box(-reach, y - 0.055, reach, y + 0.055, corner=0.05) + np.array([side * (edge - 0.4 * reach), 0])
        parts.add(finger, skin * np.float32(rng.uniform(0.9, 1.05)), 0.5)


def _roundness(
    window: Window, outline: NDArray[np.float64], across: NDArray[np.float64], roundness: float, light: float
) -> NDArray[np.float32]:
    """Return shading (h, w) of a part as if it were a cylinder of this roundness, lit from a side."""
    y, x = np.mgrid[window.y0 : window.y1, window.x0 : window.x1].astype(np.float32)
    place = outline @ across
    middle, half = (place.max() + place.min()) / 2, max((place.max() - place.min()) / 2, 1.0)
    u = (x * np.float32(across[0]) + y * np.float32(across[1]) - np.float32(middle)) / np.float32(half)
    return np.asarray(1 - np.float32(0.5 * roundness) * np.clip(np.abs(u - np.float32(light)), 0, 1.4) ** 2, np.float32)


def _mesh(window: Window, outline: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the grid of a microphone's head as shading, (h, w)."""
    pitch = max(float(np.ptp(outline[:, 0])) / 14, 2.0)
    y, x = np.mgrid[window.y0 : window.y1, window.x0 : window.x1].astype(np.float32)
    grid = np.sin(math.tau / pitch * (x + y)) * np.sin(math.tau / pitch * (x - y))
    inside = cv2.GaussianBlur(window.fill(outline), (3, 3), 0.8)
    return np.asarray(1 + np.float32(0.25) * grid * inside, np.float32)
