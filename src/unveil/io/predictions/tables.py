"""Files that hold the landmarks of many faces: JSON and CSV. L landmarks; pixels counted from 0."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unveil.io.files import DataError
from unveil.io.predictions.faces import Broken, Faces, annotation

COORDINATE = re.compile(r"(x|y|visibility)_?(\d+)")
NAME_COLUMNS = ("name", "image", "file", "filename", "path")


def read_json(path: Path) -> Faces:
    """`{name: [[x, y], …]}`, or one picture of `unveil align`; DataError if it is neither."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON, or cut short ({error})") from None
    if not isinstance(content, dict):
        raise DataError(f'{path}: not an object; give {{"name": [[x, y], …]}} or what `unveil align` writes')
    if "faces" in content:
        yield from _aligned(path, content)
    else:
        for name, landmarks in content.items():
            yield annotation(name, f"{path}: {name!r}", landmarks)


def _aligned(path: Path, content: Mapping[str, Any]) -> Faces:
    name, faces = str(content.get("image", path.name)), content["faces"]
    if not isinstance(faces, list) or not all(isinstance(face, dict) for face in faces):
        raise DataError(f"{path}: its faces are not a list of objects, as `unveil align` writes them")
    if not faces:
        yield Broken.of(name, f"{path}: no face was found in {name}; align it again with --boxes")
    for i, face in enumerate(faces):
        has = {"scheme": content.get("scheme"), "visibility": face.get("visibility")}
        yield annotation(name, f"{path}: face {i}", face.get("landmarks"), face=i, **has)


def read_csv(path: Path) -> Faces:
    """One row a face: its name and x0, y0, x1, y1, …; a header may say where these stand among other columns."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not CSV ({error})") from None
    if not rows:
        return
    if any(_is_number(cell) for cell in rows[0][1][1:]):
        for line, row in rows:
            pairs = [row[i : i + 2] for i in range(1, len(row), 2)]
            yield annotation(row[0], f"{path}, line {line}", pairs)
        return
    header = [cell.strip().lower() for cell in rows[0][1]]
    x, y, visibility = _columns(path, header)
    name = next((header.index(column) for column in NAME_COLUMNS if column in header), 0)
    for line, row in rows[1:]:
        where = f"{path}, line {line}"
        if len(row) != len(header):
            problem = f"{where}: {len(row)} cells, but the header has {len(header)}"
            yield Broken.of(row[min(name, len(row) - 1)], problem)
            continue
        points = [(row[i], row[j]) for i, j in zip(x, y, strict=True)]
        cells = [row[i] for i in visibility]
        seen = cells if any(cell.strip() for cell in cells) else None  # a model of points alone leaves them empty
        yield annotation(row[name], where, points, face=_face(header, row), visibility=seen)


def _columns(path: Path, header: Sequence[str]) -> tuple[list[int], list[int], list[int]]:
    """Where the x, the y and the visibilities stand, each by the number of its landmark."""
    places: dict[str, dict[int, int]] = {"x": {}, "y": {}, "visibility": {}}
    for column, title in enumerate(header):
        if match := COORDINATE.fullmatch(title):
            places[match[1]][int(match[2])] = column
    if not places["x"] or places["x"].keys() != places["y"].keys():
        raise DataError(f"{path}: its header has no columns x0, y0, x1, y1, … in pairs")
    x, y, visibility = ([found[i] for i in sorted(found)] for found in places.values())
    return x, y, visibility


def _face(header: Sequence[str], row: Sequence[str]) -> int | None:
    cell = row[header.index("face")].strip() if "face" in header else ""
    return int(cell) if cell.isdecimal() else None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
