"""Drawn faces with exact landmarks, for tests and examples without photographs. 68 landmarks."""

from pathlib import Path

import cv2
import numpy as np

from unveil.io.annotations import write_pts
from unveil.schemes.ibug68 import (
    BROWS,
    JAW,
    LEFT_BROW,
    LEFT_EYE,
    NOSE_BRIDGE,
    NOSTRILS,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
)
from unveil.types import Image, Points


def frontal_shape() -> Points:
    """Return the 68 landmarks of an upright face in face units.

    Returns:
        Landmarks (68, 2): x from -1 at the left ear to 1 at the right ear, y down.
    """
    jaw = np.linspace(np.pi, 0, 17)
    brow = np.linspace(0, 1, 5)
    lid = np.deg2rad([180, 120, 60, 0, -60, -120])
    outer = np.deg2rad([180, 150, 115, 90, 65, 30, 0, -35, -65, -90, -115, -145])
    inner = np.deg2rad([180, 130, 90, 50, 0, -50, -90, -130])

    def arc(angles: Points, x: float, y: float, width: float, height: float) -> Points:
        return np.stack([x + width * np.cos(angles), y - height * np.sin(angles)], axis=1)

    left_brow = np.stack([-0.75 + 0.55 * brow, -0.55 - 0.12 * np.sin(np.pi * brow)], axis=1)
    nostrils = np.stack([np.linspace(-0.18, 0.18, 5), 0.3 + 0.04 * np.sin(np.linspace(0, np.pi, 5))], axis=1)
    parts = (
        np.stack([np.cos(jaw), 1.2 * np.sin(jaw) - 0.2], axis=1),
        left_brow,
        left_brow[::-1] * (-1, 1),
        np.stack([np.zeros(4), np.linspace(-0.35, 0.2, 4)], axis=1),
        nostrils,
        arc(lid, -0.45, -0.35, 0.18, 0.08),
        arc(lid, 0.45, -0.35, 0.18, 0.08),
        arc(outer, 0.0, 0.6, 0.38, 0.14),
        arc(inner, 0.0, 0.6, 0.3, 0.05),
    )
    return np.concatenate(parts).astype(np.float32)


def drawn_face(rng: np.random.Generator, size: int = 160) -> tuple[Image, Points]:
    """Draw a face of random colours, position, size and rotation.

    Args:
        rng: Source of randomness.
        size: Side of the image in pixels.

    Returns:
        The image (size, size, 3) and its landmarks (68, 2) in pixels.
    """
    angle, scale = rng.normal(0, 0.15), size * rng.uniform(0.22, 0.3)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shape = frontal_shape() * (rng.uniform(0.85, 1.0), rng.uniform(0.9, 1.1))
    points_px = (scale * shape @ turn + size / 2 + rng.normal(0, size / 30, 2)).astype(np.float32)
    background, skin, dark, lips = (rng.integers(low, high, 3).tolist() for low, high in COLOURS)
    image = np.full((size, size, 3), background, np.uint8)
    _fill(image, np.concatenate([points_px[JAW], points_px[BROWS][::-1] - (0, 0.25 * scale)]), skin)
    for part, colour in ((LEFT_EYE, dark), (RIGHT_EYE, dark), (OUTER_LIPS, lips), (NOSTRILS, dark)):
        _fill(image, points_px[part], colour)
    for line in (LEFT_BROW, RIGHT_BROW, NOSE_BRIDGE):
        cv2.polylines(image, [points_px[line].round().astype(np.int32)], False, dark, 2)
    return image, points_px


COLOURS = ((0, 255), (120, 240), (0, 80), (60, 160))


def _fill(image: Image, outline: Points, colour: list[int]) -> None:
    cv2.fillPoly(image, [outline.round().astype(np.int32)], colour)


def write_drawn_faces(folder: Path, count: int, seed: int = 0, size: int = 160) -> None:
    """Write a folder of drawn faces: `face_000.png`, `face_000.pts` and so on.

    Args:
        folder: The folder. It is created if it does not exist.
        count: Number of faces.
        seed: Seed of all faces.
        size: Side of an image in pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, points_px = drawn_face(np.random.default_rng((seed, index)), size)
        cv2.imwrite(str(folder / f"face_{index:03}.png"), image[..., ::-1])
        write_pts(folder / f"face_{index:03}.pts", points_px)
