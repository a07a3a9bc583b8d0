"""Faces to look at: ground truth and prediction on thumbnails, of the worst and of the median faces. N faces."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet
from unveil.data.occlusion import Occluder
from unveil.evaluation.runner import Predictions, scene_of
from unveil.geometry import Crop, tight_box
from unveil.metrics.errors import Floats
from unveil.schemes.scheme import Scheme
from unveil.types import Image, Points

FACES = 10
SIDE = 288  # pixels of a thumbnail
SUPERSAMPLING = 2  # it is drawn this many times larger and shrunk, so that marks are smooth
MARGIN = 1.1  # of the diagonal of the ground truth's box: the same for all, so that faces compare
QUALITY = 85
SUBPIXEL_BITS = 4

# Sky blue and orange of Okabe and Ito, which colour-blind people can distinguish.
GROUND_TRUTH, PREDICTION, RIM = (86, 180, 233), (230, 159, 0), (20, 20, 20)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One face.

    Args:
        caption: Its name and error.
        jpeg: Its image.
    """

    caption: str
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Gallery:
    """Some faces of a model.

    Args:
        title: Which faces of which model.
        thumbnails: The faces.
    """

    title: str
    thumbnails: tuple[Thumbnail, ...]


def galleries(
    model: str,
    faces: DataSet,
    predictions: Predictions,
    face_errors: Floats,
    *,
    occlude: Occluder | None = None,
    seed: int = 0,
) -> list[Gallery]:
    """Return the worst and the median faces of a model. Their images are read again: a run does not keep them.

    Args:
        model: The model's name.
        faces: The data set.
        predictions: The model's.
        face_errors: (N,), as fractions.
        occlude: What covered the faces.
        seed: Of the occluder.
    """

    def gallery(kind: str, chosen: NDArray[np.int64]) -> Gallery:
        thumbnails = (_thumbnail(faces, predictions, i, face_errors[i], occlude, seed) for i in chosen.tolist())
        return Gallery(f"{kind} faces of {model}", tuple(thumbnails))

    kinds: Mapping[str, NDArray[np.int64]] = {"Worst": worst(face_errors), "Median": median(face_errors)}
    return [gallery(kind, chosen) for kind, chosen in kinds.items()]


def worst(face_errors: Floats, count: int = FACES) -> NDArray[np.int64]:
    """Return the indices of the faces with the largest errors, the largest first.

    Args:
        face_errors: (N,).
        count: How many.
    """
    return np.argsort(-face_errors, kind="stable")[:count]


def median(face_errors: Floats, count: int = FACES) -> NDArray[np.int64]:
    """Return the indices of the faces in the middle of the order of errors, the smallest first.

    Args:
        face_errors: (N,).
        count: How many.
    """
    start = max(0, (len(face_errors) - count) // 2)
    return np.argsort(face_errors, kind="stable")[start : start + count]


def _thumbnail(
    faces: DataSet, predictions: Predictions, i: int, error: float, occlude: Occluder | None, seed: int
) -> Thumbnail:
    sample = faces.samples[i]
    scene = scene_of(sample, faces.scheme, sample.load(), occlude, seed)
    drawn = draw_pair(scene.image, predictions.ground_truth_px[i], predictions.predicted_px[i], faces.scheme)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    missed = ", no box found" if predictions.missed[i] else ""
    return Thumbnail(f"{sample.name}: {100 * error:.2f} %{missed}", encoded.tobytes())


def draw_pair(image: Image, ground_truth_px: Points, predicted_px: Points, scheme: Scheme) -> Image:
    """Return a crop of a face with its ground truth in blue, the prediction in orange, and lines between them.

    Args:
        image: RGB, (H, W, 3).
        ground_truth_px: (L, 2).
        predicted_px: (L, 2).
        scheme: The landmark scheme, for its contours.
    """
    crop = Crop.around(tight_box(ground_truth_px), MARGIN)
    drawing = crop.extract(image, SUPERSAMPLING * SIDE)
    true, predicted = (_fixed_point(crop.to_unit(p), SUPERSAMPLING * SIDE) for p in (ground_truth_px, predicted_px))
    for contour in scheme.contours:
        line = predicted[list(contour.points)]
        cv2.polylines(drawing, [line], contour.closed, PREDICTION, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    for one, other in zip(true.tolist(), predicted.tolist(), strict=True):
        cv2.line(drawing, one, other, RIM, 2, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.line(drawing, one, other, GROUND_TRUTH, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    for points, colour in ((true, GROUND_TRUTH), (predicted, PREDICTION)):
        for centre in points.tolist():
            for radius, fill in ((4.2, RIM), (3.2, colour)):
                steps = round(radius * 2**SUBPIXEL_BITS)
                cv2.circle(drawing, centre, steps, fill, -1, cv2.LINE_AA, SUBPIXEL_BITS)
    return np.asarray(cv2.resize(drawing, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _fixed_point(points_unit: Points, size: int) -> NDArray[np.int32]:
    """Convert crop units to sixteenths of a pixel, within the range of OpenCV's integers."""
    points = ((points_unit.astype(np.float64) + 1) * size - 1) / 2
    fixed: NDArray[np.int32] = np.round(np.clip(points, -size, 2 * size) * 2**SUBPIXEL_BITS).astype(np.int32)
    return fixed
