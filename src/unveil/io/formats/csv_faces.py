"""CSV: one row per face. The table of `unveil align`, or `name, x0, y0, x1, y1, …` with or without a header."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unveil.io.files import DataError, write_csv
from unveil.io.formats.records import FaceAnnotation, Faces, ImageAnnotation, InvalidFace, face_annotation
from unveil.io.results import csv_header, escape_cell, rounded, unescape_cell
from unveil.types import Pose

COORDINATE = re.compile(r"(x|y|visibility|uncertainty)_?(\d+)")
NAME_COLUMNS = ("name", "image", "file", "filename", "path")
BOX_COLUMNS = ("box_x0", "box_y0", "box_x1", "box_y1")


def read(path: Path) -> Faces:
    """Read the faces of a CSV file. With a header, the columns may be in any order and others may stand between them.

    Args:
        path: The file.

    Yields:
        Each face; an `InvalidFace` for a row that cannot be read.

    Raises:
        DataError: If the file is not CSV, or its header has no columns of landmarks.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(file, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error})") from None
    if not rows:
        return
    if any(_is_number(cell) for cell in rows[0][1][1:]):
        for line, row in rows:
            pairs = [row[i : i + 2] for i in range(1, len(row), 2)]
            yield face_annotation(unescape_cell(row[0]), f"{path}, line {line}", pairs)
        return
    header = [cell.strip().lower() for cell in rows[0][1]]
    columns = _columns(path, header)
    name = next((header.index(column) for column in NAME_COLUMNS if column in header), 0)
    for line, row in rows[1:]:
        where = f"{path}, line {line}"
        if len(row) != len(header):
            problem = f"{where}: {len(row)} cells, but the header has {len(header)}"
            yield InvalidFace.of(unescape_cell(row[min(name, len(row) - 1)]), problem)
            continue
        cells = {kind: [row[i].strip() for i in places] for kind, places in columns.items()}
        yield face_annotation(
            unescape_cell(row[name]),
            where,
            [[None, None] if not x and not y else [x, y] for x, y in zip(cells["x"], cells["y"], strict=True)],
            face=_face(header, row),
            visibility=cells["visibility"] if any(cells["visibility"]) else None,
            uncertainty=cells["uncertainty"] if any(cells["uncertainty"]) else None,
            box=[row[header.index(column)] for column in BOX_COLUMNS] if set(BOX_COLUMNS) <= set(header) else None,
            score=row[header.index("score")] if "score" in header else None,
            pose=_pose(header, row),
        )


def _columns(path: Path, header: Sequence[str]) -> dict[str, list[int]]:
    """Return where the values of each kind stand, by the number of the landmark."""
    places: dict[str, dict[int, int]] = {"x": {}, "y": {}, "visibility": {}, "uncertainty": {}}
    for column, title in enumerate(header):
        if match := COORDINATE.fullmatch(title):
            places[match[1]][int(match[2])] = column
    if not places["x"] or places["x"].keys() != places["y"].keys():
        raise DataError(f"{path}: its header has no columns x0, y0, x1, y1, … in pairs")
    return {kind: [found[i] for i in sorted(found)] for kind, found in places.items()}


def _face(header: Sequence[str], row: Sequence[str]) -> int | None:
    cell = row[header.index("face")].strip() if "face" in header else ""
    return int(cell) if cell.isdecimal() else None


def _pose(header: Sequence[str], row: Sequence[str]) -> Pose | None:
    try:
        return Pose(*(float(row[header.index(name)]) for name in Pose._fields))
    except ValueError:
        return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def write(path: Path, images: Sequence[ImageAnnotation]) -> None:
    """Write the table of `unveil align`. An annotated visibility becomes 0 or 1; a missing value is an empty cell.

    Args:
        path: The CSV file. Missing folders are created.
        images: The images and their faces.

    Raises:
        ValueError: If the faces have different numbers of landmarks.
    """
    faces = [(image, i, face) for image in images for i, face in enumerate(image.faces)]
    count = max((len(face.points_px) for _, _, face in faces), default=0)
    if any(len(face.points_px) != count for _, _, face in faces):
        raise ValueError(f"{path}: faces of different schemes cannot share a table; convert each scheme on its own")
    with write_csv(path) as table:
        table.writerow(csv_header(count))
        table.writerows(_row(image.image, i, face) for image, i, face in faces)


def _row(name: str, index: int, face: FaceAnnotation) -> list[object]:
    absent: NDArray[np.float64] = np.full(len(face.points_px), np.nan)
    visibility = face.visibility if face.visible is None else face.visible.astype(np.float64)
    columns = [absent if values is None else values for values in (visibility, face.uncertainty)]
    numbers = rounded(np.column_stack([face.points_px, *columns]).ravel(), 4)
    box = [""] * 4 if face.box is None else rounded(face.box, 2)
    pose = [""] * 3 if face.pose is None else rounded(face.pose, 2)
    score = "" if face.score is None else round(face.score, 4)
    return [escape_cell(name), index, score, *box, *pose, *("" if np.isnan(number) else number for number in numbers)]
