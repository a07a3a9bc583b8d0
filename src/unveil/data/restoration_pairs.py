"""Training pairs for restoration, made on the fly: a clean face, the same face occluded, and the occluder's mask.

L landmarks, S pixels of a crop's side. Faces come from a pack (`unveil prepare faces`) or an annotated folder.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from unveil.data.augment import AugmentConfig, blur_along_line, extract_crop, jitter_colour, random_crop, shade
from unveil.data.occlusion import Occluder, OcclusionConfig, OcclusionSampler, coverage_of
from unveil.geometry import Crop, unit_to_crop_px
from unveil.schemes.hierarchy import Part
from unveil.schemes.ibug68 import BRIDGE, RIGHT_EAR, component_crop
from unveil.schemes.landmark_map import SUBPIXEL_BITS, draw_landmark_map, perturb_landmarks
from unveil.schemes.scheme import Scheme
from unveil.types import Image, Points

NONE = "none"
WORN = OcclusionSampler(
    OcclusionConfig.of_kinds(hair=1, hat=1, hood=0.5, beard=2, glasses=2, occluded_fraction=1, second_fraction=0.2)
)
"""Draws what the person wears. A restorer keeps it."""

Change: TypeAlias = Callable[[Image, np.random.Generator], Image]


class PairAugmentConfig(BaseModel):
    """How a face is framed before it is occluded, and how both images are changed afterwards.

    Attributes:
        rotation: Standard deviation of the in-plane rotation, degrees.
        shift: Standard deviation of the crop's centre, in crop sides.
        scale: Range of the crop's side, in diagonals of the landmark box.
        flip: Share of faces that are mirrored.
        colour: Share of faces with another brightness, contrast, gamma and tint.
        shade: Share of faces under hard light from one side.
        blur: Share of faces that are out of focus.
        shadow: Share of faces with a shadow on face and occluder.
        worn: Share of faces with hair, a hat, a hood, a beard or clear glasses behind the occluder. They belong to the
            person and are not removed.
        motion: Share of faces with motion blur.
        landmark_noise: Mean error of the landmarks that a guided restorer gets, in half crop sides.
        unguided: Share of faces for which a guided restorer gets an empty landmark map.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation: float = 8.0
    shift: float = 0.04
    scale: tuple[float, float] = (0.95, 1.35)
    flip: float = 0.5
    colour: float = 0.8
    shade: float = 0.15
    blur: float = 0.25
    shadow: float = 0.0
    worn: float = 0.0
    motion: float = 0.0
    landmark_noise: float = 0.02
    unguided: float = 0.1

    @property
    def crop(self) -> AugmentConfig:
        """The variation of the crop."""
        return AugmentConfig(rotation=self.rotation, shift=self.shift, scale=self.scale, flip=self.flip)

    def without_changes(self, margin: float) -> "PairAugmentConfig":
        """Return the settings of validation: the crop that inference uses, unchanged images, all landmark maps drawn.

        Args:
            margin: The crop's side in diagonals of the landmark box.
        """
        crop = {"rotation": 0.0, "shift": 0.0, "scale": (margin, margin), "flip": 0.0}
        names = ("colour", "shade", "blur", "shadow", "worn", "motion", "unguided")
        return self.model_copy(update={**crop, **dict.fromkeys(names, 0.0)})


@dataclass(frozen=True, slots=True, eq=False)
class RestorationPair:
    """One face, clean and occluded.

    Outside the mask the two images differ only by the occluder's shadow and soft edge, a few pixels wide.
    """

    clean: Image
    """RGB, (S, S, 3)."""
    occluded: Image
    """RGB, (S, S, 3)."""
    mask: NDArray[np.bool_]
    """The occluded pixels, (S, S)."""
    points_unit: Points
    """Landmarks (L, 2) in crop units."""
    kind: str
    """The occluder's kind, or "none"."""
    coverage: float
    """The occluded share of the face's region."""
    landmark_map: NDArray[np.uint8] | None = None
    """The drawn landmarks that a guided restorer gets, (S, S)."""


def restoration_pair(
    image: Image,
    points_px: Points,
    *,
    scheme: Scheme,
    size: int,
    augment: PairAugmentConfig,
    occlude: Occluder,
    rng: np.random.Generator,
) -> RestorationPair:
    """Return a random view of a clean face and the same view with an occluder; without a landmark map.

    Args:
        image: RGB, (H, W, 3).
        points_px: Landmarks (L, 2) in the image's pixels.
        scheme: Their scheme.
        size: The crop's side in pixels.
        augment: How both images are framed and changed.
        occlude: Draws the occluder.
        rng: The same state gives the same pair.
    """
    crop = random_crop(points_px, augment.crop, rng)
    clean, points_unit = extract_crop(image, points_px, crop, scheme, size)
    points = unit_to_crop_px(points_unit, size)
    if augment.worn and rng.random() < augment.worn:
        clean = WORN(clean, points, rng).image
    if rng.random() < augment.colour / 2:  # the face under another light than the occluder
        clean = jitter_colour(clean, rng)
    occluded = occlude(clean, points, rng)
    before, after = _change_both((clean, occluded.image), points, augment, rng)
    kind = "+".join(occluded.kinds) or NONE
    return RestorationPair(before, after, occluded.mask, points_unit, kind, coverage_of(occluded.mask, points))


def component_pair(
    pair: RestorationPair, component: Part, size: int, rng: np.random.Generator | None = None
) -> RestorationPair:
    """Return the pair's window around a component.

    Args:
        pair: A pair of the whole face.
        component: One of `COMPONENTS`.
        size: The window's side in pixels.
        rng: Shifts and scales the window a little, as predicted landmarks would; None for the exact window.
    """
    points_px = unit_to_crop_px(pair.points_unit, len(pair.clean))
    crop = component_crop(points_px, component)
    if rng is not None:
        (x, y), shift = crop.centre, rng.normal(0, 0.04 * crop.side, 2)
        crop = Crop((x + float(shift[0]), y + float(shift[1])), crop.side * float(rng.uniform(0.9, 1.15)))
    mask = crop.extract(np.repeat(pair.mask[..., None] * np.uint8(255), 3, axis=2), size)[..., 0] > 127
    clean, occluded = (crop.extract(image, size) for image in (pair.clean, pair.occluded))
    return replace(pair, clean=clean, occluded=occluded, mask=mask, points_unit=crop.to_unit(points_px))


def with_landmark_map(
    pair: RestorationPair, scheme: Scheme, augment: PairAugmentConfig, rng: np.random.Generator
) -> RestorationPair:
    """Return a pair with its landmark map: with the errors of predicted landmarks, or empty.

    Args:
        pair: A pair of the whole face.
        scheme: Scheme of the landmarks.
        augment: Size of the errors, and the share of empty maps.
        rng: Source of randomness.
    """
    contours = () if rng.random() < augment.unguided else scheme.contours
    predicted = perturb_landmarks(pair.points_unit, contours, augment.landmark_noise, rng)
    return replace(pair, landmark_map=draw_landmark_map(predicted, contours, len(pair.clean)))


def _change_both(
    images: tuple[Image, Image], points_px: Points, augment: PairAugmentConfig, rng: np.random.Generator
) -> tuple[Image, Image]:
    """Apply the same light, colour and blur to both images, so that they differ by the occluder alone."""
    changes: tuple[tuple[float, Change], ...] = (
        (augment.shadow, lambda image, rng: _cast_shadow(image, points_px, rng)),
        (augment.colour, jitter_colour),
        (augment.shade, shade),
        (augment.motion, lambda image, rng: _motion_blur(image, points_px, rng)),
        (augment.blur, _softened),
    )
    for share, change in changes:
        if not share:
            continue
        seed = int(rng.integers(2**32))
        if rng.random() < share:
            first, second = (change(image, np.random.default_rng(seed)) for image in images)
            images = first, second
    return images


def _softened(image: Image, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2)), np.uint8)


def _cast_shadow(image: Image, points_px: Points, rng: np.random.Generator) -> Image:
    """Darken a random polygon of the face, with a hard or a soft edge, as the shadow of an object outside the image."""
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    size = float(np.linalg.norm(high - low))
    count = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * math.pi, count))
    radii = size * rng.uniform(0.15, 0.7, count)
    centre = rng.uniform(low - 0.2 * size, high + 0.2 * size)
    corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    canvas = np.zeros(image.shape[:2], np.uint8)
    fixed = np.round(np.clip(corners, -4096, 4096) * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    sigma = size * float(np.exp(rng.uniform(math.log(0.004), math.log(0.06))))
    opacity = np.asarray(cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), sigma), np.float32)
    light = 1 - opacity[..., None] * rng.uniform(0.25, 0.8) * (1 - rng.uniform(0, 0.12, 3))
    return np.asarray(np.clip(image * light + 0.5, 0, 255), np.uint8)


def _motion_blur(image: Image, points_px: Points, rng: np.random.Generator) -> Image:
    """Blur along a line of up to an eighteenth of the face's width."""
    size = float(np.linalg.norm(points_px[RIGHT_EAR] - points_px[BRIDGE]) + 1) * 2
    length = int(np.clip(size * rng.uniform(0.015, 0.055), 3, 31)) | 1
    return blur_along_line(image, length, rng.uniform(0, math.pi))
