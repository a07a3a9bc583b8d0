"""What a data set of faces is made of and what its reader needs: samples, pictures, lists. N faces, L landmarks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
    """One annotated face: its name in the set ("helen/trainset/123_1"), its picture and its landmarks, (L, 2).

    `image` is the file that holds the picture and `read` gets it out: a `.mat` holds many. `visible`, (L,), is False
    where something covers a landmark; it and the face's `box` are None where the release does not give them.
    """

    name: str
    image: Path
    points_px: Points = field(repr=False)
    visible: NDArray[np.bool_] | None = field(default=None, repr=False)
    box: Box | None = field(default=None, repr=False)
    read: Callable[[Path], Image] = field(default=read_image, repr=False)

    def load(self) -> Image:
        """The picture, RGB, (H, W, 3); DataError if it is missing or not a picture."""
        return self.read(self.image)


@runtime_checkable
class Faces(Protocol):
    """Annotated faces to train or to report on, whether they lie in a folder or in a pack."""

    @property
    def label(self) -> str:
        """`300w/train 2012/3148`: every figure about the faces is printed beside it."""

    @property
    def scheme(self) -> Scheme: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def points_px(self) -> NDArray[np.float32]:
        """(N, L, 2), each face in pixels of its own picture."""

    @property
    def visible(self) -> NDArray[np.bool_] | None:
        """(N, L), False where something covers a landmark; None where nobody says so of every face."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image:
        """The picture of one face, RGB, (H, W, 3)."""


@dataclass(frozen=True, eq=False)
class DataSet:
    """Faces in the files of a release, and how many the official one has; None where nobody counts."""

    name: str
    samples: tuple[Sample, ...] = field(repr=False)
    scheme: Scheme = field(repr=False)
    expected: int | None = None

    @property
    def found(self) -> int:
        return len(self.samples)

    @property
    def label(self) -> str:
        return f"{self.name} {self.found}" + ("" if self.expected is None else f"/{self.expected}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(sample.name for sample in self.samples)

    @cached_property
    def points_px(self) -> NDArray[np.float32]:
        return np.stack([sample.points_px for sample in self.samples])

    @cached_property
    def visible(self) -> NDArray[np.bool_] | None:
        """(N, L), False where something covers a landmark; None where the release does not say."""
        known = [sample.visible for sample in self.samples if sample.visible is not None]
        return np.stack(known) if known and len(known) == self.found else None

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> Image:
        return self.samples[index].load()


def need_folder(root: Path) -> None:
    """DataError if `root` is not a folder."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")


def need_split(name: str, split: str, splits: Sequence[str]) -> None:
    """DataError, naming the splits that there are, if `split` is none of them."""
    if split not in splits:
        there = f"there {'is' if len(splits) == 1 else 'are'} {', '.join(splits)}"
        raise DataError(f"{name} has no split {split!r}: {there}")


def whole(data_set: DataSet, root: Path, short: Sequence[str], *, partial: bool) -> DataSet:
    """`data_set` as it is if nothing is missing, or something is there and `partial` takes it.

    DataError with expected, found and folder otherwise; `short` says what is missing where. DataError too if there are
    more faces than were released: then these are not the faces that others report on.
    """
    expected, found = data_set.expected or 0, data_set.found
    if found > expected:
        raise DataError(
            f"{data_set.name}: {found} faces in {root}, but the release has {expected}; take the extra ones out"
        )
    if found == expected or (partial and found):
        return data_set
    where = f" (short: {', '.join(short)})" if short else ""
    mend = "complete it" + (" or pass --partial to take what there is" if found else "")
    raise DataError(f"{data_set.name}: expected {expected} faces, found {found} in {root}{where}; {mend}")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a list file, counted from 1, without blank ones and those that begin with `#`."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; is it a list?") from error
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return ((number, line) for number, line in stripped if line and not line.startswith("#"))


def picture_below(root: Path, name: str, where: str) -> Path:
    """The path of a picture that a list names; DataError, naming `where`, if it is none or leads out of `root`."""
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.suffix.lower() not in IMAGE_SUFFIXES:
        raise DataError(
            f"{where}: {name!r} is not a picture's path; it ends in none of {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    if relative.is_absolute() or ".." in relative.parts:
        raise DataError(f"{where}: {name!r} leads out of {root}; give it relative to that")
    return root / relative
