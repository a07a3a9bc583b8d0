"""One face of a file of landmarks, or what is wrong with it. L landmarks; pixels counted from 0."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.io.files import DataError
from unveil.types import Points

SUFFIX = re.compile(r"\.(jpe?g|png|bmp|webp|tiff?|pts|json)$", re.IGNORECASE)


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

    @classmethod
    def of(cls, name: str, problem: object) -> "Broken":
        return cls(picture_name(name), str(problem))


Faces: TypeAlias = Iterator[Annotation | Broken]


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
    """The face, if its landmarks are (L, 2) finite numbers and its visibilities (L,) in [0, 1]; else what is wrong."""
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
        return Broken.of(name, error)
    return Annotation(picture_name(name), where, points_px, face, scheme, None if seen is None else seen > 0.5, judged)


def picture_name(name: str) -> str:
    """`photos\\a.jpg` is `photos/a`; only what is known as a suffix goes, for `image.003` has none."""
    return SUFFIX.sub("", name.strip().replace("\\", "/"))


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
