"""The material of masks and clothes as a flat image (HEIGHT, WIDTH, 3), u across and v down."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Paint
from unveil.data.occlusion.textures import Colour, jitter, random_colour, texture, value_noise

HEIGHT, WIDTH = 84, 112
STRAP = np.array([236, 236, 236], np.float32)
USUAL = (
    *((238, 240, 242), (246, 246, 244), (222, 226, 230)),  # white, as surgical and KN95 masks
    *((150, 196, 228), (170, 208, 232), (120, 175, 215), (185, 215, 225)),  # surgical blue
    *((130, 200, 190), (160, 212, 200)),  # surgical green
    *((22, 22, 24), (34, 34, 38), (48, 48, 52), (18, 22, 34)),  # black and navy
    *((110, 114, 120), (160, 160, 162), (70, 76, 88)),  # grey
    *((238, 190, 205), (222, 130, 160), (200, 190, 226)),  # pink, lilac
    *((150, 24, 36), (190, 40, 48), (30, 60, 130), (60, 70, 46)),  # red, blue, olive
)


@cache
def _axes() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return u as (1, WIDTH) and v as (HEIGHT, 1)."""
    return np.linspace(-1, 1, WIDTH, dtype=np.float32)[None], np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None]


def fabric(rng: np.random.Generator) -> Paint:
    """Return cloth or paper with folds, seams, wrinkles and print, shaded as it curves around a face.

    Args:
        rng: The random generator.
    """
    patterned = rng.random() < 0.3
    paint = texture(rng, HEIGHT, WIDTH) if patterned else _plain(rng)
    if not patterned and rng.random() < 0.12:
        _print(rng, paint)
    paint *= _relief(rng)[..., None]
    if rng.random() < 0.1:
        _valve(rng, paint)
    return paint


def base_colour(rng: np.random.Generator) -> Colour:
    """Return a colour that masks are sold in, or any other.

    Args:
        rng: The random generator.
    """
    return jitter(rng, USUAL[rng.integers(len(USUAL))], 10) if rng.random() < 0.75 else random_colour(rng)


def _plain(rng: np.random.Generator) -> Paint:
    """Draw one colour, or two or three panels: a different strip at the top, the side or the middle."""
    paint = np.empty((HEIGHT, WIDTH, 3), np.float32)
    paint[:] = base_colour(rng)
    draw = rng.random()
    if draw < 0.1:
        paint[: int(HEIGHT * rng.uniform(0.08, 0.4))] = base_colour(rng)
    elif draw < 0.2:
        half = int(WIDTH * rng.uniform(0.12, 0.4))
        paint[:, :half] = paint[:, -half:] = base_colour(rng)
    return paint


def _relief(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return shading (HEIGHT, WIDTH) round 1: the face's curve, then folds or a seam, then wrinkles."""
    u, v = _axes()
    shade = 1 - np.float32(rng.uniform(0.05, 0.4)) * np.abs(u) ** np.float32(rng.uniform(1.5, 4))
    shade = shade * (1 + np.float32(rng.uniform(-0.05, 0.25)) * (np.float32(0.45) - v))
    shade += np.float32(rng.uniform(-0.2, 0.2)) * u  # light from one side
    # The nose lifts the fabric into the light; below it a cup turns away.
    nose = np.exp(-((u / np.float32(rng.uniform(0.12, 0.3))) ** 2) - ((v - rng.uniform(0.15, 0.4)) / 0.25) ** 2)
    shade += np.float32(rng.uniform(0, 0.14)) * nose.astype(np.float32)
    draw = rng.random()
    if draw < 0.5:
        shade *= _pleats(rng)
    elif draw < 0.8:
        shade *= _seams(rng)
    return shade * _wrinkles(rng)


def _pleats(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw two to four folds across (HEIGHT, WIDTH): each a dark line with the fabric growing lighter beneath it."""
    u, v = _axes()
    count = int(rng.integers(2, 5))
    depth = np.float32(rng.uniform(0.03, 0.16))
    wave = (value_noise(rng, 1, WIDTH, 5) - 0.5) * np.float32(rng.uniform(0, 0.08))
    spread = 1 + np.float32(rng.uniform(-0.15, 0.5)) * (1 - u**2)  # pleats open in the middle
    centre = rng.uniform(0.4, 0.55)
    at = (v - centre) / spread + centre + wave.reshape(1, WIDTH)
    # The folds are alike all along, so their profile is drawn once, in a table over v from -0.5 to 1.5.
    table = np.linspace(-0.5, 1.5, 512, dtype=np.float32)
    profile = np.ones(512, np.float32)
    for line in np.linspace(0.12, 0.88, count + 2)[1:-1] + rng.normal(0, 0.03, count):
        below = table - np.float32(line)
        shadow = np.exp(-np.clip(below, 0, 1) * np.float32(rng.uniform(9, 30))) * (below > 0)
        ridge = np.exp(-np.clip(-below, 0, 1) * np.float32(25)) * (below <= 0)
        profile += depth * (np.float32(0.5) * ridge - shadow)
    return np.asarray(profile[((at + np.float32(0.5)) * np.float32(255.5)).astype(np.int32).clip(0, 511)])


def _seams(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a cup's seam down the middle, or two beside it, or an edge across, and facets of different brightness."""
    u, v = _axes()
    relief = np.ones((HEIGHT, WIDTH), np.float32)
    depth = np.float32(rng.uniform(0.05, 0.3))
    sharp = np.float32(rng.uniform(25, 70))
    draw = rng.random()
    if draw < 0.5:
        lines = [u + 0 * v]
    elif draw < 0.75:
        off = np.float32(rng.uniform(0.25, 0.6))
        lines = [np.abs(u) - off * (1 - np.float32(rng.uniform(0, 0.8)) * (v - np.float32(0.5)) ** 2)]
    else:  # a flat-fold or duckbill mask: panels that meet in a curve
        bend = np.float32(rng.uniform(-0.2, 0.2))
        lines = [v - np.float32(place) - bend * u**2 for place in rng.uniform(0.25, 0.75, rng.integers(1, 3))]
    for line in lines:
        relief -= depth * np.exp(-np.abs(line) * sharp)
        relief += np.float32(rng.uniform(-0.08, 0.08)) * np.tanh(line * np.float32(12))
    return relief


def _wrinkles(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw soft creases and the weave, (HEIGHT, WIDTH)."""
    relief = 1 + np.float32(rng.uniform(0, 0.22)) * (value_noise(rng, HEIGHT, WIDTH, int(rng.integers(3, 7))) - 0.5)
    if rng.random() < 0.5:
        crease = np.abs(value_noise(rng, HEIGHT, WIDTH, int(rng.integers(4, 9))) - 0.5)
        relief -= np.float32(rng.uniform(0.02, 0.12)) * np.exp(-crease * np.float32(rng.uniform(6, 18)))
    grain = np.float32(rng.uniform(0, 0.025)) * rng.standard_normal((HEIGHT, WIDTH), np.float32)
    return np.asarray(relief + grain, np.float32)


def _print(rng: np.random.Generator, paint: Paint) -> None:
    """Draw a few letters or a round badge somewhere on the mask."""
    at = (int(WIDTH * rng.uniform(0.15, 0.7)), int(HEIGHT * rng.uniform(0.35, 0.75)))
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    if rng.random() < 0.6:
        size = rng.uniform(3, 9)
        for index in range(int(rng.integers(2, 7))):  # strokes that read as letters; OpenCV's fonts are slow to load
            letter = at + size * (rng.random((4, 2)) * (0.6, 1.0) + (0.8 * index, 0.0))
            cv2.polylines(ink, [(letter * 16).astype(np.int32)], False, 255, int(rng.integers(1, 3)), cv2.LINE_AA, 4)
    else:
        cv2.circle(ink, at, int(rng.integers(4, 14)), 255, int(rng.choice((-1, 1, 2))), cv2.LINE_AA)
    paint += (ink.astype(np.float32) / 255)[..., None] * (random_colour(rng) - paint)


def _valve(rng: np.random.Generator, paint: Paint) -> None:
    """Draw a breathing valve: a round or square lid with a lit rim and a shadow below."""
    x, y = int(WIDTH * rng.choice((0.26, 0.5, 0.74))), int(HEIGHT * rng.uniform(0.45, 0.7))
    radius = int(rng.integers(7, 13))
    colour = paint[y, x] * rng.uniform(0.6, 1.2) if rng.random() < 0.6 else base_colour(rng)
    for grow, light in ((2, 0.55), (0, 1.0), (-3, 0.85), (-5, 1.1)):
        cv2.circle(paint, (x, y + (grow > 0)), radius + grow, np.clip(colour * light, 0, 255).tolist(), -1, cv2.LINE_AA)
