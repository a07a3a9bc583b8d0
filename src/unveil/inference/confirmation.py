"""Confirmation of candidates: the detector runs again on an upright crop of each, of a fixed size.

In the crop a face is upright and of the size that the network detects best, so that a turned face reaches the score of
an upright one, and a texture that resembles a face at one size loses its score.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from unveil.geometry import Crop, shared_areas
from unveil.inference.cells import Cells
from unveil.types import Box, Detection, Image

CROP_SIZE, CROP_MARGIN = 128, 2.0  # side of the crop in pixels, and in sides of an upright face
MATCH_IOU = 0.35  # of the candidate and a detection in its crop
LEAST_SCORE = 0.05  # the score of a crop without a detection
CANDIDATE_WEIGHT = 0.2  # of the candidate's logit; the two crops share the rest
BEST_SCORE = 0.9  # what the second crop may reach at best
MIRRORED_POINTS = [1, 0, 2, 4, 3]

RunFn: TypeAlias = Callable[[Sequence[Image], float], list[Cells]]
"""Runs the network once on images of one size and returns the cells of each above a score."""


def confirm(image_rgb: Image, candidates: Sequence[Detection], run: RunFn, min_score: float) -> list[Detection]:
    """Detect each candidate again in its crop, plain and mirrored; average logits, boxes and points.

    Args:
        image_rgb: RGB image (H, W, 3).
        candidates: Detections of the network in this image.
        run: The network.
        min_score: Minimum score in [0, 1].

    Returns:
        The candidates that reach the score. A candidate that cannot reach it after the plain crop costs no second one.
    """
    crops = [confirmation_crop(candidate) for candidate in candidates]
    matches = _matches(image_rgb, crops, run)
    hopeful = [
        index
        for index, candidate in enumerate(candidates)
        if _score(candidate.score, _score_of(matches[index]), BEST_SCORE) >= min_score
    ]
    mirrored = [replace(crops[index], mirrored=True) for index in hopeful]
    confirmed = [
        _averaged(candidates[index], (crops[index], crop), (matches[index], match))
        for index, crop, match in zip(hopeful, mirrored, _matches(image_rgb, mirrored, run), strict=True)
    ]
    return [detection for detection in confirmed if detection.score >= min_score]


def confirmation_crop(candidate: Detection) -> Crop:
    """Return the upright crop of a candidate in which an ordinary face has half of the side.

    Args:
        candidate: The candidate, in pixels of the image.
    """
    return Crop.around(candidate.box, CROP_MARGIN / math.sqrt(2), rotation(candidate))


def rotation(detection: Detection) -> float:
    """Return the rotation of a face from the eyes to the mouth in radians; 0 without points.

    `in_plane_angle` is more precise, but would cost as much as the network takes for a crop.

    Args:
        detection: The face.
    """
    if detection.points is None:
        return 0.0
    across, down = (detection.points[3:].mean(axis=0) - detection.points[:2].mean(axis=0)).tolist()
    return math.atan2(-across, down)


def _matches(image_rgb: Image, crops: Sequence[Crop], run: RunFn) -> list[Detection | None]:
    """Return the best detection at the place of the candidate in each crop."""
    if not crops:
        return []
    images = [crop.extract(image_rgb, CROP_SIZE, replicate=True) for crop in crops]
    return [_best_match(found) for found in run(images, LEAST_SCORE)]


def _best_match(cells: Cells) -> Detection | None:
    low, high = (CROP_SIZE * (1 + sign / CROP_MARGIN) / 2 for sign in (-1, 1))  # of an ordinary face
    boxes = cells.boxes
    shared = shared_areas(np.array([low, low, high, high]), boxes)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (high - low) ** 2 - shared
    near = np.flatnonzero(shared >= MATCH_IOU * union)
    return cells.detection(int(near[0])) if len(near) else None  # the highest score is first


def _averaged(candidate: Detection, crops: Sequence[Crop], matches: Sequence[Detection | None]) -> Detection:
    """Return a candidate with the score, box and points of its crops; its own box and points if a crop has none."""
    plain, mirrored = map(_score_of, matches)
    score = _score(candidate.score, plain, mirrored)
    boxes, points = [], []
    for crop, match in zip(crops, matches, strict=True):
        if match is None or match.points is None:
            return Detection(candidate.box, score, candidate.points)
        scale = 2 / CROP_SIZE
        five = crop.to_px((match.points + 0.5) * scale - 1)
        boxes.append(crop.image_box(Box(*((value + 0.5) * scale - 1 for value in match.box))))
        points.append(five[MIRRORED_POINTS] if crop.mirrored else five)
    return Detection(Box(*np.mean(boxes, axis=0).tolist()), score, np.mean(points, axis=0, dtype=np.float32))


def shifted_score(score: float, logits: float) -> float:
    """Return a score after a shift of its logit.

    Args:
        score: The score in [0, 1].
        logits: The shift.
    """
    return _sigmoid(_logit(score) + logits)


def _score_of(match: Detection | None) -> float:
    return LEAST_SCORE if match is None else match.score


def _score(candidate: float, plain: float, mirrored: float) -> float:
    """Return the score of the weighted mean of the logits."""
    own, first, second = map(_logit, (candidate, plain, mirrored))
    return _sigmoid(CANDIDATE_WEIGHT * own + (1 - CANDIDATE_WEIGHT) * (first + second) / 2)


def _logit(score: float) -> float:
    score = min(max(score, 1e-6), 1 - 1e-6)
    return math.log(score / (1 - score))


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
