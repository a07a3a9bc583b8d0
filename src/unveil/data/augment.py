"""From a packed face to a training example: rotated, shifted, scaled, occluded, recoloured. L landmarks, S pixels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from unveil.data.occlusion import Occluder, is_occluded
from unveil.data.self_occlusion import self_occluded
from unveil.data.tps_warp import ShapeSampler, interpolate_shape, tps_warp
from unveil.geometry import Crop, tight_box, unit_to_crop_px
from unveil.schemes.scheme import Scheme
from unveil.types import Image, Points

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
ImageChange: TypeAlias = Callable[[Image, np.random.Generator], Image]

COLOUR_SIGMAS = (0.06, 0.18, 0.06, 0.2)
WARP_RANGE = (0.2, 0.7)  # share of the way to another shape


class AugmentConfig(BaseModel):
    """How far a training face may be changed. `Share` fields are the shares of faces that get the change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation: Annotated[float, Field(ge=0)] = 18.0
    """Standard deviation of the in-plane rotation, degrees."""
    shift: Annotated[float, Field(ge=0)] = 0.06
    """Standard deviation of the crop's centre, in crop sides."""
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.82, 1.27)
    """Range of the crop's side, in diagonals of the tight box."""
    flip: Share = 0.5
    """Share of faces that are mirrored."""
    warp: Share = 0.0
    """Share of faces that are warped 0.2 to 0.7 of the way to the shape of another training face."""
    annotation_offset: float = 0.0
    """Horizontal offset of the annotations to the right, in diagonals of the tight box; kept in mirrored faces."""
    colour: Share = 0.8
    """Share of faces with another brightness, contrast, gamma and tint."""
    shade: Share = 0.2
    """Share of faces under hard light from one side."""
    grey: Share = 0.1
    """Share of faces without colour."""
    blur: Share = 0.15
    """Share of faces that are out of focus, motion-blurred, of low resolution or noisy."""


@dataclass(frozen=True, slots=True)
class Example:
    """A crop as a network reads it.

    Args:
        image: RGB, (S, S, 3).
        points_unit: Landmarks (L, 2) in unit coordinates of the crop.
        visible: (L,), False where something occludes a landmark or the head is turned away.
    """

    image: Image
    points_unit: Points
    visible: NDArray[np.bool_]


Transform: TypeAlias = Callable[[Example, np.random.Generator], Example]
"""A user's own augmentation, applied last. It may change image, landmarks and visibility, but not the image's size."""


def random_crop(points_px: Points, config: AugmentConfig, rng: np.random.Generator) -> Crop:
    """Return a crop as a detector might: around the tight box of the rotated face, then shifted and scaled.

    Args:
        points_px: Landmarks (L, 2) in pixels.
        config: Ranges of rotation, shift and scale, and the share of mirrored crops.
        rng: Source of randomness.
    """
    angle = math.radians(config.rotation) * float(np.clip(rng.normal(), -2.5, 2.5))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    upright = Crop.around(tight_box((points_px @ turn).astype(np.float32)))
    side = upright.side * math.exp(rng.uniform(math.log(config.scale[0]), math.log(config.scale[1])))
    shift = np.clip(rng.normal(size=2), -2.5, 2.5) * config.shift * upright.side
    x, y = turn @ (np.array(upright.centre) + shift)
    return Crop((float(x), float(y)), side, angle, mirrored=bool(rng.random() < config.flip))


def extract_crop(image: Image, points_px: Points, crop: Crop, scheme: Scheme, size: int) -> tuple[Image, Points]:
    """Return the image of a crop, (S, S, 3), and its landmarks in unit coordinates, reordered if the crop is mirrored.

    Args:
        image: RGB, (H, W, 3).
        points_px: Landmarks (L, 2) in its pixels.
        crop: The crop.
        scheme: Scheme of the landmarks.
        size: S, pixels.
    """
    points_unit = crop.to_unit(points_px)
    if crop.mirrored:
        points_unit = points_unit[list(scheme.flip_order)]
    return crop.extract(image, size), points_unit


def augment(
    image: Image,
    points_px: Points,
    *,
    scheme: Scheme,
    size: int,
    config: AugmentConfig,
    occlude: Occluder | None,
    rng: np.random.Generator,
    shapes: ShapeSampler | None = None,
    annotated_visible: NDArray[np.bool_] | None = None,
) -> Example:
    """Return a random view of a face.

    Args:
        image: RGB, (H, W, 3).
        points_px: Landmarks (L, 2) in its pixels.
        scheme: Their scheme.
        size: The crop's side, pixels.
        config: How far the face is changed.
        occlude: Draws the occluders; None for none.
        rng: Source of randomness; the same state gives the same example.
        shapes: Shapes to warp towards.
        annotated_visible: (L,), False where something in the image itself occludes a landmark.
    """
    crop = random_crop(points_px, config, rng)
    if crop.mirrored:
        # Shifted now, so that the annotations keep their offset to the right after the mirroring.
        x0, y0, x1, y1 = tight_box(points_px)
        points_px = points_px - np.array([2 * config.annotation_offset * math.hypot(x1 - x0, y1 - y0), 0], np.float32)
    picture, points_unit = extract_crop(image, points_px, crop, scheme, size)
    if shapes is not None and config.warp and rng.random() < config.warp:
        target_unit = interpolate_shape(shapes(rng), points_unit, rng.uniform(*WARP_RANGE))
        picture, points_unit = tps_warp(picture, points_unit, target_unit)
    visible = ~self_occluded(scheme, points_unit)
    if annotated_visible is not None:
        visible &= annotated_visible[list(scheme.flip_order)] if crop.mirrored else annotated_visible
    points = unit_to_crop_px(points_unit, size)
    if rng.random() < config.colour / 2:  # the face under another light than the occluder
        picture = jitter_colour(picture, rng)
    if occlude is not None:
        occluded = occlude(picture, points, rng)
        picture = occluded.image
        visible &= ~is_occluded(points, occluded.mask)
    changes: tuple[tuple[float, ImageChange], ...] = (
        (config.colour, jitter_colour),
        (config.shade, shade),
        (config.grey, to_grey),
        (config.blur, _degrade),
    )
    for share, change in changes:
        if rng.random() < share:
            picture = change(picture, rng)
    return Example(picture, points_unit, visible)


def jitter_colour(image: Image, rng: np.random.Generator, sigmas: Sequence[float] = COLOUR_SIGMAS) -> Image:
    """Return an image with another tint, contrast, brightness and gamma, by one lookup table per channel.

    Args:
        image: RGB, (H, W, 3).
        rng: Source of randomness.
        sigmas: Standard deviations of the four: of the brightness itself, of the logarithm of the others.
    """
    levels = np.linspace(0, 1, 256)[:, None]
    tint, contrast = np.exp(rng.normal(0, sigmas[0], 3)), np.exp(rng.normal(0, sigmas[1]))
    brightness, gamma = rng.normal(0, sigmas[2]), np.exp(rng.normal(0, sigmas[3]))
    table = ((levels**gamma - 0.5) * contrast + 0.5 + brightness) * tint
    lut = np.clip(table * 255, 0, 255).astype(np.uint8)[None]  # (1, 256, 3)
    return np.asarray(cv2.LUT(image, lut), np.uint8)


def shade(
    image: Image,
    rng: np.random.Generator,
    place: float = 0.5,
    softness: tuple[float, float] = (0.02, 0.6),
    dark: tuple[float, float] = (0.3, 0.8),
) -> Image:
    """Return an image that is darker on one side, with a soft or a sharp edge (hard light).

    Args:
        image: RGB, (H, W, 3).
        rng: Source of randomness.
        place: How far the edge may be from the middle, in half sides.
        softness: Range of the width of the edge, in half sides.
        dark: Range of the lost fraction of the light.
    """
    direction, at, width = rng.uniform(0, 2 * math.pi), rng.uniform(-place, place), rng.uniform(*softness)
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in image.shape[:2])
    across = (math.cos(direction) * x[None] + math.sin(direction) * y[:, None] - at) / width
    light = 1 - rng.uniform(*dark) / (1 + np.exp(-np.clip(across * 4, -30, 30)))
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)


def to_grey(image: Image, _: np.random.Generator) -> Image:
    """Return an image without colour, (H, W, 3).

    Args:
        image: RGB, (H, W, 3).
    """
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def _degrade(image: Image, rng: np.random.Generator) -> Image:
    """Blur the image, add motion blur, reduce its resolution, or add noise."""
    kind = rng.integers(4)
    size = image.shape[0]
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0)))
    if kind == 1:
        return blur_along_line(image, int(rng.integers(3, 8)), rng.uniform(0, math.pi))
    if kind == 2:
        small = cv2.resize(image, None, fx=(f := rng.uniform(0.25, 0.7)), fy=f, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR))
    noise = rng.normal(0, rng.uniform(3, 14), image.shape).astype(np.float32)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def blur_along_line(image: Image, length: int, angle: float) -> Image:
    """Return an image with motion blur.

    Args:
        image: RGB, (H, W, 3).
        length: Of the motion in pixels.
        angle: Its direction in radians.
    """
    kernel, middle = np.zeros((length, length), np.float32), (length - 1) / 2
    step = middle * np.array([math.cos(angle), math.sin(angle)])
    first, last = (np.round(middle + sign * step).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, first, last, 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)
