"""Sources of the box that each face is aligned in. F boxes of an image."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from unveil.data.datasets.registry import DataSet
from unveil.data.occluded_set import face_rng
from unveil.geometry import box_iou, tight_box
from unveil.inference.detector import Detector
from unveil.inference.pipeline import fit_detection
from unveil.io.boxes import BoxFile, check_box
from unveil.io.files import DataError
from unveil.io.images import IMAGE_SUFFIXES
from unveil.schemes.scheme import Scheme
from unveil.types import Box, Detection, Image, Points

BoxSource: TypeAlias = Callable[[Image, Points, str], Box | Detection | None]
"""From a face's image, its ground-truth landmarks and its name to its box or detection; None if it was missed."""

MIN_IOU = 0.2  # with the ground-truth box; below it a box belongs to another face, or to none
FALLBACK = "the middle half of the image"


def ground_truth_box(_image: Image, points_px: Points, _name: str) -> Box:
    """Return the tight box of the ground-truth landmarks, as both papers use it.

    Args:
        points_px: Ground-truth landmarks (L, 2).
    """
    return tight_box(points_px)


def noisy_box(fraction: float, seed: int = 0, box_source: BoxSource = ground_truth_box) -> BoxSource:
    """Return a source whose boxes are shifted and scaled at random; each name always gives the same box.

    Args:
        fraction: The largest change of place and size, as a fraction of the box's sides: 0 or more and below 1.
        seed: The seed.
        box_source: The source of the exact boxes.

    Raises:
        ValueError: The fraction is out of range.
    """
    if not 0 <= fraction < 1:
        raise ValueError(
            f"box noise {fraction:g}: give a fraction of the box's sides, 0 or more and below 1, as in 0.1"
        )

    def noisy(image: Image, points_px: Points, name: str) -> Box | Detection | None:
        found, rng = box_source(image, points_px, name), face_rng(f"box of {name}", seed)
        if found is None:
            return None
        box = found.box if isinstance(found, Detection) else found
        width, height = box.x1 - box.x0, box.y1 - box.y0
        x, y = (box.x0 + box.x1) / 2 + rng.uniform(-fraction, fraction) * width, (box.y0 + box.y1) / 2
        y, size = y + rng.uniform(-fraction, fraction) * height, 1 + rng.uniform(-fraction, fraction)
        moved = Box(x - size * width / 2, y - size * height / 2, x + size * width / 2, y + size * height / 2)
        return found._replace(box=moved) if isinstance(found, Detection) else moved

    return noisy


def detected_box(detector: Detector, scheme: Scheme) -> BoxSource:
    """Return a source of the detection that best overlaps the ground truth; its points turn the crop upright.

    Args:
        detector: The detector.
        scheme: The scheme of the ground truth, which the boxes fit.
    """

    def detection_of(image: Image, points_px: Points, _name: str) -> Detection | None:
        detections = [fit_detection(detection, scheme) for detection in detector(image)]
        box = best_box([detection.box for detection in detections], points_px)
        return next((detection for detection in detections if detection.box == box), None)

    return detection_of


def listed_box(path: Path, faces: DataSet) -> BoxSource:
    """Return a source of boxes from a JSON file, `{face or image: [[x0, y0, x1, y1], …]}`.

    Args:
        path: The file. A key is a face's name in the data set, with or without a suffix, or its image's path as for
            `unveil align`. An empty list means that a detector missed the face.
        faces: The data set.

    Returns:
        The source. It raises DataError for a face without an entry or with an invalid one.

    Raises:
        ValueError: The file cannot be read.
    """
    listed = BoxFile.read(path)
    images = {sample.name: sample.image for sample in faces.samples if sample.image.suffix.lower() in IMAGE_SUFFIXES}

    def box_of(image: Image, points_px: Points, name: str) -> Box | None:
        keys = [Path(name), *(Path(f"{name}{suffix}") for suffix in IMAGE_SUFFIXES), images.get(name, Path(name))]
        key = next((key for key in keys if key.resolve() in listed.entries), keys[0])
        try:
            boxes = listed.boxes_of(key)
            for box in boxes:
                check_box(box, image.shape[1], image.shape[0])
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None
        return best_box(boxes, points_px)

    return box_of


def best_box(boxes: Sequence[Box], points_px: Points) -> Box | None:
    """Return the box that best overlaps the tight box of the landmarks; None if no box is of the same face.

    Args:
        boxes: F boxes in pixels.
        points_px: Ground-truth landmarks (L, 2).
    """
    tight = tight_box(points_px)
    best = max(boxes, key=lambda box: box_iou(box, tight), default=None)
    return None if best is None or box_iou(best, tight) < MIN_IOU else best


def fallback_box(image: Image) -> Box:
    """Return the box of a face that the detector missed, so that the model predicts something.

    Args:
        image: The image.
    """
    height, width = image.shape[:2]
    return Box(0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height)
