"""Data sets of faces, and what their readers share: samples, images and list files. N faces, L landmarks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from unveil.io.files import DataError
from unveil.io.images import IMAGE_SUFFIXES, read_image
from unveil.schemes.scheme import Scheme
from unveil.types import Box, Image, Points


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One annotated face.

    Args:
        name: Its name in the set, as in `helen/trainset/123_1`.
        image: The file of the image. A `.mat` file holds several images.
        points_px: Landmarks (L, 2) in pixels.
        visible: (L,), False where a landmark is occluded; None if it is not annotated.
        box: Box of the face in pixels; None if it is not annotated.
        read: Reads the image from its file.
    """

    name: str
    image: Path
    points_px: Points = field(repr=False)
    visible: NDArray[np.bool_] | None = field(default=None, repr=False)
    box: Box | None = field(default=None, repr=False)
    read: Callable[[Path], Image] = field(default=read_image, repr=False)

    def load(self) -> Image:
        """Return the image, RGB (H, W, 3).

        Raises:
            DataError: The file is missing or not an image.
        """
        return self.read(self.image)


@runtime_checkable
class Faces(Protocol):
    """Annotated faces for training or evaluation, from a folder or from a pack."""

    @property
    def label(self) -> str:
        """Name and size, as in `300w/train 2012/3148`. It is printed beside every figure about the faces."""

    @property
    def scheme(self) -> Scheme:
        """Scheme of the landmarks."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the faces."""

    @property
    def points_px(self) -> NDArray[np.float32]:
        """Landmarks (N, L, 2), each face in pixels of its own image."""

    @property
    def visible(self) -> NDArray[np.bool_] | None:
        """(N, L), False where a landmark is occluded; None if a face does not have this annotation."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image:
        """Return the image of one face, RGB (H, W, 3).

        Args:
            index: The number of the face.
        """


@dataclass(frozen=True, eq=False)
class DataSet:
    """Faces in the files of a release.

    Args:
        name: Name of the set and its split.
        samples: The faces.
        scheme: Scheme of the landmarks.
        expected: Number of faces in the official release; None if it is not known.
    """

    name: str
    samples: tuple[Sample, ...] = field(repr=False)
    scheme: Scheme = field(repr=False)
    expected: int | None = None

    @property
    def found(self) -> int:
        """Number of faces that were found."""
        return len(self.samples)

    @property
    def label(self) -> str:
        """Name and size, as in `300w/train 2012/3148`."""
        return f"{self.name} {self.found}" + ("" if self.expected is None else f"/{self.expected}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the faces."""
        return tuple(sample.name for sample in self.samples)

    @cached_property
    def points_px(self) -> NDArray[np.float32]:
        """Landmarks (N, L, 2), each face in pixels of its own image."""
        return np.stack([sample.points_px for sample in self.samples])

    @cached_property
    def visible(self) -> NDArray[np.bool_] | None:
        """(N, L), False where a landmark is occluded; None if a face does not have this annotation."""
        known = [sample.visible for sample in self.samples if sample.visible is not None]
        return np.stack(known) if known and len(known) == self.found else None

    def __len__(self) -> int:
        return len(self.samples)

    def spaced(self, count: int | None) -> "DataSet":
        """Return at most `count` faces, evenly spaced over the set; all of them if it is None.

        Args:
            count: The number of faces.
        """
        if count is None or count >= len(self):
            return self
        chosen = np.linspace(0, len(self) - 1, count).round().astype(int)
        return replace(self, samples=tuple(self.samples[index] for index in chosen))

    def image(self, index: int) -> Image:
        """Return the image of one face, RGB (H, W, 3).

        Args:
            index: The number of the face.
        """
        return self.samples[index].load()


def require_folder(root: Path) -> None:
    """Check that a folder exists.

    Args:
        root: The folder.

    Raises:
        DataError: It is not a folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")


def require_split(name: str, split: str, splits: Sequence[str]) -> None:
    """Check that a set has a split.

    Args:
        name: Name of the set.
        split: The split.
        splits: The splits of the set.

    Raises:
        DataError: There is no such split. The message lists the splits.
    """
    if split not in splits:
        there = f"there {'is' if len(splits) == 1 else 'are'} {', '.join(splits)}"
        raise DataError(f"{name} has no split {split!r}: {there}")


def require_complete(data_set: DataSet, root: Path, short: Sequence[str], *, partial: bool) -> DataSet:
    """Return a set after a check that it is complete.

    Args:
        data_set: The set, with the expected number of faces.
        root: The folder that it was read from.
        short: Where faces are missing, for the message.
        partial: Whether fewer faces are accepted, but at least one.

    Raises:
        DataError: Faces are missing, or there are more than in the release.
    """
    expected, found = data_set.expected or 0, data_set.found
    if found > expected:
        raise DataError(f"{data_set.name}: {found} faces in {root}, but the release has {expected}; remove the others")
    if found == expected or (partial and found):
        return data_set
    where = f" (short: {', '.join(short)})" if short else ""
    fix = "complete it" + (" or pass --partial to take what there is" if found else "")
    raise DataError(f"{data_set.name}: expected {expected} faces, found {found} in {root}{where}; {fix}")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Return the lines of a list file with their numbers from 1, without empty lines and comments (`#`).

    Args:
        path: The file.

    Raises:
        DataError: The file cannot be read or is not UTF-8.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; give a list file") from error
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return ((number, line) for number, line in stripped if line and not line.startswith("#"))


def image_below(root: Path, name: str, where: str) -> Path:
    """Return the path of an image that a list names.

    Args:
        root: The folder that the path is relative to.
        name: The path in the list.
        where: The list and the line, for the message.

    Raises:
        DataError: The path is not that of an image, or not below `root`.
    """
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.suffix.lower() not in IMAGE_SUFFIXES:
        raise DataError(f"{where}: {name!r} is not the path of an image; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    if relative.is_absolute() or ".." in relative.parts:
        raise DataError(f"{where}: {name!r} is not below {root}; give a path relative to this folder")
    return root / relative
