"""Evaluation of face detectors: recall by condition, false positives and the error of boxes and points.

A condition is a list of `DetectionExample`: images with known faces, made from annotated faces. N faces.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import OcclusionSampler
from unveil.geometry import box_iou, longer_side, tight_box
from unveil.inference.detector import Detector
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import Scheme
from unveil.types import Image, Points

MIN_IOU = 0.5
SCENE = (480, 640)
SIZES_PX = (12, 16, 20, 24, 30, 40)
TURNS_DEG = tuple(range(0, 360, 15))
FILLS = (1.0, 1.15)
FILLED_SIDES_PX = (192, 640, 2000)
BORDERS = ("left", "top", "right", "bottom")
BRIGHTNESS = (0.3, 0.15, 0.08)
SEED = 0
NOISE = (15.0, 30.0, 45.0)


@dataclass(frozen=True, slots=True, eq=False)
class DetectionExample:
    """An image and its faces.

    Args:
        image: RGB image (H, W, 3).
        faces: Landmarks of each face, (L, 2) in pixels; none for an image without a face.
    """

    image: Image
    faces: tuple[Points, ...] = ()


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """Figures of one detector under one condition.

    Args:
        faces: Number of true faces.
        found: Number of faces with a detection of IoU 0.5 or more.
        false_positives: Number of detections that are no face.
        images: Number of images.
        box_error: Mean over found faces of 1 - IoU, in percent.
        roll_error_deg: Median error of the in-plane rotation by the detector's points; None without points.
    """

    faces: int
    found: int
    false_positives: int
    images: int
    box_error: float
    roll_error_deg: float | None

    @property
    def recall(self) -> float:
        """Share of the faces that were found, in percent."""
        return 100 * self.found / self.faces if self.faces else math.nan


Change: TypeAlias = Callable[[Image, Points, np.random.Generator], DetectionExample]
"""Makes a test image of an annotated face."""


def evaluate_detector(
    detector: Detector, examples: Iterable[DetectionExample], scheme: Scheme, min_iou: float = MIN_IOU
) -> DetectionResult:
    """Return the figures of a detector on images with known faces.

    Args:
        detector: The detector, at its own threshold.
        examples: Images and their faces.
        scheme: Scheme of the faces' landmarks.
        min_iou: Overlap (IoU) with the tight landmark box from which a face counts as found.
    """
    faces = found = false_positives = images = 0
    errors: list[float] = []
    rolls: list[float] = []
    for example in examples:
        images += 1
        detections = list(detector(example.image))
        for points_px in example.faces:
            faces += 1
            overlaps = [box_iou(detection.box, tight_box(points_px)) for detection in detections]
            if not overlaps or max(overlaps) < min_iou:
                continue
            found += 1
            best = detections.pop(int(np.argmax(overlaps)))
            errors.append(1 - max(overlaps))
            if best.points is not None:
                rolls.append(abs(_roll_difference_deg(best.points, five_points(scheme, points_px))))
        false_positives += len(detections)
    box_error = 100 * float(np.mean(errors)) if errors else math.nan
    return DetectionResult(faces, found, false_positives, images, box_error, float(np.median(rolls)) if rolls else None)


def conditions(
    faces: Faces,
    indices: Sequence[int],
    scenes: Sequence[Image],
    templates: OcclusionSampler | None = None,
) -> Mapping[str, Callable[[], Iterator[DetectionExample]]]:
    """Return the test conditions by name; each call makes the same images anew.

    Args:
        faces: Annotated faces with their surroundings.
        indices: Those that are used.
        scenes: Images without faces, in which small faces are placed.
        templates: Occluder of the condition "occluded"; None leaves it out.

    Returns:
        Name of the condition to a function that yields its images.
    """

    def each(change: Change) -> Callable[[], Iterator[DetectionExample]]:
        def examples() -> Iterator[DetectionExample]:
            for index in indices:
                yield change(faces.image(index), faces.points_px[index], np.random.default_rng((SEED, index)))

        return examples

    changes: dict[str, Change] = {"as they are": _unchanged}
    if templates is not None:
        changes["occluded"] = partial(_occluded, sampler=templates)
    changes |= {f"turned {degrees}": partial(turned, degrees=degrees) for degrees in TURNS_DEG[1:]}
    if scenes:
        changes |= {f"{size} px": partial(placed, scenes=scenes, size_px=size) for size in SIZES_PX}
    for fill, side in product(FILLS, FILLED_SIDES_PX):
        changes[f"fills {fill:g} of {side} px"] = partial(filling, fill=fill, side_px=side)
    changes |= {f"half cut {border}": partial(cut_off, border=border) for border in BORDERS}
    changes |= {f"brightness {value:g}": partial(darkened, brightness=value) for value in BRIGHTNESS}
    changes |= {f"noise {sigma:g}": partial(noisy, sigma=sigma) for sigma in NOISE}
    return {name: each(change) for name, change in changes.items()}


def _unchanged(image: Image, points_px: Points, _: np.random.Generator) -> DetectionExample:
    return DetectionExample(image, (points_px,))


def _occluded(image: Image, points_px: Points, rng: np.random.Generator, sampler: OcclusionSampler) -> DetectionExample:
    return DetectionExample(sampler.cover(image, points_px, rng).image, (points_px,))


def turned(image: Image, points_px: Points, _: np.random.Generator, degrees: float) -> DetectionExample:
    """Return a face in its image rotated clockwise about the centre; the image is large enough for all of it.

    Args:
        image: RGB image (H, W, 3).
        points_px: Landmarks (L, 2) in pixels.
        degrees: The angle.
    """
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = (math.ceil(width * cos + height * sin), math.ceil(width * sin + height * cos))
    matrix[:, 2] += ((size[0] - width) / 2, (size[1] - height) / 2)
    return _warped(image, points_px, np.asarray(matrix, np.float64), size)


def placed(
    image: Image, points_px: Points, rng: np.random.Generator, scenes: Sequence[Image], size_px: float
) -> DetectionExample:
    """Return a scene of 640 x 480 px with a face and its surroundings placed in it.

    Args:
        image: RGB image (H, W, 3).
        points_px: Landmarks (L, 2) in pixels.
        rng: Draws the scene and the position.
        scenes: Images without a face.
        size_px: Longer side of the tight box in the result.
    """
    scene = scenes[int(rng.integers(len(scenes)))]
    height, width = SCENE
    canvas = np.asarray(cv2.resize(scene, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    scale = size_px / float(np.ptp(points_px, axis=0).max())
    small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    h, w = small.shape[:2]
    x, y = (int(rng.integers(0, max(1, room))) for room in (width - w, height - h))
    canvas[y : y + h, x : x + w] = small[: height - y, : width - x]
    points = (points_px + 0.5) * (w / image.shape[1], h / image.shape[0]) - 0.5 + (x, y)
    return DetectionExample(canvas, (points.astype(np.float32),))


def filling(image: Image, points_px: Points, _: np.random.Generator, fill: float, side_px: int) -> DetectionExample:
    """Return a crop around a face.

    Args:
        image: RGB image (H, W, 3).
        points_px: Landmarks (L, 2) in pixels.
        fill: Longer side of the tight box in sides of the result.
        side_px: Side of the result in pixels.
    """
    box = tight_box(points_px)
    scale = fill * side_px / longer_side(box)
    x, y, middle = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2, (side_px - 1) / 2
    matrix = np.array([[scale, 0, middle - scale * x], [0, scale, middle - scale * y]])
    return _warped(image, points_px, matrix, (side_px, side_px))


def cut_off(image: Image, points_px: Points, _: np.random.Generator, border: str) -> DetectionExample:
    """Return an image cropped so that half of the face's tight box lies beyond one border.

    Args:
        image: RGB image (H, W, 3).
        points_px: Landmarks (L, 2) in pixels.
        border: `left`, `top`, `right` or `bottom`.
    """
    box, (height, width) = tight_box(points_px), image.shape[:2]
    x, y = round((box.x0 + box.x1) / 2), round((box.y0 + box.y1) / 2)
    x0, x1 = (max(x, 0) if border == "left" else 0), (min(x, width) if border == "right" else width)
    y0, y1 = (max(y, 0) if border == "top" else 0), (min(y, height) if border == "bottom" else height)
    cut = np.ascontiguousarray(image[y0:y1, x0:x1])
    return DetectionExample(cut, ((points_px - (x0, y0)).astype(np.float32),))


def darkened(image: Image, points_px: Points, rng: np.random.Generator, brightness: float) -> DetectionExample:
    """Return a face in another brightness, with the noise of a sensor at that light (sigma 3).

    Args:
        image: RGB image (H, W, 3).
        points_px: Landmarks (L, 2) in pixels.
        rng: Draws the noise.
        brightness: Factor of the brightness, 0 to 1.
    """
    dark = image.astype(np.float32) * brightness + rng.normal(0, 3, image.shape)
    return DetectionExample(np.clip(dark, 0, 255).astype(np.uint8), (points_px,))


def noisy(image: Image, points_px: Points, rng: np.random.Generator, sigma: float) -> DetectionExample:
    """Return a face in a grey image with grey Gaussian noise, as of an infrared camera.

    Args:
        image: RGB image (H, W, 3).
        points_px: Landmarks (L, 2) in pixels.
        rng: Draws the noise.
        sigma: Standard deviation in grey levels.
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    grey += rng.normal(0, sigma, (*image.shape[:2], 1))
    return DetectionExample(np.clip(grey, 0, 255).astype(np.uint8), (points_px,))


def _warped(image: Image, points_px: Points, matrix: NDArray[np.float64], size: tuple[int, int]) -> DetectionExample:
    how = cv2.INTER_AREA if abs(np.linalg.det(matrix[:, :2])) < 1 else cv2.INTER_LINEAR
    warped = cv2.warpAffine(image, matrix, size, flags=how)
    return DetectionExample(
        np.asarray(warped, np.uint8), ((points_px @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32),)
    )


def _roll_difference_deg(predicted: Points, truth: Points) -> float:
    a, b = (np.arctan2(*(five[3:].mean(axis=0) - five[:2].mean(axis=0))) for five in (predicted, truth))
    return math.degrees(math.remainder(float(a - b), 2 * math.pi))
