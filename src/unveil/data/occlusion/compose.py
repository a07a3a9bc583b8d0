"""Lay an occluder over an image. H and W are the image's sides, h and w those of the window that is drawn in."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.frame import FaceImage
from unveil.types import Image, Points

Alpha: TypeAlias = NDArray[np.float32]
"""Opacity of each pixel of a window, (h, w), 0 to 1."""

Paint: TypeAlias = NDArray[np.float32]
"""RGB of each pixel of a window, (h, w, 3), 0 to 255."""

GREY = 3.0  # mean difference of R, G and B below which an image is black and white
SUPERSAMPLING = 4  # samples along a pixel's side when an outline is filled; OpenCV's own smooth edges are ragged
FAR = 2**17  # sixteenths of a pixel: beyond this nothing is drawn, and OpenCV's integers would overflow
MIN_THICKNESS = 1.6  # pixels: a thinner line would be visible without counting as occlusion anywhere
SHADOW_REACH = 4  # pixels around an occluder that its shadow may darken


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
"""Covers a face: from an RGB image, the landmarks in pixels and a random generator to the covered image."""

Draw: TypeAlias = Callable[[FaceImage, np.random.Generator], Occluded]
"""What draws one kind of occluder; the same state of the generator gives the same result."""


class Window(NamedTuple):
    """The rectangle of the image that an occluder is drawn in.

    Args:
        x0: First column.
        y0: First row.
        x1: Column after the last one.
        y1: Row after the last one.
    """

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def around(cls, points_px: NDArray[np.floating], image: Image, margin: int = SHADOW_REACH + 1) -> Self:
        """Return the bounding box of points with a margin, clipped to the image; it may be empty.

        Args:
            points_px: Points (N, 2) in pixels.
            image: The image that the window lies in.
            margin: Pixels on every side.
        """
        height, width = image.shape[:2]
        (left, top), (right, bottom) = points_px.min(axis=0), points_px.max(axis=0)
        x0, x1 = (int(np.clip(x, 0, width)) for x in (math.floor(left) - margin, math.ceil(right) + margin + 1))
        y0, y1 = (int(np.clip(y, 0, height)) for y in (math.floor(top) - margin, math.ceil(bottom) + margin + 1))
        return cls(x0, y0, x1, y1)

    @classmethod
    def whole(cls, image: Image) -> Self:
        """Return the window that is the whole image.

        Args:
            image: The image.
        """
        return cls(0, 0, image.shape[1], image.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as OpenCV takes them."""
        return self.width, self.height

    @property
    def empty(self) -> bool:
        """Whether the window has no pixels."""
        return self.width <= 0 or self.height <= 0

    def crop(self, image: Image) -> Image:
        """Return the part of the image in the window, (h, w, 3), as a view.

        Args:
            image: The image.
        """
        return image[self.y0 : self.y1, self.x0 : self.x1]

    def _fixed_point(self, points_px: NDArray[np.floating]) -> NDArray[np.int32]:
        """Convert points to the window's pixels with four fractional bits, as OpenCV draws them with `shift=4`."""
        return ((points_px - (self.x0, self.y0)) * 16 + 0.5).clip(-FAR, FAR).astype(np.int32)

    def fill(self, *outlines: NDArray[np.floating]) -> Alpha:
        """Return the opacity inside closed outlines, with a smooth edge.

        Args:
            outlines: Corners (N, 2) in the image's pixels.
        """
        canvas = np.zeros((SUPERSAMPLING * self.height, SUPERSAMPLING * self.width), np.uint8)
        offset = 8 * (SUPERSAMPLING - 1)  # pixel i's centre lies at 4 i + 1.5 of the finer canvas
        for outline in outlines:
            cv2.fillPoly(canvas, [SUPERSAMPLING * self._fixed_point(outline) + offset], 255, shift=4)
        return _opacity(np.asarray(cv2.resize(canvas, self.size, interpolation=cv2.INTER_AREA), np.uint8))

    def stroke(self, *lines: NDArray[np.floating], thickness: float) -> Alpha:
        """Return the opacity of open lines.

        Args:
            lines: Points (N, 2) in the image's pixels.
            thickness: In pixels; a line thinner than one pixel is faint instead.
        """
        canvas = np.zeros((self.height, self.width), np.uint8)
        ink = 255 * min(max(thickness, 0.1), 1.0)
        points = [self._fixed_point(line) for line in lines]
        cv2.polylines(canvas, points, False, ink, max(1, round(thickness)), cv2.LINE_AA, shift=4)
        return _opacity(canvas)


def _opacity(canvas: NDArray[np.uint8]) -> Alpha:
    return canvas.astype(np.float32) / np.float32(255)


def unoccluded(image: Image) -> Occluded:
    """Return a copy of the image with nothing in front of the face.

    Args:
        image: RGB, (H, W, 3).
    """
    return Occluded(image.copy(), np.zeros(image.shape[:2], np.bool_))


def paste(image: Image, window: Window, paint: Paint, alpha: Alpha, shadow: float = 0.0) -> Occluded:
    """Return a new image with paint over it; its mask is true where the opacity is above one half.

    Args:
        image: RGB, (H, W, 3).
        window: Where the paint lies.
        paint: (h, w, 3).
        alpha: (h, w).
        shadow: 0 to 1: how much the pixels around the paint are darkened.
    """
    result = image.copy()
    under = window.crop(result).astype(np.float32)
    if shadow > 0:
        kernel = 2 * SHADOW_REACH + 1
        under *= (1 - shadow * cv2.GaussianBlur(alpha, (kernel, kernel), SHADOW_REACH / 2))[..., None]
    under += alpha[..., None] * (paint - under)
    window.crop(result)[:] = np.clip(under + 0.5, 0, 255).astype(np.uint8)
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[window.y0 : window.y1, window.x0 : window.x1] = alpha > 0.5
    return Occluded(result, mask)


def is_occluded(points_px: Points, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which landmarks lie under a mask, (L,); false for a landmark outside the image.

    Args:
        points_px: Landmarks (L, 2) in pixels.
        mask: (H, W).
    """
    height, width = mask.shape
    columns, rows = np.round(points_px).astype(np.int64).T
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    under: NDArray[np.bool_] = mask[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    return np.asarray(inside & under, np.bool_)


def soften(pixels: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return pixels blurred as by a lens, by two pixels at most.

    Args:
        pixels: (h, w) or (h, w, 3).
        sigma: Standard deviation in pixels.
    """
    return np.asarray(cv2.GaussianBlur(pixels, (5, 5), sigma), np.float32)


def match_saturation(image: Image, paint: Paint) -> Paint:
    """Return the paint, without its colour where the image is black and white.

    Args:
        image: The image that the paint is laid on.
        paint: (h, w, 3).
    """
    sample = image[::8, ::8].astype(np.int16)
    colourful = float((sample.max(axis=2) - sample.min(axis=2)).mean())
    if colourful > GREY:
        return paint
    return np.repeat(paint.mean(axis=2, keepdims=True), 3, axis=2)


def face_middle(face: FaceImage, reach: float) -> Window:
    """Return the window around the middle of a face; it may be empty.

    Args:
        face: The face.
        reach: Its half side in face sizes.
    """
    frame = face.frame
    return Window.around(
        np.stack([frame.centre - reach * frame.size, frame.centre + reach * frame.size]), face.image, margin=0
    )


def face_brightness(face: FaceImage) -> float:
    """Return the mean luminance, 0 to 255, of the middle of the face; 128 if that is outside the image.

    Args:
        face: The face.
    """
    window = face_middle(face, 0.6)
    return 128.0 if window.empty else float(window.crop(face.image)[::3, ::3].mean())


def scale_for_coverage(
    draw: Callable[[float], NDArray[np.bool_]], region: NDArray[np.bool_], coverage: float
) -> tuple[float, float]:
    """Find the scale at which an occluder covers a given fraction of a region, by bisection.

    Args:
        draw: From a scale to the occluder's mask (H, W).
        region: The face's pixels (H, W).
        coverage: The fraction of the region to cover, 0 to 1.

    Returns:
        The scale and the fraction that the occluder then covers.
    """
    total = max(int(region.sum()), 1)

    def covered(scale: float) -> float:
        return float((draw(scale) & region).sum()) / total

    low, high = 0.0, 0.5
    while covered(high) < coverage and high < 128:
        low, high = high, 2 * high
    best, best_coverage = high, covered(high)
    for _ in range(12):
        middle = (low + high) / 2
        now = covered(middle)
        if abs(now - coverage) < abs(best_coverage - coverage):
            best, best_coverage = middle, now
        if abs(best_coverage - coverage) < 0.005:
            break
        low, high = (middle, high) if now < coverage else (low, middle)
    return best, best_coverage


def warped_corners(pixels: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where a cut-out's corners lie in the image, (4, 2).

    Args:
        pixels: The cut-out, (h, w, 4).
        matrix: 3x3, from the cut-out's pixels to the image's.
    """
    height, width = pixels.shape[:2]
    square = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    mapped = np.concatenate([square, np.ones((4, 1))], axis=1) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def warp(pixels: NDArray[np.uint8], matrix: NDArray[np.float64], window: Window) -> NDArray[np.uint8]:
    """Return a cut-out resampled to a window, (h, w, 4); it is shrunk first where sampling would skip pixels.

    Args:
        pixels: RGBA with premultiplied colours, (h', w', 4).
        matrix: 3x3, from the cut-out's pixels to the image's.
        window: Where it lies in the image.
    """
    shift = np.array([[1, 0, -window.x0], [0, 1, -window.y0], [0, 0, 1.0]])
    matrix = shift @ matrix
    spread = np.ptp(warped_corners(pixels, matrix), axis=0).max() / max(pixels.shape[:2])
    shrink = max(float(spread), 0.02)
    if shrink < 0.7:
        small = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        grow = np.array([pixels.shape[1] / small.shape[1], pixels.shape[0] / small.shape[0]])
        matrix = matrix @ np.array([[grow[0], 0, (grow[0] - 1) / 2], [0, grow[1], (grow[1] - 1) / 2], [0, 0, 1]])
        pixels = np.asarray(small, np.uint8)
    return np.asarray(cv2.warpPerspective(pixels, matrix, window.size, flags=cv2.INTER_LINEAR), np.uint8)


def paste_cutout(
    image: Image, window: Window, rgba: NDArray[np.uint8], gain: NDArray[np.float32], shadow: float = 0.0
) -> Occluded:
    """Return an image with a cut-out over it, as of `paste`.

    Args:
        image: RGB, (H, W, 3).
        window: Where the cut-out lies.
        rgba: With premultiplied colours, (h, w, 4).
        gain: What its colours are multiplied by, (3,).
        shadow: 0 to 1, as for `paste`.
    """
    alpha = rgba[..., 3].astype(np.float32) / np.float32(255)
    paint = rgba[..., :3] * (gain / np.maximum(alpha, 1 / 255)[..., None])
    return paste(image, window, match_saturation(image, np.minimum(paint, 255)), alpha, shadow)
