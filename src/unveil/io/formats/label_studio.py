"""Label Studio: a JSON list of tasks. A landmark is a region of type `keypointlabels`, in per cent of the image's size.

The label of a keypoint is the landmark's number or its name in the scheme. The keypoints of one face have the same
`parentID`, the id of a rectangle; without one, a label that repeats starts the next face. An occluded landmark has the
text "occluded" in its `meta`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np

from unveil.io.files import DataError, write_json
from unveil.io.formats.records import (
    FaceAnnotation,
    Faces,
    ImageAnnotation,
    InvalidFace,
    face_annotation,
    landmark_box,
    landmark_places,
)
from unveil.schemes.scheme import Scheme

OCCLUDED = "occluded"
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")  # Label Studio puts it before the name of an uploaded file
LOCAL_FILES = "/data/local-files/?d="
POINT_WIDTH = 0.5  # of a keypoint, in per cent of the image's width
FROM, TO = "landmark", "image"


def matches(content: Any) -> bool:
    """Return whether the content of a JSON file is a list of tasks, or the short form JSON-MIN.

    Args:
        content: The parsed content.
    """
    tasks = content if isinstance(content, list) else [content]
    if not tasks or not all(isinstance(task, dict) for task in tasks):
        return False
    return all(map(_is_task, tasks)) or any(any(_short_form(task)) for task in tasks)


def _is_task(task: Mapping[str, Any]) -> bool:
    return isinstance(task.get("data"), dict)


def _short_form(task: Mapping[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Yield the lists of keypoints of a task in JSON-MIN."""
    for value in task.values():
        if isinstance(value, list) and value and all(isinstance(v, dict) and "keypointlabels" in v for v in value):
            yield value


def read(path: Path, content: Any, scheme: Scheme | None) -> Faces:
    """Read the keypoints of every task: its first annotation that was not cancelled, else its first prediction.

    Args:
        path: The file, for messages.
        content: The parsed content of the file.
        scheme: The scheme that the labels name; None tries the built-in schemes.

    Yields:
        Each face; an `InvalidFace` for one without the size of its image.

    Raises:
        DataError: If a label is not a landmark, or a task names no image.
    """
    tasks = content if isinstance(content, list) else [content]
    results = [_regions(task) for task in tasks]
    labels = [_label(region) for regions in results for region in regions]
    places, count = landmark_places(labels, scheme, str(path))
    distinguishes = any(_is_occluded(region) for regions in results for region in regions)
    for number, (task, regions) in enumerate(zip(tasks, results, strict=True)):
        image = _image(task)
        for i, face in enumerate(_faces(regions)):
            where = f"{path}: task {task.get('id', number)}, face {i}"
            points, visible = np.full((count, 2), np.nan), np.ones(count, bool)
            width, height = face[0].get("original_width"), face[0].get("original_height")
            if not width or not height:
                yield InvalidFace.of(image, f"{where}: no original_width and original_height, so per cent mean nothing")
                continue
            for region in face:
                place, value = places[_label(region)], region["value"]
                points[place] = np.array([value["x"], value["y"]], float) / 100 * (width, height)
                visible[place] = not _is_occluded(region)
            yield face_annotation(
                image,
                where,
                points,
                face=i,
                visible=visible if distinguishes else None,
                image_size=(int(width), int(height)),
            )


def _regions(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the keypoint regions of a task."""
    if not _is_task(task):
        return [{**value, "value": value} for values in _short_form(task) for value in values]
    for key in ("annotations", "completions", "predictions"):
        for entry in task.get(key) or ():
            if isinstance(entry, dict) and not entry.get("was_cancelled") and isinstance(entry.get("result"), list):
                return [region for region in entry["result"] if _is_keypoint(region)]
    return []


def _is_keypoint(region: Any) -> bool:
    value = region.get("value") if isinstance(region, dict) else None
    if not isinstance(value, dict) or not value.get("keypointlabels"):
        return False
    return all(isinstance(value.get(axis), int | float) for axis in "xy")


def _label(region: Mapping[str, Any]) -> str:
    return str(region["value"]["keypointlabels"][0])


def _is_occluded(region: Mapping[str, Any]) -> bool:
    text = (region.get("meta") or {}).get("text") or ()
    return OCCLUDED in ([text] if isinstance(text, str) else text)


def _faces(regions: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Group keypoints: by parent, and among those without one by the repetition of labels."""
    groups: dict[object, list[dict[str, Any]]] = {}
    repeats: dict[str, int] = {}
    for region in regions:
        key: object = region.get("parentID")
        if not key:
            key = repeats[_label(region)] = repeats.get(_label(region), -1) + 1
        groups.setdefault(key, []).append(region)
    return list(groups.values())


def _image(task: Mapping[str, Any]) -> str:
    """Return the path of a task's image: a local file's below the storage, an upload's name without the prefix."""
    values = task["data"] if _is_task(task) else task
    found = values.get(TO) or next((value for value in values.values() if isinstance(value, str)), None)
    if not isinstance(found, str):
        raise DataError(f"task {task.get('id')}: its data names no image")
    url = urlsplit(found)
    if "d" in (query := parse_qs(url.query, errors="surrogateescape")):
        return query["d"][0]
    path = unquote(url.path, errors="surrogateescape") if url.scheme or found.startswith("/data/") else found
    if path.startswith("/data/upload/"):
        folder, _, name = path.removeprefix("/data/upload/").rpartition("/")
        path = UPLOAD_PREFIX.sub("", name) if folder.isdecimal() or not folder else f"{folder}/{name}"
    return path


def write(path: Path, images: Sequence[ImageAnnotation]) -> None:
    """Write all images into one file. Predicted faces become predictions, others annotations.

    Args:
        path: The JSON file. Missing folders are created.
        images: The images and their faces.

    Raises:
        ValueError: If the size of an image with faces is not known.
    """
    tasks = []
    for image in images:
        if image.size is None and image.faces:
            raise ValueError(f"{image.image}: label-studio needs the size of the image; give --images with its folder")
        predicted = any(face.score is not None for face in image.faces)
        regions = [region for i, face in enumerate(image.faces) for region in _face_regions(face, i, image)]
        entry = {"model_version": image.model or "unveil"} if predicted else {}
        url = LOCAL_FILES + quote(image.image, errors="surrogateescape")
        kind = "predictions" if predicted else "annotations"
        tasks.append({"data": {TO: url}, kind: [{**entry, "result": regions}] if image.faces else []})
    write_json(path, tasks)


def _face_regions(face: FaceAnnotation, number: int, image: ImageAnnotation) -> Iterator[dict[str, object]]:
    """Yield the rectangle of a face and its keypoints."""
    width, height = image.size or (1, 1)
    shared = {"original_width": width, "original_height": height, "image_rotation": 0, "to_name": TO}
    box, parent = landmark_box(face), f"face-{number}"
    corner = {"x": 100 * box.x0 / width, "y": 100 * box.y0 / height}
    size = {"width": 100 * (box.x1 - box.x0) / width, "height": 100 * (box.y1 - box.y0) / height}
    value = {**corner, **size, "rotation": 0, "rectanglelabels": ["face"]}
    yield {"id": parent, "type": "rectanglelabels", "from_name": "face", **shared, "value": value}
    visible = face.is_visible
    for i, (x, y) in enumerate(face.points_px.tolist()):
        if not np.isfinite((x, y)).all():
            continue
        place = {"x": 100 * x / width, "y": 100 * y / height, "width": POINT_WIDTH, "keypointlabels": [str(i)]}
        region = {"id": f"{parent}-{i}", "type": "keypointlabels", "from_name": FROM, "parentID": parent}
        meta = {} if visible is None or visible[i] else {"meta": {"text": [OCCLUDED]}}
        yield {**region, **shared, "value": place, **meta}
