"""Faces to look at: truth and prediction on thumbnails, of the worst and of the median faces. N faces, L landmarks."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet
from unveil.data.occlusion import Occluder
from unveil.evaluation.run import Outcome, scene_of
from unveil.geometry import Crop, tight_box
from unveil.metrics.errors import Floats
from unveil.schemes.scheme import Scheme
from unveil.types import Image, Points

FACES = 10
SIDE = 288  # pixels of a thumbnail
FINE = 2  # it is drawn this many times larger and shrunk, so that marks are smooth
MARGIN = 1.1  # of the diagonal of the true landmarks' box: the same for all, so that faces compare
QUALITY = 85
SUBPIXEL_BITS = 4

# Okabe and Ito's sky blue and orange, which colour-blind people tell apart.
TRUTH, PREDICTION, RIM = (86, 180, 233), (230, 159, 0), (20, 20, 20)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A face as JPEG, and what to say of it."""

    caption: str
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Gallery:
    """Some of a model's faces."""

    title: str
    thumbnails: tuple[Thumbnail, ...]


def galleries(
    model: str,
    faces: DataSet,
    outcome: Outcome,
    face_errors: Floats,
    *,
    occlude: Occluder | None = None,
    seed: int = 0,
    count: int = FACES,
) -> list[Gallery]:
    """The worst and the median faces, read again: pictures are not kept during a run. Errors (N,) as shares."""

    def gallery(kind: str, chosen: NDArray[np.int64]) -> Gallery:
        thumbnails = (_thumbnail(faces, outcome, i, face_errors[i], occlude, seed) for i in chosen.tolist())
        return Gallery(f"{kind} faces of {model}", tuple(thumbnails))

    kinds: Mapping[str, NDArray[np.int64]] = {"Worst": worst(face_errors, count), "Median": median(face_errors, count)}
    return [gallery(kind, chosen) for kind, chosen in kinds.items()]


def worst(face_errors: Floats, count: int = FACES) -> NDArray[np.int64]:
    """The faces with the largest errors, the largest first."""
    return np.argsort(-face_errors, kind="stable")[:count]


def median(face_errors: Floats, count: int = FACES) -> NDArray[np.int64]:
    """The faces in the middle of the order of errors, the smallest first."""
    start = max(0, (len(face_errors) - count) // 2)
    return np.argsort(face_errors, kind="stable")[start : start + count]


def _thumbnail(
    faces: DataSet, outcome: Outcome, i: int, error: float, occlude: Occluder | None, seed: int
) -> Thumbnail:
    sample = faces.samples[i]
    scene = scene_of(sample, faces.scheme, sample.load(), occlude, seed)
    drawn = draw_pair(scene.image, outcome.truth_px[i], outcome.predicted_px[i], faces.scheme)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    missed = ", no box found" if outcome.missed[i] else ""
    return Thumbnail(f"{sample.name}: {100 * error:.2f} %{missed}", encoded.tobytes())


def draw_pair(image: Image, truth_px: Points, predicted_px: Points, scheme: Scheme, side: int = SIDE) -> Image:
    """A face cut out, (side, side, 3): the truth in blue, the prediction in orange, a line from each to each."""
    crop = Crop.around(tight_box(truth_px), MARGIN)
    canvas = crop.extract(image, FINE * side)
    truth, predicted = (_fixed(crop.to_unit(points_px), FINE * side) for points_px in (truth_px, predicted_px))
    for contour in scheme.contours:
        line = predicted[list(contour.points)]
        cv2.polylines(canvas, [line], contour.closed, PREDICTION, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    for one, other in zip(truth.tolist(), predicted.tolist(), strict=True):
        cv2.line(canvas, one, other, RIM, 2, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.line(canvas, one, other, TRUTH, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    for points, colour in ((truth, TRUTH), (predicted, PREDICTION)):
        for centre in points.tolist():
            for radius, fill in ((4.2, RIM), (3.2, colour)):
                steps = round(radius * 2**SUBPIXEL_BITS)
                cv2.circle(canvas, centre, steps, fill, -1, cv2.LINE_AA, SUBPIXEL_BITS)
    return np.asarray(cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _fixed(points_unit: Points, size: int) -> NDArray[np.int32]:
    """Crop units to sixteenths of a canvas pixel, within what OpenCV's integers hold."""
    points = ((points_unit.astype(np.float64) + 1) * size - 1) / 2
    fixed: NDArray[np.int32] = np.round(np.clip(points, -size, 2 * size) * 2**SUBPIXEL_BITS).astype(np.int32)
    return fixed
