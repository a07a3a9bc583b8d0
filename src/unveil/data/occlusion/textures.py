"""Colours and patterns for occluders. Every pattern is RGB, (h, w, 3), float32, 0 to 255."""

import math
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Paint
from unveil.types import Image

Colour: TypeAlias = NDArray[np.float32]
"""RGB, (3,), 0 to 255."""

SKIN = ((255, 224, 196), (241, 194, 160), (224, 172, 135), (198, 134, 96), (141, 85, 56), (84, 54, 40))


def jitter(rng: np.random.Generator, rgb: tuple[float, ...], spread: float = 18.0) -> Colour:
    """Return a colour near a given one.

    Args:
        rng: The random generator.
        rgb: The colour, 0 to 255.
        spread: Standard deviation of the common change of brightness; each channel changes by a third of it.
    """
    shift = rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
    return np.clip(np.asarray(rgb) + shift, 0, 255).astype(np.float32)


def random_colour(rng: np.random.Generator) -> Colour:
    """Return any colour; grey, dark, light and skin-like ones more often than a uniform draw.

    Args:
        rng: The random generator.
    """
    draw = rng.random()
    if draw < 0.2:
        return jitter(rng, (rng.uniform(10, 250),) * 3, 6)
    if draw < 0.32:
        return jitter(rng, SKIN[rng.integers(len(SKIN))])
    return rng.uniform(0, 255, 3).astype(np.float32)


@cache
def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return pixel coordinates (h, w) as fractions of the longer side."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    return x, y


def _rotated_grid(rng: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the grid rotated by a random angle, often by a right one."""
    angle = rng.uniform(0, math.pi) if rng.random() < 0.5 else rng.integers(2) * math.pi / 2
    x, y = _grid(height, width)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def _between(first: Colour | Paint, second: Colour | Paint, weight: NDArray[np.float32]) -> Paint:
    return first + weight[..., None] * (second - first)


def _two_colours(rng: np.random.Generator, weight: NDArray[np.float32]) -> Paint:
    return _between(random_colour(rng), random_colour(rng), weight)


def value_noise(
    rng: np.random.Generator, height: int, width: int, cells: int, channels: int = 1
) -> NDArray[np.float32]:
    """Return smooth noise in 0 to 1, (h, w), or (h, w, channels) for more than one channel.

    Args:
        rng: The random generator.
        height: Rows.
        width: Columns.
        cells: Random values along each side.
        channels: Independent noises.
    """
    coarse = rng.random((cells, cells, channels), np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def _plain(rng: np.random.Generator, height: int, width: int) -> Paint:
    """Return one colour."""
    paint = np.empty((height, width, 3), np.float32)
    paint[:] = random_colour(rng)
    return paint


def _gradient(rng: np.random.Generator, height: int, width: int) -> Paint:
    """Return a linear transition between two colours."""
    along, _ = _rotated_grid(rng, height, width)
    low = along.min()
    return _two_colours(rng, (along - low) / max(float(along.max() - low), 1e-6))


def _stripes(rng: np.random.Generator, height: int, width: int) -> Paint:
    """Return stripes of two colours."""
    along, _ = _rotated_grid(rng, height, width)
    wave = np.sin(along * np.float32(math.tau * rng.uniform(3, 16)) + np.float32(rng.uniform(0, math.tau)))
    sharp = np.float32(rng.uniform(1, 8))
    first, second = random_colour(rng), random_colour(rng)
    return _between(first, second, np.clip(0.5 + sharp * (wave - rng.uniform(-0.6, 0.6)), 0, 1, dtype=np.float32))


def _checks(rng: np.random.Generator, height: int, width: int) -> Paint:
    """Return a chessboard, or gingham where the overlap of the bands is darker."""
    along, across = _rotated_grid(rng, height, width)
    step = np.float32(math.tau * rng.uniform(2, 9))
    first = np.clip(0.5 + 5 * np.sin(along * step), 0, 1)
    second = np.clip(0.5 + 5 * np.sin(across * step), 0, 1)
    weight = (first + second) / 2 if rng.random() < 0.6 else first + second - 2 * first * second
    return _two_colours(rng, weight)


def _dots(rng: np.random.Generator, height: int, width: int) -> Paint:
    """Return dots of one colour on another."""
    along, across = _rotated_grid(rng, height, width)
    step = np.float32(rng.uniform(4, 14))
    row = np.floor(across * step)
    x = (along * step + 0.5 * (row % 2)) % 1 - 0.5
    y = (across * step) % 1 - 0.5
    weight = np.clip((rng.uniform(0.15, 0.42) - np.hypot(x, y)) * 12 + 0.5, 0, 1).astype(np.float32)
    return _two_colours(rng, weight)


def _blotches(rng: np.random.Generator, height: int, width: int) -> Paint:
    """Return coloured clouds, or two or three flat colours as in camouflage."""
    cells = int(rng.integers(3, 14))
    if rng.random() < 0.4:
        return 255 * value_noise(rng, height, width, cells, 3)
    noise = value_noise(rng, height, width, cells)
    paint, ground = _two_colours(rng, np.clip((noise - 0.5) * 12 + 0.5, 0, 1)), random_colour(rng)
    return _between(ground, paint, np.clip((value_noise(rng, height, width, cells) - 0.4) * 12, 0, 1))


def _floral(rng: np.random.Generator, height: int, width: int) -> Paint:
    """Return flowers and spots scattered over a ground colour."""
    canvas = _plain(rng, height, width)
    span = max(height, width)
    colours = [random_colour(rng).tolist() for _ in range(4)]
    size = span * rng.uniform(0.02, 0.06)
    petals = int(rng.integers(4, 7))
    centres = rng.uniform(0, 1, (int(rng.integers(12, 30)), 2)) * (width, height)
    for index, centre in enumerate(centres):
        turn, grow = rng.uniform(0, math.tau), rng.uniform(0.6, 1.3) * size
        for petal in range(petals):
            angle = turn + math.tau * petal / petals
            at = centre + 0.8 * grow * np.array([math.cos(angle), math.sin(angle)])
            _disc(canvas, at, 0.55 * grow, colours[index % 3])
        _disc(canvas, centre, 0.4 * grow, colours[3])
    return canvas


def _disc(canvas: Paint, centre: NDArray[np.floating], radius: float, colour: list[float]) -> None:
    x, y = (round(16 * float(value)) for value in centre)
    cv2.circle(canvas, (x, y), max(round(16 * radius), 8), colour, -1, cv2.LINE_8, shift=4)


def image_patch(rng: np.random.Generator, height: int, width: int, image: Image) -> Paint:
    """Return a piece of the image itself, mirrored, and sometimes cut into squares that are shuffled.

    Args:
        rng: The random generator.
        height: Rows.
        width: Columns.
        image: The image, (H, W, 3).
    """
    rows, columns = image.shape[:2]
    fraction = rng.uniform(0.25, 0.6)
    tall, wide = max(int(rows * fraction), 1), max(int(columns * fraction), 1)
    top, left = rng.integers(rows - tall + 1), rng.integers(columns - wide + 1)
    patch = image[top : top + tall, left : left + wide][:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
    paint = cv2.resize(np.ascontiguousarray(patch), (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    if rng.random() < 0.4:
        cell = int(rng.integers(6, 20))
        down, across = -(-height // cell), -(-width // cell)
        padded = cv2.copyMakeBorder(paint, 0, down * cell - height, 0, across * cell - width, cv2.BORDER_REPLICATE)
        blocks = padded.reshape(down, cell, across, cell, 3).swapaxes(1, 2).reshape(-1, cell, cell, 3)
        blocks = blocks[rng.permutation(len(blocks))].reshape(down, across, cell, cell, 3).swapaxes(1, 2)
        paint = np.ascontiguousarray(blocks.reshape(down * cell, across * cell, 3)[:height, :width])
    return paint


Pattern: TypeAlias = Callable[[np.random.Generator, int, int], Paint]
PATTERNS: tuple[Pattern, ...] = (_gradient, _stripes, _checks, _dots, _blotches, _floral)


def texture(rng: np.random.Generator, height: int, width: int, image: Image | None = None) -> Paint:
    """Return any pattern; with an image, sometimes a piece of that image.

    Args:
        rng: The random generator.
        height: Rows.
        width: Columns.
        image: An image to take pieces of, (H, W, 3).
    """
    draw = rng.random()
    if image is not None and draw < 0.25:
        return image_patch(rng, height, width, image)
    if draw < 0.45:
        return _plain(rng, height, width)
    return PATTERNS[rng.integers(len(PATTERNS))](rng, height, width)
