"""CVAT for images 1.1: an XML file with the shapes of each image, in pixels.

A face is a `<points>` shape of all its landmarks, or a `<skeleton>` with one `<points>` element per landmark, which can
be occluded or outside. `<points>` shapes are written: they need no skeleton in the task, only a label `face` of type
points.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from unveil.io.files import DataError
from unveil.io.formats.records import (
    FaceAnnotation,
    Faces,
    ImageAnnotation,
    InvalidFace,
    check_complete,
    face_annotation,
    landmark_places,
)
from unveil.io.formats.xml_file import write_xml
from unveil.schemes.scheme import Scheme

ROOT = "annotations"
LABEL = "face"


def read(path: Path, root: ElementTree.Element, scheme: Scheme | None) -> Faces:
    """Read points and skeletons.

    Args:
        path: The file, for messages.
        root: The root of the document.
        scheme: The scheme that the labels of a skeleton name; None tries the built-in schemes.

    Yields:
        Each face; an `InvalidFace` for a shape that cannot be read.

    Raises:
        DataError: If the file is CVAT for video, or a label is not a landmark.
    """
    elements = [part for skeleton in root.iter("skeleton") for part in skeleton.findall("points")]
    labels = [part.get("label", "") for part in elements]
    places, count = landmark_places(labels, scheme, str(path)) if labels else ({}, 0)
    distinguishes = any(part.get("occluded") == "1" for part in elements)
    if root.find("track") is not None:
        raise DataError(f"{path}: CVAT for video; export the task as 'CVAT for images 1.1'")
    for image in root.iter("image"):
        name = image.get("name", "")
        size = (int(float(image.get("width", 0))), int(float(image.get("height", 0))))
        faces = [shape for shape in image if shape.tag in ("points", "skeleton")]
        for i, shape in enumerate(faces):
            where = f"{path}: {name}, face {i}"
            try:
                points, visible = _points(shape.get("points", ""), where), None
                if shape.tag == "skeleton":
                    points, visible = _skeleton(shape, places, count, where)
            except DataError as error:
                yield InvalidFace.of(name, error)
                continue
            yield face_annotation(
                name,
                where,
                points,
                face=i,
                visible=visible if distinguishes else None,
                image_size=size if all(size) else None,
            )


def _skeleton(
    shape: ElementTree.Element, places: dict[str, int], count: int, where: str
) -> tuple[np.ndarray, np.ndarray]:
    points, visible = np.full((count, 2), np.nan), np.ones(count, bool)
    for part in shape.findall("points"):
        place = places[part.get("label", "")]
        if part.get("outside") != "1":
            points[place] = _points(part.get("points", ""), where)[0]
        visible[place] = part.get("occluded") != "1"
    return points, visible


def _points(text: str, where: str) -> np.ndarray:
    """Return the points of `x,y;x,y`, (L, 2)."""
    try:
        points = np.array([[float(value) for value in pair.split(",")] for pair in text.split(";") if pair])
    except ValueError:
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2:
        if text:
            raise DataError(f"{where}: points {text[:60]!r}, expected x,y;x,y")
        return np.empty((0, 2))
    return points


def write(path: Path, images: Sequence[ImageAnnotation]) -> None:
    """Write all images into one file.

    Args:
        path: The XML file. Missing folders are created.
        images: The images and their faces.

    Raises:
        ValueError: If a landmark is missing.
    """
    root = ElementTree.Element(ROOT)
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, image in enumerate(images):
        width, height = image.size or (0, 0)
        attributes = {"id": str(number), "name": image.image, "width": str(width), "height": str(height)}
        element = ElementTree.SubElement(root, "image", attributes)
        for face in image.faces:
            check_complete(face, "cvat")
            ElementTree.SubElement(element, "points", _shape(face))
    write_xml(path, root)


def _shape(face: FaceAnnotation) -> dict[str, str]:
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in face.points_px.tolist())
    source = "manual" if face.score is None else "auto"
    return {"label": LABEL, "source": source, "occluded": "0", "points": points, "z_order": "0"}
