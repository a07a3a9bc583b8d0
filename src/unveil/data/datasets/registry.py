"""Data sets of faces with landmarks, by name, read from the folders they are released in. N faces, L landmarks.

Here are those whose faces are pictures with `.pts` files beside them. A new set is a function from (root, split,
partial) to a `DataSet` and a line in `READERS`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from unveil.data.datasets.cofw import cofw29, cofw68
from unveil.data.datasets.samples import (
    DataSet,
    Faces,
    Sample,
    need_folder,
    need_split,
    numbered_lines,
    picture_below,
    whole,
)
from unveil.data.datasets.wflw import wflw
from unveil.io.annotations import read_pts
from unveil.io.files import DataError
from unveil.io.images import IMAGE_SUFFIXES
from unveil.schemes.scheme import IBUG68, Scheme, get_scheme

__all__ = [
    "READERS",
    "TEST_SPLITS",
    "THREE_HUNDRED_W",
    "DataSet",
    "Faces",
    "Sample",
    "folder",
    "masked_300w",
    "ocfw",
    "read_data_set",
    "three_hundred_w",
]

THREE_HUNDRED_W: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "train": {"afw": 337, "helen/trainset": 2000, "lfpw/trainset": 811},
        "common": {"helen/testset": 330, "lfpw/testset": 224},
        "challenging": {"ibug": 135},
        "full": {"helen/testset": 330, "lfpw/testset": 224, "ibug": 135},
    }
)
"""The folders of each split and how many faces the official release has in them."""

Reader: TypeAlias = Callable[[Path, str, bool], DataSet]


def three_hundred_w(root: Path, split: str, partial: bool = False) -> DataSet:
    """300W as iBUG releases it: `train` (3148 faces), `common` (554), `challenging` (135) or `full` (689).

    DataError names what is missing from a folder; `partial` takes what there is, and the label says how much that was.
    """
    return _folders_of_300w("300w", root, split, tuple(THREE_HUNDRED_W), partial)


def masked_300w(root: Path, split: str, partial: bool = False) -> DataSet:
    """Masked 300W (Zhu et al. 2021): the test faces of 300W under synthetic masks, in 300W's folders and by its names.

    50 of the 135 `challenging` faces are public, so that one and `full` need `partial`; else as `three_hundred_w`.
    """
    tests = tuple(name for name in THREE_HUNDRED_W if name != "train")
    return _folders_of_300w("masked300w", root, split, tests, partial)


def ocfw(root: Path, split: str, partial: bool = False) -> DataSet:
    """OCFW: the faces of 300W under `root` that a list names, a picture's path a line; `split` is the list's own path.

    The authors' lists (2591 occlusion-free faces to train on, 1246 occluded ones to test on) are not public, so the
    length of the list is what is expected. The list is looked for as given, then below `root`.
    """
    need_folder(root)
    listed = next((path for path in (Path(split), root / split) if path.is_file()), None)
    if listed is None:
        raise DataError(f"ocfw: no list {split!r} here or in {root}; name a file with one picture of 300W a line")
    pictures: dict[Path, Path] = {}
    for number, line in numbered_lines(listed):
        picture = picture_below(root, line, f"{listed}, line {number}")
        if picture.with_suffix("") in pictures:
            raise DataError(f"{listed}, line {number}: {line!r} is listed twice")
        pictures[picture.with_suffix("")] = picture
    if not pictures:
        raise DataError(f"{listed}: names no picture; it has one picture of 300W a line, as in ibug/image_003_1.jpg")
    points = {stem: path for stem in pictures if (path := stem.with_name(f"{stem.name}.pts")).is_file()}
    there = {stem: path for stem, path in pictures.items() if path.is_file()}
    missing = [path for stem, path in pictures.items() if stem not in there and stem not in points]
    data_set = DataSet(f"ocfw/{listed.stem}", _pairs(root, root, there, points, IBUG68), IBUG68, len(pictures))
    short = [f"{listed} names {len(missing)} more, the first {missing[0]}"] if missing else []
    return whole(data_set, root, short, partial=partial)


def folder(root: Path, scheme: Scheme = IBUG68) -> DataSet:
    """Any folder of pictures with `.pts` files beside them, however deep. DataError if one lacks the other."""
    need_folder(root)
    samples = _samples(root, root, scheme)
    if not samples:
        raise DataError(f"{root}: no .pts files beside pictures in it or below")
    return DataSet(root.resolve().name, samples, scheme)


def _folder_of(root: Path, split: str, partial: bool) -> DataSet:  # noqa: ARG001
    """`folder`, where the split names a built-in scheme, ibug68 if empty; nobody counts its faces, so none lack."""
    try:
        return folder(root, get_scheme(split) if split else IBUG68)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"folder/{split}: {error}") from None


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "300w": three_hundred_w,
        "masked300w": masked_300w,
        "wflw": wflw,
        "cofw29": cofw29,
        "cofw68": cofw68,
        "ocfw": ocfw,
        "folder": _folder_of,
    }
)

TEST_SPLITS: Mapping[str, str] = MappingProxyType(
    {"300w": "full", "masked300w": "full", "wflw": "test", "cofw29": "test", "cofw68": "test", "folder": ""}
)
"""The split that is reported on when none is named; ocfw has none, its list must be named."""


def read_data_set(name: str, root: Path, *, partial: bool = False) -> DataSet:
    """The set called `NAME/SPLIT`, as in `300w/train`, from its release under `root`."""
    reader, _, split = name.partition("/")
    if reader not in READERS:
        near = get_close_matches(reader, READERS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(READERS)}"
        raise DataError(f"unknown data set {reader!r}: {hint}")
    return READERS[reader](root, split, partial)


def _folders_of_300w(name: str, root: Path, split: str, splits: Sequence[str], partial: bool) -> DataSet:
    need_split(name, split, splits)
    need_folder(root)
    samples: list[Sample] = []
    short: list[str] = []
    for place, expected in THREE_HUNDRED_W[split].items():
        found = _samples(root, root / place, IBUG68) if (root / place).is_dir() else ()
        if len(found) > expected:
            raise DataError(f"{root / place}: {len(found)} faces, but {name} has {expected}; take the extra ones out")
        if len(found) < expected:
            short.append(f"{place} {len(found)}/{expected}")
        samples.extend(found)
    expected = sum(THREE_HUNDRED_W[split].values())
    return whole(DataSet(f"{name}/{split}", tuple(samples), IBUG68, expected), root, short, partial=partial)


def _samples(root: Path, below: Path, scheme: Scheme) -> tuple[Sample, ...]:
    """The faces under `below`, sorted by name, named from `root`."""
    files = [path for path in sorted(below.rglob("*")) if not path.name.startswith(".")]
    pictures = {path.with_suffix(""): path for path in files if path.suffix.lower() in IMAGE_SUFFIXES}
    points = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".pts"}
    return _pairs(root, below, pictures, points, scheme)


def _pairs(
    root: Path, below: Path, pictures: Mapping[Path, Path], points: Mapping[Path, Path], scheme: Scheme
) -> tuple[Sample, ...]:
    """The faces of pictures and points with the same stem; DataError, naming the first, if one lacks the other."""
    alone = [
        *(pictures[stem] for stem in pictures.keys() - points),
        *(points[stem] for stem in points.keys() - pictures),
    ]
    if alone:
        first = min(alone)
        lacks = "picture" if first.suffix.lower() == ".pts" else ".pts file"
        rest = Counter(path.suffix.lower() for path in alone)
        rest[first.suffix.lower()] -= 1
        also = ", ".join(f"{count} {suffix}" for suffix, count in sorted(rest.items()) if count)
        raise DataError(f"{first}: has no {lacks} beside it" + (f"; alone in {below} too: {also}" if also else ""))
    return tuple(
        Sample(stem.relative_to(root).as_posix(), pictures[stem], read_pts(points[stem], scheme))
        for stem in sorted(points)
    )
