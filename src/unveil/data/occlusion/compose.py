"""Laying an occluder over a picture. H and W the picture's sides, h and w those of the window that is drawn in."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.frame import Frame
from unveil.types import Image, Points

Alpha: TypeAlias = NDArray[np.float32]
"""Opacity of each pixel of a window, (h, w), 0 to 1."""

Paint: TypeAlias = NDArray[np.float32]
"""RGB of each pixel of a window, (h, w, 3), 0 to 255."""

GREY = 3.0  # mean spread of R, G and B below which a picture is black and white
FINE = 4  # samples along a pixel's side when an outline is filled; OpenCV's own smooth edges are ragged
FAR = 2**17  # sixteenths of a pixel: beyond this nothing is drawn, and OpenCV's integers would overflow
THINNEST = 1.6  # pixels: a finer line would be seen without counting as cover anywhere
SHADOW_REACH = 4  # pixels round an occluder that its shadow may darken


@dataclass(frozen=True, eq=False)
class Occluded:
    """An image with something in front of the face.

    Args:
        image: RGB, (H, W, 3).
        mask: (H, W), true where the image is covered.
        kinds: The kinds of occluder that a sampler drew; empty if it drew none.
    """

    image: Image
    mask: NDArray[np.bool_]
    kinds: tuple[str, ...] = ()


Occluder: TypeAlias = Callable[[Image, Points, np.random.Generator], Occluded]


class Window(NamedTuple):
    """The rectangle of the picture that an occluder is drawn in: whole pixels, x1 and y1 not included."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def round(cls, points_px: NDArray[np.floating], image: Image, margin: int = SHADOW_REACH + 1) -> Self:
        """The box of the points with a margin, cut to the picture; it may be empty."""
        height, width = image.shape[:2]
        (left, top), (right, bottom) = points_px.min(axis=0), points_px.max(axis=0)
        x0, x1 = (int(np.clip(x, 0, width)) for x in (math.floor(left) - margin, math.ceil(right) + margin + 1))
        y0, y1 = (int(np.clip(y, 0, height)) for y in (math.floor(top) - margin, math.ceil(bottom) + margin + 1))
        return cls(x0, y0, x1, y1)

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    @property
    def empty(self) -> bool:
        return self.width <= 0 or self.height <= 0

    def cut(self, image: Image) -> Image:
        """The part of the picture under the window, (h, w, 3): a view."""
        return image[self.y0 : self.y1, self.x0 : self.x1]

    def _fixed_point(self, points_px: NDArray[np.floating]) -> NDArray[np.int32]:
        """Points in the window's pixels with four fractional bits, as OpenCV's drawing takes them with `shift=4`."""
        return ((points_px - (self.x0, self.y0)) * 16 + 0.5).clip(-FAR, FAR).astype(np.int32)

    def fill(self, *outlines: NDArray[np.floating]) -> Alpha:
        """Opacity inside closed outlines of (N, 2) pixels, with a smooth edge."""
        canvas = np.zeros((FINE * self.height, FINE * self.width), np.uint8)
        for outline in outlines:  # pixel i's centre lies at FINE * i + (FINE - 1) / 2 of the finer canvas
            cv2.fillPoly(canvas, [FINE * self._fixed_point(outline) + 8 * (FINE - 1)], 255, shift=4)
        small = cv2.resize(canvas, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return _opacity(np.asarray(small, np.uint8))

    def stroke(self, *lines: NDArray[np.floating], thickness: float) -> Alpha:
        """Opacity of open lines of (N, 2) pixels; one thinner than a pixel is faint instead."""
        canvas = np.zeros((self.height, self.width), np.uint8)
        ink = 255 * min(max(thickness, 0.1), 1.0)
        points = [self._fixed_point(line) for line in lines]
        cv2.polylines(canvas, points, False, ink, max(1, round(thickness)), cv2.LINE_AA, shift=4)
        return _opacity(canvas)


def _opacity(canvas: NDArray[np.uint8]) -> Alpha:
    return canvas.astype(np.float32) / np.float32(255)


def untouched(image: Image) -> Occluded:
    """The picture with nothing in front of it."""
    return Occluded(image.copy(), np.zeros(image.shape[:2], np.bool_))


def paste(image: Image, window: Window, paint: Paint, alpha: Alpha, shadow: float = 0.0) -> Occluded:
    """The picture with paint laid over it; `shadow` (0 to 1) darkens the pixels just round it."""
    if window.empty:
        return untouched(image)
    picture = image.copy()
    under = window.cut(picture).astype(np.float32)
    if shadow > 0:
        kernel = 2 * SHADOW_REACH + 1
        under *= (1 - shadow * cv2.GaussianBlur(alpha, (kernel, kernel), SHADOW_REACH / 2))[..., None]
    under += alpha[..., None] * (paint - under)
    window.cut(picture)[:] = np.clip(under + 0.5, 0, 255).astype(np.uint8)
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[window.y0 : window.y1, window.x0 : window.x1] = alpha > 0.5
    return Occluded(picture, mask)


def is_occluded(points_px: Points, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which landmarks (L,) lie under the mask (H, W); one outside the picture is not covered."""
    height, width = mask.shape
    columns, rows = np.round(points_px).astype(np.int64).T
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    under: NDArray[np.bool_] = mask[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    return np.asarray(inside & under, np.bool_)


def softened(pixels: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blurred by a lens, (h, w) or (h, w, 3): reaches two pixels at most."""
    return np.asarray(cv2.GaussianBlur(pixels, (5, 5), sigma), np.float32)


def in_keeping(image: Image, paint: Paint) -> Paint:
    """The paint without its colour where the picture is black and white."""
    sample = image[::8, ::8].astype(np.int16)
    colourful = float((sample.max(axis=2) - sample.min(axis=2)).mean())
    if colourful > GREY:
        return paint
    return np.repeat(paint.mean(axis=2, keepdims=True), 3, axis=2)


def face_brightness(image: Image, frame: Frame) -> float:
    """The face's mean luminance, 0 to 255, from a coarse look at the middle of it."""
    reach = 0.6 * frame.size
    window = Window.round(np.stack([frame.centre - reach, frame.centre + reach]), image, margin=0)
    return 128.0 if window.empty else float(window.cut(image)[::3, ::3].mean())


def with_share(
    draw: Callable[[float], NDArray[np.bool_]], region: NDArray[np.bool_], share: float
) -> tuple[float, float]:
    """The scale at which `draw(scale)` covers this share of the region, and the share it then covers."""
    total = max(int(region.sum()), 1)

    def reached(scale: float) -> float:
        return float((draw(scale) & region).sum()) / total

    low, high = 0.0, 0.5
    while reached(high) < share and high < 128:
        low, high = high, 2 * high
    best, best_share = high, reached(high)
    for _ in range(12):
        middle = (low + high) / 2
        now = reached(middle)
        if abs(now - share) < abs(best_share - share):
            best, best_share = middle, now
        if abs(best_share - share) < 0.005:
            break
        low, high = (middle, high) if now < share else (low, middle)
    return best, best_share
