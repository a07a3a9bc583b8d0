"""Textured polygons and blobs over any part of the face. N corners."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Draw, Occluded, Window, paste, scale_for_coverage, soften, unoccluded
from unveil.data.occlusion.frame import FaceImage, face_region
from unveil.data.occlusion.textures import texture


def polygon_occluder(coverage: float | None = None) -> Draw:
    """Return the occluder: a polygon or a blob with a texture.

    Args:
        coverage: Scale the shape until it covers this fraction of the face; None: a random size.
    """
    return partial(_occlude, coverage=coverage)


def _occlude(face: FaceImage, rng: np.random.Generator, coverage: float | None) -> Occluded:
    image, points_px = face.image, face.points_px
    if coverage == 0:
        return unoccluded(image)
    frame = face.frame
    centre = points_px[rng.integers(len(points_px))] + rng.normal(0, 0.25 * frame.size, 2)
    centre = np.clip(centre, 0, np.array(image.shape[1::-1]) - 1.0)
    shape = (_polygon if rng.random() < 0.4 else _blob)(rng)
    size = frame.size * rng.uniform(0.3, 1.4)
    if coverage is not None:
        whole, region = Window.whole(image), face_region(points_px, image.shape)
        scale, _ = scale_for_coverage(
            lambda scale: whole.fill(centre + shape * scale * frame.size) > 0.5, region, coverage
        )
        size = scale * frame.size
    outline = centre + shape * size
    window = Window.around(outline, image)
    if window.empty:
        return unoccluded(image)
    alpha = window.fill(outline)
    if rng.random() < 0.3:
        alpha = soften(alpha, rng.uniform(0.5, 1.5))
    paint = texture(rng, window.height, window.width, image)
    if rng.random() < 0.5:
        paint += np.float32(rng.uniform(2, 12)) * rng.standard_normal((window.height, window.width, 1), np.float32)
    return paste(image, window, paint, alpha, shadow=rng.uniform(0, 0.6) if rng.random() < 0.5 else 0.0)


def _polygon(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a polygon around the origin, (N, 2), of radius about one, stretched."""
    count = int(rng.integers(3, 9))
    jitter = 0.2 if count == 3 else 0.35  # no gap of half a turn: the origin stays inside
    angles = math.tau * (np.arange(count) + rng.uniform(-jitter, jitter, count)) / count
    return _stretch(rng, angles, rng.uniform(0.5, 1.2, count))


def _blob(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a smooth closed curve around the origin, (64, 2): a circle with a few waves on it."""
    angles = np.linspace(0, math.tau, 64, endpoint=False)
    radii = np.ones(64)
    for wave in range(1, 6):
        radii += rng.uniform(0, 0.35) / wave * np.cos(wave * angles + rng.uniform(0, math.tau))
    return _stretch(rng, angles, np.maximum(radii, 0.2))


def _stretch(rng: np.random.Generator, angles: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    points = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1) * (1.0, rng.uniform(0.4, 1.0))
    turn = rng.uniform(0, math.pi)
    cos, sin = math.cos(turn), math.sin(turn)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]), np.float64)
