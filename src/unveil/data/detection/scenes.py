"""Random scenes for the face detector: single faces, mosaics, group photographs and scenes without a face.

F faces of a scene, S the side of the scene in pixels. A face's label is its landmarks, known from before it was turned,
occluded, darkened or cut off.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from unveil.data.augment import jitter_colour
from unveil.data.datasets.samples import Faces
from unveil.data.detection.compose import (
    Cutout,
    Matrix,
    cover_patch,
    cut_off,
    paste,
    reduced_face,
    similarity,
    transformed,
)
from unveil.data.detection.degrade import COLOUR_SIGMAS, DegradeConfig, degraded
from unveil.data.detection.groups import GroupPhotos
from unveil.data.occlusion import OcclusionSampler
from unveil.schemes.pose import five_points
from unveil.types import Image, Points

MAX_FACES, MAX_IGNORED = 12, 40
MAX_DECOYS = 8
MAX_PADDING = 32
SMALLEST_PX = 8.0  # smaller faces are neither positive nor negative
LEAST_INSIDE = 0.42  # of the tight box; faces that are cut off further are neither


class SceneConfig(BaseModel):
    """What scenes are made of.

    Attributes:
        kinds: Weights of empty scenes, of mosaics, of single faces and of group photographs.
        upright_fraction: Fraction of faces and photographs turned by about 12 degrees; the others by any angle.
        sizes_px: Range of the sizes of pasted faces (longer side of the tight box).
        patch_fraction: Fraction of faces under an added flat patch, beside the occluders.
        large_fraction: Fraction of single faces about as large as the scene.
        border_fraction: Fraction of single faces that may be cut off at borders of the scene.
        cut_fraction: Fraction of single faces that are cut off along a line of any direction, as in a rotated crop.
        padding_fraction: Fraction of scenes with black rows below and columns on the right, as in images that are
            filled up to whole strides.
        degrade: How often scenes are degraded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: tuple[float, float, float, float] = (0.12, 0.30, 0.43, 0.15)
    upright_fraction: float = 0.45
    sizes_px: tuple[float, float] = (8.0, 160.0)
    patch_fraction: float = 0.2
    large_fraction: float = 0.35
    border_fraction: float = 0.45
    cut_fraction: float = 0.15
    padding_fraction: float = 0.5
    degrade: DegradeConfig = DegradeConfig()


@dataclass(frozen=True, slots=True, eq=False)
class DetectionScene:
    """One training image of the detector.

    Args:
        image: RGB image (S, S, 3).
        boxes: Tight landmark boxes (F, 4).
        points: Five points of each face (F, 5, 2).
        ignored: Boxes (G, 4) in which nothing is learned.
    """

    image: Image
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    ignored: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FaceSource:
    """Faces to draw from.

    Args:
        faces: Annotated faces with their surroundings.
        indices: Those that are used.
        occlusion: Occluder of these faces, which depends on their scheme.
        weight: How often each is drawn, relative to the faces of other sources.
    """

    faces: Faces
    indices: NDArray[np.int64]
    occlusion: OcclusionSampler
    weight: float = 1.0


class SceneSampler:
    """Composes random scenes.

    Args:
        sources: Annotated faces.
        scenes: Images without faces.
        groups: Photographs of several people; None leaves them out.
        config: What scenes are made of.
        size: Side of a scene in pixels.

    Raises:
        ValueError: A set's scheme has no five points, or there are no scenes.
    """

    def __init__(
        self,
        sources: Sequence[FaceSource],
        scenes: Sequence[Image],
        groups: GroupPhotos | None = None,
        config: SceneConfig | None = None,
        size: int = 320,
    ) -> None:
        for source in sources:
            if source.faces.scheme.five_points is None:
                has = f"scheme {source.faces.scheme.name!r} names no five points"
                raise ValueError(f"{source.faces.label}: {has}; add them to its file")
        if not scenes:
            raise ValueError("no images without faces; name their folder with --scenes")
        config, self.size = config or SceneConfig(), size
        self.sources, self.scenes, self.groups, self.config = sources, scenes, groups, config
        weights = np.array([source.weight * len(source.indices) for source in sources])
        self._weights = weights / weights.sum()
        kinds = np.array(config.kinds if groups is not None and len(groups) else (*config.kinds[:3], 0.0))
        self._kinds = kinds / kinds.sum()

    def __call__(self, rng: np.random.Generator) -> DetectionScene:
        """Compose one scene.

        Args:
            rng: Source of randomness; the same state gives the same scene.

        Returns:
            The scene and its labels.
        """
        kind = int(rng.choice(4, p=self._kinds))
        compose = (self._empty, self._mosaic, self._single, self._group)[kind]
        canvas, shapes, fives, ignored = compose(rng)
        for points in shapes:
            if rng.random() < self.config.patch_fraction:
                cover_patch(canvas, points, rng)
        canvas = degraded(canvas, self.config.degrade, rng)
        if rng.random() < self.config.padding_fraction:
            below, right = rng.integers(0, MAX_PADDING, 2)
            canvas[self.size - below :] = 0
            canvas[:, self.size - right :] = 0
        boxes, points5 = [], []
        for points, five in zip(shapes, fives, strict=True):
            box = np.array([*points.min(axis=0), *points.max(axis=0)])
            inside = np.clip(box, 0, self.size - 1)
            share = np.prod(inside[2:] - inside[:2]) / max(float(np.prod(box[2:] - box[:2])), 1e-6)
            if share < LEAST_INSIDE or (box[2:] - box[:2]).max() < SMALLEST_PX:
                ignored.append(box)
            else:
                boxes.append(box)
                points5.append(five)
        ignored = [*boxes[MAX_FACES:], *ignored]  # a face without a label is not a negative
        near = [box for box in ignored if (box[:2] < self.size).all() and (box[2:] >= 0).all()]
        return DetectionScene(
            canvas,
            np.array(boxes[:MAX_FACES], np.float32).reshape(-1, 4),
            np.array(points5[:MAX_FACES], np.float32).reshape(-1, 5, 2),
            np.array(near[:MAX_IGNORED], np.float32).reshape(-1, 4),
        )

    def _empty(self, rng: np.random.Generator) -> "_Composed":
        canvas = self._background(rng)
        self._decoys(canvas, rng)
        return canvas, [], [], []

    def _mosaic(self, rng: np.random.Generator) -> "_Composed":
        canvas, size = self._background(rng), self.size
        self._decoys(canvas, rng)
        common = math.exp(rng.uniform(math.log(12), math.log(200)))
        shapes: list[Points] = []
        fives: list[Points] = []
        placed: list[tuple[NDArray[np.float64], float]] = []
        for _ in range(int(rng.integers(1, 8))):
            low, high = self.config.sizes_px
            varied = math.exp(rng.uniform(math.log(low), math.log(high)))
            target = varied if rng.random() < 0.6 else common * rng.uniform(0.7, 1.2)
            margin = -0.1 * target if rng.random() < 0.25 else min(0.5 * target, size / 2 - 1)
            centre = rng.uniform(margin, size - margin, 2)
            if any(np.abs(centre - other).max() < 0.6 * (target + extent) for other, extent in placed):
                continue
            cutout, points, five, matrix = self._turned_face(target, centre, rng)
            paste(canvas, cutout.image, matrix, points, rng, rng.uniform(1.05, 1.5))
            placed.append((centre, target))
            shapes.append(points)
            fives.append(five)
        return canvas, shapes, fives, []

    def _single(self, rng: np.random.Generator) -> "_Composed":
        size = self.size
        target = (
            rng.uniform(0.8, 1.3) * size
            if rng.random() < self.config.large_fraction
            else math.exp(rng.uniform(math.log(40), math.log(1.25 * size)))
        )
        centre = size / 2 + rng.uniform(-1, 1, 2) * max(0.0, (size - target) / 2)
        if rng.random() < self.config.border_fraction:
            centre = centre + rng.choice([-1, 1], 2) * rng.uniform(0.1, 0.6, 2) * target * (rng.random(2) < 0.5)
        cutout, points, five, matrix = self._turned_face(target, centre, rng)
        if rng.random() < 0.35:
            canvas = self._background(rng)
            paste(canvas, cutout.image, matrix, points, rng, rng.uniform(1.1, 1.9))
        else:
            fills = target > 0.8 * size
            border = (
                cv2.BORDER_CONSTANT,
                cv2.BORDER_REFLECT_101 if fills else cv2.BORDER_CONSTANT,
                cv2.BORDER_REPLICATE,
            )
            color = rng.integers(0, 256, 3).tolist() if rng.random() < 0.5 else (0, 0, 0)
            canvas = np.asarray(
                cv2.warpAffine(
                    cutout.image,
                    matrix,
                    (size, size),
                    borderMode=border[int(rng.integers(3))],
                    borderValue=tuple(color),
                ),
                np.uint8,
            )
        if rng.random() < self.config.cut_fraction:
            cut_off(canvas, points, rng)
        return canvas, [points], [five], []

    def _group(self, rng: np.random.Generator) -> "_Composed":
        assert self.groups is not None
        size = self.size
        photo = self.groups[int(rng.integers(len(self.groups)))]
        image, (height, width) = photo.image, photo.image.shape[:2]
        extents = [float(np.ptp(points, axis=0).max()) for points in photo.landmarks]
        scale = size / max(height, width) * math.exp(rng.uniform(-0.5, 0.9))
        middle = np.array([width, height]) * rng.uniform(0.2, 0.8, 2)
        if extents:
            chosen = int(rng.integers(len(extents)))
            if rng.random() < 0.5:
                scale = math.exp(rng.uniform(math.log(10), math.log(150))) / extents[chosen]
            if rng.random() < 0.7:
                middle = photo.landmarks[chosen].mean(axis=0)
        scale, reduced = min(scale, 3.0), 1.0
        if scale < 0.6:
            reduced = scale * 1.2
            image = np.asarray(cv2.resize(image, None, fx=reduced, fy=reduced, interpolation=cv2.INTER_AREA), np.uint8)
        mirrored = bool(rng.random() < 0.5)
        matrix = similarity(
            scale / reduced,
            self._angle(rng),
            (middle + 0.5) * reduced - 0.5,
            rng.uniform(0.3 * size, 0.7 * size, 2),
            mirrored,
        )
        canvas = np.asarray(cv2.warpAffine(image, matrix, (size, size)), np.uint8)
        shapes = [transformed((points + 0.5) * reduced - 0.5, matrix) for points in photo.landmarks]
        if mirrored:
            shapes = [points[list(self.groups.scheme.flip_order)] for points in shapes]
        ignored = []
        for x0, y0, x1, y1 in photo.ignored:
            corners = transformed((np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]) + 0.5) * reduced - 0.5, matrix)
            ignored.append(np.array([*corners.min(axis=0), *corners.max(axis=0)]))
        return canvas, shapes, [five_points(self.groups.scheme, points) for points in shapes], ignored

    def _angle(self, rng: np.random.Generator) -> float:
        if rng.random() < self.config.upright_fraction:
            return math.radians(float(np.clip(rng.normal(), -2.5, 2.5)) * 12)
        return float(rng.uniform(-math.pi, math.pi))

    def _turned_face(
        self, target: float, centre: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[Cutout, Points, Points, Matrix]:
        """Draw a face, and return it with landmarks, five points and matrix from its image to the scene."""
        source = self.sources[int(rng.choice(len(self.sources), p=self._weights))]
        part, index = source.faces, int(rng.choice(source.indices))
        cutout = _occluded(reduced_face(part.image(index), part.points_px[index], target), source.occlusion, rng)
        mirrored = bool(rng.random() < 0.5)
        middle = (cutout.points_px.min(axis=0) + cutout.points_px.max(axis=0)) / 2
        matrix = similarity(target / cutout.extent, self._angle(rng), middle, centre, mirrored)
        points = transformed(cutout.points_px, matrix)
        if mirrored:
            points = points[list(part.scheme.flip_order)]
        return cutout, points, five_points(part.scheme, points), matrix

    def _background(self, rng: np.random.Generator) -> Image:
        size, scene = self.size, self.scenes[int(rng.integers(len(self.scenes)))]
        height, width = scene.shape[:2]
        scale = size / min(height, width) * math.exp(rng.uniform(0, 0.9))
        angle = self._angle(rng) if rng.random() < 0.3 else 0.0
        middle = np.array([width, height]) * rng.uniform(0.3, 0.7, 2)
        matrix = similarity(scale, angle, middle, np.full(2, size / 2), bool(rng.random() < 0.5))
        return np.asarray(cv2.warpAffine(scene, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101), np.uint8)

    def _decoys(self, canvas: Image, rng: np.random.Generator) -> None:
        """Paste pieces of scenes as faces are pasted, so that an edge of a patch is no evidence of a face."""
        for _ in range(int(rng.integers(0, MAX_DECOYS + 1))):
            scene = self.scenes[int(rng.integers(len(self.scenes)))]
            height, width = scene.shape[:2]
            target, extent = (
                math.exp(rng.uniform(math.log(9), math.log(160))),
                min(height, width) * rng.uniform(0.35, 0.8),
            )
            middle = np.array([width, height]) * rng.uniform(0.3, 0.7, 2)
            corners = np.array([middle - extent / 2, middle + extent / 2], np.float32)
            piece = reduced_face(scene, corners, target)
            centre = rng.uniform(0, self.size, 2)
            matrix = similarity(
                target / piece.extent, self._angle(rng), piece.points_px.mean(axis=0), centre, bool(rng.random() < 0.5)
            )
            box = transformed(piece.points_px, matrix)
            paste(canvas, piece.image, matrix, np.array([box.min(axis=0), box.max(axis=0)]), rng, 1.3)


_Composed = tuple[Image, list[Points], list[Points], list[NDArray[np.float64]]]
"""A scene's image, the landmarks and the five points of its faces, and the boxes in which nothing is learned."""


def _occluded(cutout: Cutout, occlusion: OcclusionSampler, rng: np.random.Generator) -> Cutout:
    image = occlusion(cutout.image, cutout.points_px, rng).image if cutout.extent >= 12 else cutout.image
    if rng.random() < 0.5:
        image = jitter_colour(image, rng, [sigma / 2 for sigma in COLOUR_SIGMAS])
    return Cutout(image, cutout.points_px, cutout.extent)
