"""COCO keypoints: one JSON file with `images`, `annotations` and `categories`.

`keypoints` is x, y, v for each landmark, in pixels counted from 0; v is 0 if it is missing, 1 if it is occluded and 2
if it is visible. A file without any 1 does not distinguish, so its faces have no visibility.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unveil.io.files import DataError, write_json
from unveil.io.formats.records import (
    FaceAnnotation,
    Faces,
    ImageAnnotation,
    InvalidFace,
    face_annotation,
    landmark_box,
    point_labels,
)
from unveil.schemes.scheme import Scheme

MISSING, OCCLUDED, VISIBLE = 0, 1, 2
CATEGORY = 1


def matches(content: Any) -> bool:
    """Return whether the content of a JSON file is COCO.

    Args:
        content: The parsed content.
    """
    return isinstance(content, dict) and isinstance(content.get("annotations"), list) and "images" in content


def read(path: Path, content: Mapping[str, Any]) -> Faces:
    """Read the annotations that have keypoints.

    Args:
        path: The file, for messages.
        content: The parsed content of the file.

    Yields:
        Each annotation with keypoints; an `InvalidFace` for one that cannot be read.

    Raises:
        DataError: If the content is not COCO keypoints.
    """
    try:
        images = {image["id"]: image for image in content["images"]}
        entries = [entry for entry in content["annotations"] if entry.get("keypoints")]
        distinguishes = any(flag == OCCLUDED for entry in entries for flag in entry["keypoints"][2::3])
    except (KeyError, TypeError, AttributeError):
        problem = "not COCO keypoints; expected images with ids and annotations with keypoints"
        raise DataError(f"{path}: {problem}") from None
    for entry in entries:
        where = f"{path}: annotation {entry.get('id')}"
        image = images.get(entry.get("image_id"))
        if image is None or "file_name" not in image:
            yield InvalidFace.of(str(path), f"{where}: no image has the id {entry.get('image_id')!r}")
            continue
        try:
            values = np.array(entry["keypoints"], float).reshape(-1, 3)
        except (TypeError, ValueError):
            yield InvalidFace.of(image["file_name"], f"{where}: its keypoints are not numbers x, y, v in threes")
            continue
        points, flag = values[:, :2], values[:, 2]
        points[flag == MISSING] = np.nan
        box = entry.get("bbox")
        yield face_annotation(
            image["file_name"],
            where,
            points,
            visible=flag == VISIBLE if distinguishes else None,
            box=(box[0], box[1], box[0] + box[2], box[1] + box[3]) if isinstance(box, list) and len(box) == 4 else None,
            score=entry.get("score"),
            image_size=(image["width"], image["height"]) if image.get("width") and image.get("height") else None,
        )


def write(path: Path, images: Sequence[ImageAnnotation], scheme: Scheme | None) -> None:
    """Write all images into one file.

    Args:
        path: The JSON file. Missing folders are created.
        images: The images and their faces.
        scheme: The scheme that names the keypoints and their lines; None numbers the keypoints.

    Raises:
        ValueError: If the faces have different numbers of landmarks.
    """
    count = max((len(face.points_px) for image in images for face in image.faces), default=0)
    annotations: list[dict[str, object]] = []
    records: list[dict[str, object]] = []
    for number, image in enumerate(images, start=1):
        width, height = image.size or (0, 0)
        records.append({"id": number, "file_name": image.image, "width": width, "height": height})
        for face in image.faces:
            if len(face.points_px) != count:
                raise ValueError(f"{path}: faces of different schemes cannot share a file; convert each on its own")
            annotations.append({"id": len(annotations) + 1, "image_id": number, **_annotation(face)})
    category = {
        "id": CATEGORY,
        "name": "face",
        "supercategory": "face",
        "keypoints": point_labels(count, scheme),
        "skeleton": _skeleton(count, scheme),
    }
    content = {"images": records, "annotations": annotations, "categories": [category]}
    write_json(path, content)


def _annotation(face: FaceAnnotation) -> dict[str, object]:
    there: NDArray[np.bool_] = np.asarray(np.isfinite(face.points_px).all(axis=1))
    occluded = np.zeros_like(there) if (visible := face.is_visible) is None else ~visible
    flags = np.where(there, np.where(occluded, OCCLUDED, VISIBLE), MISSING)
    points = np.round(np.where(there[:, None], face.points_px, 0).astype(np.float64), 2)
    keypoints = [value for (x, y), flag in zip(points.tolist(), flags.tolist(), strict=True) for value in (x, y, flag)]
    box = landmark_box(face)
    width, height = box.x1 - box.x0, box.y1 - box.y0
    record: dict[str, object] = {
        "category_id": CATEGORY,
        "keypoints": keypoints,
        "num_keypoints": int(there.sum()),
        "bbox": [round(value, 2) for value in (box.x0, box.y0, width, height)],
        "area": round(width * height, 2),
        "iscrowd": 0,
    }
    return record if face.score is None else record | {"score": round(face.score, 4)}


def _skeleton(count: int, scheme: Scheme | None) -> list[list[int]]:
    """Return the lines between landmarks, counted from 1 as COCO does."""
    if scheme is None or scheme.points != count:
        return []
    pairs = []
    for contour in scheme.contours:
        ends = [*contour.points[1:], *(contour.points[:1] if contour.closed else ())]
        pairs += [[first + 1, last + 1] for first, last in zip(contour.points, ends, strict=False)]
    return pairs
