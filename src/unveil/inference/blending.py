"""Restored faces laid back into the photograph without a seam. H, W the picture's sides, S those of a crop.

Poisson blending (Pérez et al. 2003): inside the mask the picture gets the restored face's gradients, and at the mask's
rim its own colours. That is the restored face plus the smoothest surface that agrees with the difference of the two
along the rim (their equation 4). `cv2.seamlessClone` solves it on the mask's bounding rectangle instead, and lets the
colours of an occluder in that the mask or the crop cuts off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.geometry import Crop
from unveil.types import Image

Mask: TypeAlias = NDArray[np.bool_]
"""Which pixels are covered, (H, W) or (S, S)."""

Place: TypeAlias = tuple[slice, slice]
"""Rows and columns of the picture."""

COVERED_FROM = 0.5
SPECK = 1 / 256  # of the crop's area: smaller islands of the mask and smaller gaps in it are the network's noise
# Of the crop's side, by which the mask grows: of an occluder's soft edge and shadow 0.2 levels are left just outside.
GROWN = 1 / 32
TRUSTED = 48  # levels: where picture and restored face differ by more outside the mask, it is not by the light
SWEEPS = 4  # at each size: off by a third of a level on average where the light changes by thirty
CORNERS_UNIT = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class RestoredCrop:
    """What a restorer says of one face: the crop without its occluder (S, S, 3), each pixel's probability of being
    covered (S, S), and where the crop lies."""

    crop: Crop
    restored: Image
    mask: NDArray[np.float32]


def blended(image_rgb: Image, faces: Sequence[RestoredCrop]) -> tuple[Image, Mask]:
    """The picture with what covers the faces replaced, and the mask (H, W) of what was; elsewhere no byte differs.

    A face with nothing in front of it, or nothing larger than a speck, stays as it is. What several crops show is
    painted from the crop that shows it nearest to its middle: there the restorer knows it best.
    """
    layers = [layer for layer in (_layer(face, image_rgb) for face in faces) if layer is not None]
    nearest = np.full(image_rgb.shape[:2], np.inf, np.float32)
    for layer in layers:
        np.minimum(nearest[layer.place], layer.distance, out=nearest[layer.place], where=layer.covered)
    covered = np.isfinite(nearest)
    picture = image_rgb.copy()
    for layer in layers:
        light = image_rgb[layer.place] - layer.restored
        # Another face's occluder says as little about the light as this one's.
        known = (layer.distance <= 1) & ~covered[layer.place] & (np.abs(light).max(axis=2) <= TRUSTED)
        lit = layer.restored + membrane(light, known)
        own = layer.covered & (layer.distance <= nearest[layer.place])
        picture[layer.place][own] = np.clip(lit[own] + 0.5, 0, 255).astype(np.uint8)
    return picture, covered


def covered_pixels(mask: NDArray[np.float32]) -> Mask:
    """Probabilities (S, S) to the pixels that are replaced: without specks, without gaps, and a little larger."""
    certain = (mask >= COVERED_FROM).astype(np.uint8)
    whole = 1 - _without_specks(1 - _without_specks(certain))
    reach = max(1, round(GROWN * len(mask)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(whole, kernel), np.bool_)


def membrane(values: NDArray[np.float32], known: Mask) -> NDArray[np.float32]:
    """The smoothest surface through the `values` (H, W, C) that are known (H, W): Laplace's equation between them.

    Solved at half the size first, as often as there are halves, and relaxed at each size. Nothing is asked of the
    picture's edges. Zero if nothing is known.
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
    for _ in range(SWEEPS):
        np.copyto(surface, values, where=known[..., None])
        surface = cv2.blur(surface, (3, 3), borderType=cv2.BORDER_REFLECT)
    np.copyto(surface, values, where=known[..., None])
    return np.asarray(surface, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A restored crop in the picture's pixels at `place`, and which of them it covers.

    `distance` is that from the crop's middle: 1 at its edges.
    """

    place: Place
    restored: NDArray[np.float32]
    covered: Mask
    distance: NDArray[np.float32]


def _layer(face: RestoredCrop, image_rgb: Image) -> _Layer | None:
    """None if nothing on the picture is to be replaced."""
    crop, covered = face.crop, covered_pixels(face.mask)
    place = _place(crop, image_rgb.shape)
    if crop.side < 1 or not covered.any() or not image_rgb[place].size:
        return None
    px_to_unit = np.linalg.inv(np.vstack([crop.unit_to_px(), [0, 0, 1]]))
    restored = _laid(face.restored.astype(np.float32), crop.side, px_to_unit, place, cv2.BORDER_REPLICATE)
    there = _laid(covered.astype(np.float32), crop.side, px_to_unit, place, cv2.BORDER_CONSTANT) >= COVERED_FROM
    y, x = np.ogrid[place]
    across, down = (np.abs(row[0] * x + row[1] * y + row[2], dtype=np.float32) for row in px_to_unit[:2])
    return _Layer(place, restored, there, np.maximum(across, down)) if there.any() else None


def _place(crop: Crop, shape: tuple[int, ...]) -> Place:
    """Where on a picture of this shape a crop lies, perhaps nowhere."""
    corners_px = crop.to_px(CORNERS_UNIT)
    most = (shape[1], shape[0])
    first, last = np.floor(corners_px.min(axis=0)), np.ceil(corners_px.max(axis=0)) + 1
    (left, top), (right, bottom) = (np.clip(corner, 0, most).astype(int).tolist() for corner in (first, last))
    return slice(top, bottom), slice(left, right)


def _laid(
    pixels: NDArray[np.float32], side: float, px_to_unit: NDArray[np.float64], place: Place, border: int
) -> NDArray[np.float32]:
    """A crop's pixels (S, S) or (S, S, C) resampled to the picture's at that place: the inverse of `extract`."""
    rows, columns = place
    size = min(len(pixels), max(1, round(side)))
    if size < len(pixels):  # a small face: averaged first, as a large one is by `extract`
        pixels = np.asarray(cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA), np.float32)
    corner = np.array([[1, 0, columns.start], [0, 1, rows.start], [0, 0, 1]])
    unit_to_pixel = np.array([[size / 2, 0, (size - 1) / 2], [0, size / 2, (size - 1) / 2]])
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(pixels, unit_to_pixel @ px_to_unit @ corner, shape, flags=flags, borderMode=border)
    return np.asarray(laid, np.float32)


def _without_specks(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    kept = statistics[:, cv2.CC_STAT_AREA] >= SPECK * mask.size
    kept[0] = False  # what is not covered
    return np.asarray(kept[labels], np.uint8)
