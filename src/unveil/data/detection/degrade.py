"""Degraded photographs: wrong colours, darkness, hard light, haze, grey, blur, noise and JPEG. H, W pixels."""

import math
from typing import Annotated

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from unveil.data.augment import blur_along_line, jitter_colour, shade, to_grey
from unveil.types import Image

COLOUR_SIGMAS = (0.1, 0.3, 0.1, 0.35)  # of `jitter_colour`
Fraction = Annotated[float, Field(ge=0, le=1)]


class DegradeConfig(BaseModel):
    """The fraction of images that are changed in each way.

    Attributes:
        color_fraction: Tint, contrast, brightness and gamma.
        dark_fraction: Brightness between 4 and 40 percent.
        hard_light_fraction: One side darker, behind a soft or a sharp edge.
        haze_fraction: Low contrast.
        grey_fraction: No colour.
        blur_fraction: Defocus, motion blur or low resolution.
        noise_fraction: Gaussian noise, of brightness alone or of each channel.
        jpeg_fraction: JPEG artefacts of quality 15 to 70.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    color_fraction: Fraction = 0.7
    dark_fraction: Fraction = 0.10
    hard_light_fraction: Fraction = 0.07
    haze_fraction: Fraction = 0.05
    grey_fraction: Fraction = 0.15
    blur_fraction: Fraction = 0.25
    noise_fraction: Fraction = 0.2
    jpeg_fraction: Fraction = 0.2


def degraded(image: Image, config: DegradeConfig, rng: np.random.Generator) -> Image:
    """Return an image of the same size, changed as by cameras and light.

    Args:
        image: RGB image (H, W, 3).
        config: How often each change occurs.
        rng: The same state gives the same result.
    """
    if rng.random() < config.color_fraction:
        image = jitter_colour(image, rng, COLOUR_SIGMAS)
    light = rng.random()
    if light < config.dark_fraction:
        image = np.clip(image * rng.uniform(0.04, 0.4), 0, 255).astype(np.uint8)
    elif light < config.dark_fraction + config.hard_light_fraction:
        image = shade(image, rng, place=0.4, softness=(0.03, 0.6), dark=(0.4, 0.95))
    elif light < config.dark_fraction + config.hard_light_fraction + config.haze_fraction:
        image = np.clip(image * rng.uniform(0.2, 0.6) + rng.uniform(80, 170), 0, 255).astype(np.uint8)
    if rng.random() < config.grey_fraction:
        image = to_grey(image, rng)
    if rng.random() < config.blur_fraction:
        image = _blurred(image, rng)
    if rng.random() < config.noise_fraction:
        image = _noisy(image, rng)
    if rng.random() < config.jpeg_fraction:
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 70))])[1]
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return image


def _blurred(image: Image, rng: np.random.Generator) -> Image:
    kind, (height, width) = rng.integers(4), image.shape[:2]
    if kind <= 1:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2.2)), np.uint8)
    if kind == 2:
        return blur_along_line(image, int(rng.integers(3, 10)), rng.uniform(0, math.pi))
    scale = rng.uniform(0.3, 0.7)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _noisy(image: Image, rng: np.random.Generator) -> Image:
    noise = np.zeros(image.shape, np.int16)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    deviation = rng.uniform(3, 28) if rng.random() < 0.6 else rng.uniform(20, 55)
    cv2.randn(noise, np.zeros(3), np.full(3, deviation))
    if rng.random() < 0.3:  # of brightness alone
        noise[:] = noise[..., :1]
    return np.asarray(np.clip(image.astype(np.int16) + noise, 0, 255), np.uint8)
