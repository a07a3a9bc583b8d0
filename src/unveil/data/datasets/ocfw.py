"""A replacement of OCFW, whose split is not public: a list, which users can edit, of the occluded faces of 300W.

A list is CSV, the most occluded face first: `name,kind,coverage,landmarks,masked`. Only the first two columns are read
back. Faces between the clean and the occluded ones are `unsure`: they are neither in the training set nor in the test
set until a person checks them.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from unveil.data.datasets.registry import three_hundred_w
from unveil.data.datasets.samples import DataSet, Sample
from unveil.io.files import DataError, write_csv
from unveil.types import Image, Points

Kind: TypeAlias = Literal["clean", "unsure", "occluded"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FIELDS = ("name", "kind", "coverage", "landmarks", "masked")
# The paper calls 1246 of 3837 faces occluded, so the others are clean. By eye most of the first tenth is occluded, and
# of the clean ones one in fifteen.
OCCLUDED, CLEAN = 0.10, 1 - 1246 / 3837

CoverageFn: TypeAlias = Callable[[Image, Points], "Coverage"]
"""From an image and the ground-truth landmarks of a face in its pixels to how much of the face is occluded."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a face is occluded.

    Args:
        landmarks: Expected share of the landmarks that are occluded, 0 to 1.
        masked: Share of the face's area under a predicted mask, 0 to 1, if there is one.
    """

    landmarks: float
    masked: float | None = None

    @property
    def total(self) -> float:
        """The larger of both, by which faces are sorted."""
        return max(self.landmarks, self.masked or 0.0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a list.

    Args:
        name: The face's name in 300W.
        kind: Whether the face is clean or occluded.
        coverage: How much of the face is occluded.
    """

    name: str
    kind: Kind
    coverage: Coverage


def faces_of_300w(root: Path, *, partial: bool = False) -> tuple[Sample, ...]:
    """Return the faces of 300W: the training faces, Common, and Challenging if there is a folder `ibug`.

    Args:
        root: The folder of 300W.
        partial: Whether a set with missing faces is accepted.
    """
    splits = ("train", "common", *(("challenging",) if (root / "ibug").is_dir() else ()))
    return tuple(sample for split in splits for sample in three_hundred_w(root, split, partial).samples)


def rank_by_coverage(
    faces: Sequence[Sample],
    coverage: CoverageFn,
    *,
    occluded: float = OCCLUDED,
    clean: float = CLEAN,
    progress: Callable[[int, int], None] | None = None,
) -> list[Entry]:
    """Return the faces from the most to the least occluded.

    Args:
        faces: The faces.
        coverage: Estimates how much of a face is occluded.
        occluded: Share of the faces, from the start, whose kind is `occluded`.
        clean: Share of the faces, from the end, whose kind is `clean`.
        progress: Called with the number of faces done and of all.

    Raises:
        ValueError: The two shares are more than 1 together.
        DataError: An image cannot be read.
    """
    if not (0 <= occluded <= 1 and 0 <= clean <= 1 and occluded + clean <= 1 + 1e-9):
        raise ValueError(f"{occluded:g} occluded and {clean:g} clean: give shares of the faces, together 1 at most")
    found: list[tuple[str, Coverage]] = []
    for done, sample in enumerate(faces, start=1):
        found.append((sample.name, coverage(sample.load(), sample.points_px)))
        if progress is not None:
            progress(done, len(faces))
    found.sort(key=lambda one: (-one[1].total, one[0]))
    first, last = round(occluded * len(found)), len(found) - round(clean * len(found))
    return [
        Entry(name, "occluded" if i < first else "unsure" if i < last else "clean", one)
        for i, (name, one) in enumerate(found)
    ]


def write_list(path: Path, entries: Sequence[Entry]) -> None:
    """Write a list atomically.

    Args:
        path: The CSV file. Missing folders are created.
        entries: The lines, in order.
    """
    with write_csv(path, lineterminator="\n") as lines:
        lines.writerow(FIELDS)
        for entry in entries:
            values = (entry.coverage.total, entry.coverage.landmarks, entry.coverage.masked)
            numbers = ("" if value is None else f"{value:.4f}" for value in values)
            lines.writerow((entry.name, entry.kind, *numbers))


def read_list(path: Path) -> dict[str, Kind]:
    """Return the kind of each face, in the list's order.

    Args:
        path: The CSV file.

    Raises:
        DataError: The file is not such a list. The message names the line.
    """
    kinds: dict[str, Kind] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            if not {"name", "kind"} <= set(lines.fieldnames or ()):
                raise DataError(f"{path}: no columns name and kind; make a list with `unveil prepare ocfw-list`")
            for line in lines:
                where, name, given = f"{path}, line {lines.line_num}", line["name"], (line["kind"] or "").strip()
                kind = next((kind for kind in KINDS if kind == given), None)
                if kind is None:
                    raise DataError(f"{where}: kind {given!r}; there are {', '.join(KINDS)}")
                if name in kinds:
                    raise DataError(f"{where}: {name!r} is listed twice")
                kinds[name] = kind
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {error}; make a list with `unveil prepare ocfw-list`") from error
    return kinds


def is_kind_list(path: Path) -> bool:
    """Return whether a list file has kinds of faces; else it has the path of one image per line.

    Args:
        path: The file.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return {"name", "kind"} <= set(next(csv.reader(file), []))
    except OSError:
        return False


def faces_of_kind(kind: Kind, faces: DataSet, path: Path) -> DataSet:
    """Return the faces of a set that have a kind in a list.

    Args:
        kind: The kind.
        faces: The set.
        path: The list.

    Raises:
        DataError: A face is not in the list, or no face has the kind.
    """
    kinds: Mapping[str, Kind] = read_list(path)
    unknown = [name for name in faces.names if name not in kinds]
    if unknown:
        fix = "make it again with `unveil prepare ocfw-list`"
        raise DataError(f"{path}: {len(unknown)} of {len(faces)} faces are not in it, the first {unknown[0]!r}; {fix}")
    chosen = tuple(sample for sample in faces.samples if kinds[sample.name] == kind)
    if not chosen:
        raise DataError(f"{path}: none of the {len(faces)} faces of {faces.label} is {kind}")
    return DataSet(f"{faces.label}, {kind}", chosen, faces.scheme)
