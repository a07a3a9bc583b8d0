"""The XML of dlib and its tool imglab: images, boxes and parts, in whole pixels counted from 0.

dlib sorts the parts of a box by name and reads whole numbers only, so the names have leading zeros and coordinates are
rounded when they are written. It has no visibility per landmark.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from unveil.io.files import DataError
from unveil.io.formats.records import Faces, ImageAnnotation, face_annotation, landmark_box, landmark_places
from unveil.io.formats.xml_file import number_of, write_xml
from unveil.schemes.scheme import Scheme

ROOT = "dataset"
WRITER = "unveil"  # files of this name count from 0


def read(path: Path, root: ElementTree.Element, scheme: Scheme | None) -> Faces:
    """Read the boxes that have parts.

    Args:
        path: The file, for messages.
        root: The root of the document.
        scheme: The scheme that the names of the parts belong to; None tries the built-in schemes.

    Yields:
        Each face.

    Raises:
        DataError: If a name is not a landmark, an image has no file, or a coordinate is not a number.
    """
    parts = [part.get("name", "") for part in root.iter("part")]
    places, count = landmark_places(parts, scheme, str(path), from_zero=root.findtext("name") == WRITER)
    for image in root.iter("image"):
        name = image.get("file")
        if not name:
            raise DataError(f"{path}: an image has no file; is it a file of imglab?")
        size = (int(image.get("width", 0)), int(image.get("height", 0)))
        for i, box in enumerate(box for box in image.findall("box") if box.find("part") is not None):
            where = f"{path}: {name}, face {i}"
            points = np.full((count, 2), np.nan)
            for part in box.findall("part"):
                points[places[part.get("name", "")]] = [number_of(part, axis, where) for axis in "xy"]
            left, top, width, height = (number_of(box, key, where) for key in ("left", "top", "width", "height"))
            yield face_annotation(
                name,
                where,
                points,
                face=i,
                box=(left, top, left + width - 1, top + height - 1),
                image_size=size if all(size) else None,
            )


def write(path: Path, images: Sequence[ImageAnnotation]) -> None:
    """Write all images into one file. A missing landmark has no part.

    Args:
        path: The XML file. Missing folders are created.
        images: The images and their faces.
    """
    root = ElementTree.Element(ROOT)
    ElementTree.SubElement(root, "name").text = WRITER
    ElementTree.SubElement(root, "comment").text = "Landmarks of faces, converted by unveil"
    list_of_images = ElementTree.SubElement(root, "images")
    digits = len(str(max((len(face.points_px) for image in images for face in image.faces), default=1) - 1))
    for image in images:
        attributes = {} if image.size is None else {"width": str(image.size[0]), "height": str(image.size[1])}
        element = ElementTree.SubElement(list_of_images, "image", {"file": image.image, **attributes})
        for face in image.faces:
            box = landmark_box(face)
            left, top = round(box.x0), round(box.y0)
            size = {"width": str(round(box.x1) - left + 1), "height": str(round(box.y1) - top + 1)}
            rectangle = ElementTree.SubElement(element, "box", {"top": str(top), "left": str(left), **size})
            for i, (x, y) in enumerate(face.points_px.tolist()):
                if np.isfinite((x, y)).all():
                    place = {"name": f"{i:0{digits}}", "x": str(round(x)), "y": str(round(y))}
                    ElementTree.SubElement(rectangle, "part", place)
    write_xml(path, root)
