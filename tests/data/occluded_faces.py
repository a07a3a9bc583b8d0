"""A drawn face, a library of drawn cut-outs, and the face under each kind of occluder."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion import Library, Occluded, occluder
from unveil.data.occlusion.library import HairCutout, Sprite, Template
from unveil.types import Image, Points


def ring(
    count: int, centre: tuple[float, float], radii: tuple[float, float], start: float = math.pi
) -> NDArray[np.float64]:
    """Points clockwise (in the image) round an ellipse, (count, 2), from its left end."""
    angles = start + np.linspace(0, math.tau, count, endpoint=False)
    return np.stack([centre[0] + radii[0] * np.cos(angles), centre[1] + radii[1] * np.sin(angles)], axis=1)


def upright_face() -> Points:
    """Sixty-eight points of a frontal face, (68, 2), in a box of about 2 by 2 round the origin."""
    angles = np.linspace(math.pi, 0, 17)
    jaw = np.stack([np.cos(angles), -0.25 + 1.25 * np.sin(angles)], axis=1)
    brow_x = np.linspace(-0.8, -0.2, 5)
    brow = np.stack([brow_x, -0.55 - 0.1 * np.sin(np.linspace(0, math.pi, 5))], axis=1)
    bridge = np.stack([np.zeros(4), np.linspace(-0.3, 0.15, 4)], axis=1)
    nostrils = np.stack([np.linspace(-0.2, 0.2, 5), [0.25, 0.28, 0.3, 0.28, 0.25]], axis=1)
    left_eye, right_eye = ring(6, (-0.45, -0.3), (0.17, 0.07)), ring(6, (0.45, -0.3), (0.17, 0.07))
    lips = np.concatenate([ring(12, (0, 0.55), (0.35, 0.14)), ring(8, (0, 0.55), (0.25, 0.05))])
    right_brow = brow[::-1] * (-1, 1)
    return np.concatenate([jaw, brow, right_brow, bridge, nostrils, left_eye, right_eye, lips]).astype(np.float32)


def face_at(centre: tuple[float, float], radius: float, roll: float = 0.0, narrow: float = 1.0) -> Points:
    cos, sin = math.cos(roll), math.sin(roll)
    turned = (upright_face() * (narrow, 1)) @ np.array([[cos, sin], [-sin, cos]])
    return np.asarray(turned * radius + centre, np.float32)


def cut_out(height: int, width: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """An RGBA ellipse that fills its image."""
    pixels = np.zeros((height, width, 4), np.uint8)
    cv2.ellipse(pixels, (width // 2, height // 2), (width // 2 - 1, height // 2 - 1), 0, 0, 360, (*colour, 255), -1)
    return pixels


def drawn_library() -> Library:
    anchors = np.array([[8, 20], [60, 4], [112, 20], [12, 60], [60, 94], [108, 60]], np.float32)
    names = ("plain", "plain_left", "plain_right")
    templates = tuple(Template(name, cut_out(100, 120, (200, 220, 240)), anchors) for name in names)
    hand = Sprite("palm", cut_out(80, 60, (220, 180, 150)), "hands")
    hair = cut_out(192, 192, (60, 40, 30))
    hair[90:] = 0
    return Library(
        templates,
        (hand, Sprite("ball", cut_out(64, 64, (250, 30, 30)), "objects")),
        (HairCutout("long", hair, face_at((96, 110), 45)),),
    )


LIBRARY = drawn_library()
FACE = face_at((96, 100), 62)


def photograph(height: int = 192, width: int = 192, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(40, 220, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def occlude(kind: str, seed: int, points_px: Points = FACE, coverage: float | None = None) -> Occluded:
    return occluder(kind, LIBRARY, coverage)(photograph(), points_px, np.random.default_rng(seed))
