"""Files that hold the landmarks of many faces: JSON, CSV and `.npz`. N faces, L landmarks; pixels counted from 0."""

import csv
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.data.annotations import DataError
from unveil.data.predictions.faces import Annotation, Broken, Role, annotation

Faces: TypeAlias = Iterator[Annotation | Broken]

COORDINATE = re.compile(r"(x|y|visibility)_?(\d+)")
NAME_COLUMNS = ("name", "image", "file", "filename", "path")
PREFERRED: Mapping[Role, tuple[str, ...]] = {"truth": ("truth", "points"), "predictions": ("predictions", "points")}


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
    if _is_number(rows[0][1][-1]):
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
            yield Broken.of(row[min(name, len(row) - 1)], f"{where}: {len(row)} cells, but the header has {len(header)}")
            continue
        points = [(row[i], row[j]) for i, j in zip(x, y, strict=True)]
        seen = [row[i] for i in visibility] or None
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


def read_npz(path: Path, array: str | None, role: Role) -> Faces:
    """`names` and one array of landmarks, the named one or the one that the role makes plain."""
    arrays = _load(path)
    array = array or _plain(path, arrays, role)
    if array not in arrays:
        raise DataError(f"{path}: no array {array!r} in it; it has {', '.join(sorted(arrays))}")
    points, names = arrays[array], arrays.get("names")
    if not _holds_landmarks(points):
        raise DataError(f"{path}:{array}: an array of shape {points.shape}; landmarks are numbers (N, L, 2)")
    if names is None or names.dtype.kind != "U" or names.shape != points.shape[:1]:
        raise DataError(f"{path}: no array 'names' of {len(points)} strings beside {array!r}; add it")
    kind = "visible" if role == "truth" else "visibility"
    flags = arrays.get(kind)
    if flags is not None and flags.shape != points.shape[:2]:
        raise DataError(f"{path}:{kind}: an array of shape {flags.shape}, but {array!r} has {points.shape}")
    for i, name in enumerate(names.tolist()):
        seen = {kind: None if flags is None else flags[i]}
        yield annotation(name, f"{path}:{array}: {name!r}", points[i], **seen)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not an .npz of plain arrays, or cut short ({error})") from None


def _plain(path: Path, arrays: Mapping[str, NDArray[Any]], role: Role) -> str:
    """The array that is meant when none is named: by its name, else the only one there is."""
    others = [key for key in arrays if _holds_landmarks(arrays[key]) and not (role == "predictions" and key == "truth")]
    named = [key for key in PREFERRED[role] if key in others]
    if not named and len(others) != 1:
        has = ", ".join(f"{path}:{key}" for key in others) if others else "none of its arrays is (N, L, 2)"
        raise DataError(f"{path}: which array are the {role}? {'One of ' * bool(others)}{has}")
    return (named or others)[0]


def _holds_landmarks(values: NDArray[Any]) -> bool:
    return values.ndim == 3 and values.shape[2] == 2 and values.dtype.kind in "fiu"
