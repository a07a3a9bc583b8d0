"""Degraded photographs: wrong colours, darkness, hard light, haze, grey, blur, noise and JPEG. H, W pixels."""

import math
from typing import Annotated

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from unveil.types import Image

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
    """Change an image as cameras and light do.

    Args:
        image: RGB image (H, W, 3).
        config: How often each change occurs.
        rng: The same state gives the same result.

    Returns:
        The changed image, of the same size.
    """
    if rng.random() < config.color_fraction:
        image = recolored(image, rng)
    light = rng.random()
    if light < config.dark_fraction:
        image = np.clip(image * rng.uniform(0.04, 0.4), 0, 255).astype(np.uint8)
    elif light < config.dark_fraction + config.hard_light_fraction:
        image = _hard_light(image, rng)
    elif light < config.dark_fraction + config.hard_light_fraction + config.haze_fraction:
        image = np.clip(image * rng.uniform(0.2, 0.6) + rng.uniform(80, 170), 0, 255).astype(np.uint8)
    if rng.random() < config.grey_fraction:
        image = np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    if rng.random() < config.blur_fraction:
        image = _blurred(image, rng)
    if rng.random() < config.noise_fraction:
        image = _noisy(image, rng)
    if rng.random() < config.jpeg_fraction:
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 70))])[1]
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return image


def recolored(image: Image, rng: np.random.Generator, strength: float = 1.0) -> Image:
    """Change tint, contrast, brightness and gamma by one lookup table per channel.

    Args:
        image: RGB image (H, W, 3).
        rng: Source of randomness.
        strength: Factor of all standard deviations.

    Returns:
        The changed image.
    """
    levels = np.linspace(0, 1, 256)[:, None]
    tint = np.exp(rng.normal(0, 0.1 * strength, 3))
    contrast, brightness = np.exp(rng.normal(0, 0.3 * strength)), rng.normal(0, 0.1 * strength)
    gamma = np.exp(rng.normal(0, 0.35 * strength))
    table = ((levels**gamma - 0.5) * contrast + 0.5 + brightness) * tint
    return np.asarray(cv2.LUT(image, np.clip(table * 255, 0, 255).astype(np.uint8)[None]), np.uint8)


def _hard_light(image: Image, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    angle, place, softness = rng.uniform(0, 2 * math.pi), rng.uniform(-0.4, 0.4), rng.uniform(0.03, 0.6)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    across = (math.cos(angle) * x[None] + math.sin(angle) * y[:, None] - place) / softness
    light = 1 - rng.uniform(0.4, 0.95) / (1 + np.exp(-np.clip(across * 4, -30, 30)))
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)


def _blurred(image: Image, rng: np.random.Generator) -> Image:
    kind, (height, width) = rng.integers(4), image.shape[:2]
    if kind <= 1:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2.2)), np.uint8)
    if kind == 2:
        length = int(rng.integers(3, 10))
        kernel, middle, angle = np.zeros((length, length), np.float32), (length - 1) / 2, rng.uniform(0, math.pi)
        ends = [
            (round(middle + side * middle * math.cos(angle)), round(middle + side * middle * math.sin(angle)))
            for side in (-1, 1)
        ]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)
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
