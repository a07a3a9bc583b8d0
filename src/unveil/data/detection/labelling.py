"""Labels of group photographs by a teacher: a detector at several turns and scales, and an aligner."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np

from unveil.data.detection.groups import GroupPhoto
from unveil.geometry import box_area, shared_area, undo_quarter_turns
from unveil.types import Box, Detection, Image, Points

DetectFn: TypeAlias = Callable[[Image], Sequence[Detection]]
"""A detector with a low threshold; its detections carry five points."""
AlignFn: TypeAlias = Callable[[Image, Detection], Points]
"""Landmarks (L, 2) of a detected face at any in-plane rotation."""

QUARTER_TURNS = 4
SAME_FACE = 0.5  # share of the smaller box from which two detections are one face
MIN_VIEWS = 2  # a face is labelled if so many views contain it, and ignored in training if fewer do


def label_photo(
    name: str,
    image: Image,
    detect: DetectFn,
    align: AlignFn,
    *,
    min_score: float = 0.6,
    scales: Sequence[float] = (1.0, 2.0),
) -> GroupPhoto:
    """Label the faces of a photograph.

    Args:
        name: Name of the photograph.
        image: RGB image (H, W, 3).
        detect: The detector.
        align: The aligner.
        min_score: Score from which a face that several views contain is labelled; every other detection is ignored.
        scales: Magnifications at which the upright image is searched.

    Returns:
        The photograph with the landmarks of certain faces and the boxes of uncertain ones.
    """
    groups: list[tuple[Detection, set[int]]] = []
    for view, detection in sorted(_views(image, detect, scales), key=lambda found: -found[1].score):
        for first, views in groups:
            smaller = min(box_area(first.box), box_area(detection.box))
            if shared_area(first.box, detection.box) / max(smaller, 1e-6) > SAME_FACE:
                views.add(view)
                break
        else:
            groups.append((detection, {view}))
    certain = [found for found, views in groups if found.score >= min_score and len(views) >= MIN_VIEWS]
    uncertain = [found for found, views in groups if found.score < min_score or len(views) < MIN_VIEWS]
    return GroupPhoto(
        name, image, tuple(align(image, found) for found in certain), tuple(found.box for found in uncertain)
    )


def _views(image: Image, detect: DetectFn, scales: Sequence[float]) -> Iterator[tuple[int, Detection]]:
    """Yield the number of a view and each of its detections, in pixels of the upright image."""
    height, width = image.shape[:2]
    for turns in range(QUARTER_TURNS):
        for detection in detect(np.ascontiguousarray(np.rot90(image, turns))):
            yield turns, _mapped(detection, partial(undo_quarter_turns, turns=turns, width=width, height=height))
    for number, scale in enumerate(scales):
        if scale != 1:
            large = np.asarray(cv2.resize(image, None, fx=scale, fy=scale), np.uint8)
            for detection in detect(large):
                yield (
                    QUARTER_TURNS + number,
                    _mapped(detection, partial(_unscaled, scale=scale)),
                )


def _unscaled(points: Points, scale: float) -> Points:
    return np.asarray((points + 0.5) / scale - 0.5, np.float32)


def _mapped(detection: Detection, change: Callable[[Points], Points]) -> Detection:
    x0, y0, x1, y1 = detection.box
    corners = change(np.array([[x0, y0], [x1, y1]], np.float32))
    points = None if detection.points is None else change(detection.points).astype(np.float32)
    low, high = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return Detection(Box(low[0], low[1], high[0], high[1]), detection.score, points)
