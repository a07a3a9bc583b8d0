"""Restored faces blended into the photograph: no byte changes outside the mask, no seam inside it.

H, W the photograph's sides, S those of a restored crop, N those of the working crop. Poisson blending (Pérez et al.
2003): inside the mask the result has the restored face's gradients, and on the mask's rim the photograph's colours.
That is the restored face plus the smoothest surface that equals the difference of the two around the mask (their
equation 4). `cv2.seamlessClone` solves it on the mask's bounding rectangle instead, and bleeds the occluder's colours
in where the mask or the crop cuts it off.

The surface is smooth, so it is solved on a working crop of at most `WORKING_SIZE` pixels. Full-resolution pixels are
computed strip by strip: memory depends on the photograph, not on the number or the size of the faces.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop
from unveil.inference.grain import Grain, measure_grain, sharpen
from unveil.types import Image

Mask: TypeAlias = NDArray[np.bool_]
"""The occluded pixels, (H, W) or (S, S)."""

Check: TypeAlias = Callable[[], None]
"""Called between faces; it raises to stop the work, because of a deadline or a cancellation."""

MASK_THRESHOLD = 0.5
MIN_REGION = 1 / 256  # of the crop's area: smaller regions of the mask, and smaller gaps in it, are noise
DILATION = 1 / 32  # of the crop's side: an occluder's soft edge and shadow lie inside the dilated mask
FEATHER = 0.4  # of the dilation: the outermost part, in which the photograph fades into the restored face
AGREEMENT = (12.0, 30.0)  # levels: full feathering up to the first difference, none from the second on
MAX_LIGHT = 48  # levels: a larger difference outside the mask is not caused by the light
SMOOTHING_STEPS = 4  # at each size: an error of a third of a level on average where the light changes by thirty
WORKING_SIZE = 384
STRIP = 256  # rows
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
NO_OWNER = -1


@dataclass(frozen=True, slots=True, eq=False)
class RestoredCrop:
    """The output of a restorer for one crop.

    Args:
        crop: The crop's place in the photograph.
        restored: RGB without the occluder, (S, S, 3).
        mask: Each pixel's probability of being occluded, (S, S).
    """

    crop: Crop
    restored: Image
    mask: NDArray[np.float32]


def blend(image_rgb: Image, crops: Sequence[RestoredCrop], check: Check | None = None) -> tuple[Image, Mask]:
    """Replace what occludes faces.

    A crop whose mask has no region larger than noise changes nothing. A pixel that several crops restore is taken from
    the crop whose centre is nearest, relative to its size.

    Args:
        image_rgb: The photograph, (H, W, 3).
        crops: The restored crops.
        check: Called before each crop; see `Check`.

    Returns:
        The restored photograph, and the mask (H, W) of the replaced pixels. All other pixels are equal to the bit.
    """
    layers = [layer for layer in (_Layer.of(crop, image_rgb.shape) for crop in crops) if layer is not None]
    result, mask = image_rgb.copy(), np.zeros(image_rgb.shape[:2], np.bool_)
    if not layers:
        return result, mask
    owner = np.full(mask.shape, NO_OWNER, np.int32 if len(layers) > 2**15 else np.int16)
    if len(layers) > 1:
        nearest = np.full(mask.shape, np.inf, np.float32)
    for index, layer in enumerate(layers):
        if check is not None:
            check()
        for rows, columns in layer.strips():
            inside = layer.inside(rows, columns)
            if len(layers) > 1:
                distance = layer.distance(rows, columns)
                inside &= distance < nearest[rows, columns]
                np.copyto(nearest[rows, columns], distance, where=inside)
            np.copyto(owner[rows, columns], index, where=inside)
    np.greater(owner, NO_OWNER, out=mask)
    for index, layer in enumerate(layers):
        if check is not None:
            check()
        painter = _Painter.of(layer, image_rgb, mask)
        for rows, columns in layer.strips():
            own = owner[rows, columns] == index
            if own.any():
                painted = painter.paint(image_rgb[rows, columns], rows, columns)
                np.copyto(result[rows, columns], painted, where=own[..., None])
    return result, mask


def replace_occluded(image: Image, crops: Sequence[RestoredCrop]) -> Image:
    """Return the image with one face restored, (H, W, 3), as landmark networks are trained and evaluated behind it.

    Args:
        image: RGB, (H, W, 3).
        crops: The face's restored crops. They are blended, or laid over each other in their order if their networks
            predict no mask: an autoencoder replaces its whole crop, so that there is nothing to blend with.
    """
    has_mask = any(bool((crop.mask < 1).any()) for crop in crops)
    return blend(image, crops)[0] if has_mask else composite(image, crops)


def composite(image: Image, crops: Sequence[RestoredCrop]) -> Image:
    """Return mask·restored + (1 - mask)·image, (H, W, 3), the last crop on top and without Poisson blending.

    Args:
        image: The photograph, (H, W, 3).
        crops: The restored crops.
    """
    size = image.shape[1::-1]
    result = image.astype(np.float32)
    for face in crops:
        if face.crop.side < 1:  # all landmarks at one point: there is no face
            continue
        to_px = np.linalg.inv(_px_to_pixels(face.crop, len(face.mask)))[:2]
        restored = cv2.warpAffine(face.restored, to_px, size, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        opacity = cv2.warpAffine(face.mask, to_px, size)[..., None]
        result += opacity * (restored - result)
    return np.asarray(np.clip(result + 0.5, 0, 255), np.uint8)


def occluded_pixels(mask: NDArray[np.float32]) -> Mask:
    """Return the pixels to replace, (S, S): the mask without small regions and gaps, then dilated.

    Args:
        mask: Each pixel's probability of being occluded, (S, S).
    """
    certain = (mask >= MASK_THRESHOLD).astype(np.uint8)
    closed = 1 - _without_small_regions(1 - _without_small_regions(certain))
    reach = dilation(len(mask))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(closed, kernel), np.bool_)


def dilation(size: int) -> int:
    """Return by how many pixels the mask of a crop is dilated.

    Args:
        size: Side of the crop in pixels.
    """
    return max(1, round(DILATION * size))


def membrane(values: NDArray[np.float32], known: Mask) -> NDArray[np.float32]:
    """Return the smoothest surface through the known values: Laplace's equation elsewhere, free at the borders.

    Solved at half the size first, recursively, and smoothed at each size.

    Args:
        values: (H, W, C).
        known: Where they count, (H, W).

    Returns:
        (H, W, C); zero if nothing is known.
    """
    if known.all() or max(known.shape) <= 2 or not known.any():
        mean = values[known].mean(axis=0) if known.any() else np.zeros(values.shape[2], np.float32)
        return np.where(known[..., None], values, mean).astype(np.float32)
    height, width = known.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(known.astype(np.float32), half, interpolation=cv2.INTER_AREA)
    total = cv2.resize(values * known[..., None], half, interpolation=cv2.INTER_AREA)
    mean = (total / np.maximum(weight, 1e-6)[..., None]).astype(np.float32)
    coarse = membrane(mean, weight > 0)
    surface = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    for _ in range(SMOOTHING_STEPS):
        np.copyto(surface, values, where=known[..., None])
        surface = cv2.blur(surface, (3, 3), borderType=cv2.BORDER_REFLECT)
    np.copyto(surface, values, where=known[..., None])
    return np.asarray(surface, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A crop that replaces something: its mask, and the rectangle of the photograph in which the mask lies."""

    face: RestoredCrop
    covered: NDArray[np.float32]
    """0 or 1, (S, S), or smaller for a small face."""
    rows: slice
    columns: slice

    @classmethod
    def of(cls, face: RestoredCrop, shape: tuple[int, ...]) -> "_Layer | None":
        """Return None if nothing in the photograph is to be replaced."""
        mask = occluded_pixels(face.mask)
        if face.crop.side < 1 or not mask.any():
            return None
        covered = _fit(mask.astype(np.float32), face.crop.side)
        y, x = np.nonzero(mask)
        low, high = np.array([x.min(), y.min()]) / len(mask), np.array([x.max() + 1, y.max() + 1]) / len(mask)
        corners_px = face.crop.to_px(((low + CORNERS * (high - low)) * 2 - 1).astype(np.float32))
        most = (shape[1], shape[0])
        first, last = np.floor(corners_px.min(axis=0)) - 1, np.ceil(corners_px.max(axis=0)) + 2
        (left, top), (right, bottom) = (np.clip(corner, 0, most).astype(int).tolist() for corner in (first, last))
        if right <= left or bottom <= top:
            return None
        return cls(face, covered, slice(top, bottom), slice(left, right))

    def strips(self) -> Iterator[tuple[slice, slice]]:
        for top in range(self.rows.start, self.rows.stop, STRIP):
            yield slice(top, min(top + STRIP, self.rows.stop)), self.columns

    def inside(self, rows: slice, columns: slice) -> Mask:
        """Return which pixels of a strip are replaced."""
        warped = _warp(self.covered, self.face.crop, rows, columns, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
        return warped >= MASK_THRESHOLD

    def distance(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return the distance of a strip's pixels to the crop's centre: 1 at the crop's edges."""
        px_to_unit = np.linalg.inv(np.vstack([self.face.crop.unit_to_px(), [0, 0, 1]]))
        y, x = np.ogrid[rows, columns]
        horizontal, vertical = (np.abs(row[0] * x + row[1] * y + row[2], dtype=np.float32) for row in px_to_unit[:2])
        return np.asarray(np.maximum(horizontal, vertical), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Painter:
    """The restored face in the photograph's light, at the photograph's resolution."""

    crop: Crop
    restored: NDArray[np.float32]
    light: NDArray[np.float32]
    """What is added to the restored face, (N, N, 3)."""
    opacity: NDArray[np.float32]
    """0 at the mask's rim to 1 inside, (S, S)."""
    grain: Grain | None

    @classmethod
    def of(cls, layer: _Layer, image_rgb: Image, mask: Mask) -> "_Painter":
        face, side = layer.face, layer.face.crop.side
        restored = _fit(face.restored.astype(np.float32), side)
        size = min(max(len(face.restored), WORKING_SIZE), max(1, round(side)))
        photo = face.crop.extract(image_rgb, size).astype(np.float32)
        small = cv2.resize(restored, (size, size), interpolation=cv2.INTER_CUBIC)
        known = _known(face.crop, mask, size)
        difference = photo - small
        lit = known & (np.abs(difference).max(axis=2) <= MAX_LIGHT)
        grain = None
        if side > len(face.restored):
            restored = sharpen(restored, side / len(face.restored))
            grain = measure_grain(image_rgb, face.crop, lit, side / len(face.restored))
        reach = FEATHER * dilation(len(layer.covered))
        depth = cv2.distanceTransform((layer.covered > 0).astype(np.uint8), cv2.DIST_L2, 5)
        opacity = np.clip((np.minimum(depth, reach + 1) - 0.5) / reach, 0, 1).astype(np.float32)
        return cls(face.crop, restored, membrane(difference, lit), opacity, grain)

    def paint(self, photo: Image, rows: slice, columns: slice) -> Image:
        """Return the pixels of a strip; they are only meant for the replaced ones."""
        lit = _warp(self.restored, self.crop, rows, columns, cv2.INTER_CUBIC)
        lit += _warp(self.light, self.crop, rows, columns, cv2.INTER_LINEAR)
        opacity = _warp(self.opacity, self.crop, rows, columns, cv2.INTER_LINEAR)
        difference = photo - lit
        low, high = AGREEMENT
        agreement = np.clip((high - np.abs(difference).max(axis=2)) / (high - low), 0, 1)
        if self.grain is not None:
            lit += self.grain.at(rows, columns)
            difference = photo - lit
        lit += (agreement * (1 - opacity))[..., None] * difference
        return np.asarray(np.clip(lit + 0.5, 0, 255), np.uint8)


def _known(crop: Crop, mask: Mask, size: int) -> Mask:
    """Return which pixels of the working crop show an unoccluded part of the photograph, (N, N)."""
    inside = _to_crop(np.ones(mask.shape, np.uint8), crop, size) > 0
    return np.asarray(inside & (_to_crop(mask.view(np.uint8) * np.uint8(255), crop, size) == 0), np.bool_)


def _to_crop(channel: NDArray[np.uint8], crop: Crop, size: int) -> NDArray[np.uint8]:
    """Return a channel of the photograph in the crop's pixels; a pixel that meets a nonzero one is nonzero."""
    scale = crop.side / size
    if scale > 1:  # dilate by half a sample, so that none is missed between two samples
        reach = int(scale / 2) + 1
        channel = np.asarray(cv2.dilate(channel, np.ones((2 * reach + 1,) * 2, np.uint8)), channel.dtype)
    to_px = np.linalg.inv(_px_to_pixels(crop, size))[:2]
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(channel, to_px, (size, size), flags=flags), np.uint8)


def _fit(pixels: NDArray[np.float32], side: float) -> NDArray[np.float32]:
    """Return a crop's pixels, averaged down to the face's size in the photograph if that is smaller."""
    size = min(len(pixels), max(1, round(side)))
    if size == len(pixels):
        return pixels
    return np.asarray(cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA), np.float32)


def _px_to_pixels(crop: Crop, size: int) -> NDArray[np.float64]:
    """Return the matrix (3, 3) from the photograph's pixels to those of the crop at `size` pixels."""
    unit_to_pixels = np.array([[size / 2, 0, (size - 1) / 2], [0, size / 2, (size - 1) / 2], [0, 0, 1]])
    return unit_to_pixels @ np.linalg.inv(np.vstack([crop.unit_to_px(), [0, 0, 1]]))


def _warp(
    pixels: NDArray[np.float32],
    crop: Crop,
    rows: slice,
    columns: slice,
    interpolation: int,
    border: int = cv2.BORDER_REPLICATE,
) -> NDArray[np.float32]:
    """Resample a crop's pixels (S, S) or (S, S, C) to a strip of the photograph."""
    corner = np.array([[1, 0, columns.start], [0, 1, rows.start], [0, 0, 1]])
    matrix = (_px_to_pixels(crop, len(pixels)) @ corner)[:2]
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(pixels, matrix, shape, flags=flags, borderMode=border), np.float32)


def _without_small_regions(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    large = statistics[:, cv2.CC_STAT_AREA] >= MIN_REGION * mask.size
    large[0] = False  # the background
    return np.asarray(large[labels], np.uint8)
