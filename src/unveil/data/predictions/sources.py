"""Landmarks of many faces, however they were written. N faces, L landmarks; pixels counted from 0.

- JSON: `{name: [[x, y], …]}`, or what `unveil align` writes, one file a picture
- CSV, one row a face: `name, x0, y0, x1, y1, …` with or without a header, or what `unveil align` writes
- `.npz`: `names` (N,) and an array (N, L, 2): `points`, or `truth` and the predictions; `PATH:array` chooses one;
  beside them `visible` (N, L) for the truth and `visibility` (N, L) for predictions
- a folder with `.pts` files (counted from 1, as always) or, if there are none, JSON files, however deep
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.data.annotations import DataError, read_pts
from unveil.types import Points

Role: TypeAlias = Literal["predictions", "truth"]

SUFFIX = re.compile(r"\.(jpe?g|png|bmp|webp|tiff?|pts|json)$", re.IGNORECASE)
ARRAY = re.compile(r"(.+\.npz):(\w+)", re.IGNORECASE)
KINDS = "a .json, .csv or .npz file, or a folder of .pts files"


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """The landmarks of one face, (L, 2), and where they stand, for messages."""

    name: str
    """The picture, with the folders that are known and without its suffix: `helen/testset/123_1`."""
    where: str
    points_px: Points
    face: int | None = None
    """Which face of the picture this is, where there may be several."""
    scheme: str | None = None
    """The scheme's name, where the file says it."""
    visible: NDArray[np.bool_] | None = None
    visibility: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """A face that could not be read, and why, in one line."""

    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Annotations:
    """What a source holds."""

    source: str
    found: tuple[Annotation, ...]
    broken: tuple[Broken, ...]


def read_annotations(source: Path | str, role: Role) -> Annotations:
    """Every face of the source; DataError, in one line, if it cannot be read at all or holds none."""
    from unveil.data.predictions.tables import read_csv, read_json, read_npz

    chosen = ARRAY.fullmatch(str(source))
    path, array = (Path(chosen[1]), chosen[2]) if chosen else (Path(source), None)
    if path.is_dir():
        faces = _folder(path)
    elif not path.exists():
        raise DataError(f"{path}: no such file or folder; give {KINDS}")
    elif path.suffix.lower() == ".npz":
        faces = read_npz(path, array, role)
    elif path.suffix.lower() == ".json":
        faces = read_json(path)
    elif path.suffix.lower() == ".csv":
        faces = read_csv(path)
    else:
        raise DataError(f"{path}: not {KINDS}")
    read = list(faces)
    if not read:
        raise DataError(f"{source}: no faces in it; give {KINDS}")
    found = tuple(face for face in read if isinstance(face, Annotation))
    return Annotations(str(source), found, tuple(face for face in read if isinstance(face, Broken)))


def annotation(
    name: str,
    where: str,
    landmarks: object,
    *,
    face: int | None = None,
    scheme: str | None = None,
    visible: object = None,
    visibility: object = None,
) -> Annotation | Broken:
    """The face if its landmarks are (L, 2) finite numbers and its visibilities (L,) lie in [0, 1]; else what is wrong."""
    name = picture_name(name)
    try:
        points_px = _numbers(landmarks, f"{where}: its landmarks")
        if points_px.ndim != 2 or points_px.shape[1] != 2 or not len(points_px):
            raise DataError(f"{where}: landmarks of shape {points_px.shape}; give [[x, y], …]")
        for landmark, _ in np.argwhere(~np.isfinite(points_px)):
            raise DataError(f"{where}: landmark {landmark} is not a finite number; mend it or take the face out")
        seen, judged = (
            None if flags is None else _shares(flags, len(points_px), where) for flags in (visible, visibility)
        )
    except DataError as error:
        return Broken(name, str(error))
    return Annotation(name, where, points_px, face, scheme, None if seen is None else seen > 0.5, judged)


def picture_name(name: str) -> str:
    """`photos\\a.jpg` is `photos/a`; only what is known as a suffix goes, for `image.003` has none."""
    return SUFFIX.sub("", name.strip().replace("\\", "/"))


def _folder(root: Path) -> Iterator[Annotation | Broken]:
    from unveil.data.predictions.tables import read_json

    files = [path for path in sorted(root.rglob("*")) if not path.name.startswith(".") and path.is_file()]
    pts = [path for path in files if path.suffix.lower() == ".pts"]
    for path in pts:
        name = path.relative_to(root).as_posix()
        try:
            yield annotation(name, str(path), read_pts(path))
        except DataError as error:
            yield Broken(picture_name(name), str(error))
    for path in () if pts else files:
        if path.suffix.lower() == ".json":
            try:
                yield from read_json(path)
            except DataError as error:
                yield Broken(picture_name(path.relative_to(root).as_posix()), str(error))


def _numbers(values: object, what: str) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # 1e39 becomes infinite, which is then named
            return np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{what} are not numbers of equal rows; give [[x, y], …]") from None


def _shares(values: object, count: int, where: str) -> NDArray[np.float32]:
    shares = _numbers(values, f"{where}: its visibilities")
    if shares.shape != (count,) or not ((shares >= 0) & (shares <= 1)).all():
        raise DataError(f"{where}: its visibilities are not {count} numbers from 0 to 1")
    return shares
