"""A stand-in for OCFW, whose split is not public: which faces of 300W are covered, as a list that people can edit.

A list is CSV, the most covered face first: `name,kind,figure,hidden,masked`. Only the first two are read back. Faces
between the clean and the occluded ones are called unsure: they neither train nor test until someone looks at them.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from unveil.data.datasets.registry import three_hundred_w
from unveil.data.datasets.samples import DataSet, Sample
from unveil.io.annotations import DataError, written_whole
from unveil.types import Image, Points

Kind: TypeAlias = Literal["clean", "unsure", "occluded"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FIELDS = ("name", "kind", "figure", "hidden", "masked")
# The paper calls 1246 of 3837 faces occluded, so the others are clean. By eye most of the first tenth is covered, and
# of the clean ones one in fifteen.
OCCLUDED, CLEAN = 0.10, 1 - 1246 / 3837

Look: TypeAlias = Callable[[Image, Points], "Covered"]
"""A picture and the true landmarks of a face in its pixels to what is said of what covers it."""


@dataclass(frozen=True, slots=True)
class Covered:
    """Shares of a face, 0 to 1: the landmarks that are `hidden`, as is to be expected, and the area under a mask."""

    hidden: float
    masked: float | None = None

    @property
    def figure(self) -> float:
        """What faces are sorted by: the larger one."""
        return max(self.hidden, self.masked or 0.0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a list."""

    name: str
    kind: Kind
    covered: Covered


def faces_of_300w(root: Path, *, partial: bool = False) -> tuple[Sample, ...]:
    """Every face of 300W that there is: its training faces, Common, and Challenging where it lies in `ibug`."""
    splits = ("train", "common", *(("challenging",) if (root / "ibug").is_dir() else ()))
    return tuple(sample for split in splits for sample in three_hundred_w(root, split, partial).samples)


def entries_of(
    faces: Sequence[Sample],
    look: Look,
    *,
    occluded: float = OCCLUDED,
    clean: float = CLEAN,
    progress: Callable[[int, int], None] | None = None,
) -> list[Entry]:
    """The faces from the most covered to the least: the share `occluded` of them is called so, the share `clean` too.

    ValueError if the two shares leave no room for each other; DataError if a picture cannot be read.
    """
    if not (0 <= occluded <= 1 and 0 <= clean <= 1 and occluded + clean <= 1 + 1e-9):
        raise ValueError(f"{occluded:g} occluded and {clean:g} clean: give shares of the faces, together 1 at most")
    found: list[tuple[str, Covered]] = []
    for done, sample in enumerate(faces, start=1):
        found.append((sample.name, look(sample.load(), sample.points_px)))
        if progress is not None:
            progress(done, len(faces))
    found.sort(key=lambda one: (-one[1].figure, one[0]))
    first, last = round(occluded * len(found)), len(found) - round(clean * len(found))
    return [
        Entry(name, "occluded" if i < first else "unsure" if i < last else "clean", covered)
        for i, (name, covered) in enumerate(found)
    ]


def write_list(path: Path, entries: Sequence[Entry]) -> None:
    """Writes the list whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(FIELDS)
        for entry in entries:
            said = (entry.covered.figure, entry.covered.hidden, entry.covered.masked)
            numbers = ("" if value is None else f"{value:.4f}" for value in said)
            lines.writerow((entry.name, entry.kind, *numbers))


def read_list(path: Path) -> dict[str, Kind]:
    """What each face is called, in the list's order. DataError, naming the line, if it says something else."""
    kinds: dict[str, Kind] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            if not {"name", "kind"} <= set(lines.fieldnames or ()):
                raise DataError(f"{path}: no columns name and kind; make a list with `unveil prepare ocfw`")
            for line in lines:
                where, name, said = f"{path}, line {lines.line_num}", line["name"], (line["kind"] or "").strip()
                kind = next((kind for kind in KINDS if kind == said), None)
                if kind is None:
                    raise DataError(f"{where}: kind {said!r}; there are {', '.join(KINDS)}")
                if name in kinds:
                    raise DataError(f"{where}: {name!r} is listed twice")
                kinds[name] = kind
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {error}; make a list with `unveil prepare ocfw`") from error
    return kinds


def faces_called(kind: Kind, faces: DataSet, path: Path) -> DataSet:
    """The faces of a set that a list calls so; DataError if it does not know one of them, or calls none so."""
    kinds: Mapping[str, Kind] = read_list(path)
    unknown = [name for name in faces.names if name not in kinds]
    if unknown:
        mend = "make it again with `unveil prepare ocfw`"
        raise DataError(f"{path}: {len(unknown)} of {len(faces)} faces are not in it, the first {unknown[0]!r}; {mend}")
    chosen = tuple(sample for sample in faces.samples if kinds[sample.name] == kind)
    if not chosen:
        raise DataError(f"{path}: calls none of the {len(faces)} faces of {faces.label} {kind}")
    return DataSet(f"{faces.label}, {kind}", chosen, faces.scheme)
