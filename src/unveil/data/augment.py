"""From a packed face to a training example: turned, shifted, scaled, occluded, recoloured. L landmarks, S pixels."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from unveil.data.occlusion import Occluder, is_occluded
from unveil.data.self_occlusion import turned_away
from unveil.data.tps_warp import OtherShapes, bent, towards
from unveil.geometry import Crop, tight_box, unit_to_crop_px
from unveil.schemes.scheme import Scheme
from unveil.types import Image, Points

BENDS = (0.2, 0.7)  # how much of the way to another shape


class Augmentation(BaseModel):
    """How far a training face may be changed. Shares are probabilities; the box is off by `shift` and `scale`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation: float = 18.0
    """Standard deviation of the in-plane turn, degrees."""
    shift: float = 0.06
    """Standard deviation of the crop's centre, in crop sides."""
    scale: tuple[float, float] = (0.82, 1.27)
    """Range of the crop's side, relative to the box's diagonal."""
    flip: float = 0.5
    bend: float = 0.0
    """Share of faces that are bent towards the shape of another face."""
    annotation_offset: float = 0.0
    """How far right of what they mark annotations lie, in diagonals of the tight box; mirrored, they still shall."""
    colour: float = 0.8
    shade: float = 0.2
    grey: float = 0.1
    blur: float = 0.15


@dataclass(frozen=True, slots=True)
class Example:
    """A crop as a model sees it. `visible` is false where something covers a landmark or the head turns it away."""

    image: Image
    points_unit: Points
    visible: NDArray[np.bool_]


def random_crop(points_px: Points, config: Augmentation, rng: np.random.Generator) -> Crop:
    """A window as a detector might give it: round the tight box of the turned face, then shifted and scaled."""
    angle = math.radians(config.rotation) * float(np.clip(rng.normal(), -2.5, 2.5))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    upright = Crop.around(tight_box((points_px @ turn).astype(np.float32)))
    side = upright.side * math.exp(rng.uniform(math.log(config.scale[0]), math.log(config.scale[1])))
    shift = np.clip(rng.normal(size=2), -2.5, 2.5) * config.shift * upright.side
    x, y = turn @ (np.array(upright.centre) + shift)
    return Crop((float(x), float(y)), side, angle, mirrored=bool(rng.random() < config.flip))


def beside_mirror(points_px: Points, offset: float) -> Points:
    """Annotations that will be mirrored, moved so that they lie as far right of what they mark afterwards as before."""
    x0, y0, x1, y1 = tight_box(points_px)
    return points_px - np.array([2 * offset * math.hypot(x1 - x0, y1 - y0), 0], np.float32)


def cut(image: Image, points_px: Points, crop: Crop, scheme: Scheme, size: int) -> tuple[Image, Points]:
    """The window's picture and its landmarks in unit coordinates, renumbered if the window mirrors."""
    points_unit = crop.to_unit(points_px)
    if crop.mirrored:
        points_unit = points_unit[list(scheme.flip_order)]
    return crop.extract(image, size), points_unit


def augmented(
    image: Image,
    points_px: Points,
    *,
    scheme: Scheme,
    size: int,
    config: Augmentation,
    occlude: Occluder | None,
    rng: np.random.Generator,
    others: OtherShapes | None = None,
    annotated_visible: NDArray[np.bool_] | None = None,
) -> Example:
    """A random view of a face. The same generator state gives the same example.

    `others` are what the face may be bent towards; `annotated_visible`, (L,), is False where something covers the
    landmark in the picture itself.
    """
    crop = random_crop(points_px, config, rng)
    if crop.mirrored:
        points_px = beside_mirror(points_px, config.annotation_offset)
    picture, points_unit = cut(image, points_px, crop, scheme, size)
    if others is not None and config.bend and rng.random() < config.bend:
        picture, points_unit = bent(picture, points_unit, towards(others(rng), points_unit, rng.uniform(*BENDS)))
    visible = ~turned_away(scheme, points_unit)
    if annotated_visible is not None:
        visible &= annotated_visible[list(scheme.flip_order)] if crop.mirrored else annotated_visible
    points = unit_to_crop_px(points_unit, size)
    if rng.random() < config.colour / 2:  # a face lit otherwise than what covers it
        picture = recoloured(picture, rng)
    if occlude is not None:
        occluded = occlude(picture, points, rng)
        picture = occluded.image
        visible &= ~is_occluded(points, occluded.mask)
    steps: tuple[tuple[float, Callable[[Image, np.random.Generator], Image]], ...] = (
        (config.colour, recoloured),
        (config.shade, shaded),
        (config.grey, greyed),
        (config.blur, blurred),
    )
    for share, change in steps:
        if rng.random() < share:
            picture = change(picture, rng)
    return Example(picture, points_unit, visible)


def recoloured(image: Image, rng: np.random.Generator) -> Image:
    """Brightness, contrast, gamma and a tint, by one table a channel."""
    levels = np.linspace(0, 1, 256)[:, None]
    tint = np.exp(rng.normal(0, 0.06, 3))
    contrast, brightness, gamma = np.exp(rng.normal(0, 0.18)), rng.normal(0, 0.06), np.exp(rng.normal(0, 0.2))
    table = ((levels**gamma - 0.5) * contrast + 0.5 + brightness) * tint
    lut = np.clip(table * 255, 0, 255).astype(np.uint8)[None]  # (1, 256, 3)
    return np.asarray(cv2.LUT(image, lut))


def shaded(image: Image, rng: np.random.Generator) -> Image:
    """Hard light: one side of the crop darker than the other, with a soft or a sharp edge."""
    size = image.shape[0]
    direction, place, width = rng.uniform(0, 2 * math.pi), rng.uniform(-0.5, 0.5), rng.uniform(0.02, 0.6)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    across = (math.cos(direction) * ramp[None] + math.sin(direction) * ramp[:, None] - place) / width
    light = 1 - rng.uniform(0.3, 0.8) / (1 + np.exp(-np.clip(across * 4, -30, 30)))
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)


def greyed(image: Image, _: np.random.Generator) -> Image:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def blurred(image: Image, rng: np.random.Generator) -> Image:
    """Out of focus, moved, of low resolution, or grainy."""
    kind = rng.integers(4)
    size = image.shape[0]
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0)))
    if kind == 1:
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        dx, dy = (length - 1) / 2 * np.array([math.cos(a := rng.uniform(0, math.pi)), math.sin(a)])
        centre = (length - 1) / 2
        ends = [(round(centre + s * dx), round(centre + s * dy)) for s in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))
    if kind == 2:
        small = cv2.resize(image, None, fx=(f := rng.uniform(0.25, 0.7)), fy=f, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR))
    noise = rng.normal(0, rng.uniform(3, 14), image.shape).astype(np.float32)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)
