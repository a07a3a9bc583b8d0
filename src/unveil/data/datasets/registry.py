"""Data sets of faces with landmarks, by name, read from the folders they are released in. N faces, L landmarks.

This module reads the sets whose faces are images with `.pts` files beside them. A new set is a function from (root,
split, partial) to a `DataSet` and a line in `READERS`.
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
    image_below,
    numbered_lines,
    require_complete,
    require_folder,
    require_split,
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
"""The folders of each split, and the number of faces of the official release in each folder."""

Reader: TypeAlias = Callable[[Path, str, bool], DataSet]


def three_hundred_w(root: Path, split: str, partial: bool = False) -> DataSet:
    """Return 300W, read from iBUG's folders.

    Args:
        root: The folder of 300W.
        split: `train` (3148 faces), `common` (554), `challenging` (135) or `full` (689).
        partial: Whether fewer faces are accepted; the label of the set states how many there are.

    Raises:
        DataError: Faces are missing. The message names the folder.
    """
    return _folders_of_300w("300w", root, split, tuple(THREE_HUNDRED_W), partial)


def masked_300w(root: Path, split: str, partial: bool = False) -> DataSet:
    """Return Masked 300W: the test faces of 300W under synthetic masks, with 300W's folders and names.

    Args:
        root: The folder of the set.
        split: `common`, `challenging` or `full`. Of the 135 `challenging` faces 50 are public, so that this split and
            `full` need `partial`.
        partial: Whether fewer faces are accepted.

    Raises:
        DataError: Faces are missing. The message names the folder.

    Source: Zhu et al. 2021.
    """
    tests = tuple(name for name in THREE_HUNDRED_W if name != "train")
    return _folders_of_300w("masked300w", root, split, tests, partial)


def ocfw(root: Path, split: str, partial: bool = False) -> DataSet:
    """Return OCFW: the faces of 300W that a list names.

    The authors' lists (2591 faces without occlusion to train on, 1246 occluded ones to test on) are not public, so the
    expected number of faces is the length of the list.

    Args:
        root: The folder of 300W.
        split: The path of the list, one image path per line; relative to the current folder or to `root`.
        partial: Whether fewer faces are accepted.

    Raises:
        DataError: There is no list, or a face of it is missing.
    """
    require_folder(root)
    listed = next((path for path in (Path(split), root / split) if path.is_file()), None)
    if listed is None:
        raise DataError(f"ocfw: no list {split!r} here or in {root}; name a file with one image of 300W per line")
    images: dict[Path, Path] = {}
    for number, line in numbered_lines(listed):
        image = image_below(root, line, f"{listed}, line {number}")
        if image.with_suffix("") in images:
            raise DataError(f"{listed}, line {number}: {line!r} is listed twice")
        images[image.with_suffix("")] = image
    if not images:
        raise DataError(f"{listed}: names no image; give one image of 300W per line, as in ibug/image_003_1.jpg")
    points = {stem: path for stem in images if (path := stem.with_name(f"{stem.name}.pts")).is_file()}
    there = {stem: path for stem, path in images.items() if path.is_file()}
    missing = [path for stem, path in images.items() if stem not in there and stem not in points]
    data_set = DataSet(f"ocfw/{listed.stem}", _pairs(root, root, there, points, IBUG68), IBUG68, len(images))
    short = [f"{listed} names {len(missing)} more, the first {missing[0]}"] if missing else []
    return require_complete(data_set, root, short, partial=partial)


def folder(root: Path, scheme: Scheme = IBUG68) -> DataSet:
    """Return the images with `.pts` files beside them in a folder and below.

    Args:
        root: The folder.
        scheme: Scheme of the landmarks.

    Raises:
        DataError: An image has no `.pts` file or the reverse, or a file cannot be read.
    """
    require_folder(root)
    samples = _samples(root, root, scheme)
    if not samples:
        raise DataError(f"{root}: no .pts files beside images in it or below")
    return DataSet(root.resolve().name, samples, scheme)


def _folder_of(root: Path, split: str, partial: bool) -> DataSet:  # noqa: ARG001
    """Read a folder; the split is the name of a built-in scheme, ibug68 if it is empty."""
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
"""The default split of an evaluation. ocfw has none: its list must be named."""


def read_data_set(name: str, root: Path, *, partial: bool = False) -> DataSet:
    """Return a data set by name.

    Args:
        name: `NAME/SPLIT`, as in `300w/train`. `READERS` has the names.
        root: The folder of the release.
        partial: Whether fewer faces than in the official release are accepted.

    Raises:
        DataError: There is no such set, or it cannot be read.
    """
    reader, _, split = name.partition("/")
    if reader not in READERS:
        near = get_close_matches(reader, READERS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(READERS)}"
        raise DataError(f"unknown data set {reader!r}: {hint}")
    return READERS[reader](root, split, partial)


def _folders_of_300w(name: str, root: Path, split: str, splits: Sequence[str], partial: bool) -> DataSet:
    require_split(name, split, splits)
    require_folder(root)
    samples: list[Sample] = []
    short: list[str] = []
    for place, expected in THREE_HUNDRED_W[split].items():
        found = _samples(root, root / place, IBUG68) if (root / place).is_dir() else ()
        if len(found) > expected:
            raise DataError(f"{root / place}: {len(found)} faces, but {name} has {expected}; remove the others")
        if len(found) < expected:
            short.append(f"{place} {len(found)}/{expected}")
        samples.extend(found)
    expected = sum(THREE_HUNDRED_W[split].values())
    return require_complete(DataSet(f"{name}/{split}", tuple(samples), IBUG68, expected), root, short, partial=partial)


def _samples(root: Path, below: Path, scheme: Scheme) -> tuple[Sample, ...]:
    """Return the faces below a folder, sorted by name. Names are relative to `root`."""
    files = [path for path in sorted(below.rglob("*")) if not path.name.startswith(".")]
    images = {path.with_suffix(""): path for path in files if path.suffix.lower() in IMAGE_SUFFIXES}
    points = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".pts"}
    return _pairs(root, below, images, points, scheme)


def _pairs(
    root: Path, below: Path, images: Mapping[Path, Path], points: Mapping[Path, Path], scheme: Scheme
) -> tuple[Sample, ...]:
    """Return the faces of images and points with the same stem; DataError if one of the two is missing."""
    alone = [
        *(images[stem] for stem in images.keys() - points),
        *(points[stem] for stem in points.keys() - images),
    ]
    if alone:
        first = min(alone)
        lacks = "image" if first.suffix.lower() == ".pts" else ".pts file"
        rest = Counter(path.suffix.lower() for path in alone)
        rest[first.suffix.lower()] -= 1
        also = ", ".join(f"{count} {suffix}" for suffix, count in sorted(rest.items()) if count)
        raise DataError(f"{first}: has no {lacks} beside it" + (f"; alone in {below} too: {also}" if also else ""))
    return tuple(
        Sample(stem.relative_to(root).as_posix(), images[stem], read_pts(points[stem], scheme))
        for stem in sorted(points)
    )
