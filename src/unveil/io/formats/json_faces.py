"""The JSON of `unveil align`: one object per image, or a list of them; and `{name: [[x, y], …]}`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unveil.io.files import DataError, write_json
from unveil.io.formats.pts import output_names, write_all
from unveil.io.formats.records import FaceAnnotation, Faces, ImageAnnotation, InvalidFace, face_annotation
from unveil.types import Pose


def read(path: Path, content: Any) -> Faces:
    """Read the faces of a JSON file.

    Args:
        path: The file, for messages.
        content: The parsed content of the file.

    Yields:
        Each face; an `InvalidFace` for one that cannot be read and for an image without faces.

    Raises:
        DataError: If the content has another structure.
    """
    if isinstance(content, list) and content and all(isinstance(entry, dict) and "faces" in entry for entry in content):
        for i, entry in enumerate(content):
            yield from _image(path, entry, f"{path}, image {i}")
    elif not isinstance(content, dict):
        raise DataError(f'{path}: not an object; give {{"name": [[x, y], …]}} or the output of `unveil align`')
    elif "faces" in content:
        yield from _image(path, content, str(path))
    else:
        for name, landmarks in content.items():
            yield face_annotation(name, f"{path}: {name!r}", landmarks)


def _image(path: Path, content: Mapping[str, Any], where: str) -> Faces:
    name, faces = str(content.get("image", path.name)), content["faces"]
    if not isinstance(faces, list) or not all(isinstance(face, dict) for face in faces):
        raise DataError(f"{where}: its faces are not a list of objects, as `unveil align` writes them")
    if not faces:
        yield InvalidFace.of(name, f"{where}: no face was found in {name}; align it again with --boxes")
    size = (content.get("width"), content.get("height"))
    for i, face in enumerate(faces):
        yield face_annotation(
            name,
            f"{where}: face {i}",
            face.get("landmarks"),
            face=i,
            scheme=content.get("scheme"),
            visible=face.get("visible"),
            visibility=face.get("visibility"),
            uncertainty=face.get("uncertainty"),
            box=face.get("box"),
            score=face.get("score"),
            pose=_pose(face.get("pose")),
            image_size=size if all(isinstance(side, int) and side > 0 for side in size) else None,  # type: ignore[arg-type]
        )


def _pose(content: Any) -> Pose | None:
    try:
        return Pose(**{name: float(value) for name, value in content.items()})
    except (TypeError, ValueError, AttributeError):
        return None


def write(path: Path, images: Sequence[ImageAnnotation]) -> None:
    """Write one file per image below a folder, or all images into one file.

    Args:
        path: The folder, or a file whose name ends in `.json`. Missing folders are created.
        images: The images and their faces.

    Raises:
        ValueError: If two images have the same file. Nothing is written then.
    """
    if path.suffix.lower() == ".json":
        records = [_image_record(image) for image in images]
        write_json(path, records[0] if len(records) == 1 else records)
        return
    files = (path / name.with_name(name.name + ".json") for name in output_names(images))
    write_all(
        (image, {file: partial(write_json, content=_image_record(image))})
        for file, image in zip(files, images, strict=True)
    )


def _image_record(image: ImageAnnotation) -> dict[str, object]:
    """Return the JSON object of one image, with the keys that `unveil align` writes."""
    width, height = image.size or (None, None)
    scheme = next((face.scheme for face in image.faces if face.scheme), None)
    record = {"image": image.image, "width": width, "height": height, "model": image.model, "scheme": scheme}
    return record | {"faces": [_face_record(face) for face in image.faces]}


def _face_record(face: FaceAnnotation) -> dict[str, object]:
    record: dict[str, object] = {
        "box": None if face.box is None else _rounded(face.box, 2),
        "score": face.score if face.score is None else round(face.score, 4),
        "landmarks": _rounded(face.points_px, 2),
        "visibility": None if face.visibility is None else _rounded(face.visibility, 4),
        "uncertainty": None if face.uncertainty is None else _rounded(face.uncertainty, 3),
        "pose": face.pose and {name: round(value, 2) for name, value in face.pose._asdict().items()},
    }
    return record if face.visible is None else record | {"visible": face.visible.tolist()}


def _rounded(values: Any, digits: int) -> Any:
    """Return nested lists of numbers, None for one that is not finite."""
    numbers = np.round(np.asarray(values, np.float64), digits)
    objects = numbers.astype(object)
    objects[~np.isfinite(numbers)] = None
    return objects.tolist()
