"""Parts of a scene for the face detector: faces placed, pasted, covered and cut off. F faces, S pixels of its side."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.types import Image, Points

Matrix: TypeAlias = NDArray[np.float64]
"""An affine transform, (2, 3)."""


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A face at about the size at which it is pasted.

    Args:
        image: RGB image (H, W, 3).
        points_px: Landmarks (L, 2) in its pixels.
        extent: Longer side of the tight box in pixels.
    """

    image: Image
    points_px: Points
    extent: float


def similarity(
    scale: float, angle: float, source: NDArray[np.floating], target: NDArray[np.floating], mirrored: bool
) -> Matrix:
    """Return the matrix that scales, rotates clockwise, mirrors if asked, and maps one point to another.

    Args:
        scale: The scale.
        angle: The rotation in radians.
        source: A point (2,).
        target: The point (2,) that it is mapped to.
        mirrored: Whether x is mirrored before the rotation.
    """
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    return np.hstack([linear, (target - linear @ source)[:, None]])


def transformed(points: NDArray[np.floating], matrix: Matrix) -> Points:
    """Return points under a transform, (N, 2).

    Args:
        points: Points (N, 2).
        matrix: The transform.
    """
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def reduced_face(image: Image, points_px: Points, target: float) -> Cutout:
    """Return a face, reduced if it is much larger than its size in the scene, so that a warp does not alias.

    Args:
        image: RGB image (H, W, 3).
        points_px: Landmarks (L, 2) in its pixels.
        target: Longer side of the tight box in the scene, in pixels.
    """
    extent = max(float(np.ptp(points_px, axis=0).max()), 1e-3)
    if extent <= 1.6 * target:
        return Cutout(image, points_px, extent)
    scale = max(1.2 * target / extent, 4 / min(image.shape[:2]))
    small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    points = ((points_px + 0.5) * (small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]) - 0.5).astype(
        np.float32
    )
    return Cutout(small, points, max(float(np.ptp(points, axis=0).max()), 1e-3))


def paste(
    canvas: Image, image: Image, matrix: Matrix, points: NDArray[np.floating], rng: np.random.Generator, reach: float
) -> None:
    """Paste a face with its surroundings into a scene, through an ellipse or a rectangle with a mostly soft edge.

    Args:
        canvas: The scene, (S, S, 3), changed in place.
        image: RGB image (H, W, 3) of the face.
        matrix: From the image to the scene.
        points: Landmarks (L, 2) in pixels of the scene.
        rng: Source of randomness.
        reach: Size of the shape in face sizes.
    """
    size, (height, width) = len(canvas), image.shape[:2]
    inverse = cv2.invertAffineTransform(matrix)
    middle = transformed((points.min(axis=0) + points.max(axis=0))[None] / 2, np.asarray(inverse, np.float64))[0]
    extent = float(np.ptp(points, axis=0).max()) * math.sqrt(abs(np.linalg.det(inverse[:, :2])))
    across, down = extent * reach * rng.uniform(0.5, 0.7), extent * reach * rng.uniform(0.55, 0.8)
    mask = np.zeros((height, width), np.uint8)
    x, y = int(middle[0]), int(middle[1])
    if rng.random() < 0.5:
        cv2.ellipse(mask, (x, int(y - 0.08 * extent)), (int(across), int(down)), 0, 0, 360, 255, -1)
    else:
        cv2.rectangle(mask, (int(x - across), int(y - 1.1 * down)), (int(x + across), int(y + down)), 255, -1)
    if rng.random() < 0.7:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.6, extent * rng.uniform(0.01, 0.06))), np.uint8)
    corners = transformed(np.array([[0, 0], [width, 0], [0, height], [width, height]]), matrix)
    x0, y0 = np.clip(np.floor(corners.min(axis=0)), 0, size).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=0)), 0, size).astype(int)
    if x1 <= x0 or y1 <= y0:
        return
    local = matrix - np.array([[0, 0, x0], [0, 0, y0]])
    window = (int(x1 - x0), int(y1 - y0))
    pasted = cv2.warpAffine(image, local, window).astype(np.float32)
    alpha = cv2.warpAffine(mask, local, window).astype(np.float32)[..., None] / 255
    region = canvas[y0:y1, x0:x1]
    region[:] = (region * (1 - alpha) + pasted * alpha + 0.5).astype(np.uint8)


def cover_patch(canvas: Image, points: Points, rng: np.random.Generator) -> None:
    """Cover a part of a face with a rotated rectangle of one colour or of another part of the scene.

    Args:
        canvas: The scene, (S, S, 3), changed in place.
        points: Landmarks (L, 2) in pixels of the scene.
        rng: Source of randomness.
    """
    extent, (x, y) = float(np.ptp(points, axis=0).max()), points[int(rng.integers(len(points)))]
    width, height = extent * rng.uniform(0.25, 0.7, 2)
    corners = cv2.boxPoints(((float(x), float(y)), (float(width), float(height)), float(rng.uniform(0, 180))))
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, corners.astype(np.int32), 1)
    size = len(canvas)
    if rng.random() < 0.5:
        canvas[mask > 0] = rng.integers(0, 256, 3)
    else:
        canvas[mask > 0] = np.roll(canvas, rng.integers(size // 4, 3 * size // 4, 2), (0, 1))[mask > 0]


def cut_off(canvas: Image, points: Points, rng: np.random.Generator) -> None:
    """Fill the scene beyond a line through a face with one colour, mostly black.

    Args:
        canvas: The scene, (S, S, 3), changed in place.
        points: Landmarks (L, 2) in pixels of the scene.
        rng: Source of randomness.
    """
    oblique = rng.uniform(-0.6, 0.6) if rng.random() < 0.5 else 0.0
    angle = int(rng.integers(4)) * math.pi / 2 + oblique
    normal = np.array([math.cos(angle), math.sin(angle)])
    low, high = points.min(axis=0), points.max(axis=0)
    limit = normal @ (low + high) / 2 + np.abs(normal) @ (high - low) / 2 * rng.uniform(-0.05, 0.8)
    y, x = np.mgrid[: canvas.shape[0], : canvas.shape[1]]
    canvas[x * normal[0] + y * normal[1] > limit] = 0 if rng.random() < 0.7 else rng.integers(0, 256, 3)
