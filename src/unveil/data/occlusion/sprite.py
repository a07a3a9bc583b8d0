"""Cut-out hands and objects held before the face."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import (
    Draw,
    Occluded,
    Window,
    face_brightness,
    face_middle,
    paste_cutout,
    scale_for_coverage,
    unoccluded,
    warp,
    warped_corners,
)
from unveil.data.occlusion.frame import FaceImage, face_region
from unveil.data.occlusion.library import Sprite
from unveil.schemes.scheme import SCHEME_OF_COUNT

HANDS = "hands"  # the group whose colour follows the face's skin
TRIES = 8  # sprites that are tried for a given coverage: one with a hole may never reach it


def sprite_occluder(sprites: tuple[Sprite, ...], coverage: float | None = None) -> Draw:
    """Return the occluder: a cut-out image, each group equally likely.

    Args:
        sprites: The cut-outs.
        coverage: Scale the cut-out until it covers this fraction of the face; None: a random size.

    Raises:
        ValueError: There are no sprites.
    """
    if not sprites:
        raise ValueError("occluder 'sprite': the library has no sprites; read some with Library.read(folder)")
    groups: dict[str, list[Sprite]] = {}
    for sprite in sprites:
        groups.setdefault(sprite.group, []).append(sprite)
    return partial(_occlude, groups=tuple(groups.values()), coverage=coverage)


def _occlude(
    face: FaceImage, rng: np.random.Generator, groups: tuple[list[Sprite], ...], coverage: float | None
) -> Occluded:
    image = face.image
    if coverage == 0:
        return unoccluded(image)
    sprite, matrix = _placed(face, rng, groups) if coverage is None else _with_coverage(face, rng, groups, coverage)
    window = Window.around(warped_corners(sprite.pixels, matrix), image)
    if window.empty:
        return unoccluded(image)
    rgba = warp(sprite.pixels, matrix, window)
    return paste_cutout(image, window, rgba, _gain(face, rng, sprite, rgba), shadow=rng.uniform(0, 0.5))


def _placed(
    face: FaceImage, rng: np.random.Generator, groups: tuple[list[Sprite], ...]
) -> tuple[Sprite, NDArray[np.float64]]:
    """Draw a sprite and the 3x3 matrix that lays its middle on the mouth, an eye, a cheek or anywhere on the face."""
    group = groups[rng.integers(len(groups))]
    sprite = group[rng.integers(len(group))]
    centre = np.clip(target_on_face(face, rng), 0, np.array(face.image.shape[1::-1]) - 1.0)
    longest = face.frame.size * (rng.uniform(1.8, 3.4) if sprite.group == HANDS else rng.uniform(1.0, 2.8))
    upright = rng.random() < 0.6
    angle = rng.normal(0, 0.5) if upright else rng.uniform(-math.pi, math.pi)
    return sprite, place_sprite(sprite, centre, longest, angle, mirrored=bool(rng.integers(2)))


def target_on_face(face: FaceImage, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a place on the face, (2,) in pixels: an eye, the nose, the mouth or any landmark, off by a little.

    Args:
        face: The face.
        rng: The random generator.
    """
    points_px = face.points_px
    scheme = SCHEME_OF_COUNT.get(len(points_px))
    if scheme is None or scheme.five_points is None or rng.random() < 0.4:
        place = points_px[rng.integers(len(points_px))]
    else:
        places = scheme.five_points[rng.integers(len(scheme.five_points))]
        place = points_px[list(places)].mean(axis=0)
    return np.asarray(place + rng.normal(0, 0.2 * face.frame.size, 2), np.float64)


def place_sprite(
    sprite: Sprite, centre: NDArray[np.float64], longest: float, angle: float, mirrored: bool
) -> NDArray[np.float64]:
    """Return the 3x3 matrix that places a sprite.

    Args:
        sprite: The sprite.
        centre: Where the middle of its visible part comes to lie, (2,) in pixels.
        longest: Its longer side in pixels.
        angle: Its rotation in radians.
        mirrored: Mirror it first.
    """
    rows, columns = np.flatnonzero(sprite.pixels[..., 3].max(axis=1)), np.flatnonzero(sprite.pixels[..., 3].max(axis=0))
    if not len(rows):
        rows, columns = np.arange(2), np.arange(2)
    middle = np.array([(columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2])
    scale = longest / max(columns[-1] - columns[0], rows[-1] - rows[0], 1)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, centre - turn @ middle
    return matrix


def _with_coverage(
    face: FaceImage, rng: np.random.Generator, groups: tuple[list[Sprite], ...], coverage: float
) -> tuple[Sprite, NDArray[np.float64]]:
    """Return the first placement that can be scaled to the coverage, or the nearest of a few."""
    region = face_region(face.points_px, face.image.shape)
    whole = Window.whole(face.image)
    found: list[tuple[float, Sprite, NDArray[np.float64]]] = []
    for _ in range(TRIES):
        sprite, matrix = _placed(face, rng, groups)
        scale, reached = scale_for_coverage(partial(_mask, sprite, matrix, whole), region, coverage)
        found.append((abs(reached - coverage), sprite, _scaled(sprite, matrix, scale)))
        if found[-1][0] < 0.02:
            break
    _, sprite, matrix = min(found, key=lambda item: item[0])
    return sprite, matrix


def _scaled(sprite: Sprite, matrix: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Return the same placement, scaled about its middle."""
    middle = warped_corners(sprite.pixels, matrix).mean(axis=0)
    grow = np.array([[scale, 0, middle[0] * (1 - scale)], [0, scale, middle[1] * (1 - scale)], [0, 0, 1]])
    return grow @ matrix


def _mask(sprite: Sprite, matrix: NDArray[np.float64], whole: Window, scale: float) -> NDArray[np.bool_]:
    if scale <= 0:
        return np.zeros((whole.height, whole.width), np.bool_)
    return np.asarray(warp(sprite.pixels, _scaled(sprite, matrix, scale), whole)[..., 3] > 127)


def _gain(face: FaceImage, rng: np.random.Generator, sprite: Sprite, rgba: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the gain (3,) of the sprite's colours: a hand takes on the face's skin, an object its brightness."""
    opaque = rgba[rgba[..., 3] > 127][:, :3]
    if not len(opaque):
        return np.ones(3, np.float32)
    own = np.maximum(opaque.mean(axis=0), 8.0)
    if sprite.group == HANDS:
        cheeks = face_middle(face, 0.4)
        skin = cheeks.crop(face.image)[::2, ::2].mean(axis=(0, 1)) if not cheeks.empty else own
        gain = (np.maximum(skin, 8.0) / own) ** rng.uniform(0.5, 1.1)
    else:
        gain = np.full(3, (face_brightness(face) / float(own.mean())) ** rng.uniform(0.2, 0.7))
    return np.asarray(np.clip(gain * rng.uniform(0.9, 1.1), 0.35, 1.8), np.float32)
