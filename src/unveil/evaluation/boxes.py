"""Which box a face is given before its landmarks are asked for. F boxes in a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from unveil.data.datasets.registry import DataSet
from unveil.data.occluded_set import face_rng
from unveil.geometry import tight_box
from unveil.inference.detector import Detector
from unveil.io.boxes import BoxFile, check_box
from unveil.io.files import DataError
from unveil.io.images import IMAGE_SUFFIXES
from unveil.types import Box, Image, Points

BoxOf: TypeAlias = Callable[[Image, Points, str], Box | None]
"""From a face's picture, its true landmarks and its name to the box that the model is given; None if it is missed."""

SAME_FACE = 0.2  # intersection over union with the true box; below it a box belongs to another face, or to none
FALLBACK = "the picture's middle half"


def true_box(_image: Image, points_px: Points, _name: str) -> Box:
    """The tight box of the true landmarks, as both papers' protocols have it."""
    return tight_box(points_px)


def noisy_box(share: float, seed: int = 0, box_of: BoxOf = true_box) -> BoxOf:
    """The box with its place and its size off by up to `share` of its sides, evenly; the same for each name."""
    if not 0 <= share < 1:
        raise ValueError(f"box noise {share:g}: give a share of the box's sides, 0 or more and below 1, as in 0.1")

    def noisy(image: Image, points_px: Points, name: str) -> Box | None:
        box, rng = box_of(image, points_px, name), face_rng(f"box of {name}", seed)
        if box is None:
            return None
        width, height = box.x1 - box.x0, box.y1 - box.y0
        x, y = (box.x0 + box.x1) / 2 + rng.uniform(-share, share) * width, (box.y0 + box.y1) / 2
        y, size = y + rng.uniform(-share, share) * height, 1 + rng.uniform(-share, share)
        return Box(x - size * width / 2, y - size * height / 2, x + size * width / 2, y + size * height / 2)

    return noisy


def detected_box(detector: Detector) -> BoxOf:
    """The detector's box that overlaps the true one most; None where it finds none that does."""

    def box_of(image: Image, points_px: Points, _name: str) -> Box | None:
        return nearest([detection.box for detection in detector(image)], points_px)

    return box_of


def listed_box(path: Path, faces: DataSet) -> BoxOf:
    """The boxes of a JSON file, `{face or picture: [[x0, y0, x1, y1], …]}`: of each face's the one like the true one.

    A key is a face's name in the data set, with or without a suffix, or its picture's path as for `unveil align`. An
    empty list says that a detector missed the face. ValueError if the file cannot be read; DataError, when the face's
    turn comes, if it has no entry or a bad one.
    """
    listed = BoxFile.read(path)
    pictures = {sample.name: sample.image for sample in faces.samples if sample.image.suffix.lower() in IMAGE_SUFFIXES}

    def box_of(image: Image, points_px: Points, name: str) -> Box | None:
        keys = [Path(name), *(Path(f"{name}{suffix}") for suffix in IMAGE_SUFFIXES), pictures.get(name, Path(name))]
        key = next((key for key in keys if key.resolve() in listed.entries), keys[0])
        try:
            boxes = listed.boxes_of(key)
            for box in boxes:
                check_box(box, image.shape[1], image.shape[0])
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None
        return nearest(boxes, points_px)

    return box_of


def nearest(boxes: Sequence[Box], points_px: Points) -> Box | None:
    """Of F boxes the one that overlaps the landmarks' tight box most; None if none is of the same face."""
    truth = tight_box(points_px)
    best = max(boxes, key=lambda box: overlap(box, truth), default=None)
    return None if best is None or overlap(best, truth) < SAME_FACE else best


def fallback_box(image: Image) -> Box:
    """What a model is given for a face that was missed: it has to say something, and knows no better."""
    height, width = image.shape[:2]
    return Box(0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union, 0 to 1."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    shared = max(width, 0) * max(height, 0)
    return shared / ((a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - shared)
