"""A model over a data set: which boxes it is given, what covers the faces, what it says. N faces, L landmarks."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unveil.data.landmarks import DataSet
from unveil.data.occluded import generator_of
from unveil.data.occlusion import Occluder, covered
from unveil.data.visibility import turned_away
from unveil.geometry import tight_box
from unveil.inference.detector import Detector
from unveil.inference.runtime import AlignmentModel
from unveil.metrics import Summary, summarise
from unveil.types import Box, Image, Points

BoxOf = Callable[[Image, Points, str], Box]
"""From a face's picture, its true landmarks and its name to the box that the model is given."""


def true_box(_image: Image, points_px: Points, _name: str) -> Box:
    """The tight box of the true landmarks, as both papers' protocols have it."""
    return tight_box(points_px)


def noisy_box(share: float, seed: int = 0) -> BoxOf:
    """The true box with its place and its size off by up to `share` of its sides, evenly; the same for each name."""

    def box_of(_image: Image, points_px: Points, name: str) -> Box:
        box, rng = tight_box(points_px), generator_of(name, seed)
        width, height = box.x1 - box.x0, box.y1 - box.y0
        x, y = (box.x0 + box.x1) / 2 + rng.uniform(-share, share) * width, (box.y0 + box.y1) / 2
        y, size = y + rng.uniform(-share, share) * height, 1 + rng.uniform(-share, share)
        return Box(x - size * width / 2, y - size * height / 2, x + size * width / 2, y + size * height / 2)

    return box_of


def detected_box(detector: Detector) -> BoxOf:
    """The detector's box that overlaps the true one most; the picture's middle half where it finds none."""

    def box_of(image: Image, points_px: Points, _name: str) -> Box:
        truth = tight_box(points_px)
        boxes = [detection.box for detection in detector(image)]
        best = max(boxes, key=lambda box: overlap(box, truth), default=None)
        if best is None or overlap(best, truth) < 0.2:
            height, width = image.shape[:2]
            return Box(0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height)
        return best

    return box_of


def overlap(a: Box, b: Box) -> float:
    """Intersection over union, 0 to 1."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    shared = max(width, 0) * max(height, 0)
    return shared / ((a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - shared)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a model said of a data set."""

    names: tuple[str, ...]
    predicted_px: NDArray[np.float32]
    truth_px: NDArray[np.float32]
    visibility: NDArray[np.float32]
    uncertainty_px: NDArray[np.float32]
    visible: NDArray[np.bool_] | None
    """Which landmarks truly are visible, where the data set or a synthetic occluder says so."""
    seconds_per_face: float


def run_model(
    model: AlignmentModel,
    faces: DataSet,
    *,
    box_of: BoxOf = true_box,
    occlude: Occluder | None = None,
    seed: int = 0,
    flip_average: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Aligns every face of the set, one at a time as a user would, under `occlude` if it is given."""
    alignments, visible, seconds = [], [], 0.0
    for done, sample in enumerate(faces.samples, start=1):
        image, seen = sample.load(), sample.visible
        if occlude is not None:
            occluded = occlude(image, sample.points_px, generator_of(sample.name, seed))
            image, seen = occluded.image, ~covered(sample.points_px, occluded.mask)
            seen &= ~turned_away(faces.scheme, sample.points_px)
        visible.append(seen)
        box = box_of(image, sample.points_px, sample.name)
        start = time.perf_counter()
        alignments += model(image, [box], flip_average)
        seconds += time.perf_counter() - start
        if progress is not None:
            progress(done, len(faces))
    known = [seen for seen in visible if seen is not None]
    return Outcome(
        names=faces.names,
        predicted_px=np.stack([alignment.points_px for alignment in alignments]),
        truth_px=faces.points_px,
        visibility=np.stack([alignment.visibility for alignment in alignments]),
        uncertainty_px=np.stack([alignment.uncertainty_px for alignment in alignments]),
        visible=np.stack(known) if len(known) == len(visible) else None,
        seconds_per_face=seconds / len(faces),
    )


def summary_of(outcome: Outcome, faces: DataSet) -> Summary:
    """Every metric of an outcome, with bootstrap intervals."""
    return summarise(
        outcome.predicted_px,
        outcome.truth_px,
        faces.scheme,
        visible=outcome.visible,
        visibility=outcome.visibility if outcome.visible is not None else None,
        names=outcome.names,
        rng=np.random.default_rng(0),
    )
