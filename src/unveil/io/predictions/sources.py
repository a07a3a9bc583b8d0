"""Landmarks of many faces, however they were written. N faces, L landmarks; pixels counted from 0.

- JSON: `{name: [[x, y], …]}`, or what `unveil align` writes, one file a picture
- CSV, one row a face: `name, x0, y0, x1, y1, …` with or without a header, or what `unveil align` writes
- `.npz`: `names` (N,) and an array (N, L, 2): `points`, or `truth` and the predictions; `PATH:array` chooses one;
  beside them `visible` (N, L) for the truth and `visibility` (N, L) for predictions
- a folder with `.pts` files (counted from 1, as always) or, if there are none, JSON files, however deep
"""

import re
from dataclasses import dataclass
from pathlib import Path

from unveil.io.annotations import read_pts
from unveil.io.files import DataError
from unveil.io.predictions.arrays import Role, read_npz
from unveil.io.predictions.faces import Annotation, Broken, Faces, annotation
from unveil.io.predictions.tables import read_csv, read_json

ARRAY = re.compile(r"(.+\.npz):(\w+)", re.IGNORECASE)
KINDS = "a .json, .csv or .npz file, or a folder of .pts files"


@dataclass(frozen=True, slots=True)
class Annotations:
    """What a source holds."""

    source: str
    faces: tuple[Annotation | Broken, ...]
    """In the source's own order."""

    @property
    def found(self) -> tuple[Annotation, ...]:
        return tuple(face for face in self.faces if isinstance(face, Annotation))

    @property
    def broken(self) -> tuple[Broken, ...]:
        return tuple(face for face in self.faces if isinstance(face, Broken))


def read_annotations(source: Path | str, role: Role) -> Annotations:
    """Every face of the source; DataError, in one line, if it cannot be read at all or holds none."""
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
    read = tuple(faces)
    if not read:
        raise DataError(f"{source}: no faces in it; give {KINDS}")
    return Annotations(str(source), read)


def _folder(root: Path) -> Faces:
    files = [path for path in sorted(root.rglob("*")) if not path.name.startswith(".") and path.is_file()]
    pts = [path for path in files if path.suffix.lower() == ".pts"]
    for path in pts:
        name = path.relative_to(root).as_posix()
        try:
            yield annotation(name, str(path), read_pts(path))
        except DataError as error:
            yield Broken.of(name, error)
    for path in () if pts else files:
        if path.suffix.lower() == ".json":
            try:
                yield from read_json(path)
            except DataError as error:
                yield Broken.of(path.relative_to(root).as_posix(), error)
