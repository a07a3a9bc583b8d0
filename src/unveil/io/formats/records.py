"""Landmark annotations in memory: what every file format is read into and written from. L landmarks.

All coordinates are pixels counted from 0: the centre of the first pixel is (0, 0). The formats `.pts` (counted from 1)
and Label Studio (per cent) are converted in their readers and writers; no format is shifted by half a pixel.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.geometry import tight_box
from unveil.io.files import DataError
from unveil.io.images import IMAGE_SUFFIXES
from unveil.schemes.scheme import SCHEMES, Scheme
from unveil.types import Box, Face, Points, Pose

KNOWN_SUFFIXES = (*IMAGE_SUFFIXES, ".pts", ".json")
SUFFIX = re.compile(rf"({'|'.join(map(re.escape, KNOWN_SUFFIXES))})$", re.IGNORECASE)
LAST_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True, slots=True, eq=False)
class FaceAnnotation:
    """The landmarks of one face.

    Args:
        image: The path of the image, as the file states it.
        where: The file and the entry, for messages.
        points_px: Landmarks (L, 2) in pixels; NaN for a landmark that is missing.
        face: The number of the face in its image, if there may be several.
        scheme: The name of the landmark scheme, if the file states it.
        visible: (L,), whether each landmark is visible, as annotated.
        visibility: (L,), the predicted probability that each landmark is visible.
        uncertainty: (L,), the predicted error of each landmark in pixels.
        box: The box of the face in pixels.
        score: The score of the detector, 0 to 1.
        pose: The head pose in degrees.
        image_size: Width and height of the image in pixels.
    """

    image: str
    where: str
    points_px: Points
    face: int | None = None
    scheme: str | None = None
    visible: NDArray[np.bool_] | None = None
    visibility: NDArray[np.float32] | None = None
    uncertainty: NDArray[np.float32] | None = None
    box: Box | None = None
    score: float | None = None
    pose: Pose | None = None
    image_size: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The path of the image without its suffix, as in `helen/testset/123_1`."""
        return image_name(self.image)

    @property
    def is_visible(self) -> NDArray[np.bool_] | None:
        """(L,), whether each landmark is visible: as annotated, else by the predicted probability. None if unknown."""
        if self.visible is not None or self.visibility is None:
            return self.visible
        return self.visibility >= 0.5


@dataclass(frozen=True, slots=True)
class InvalidFace:
    """A face that could not be read.

    Args:
        name: The path of its image without a suffix.
        problem: What is wrong, in one line.
    """

    name: str
    problem: str

    @classmethod
    def of(cls, image: str, problem: object) -> "InvalidFace":
        """Return a face of an image with its problem.

        Args:
            image: The path of the image.
            problem: The error, or its message.
        """
        return cls(image_name(image), str(problem))


@dataclass(frozen=True, slots=True, eq=False)
class ImageAnnotation:
    """An image and the faces in it.

    Args:
        image: The path of the image.
        faces: The faces.
        size: Width and height in pixels, if known.
        model: The name of the model that predicted the faces.
    """

    image: str
    faces: tuple[FaceAnnotation, ...]
    size: tuple[int, int] | None = None
    model: str | None = None


Faces: TypeAlias = Iterator[FaceAnnotation | InvalidFace]


def face_annotation(
    image: str,
    where: str,
    landmarks: object,
    *,
    face: int | None = None,
    scheme: str | None = None,
    visible: object = None,
    visibility: object = None,
    uncertainty: object = None,
    box: object = None,
    score: object = None,
    pose: Pose | None = None,
    image_size: tuple[int, int] | None = None,
) -> FaceAnnotation | InvalidFace:
    """Build a face from the values in a file.

    Args:
        image: The path of the image.
        where: The file and the entry, for messages.
        landmarks: Landmarks (L, 2); None or NaN for a coordinate that is missing.
        face: As in `FaceAnnotation`, like the others.
        scheme: Name of the scheme.
        visible: (L,) of 0 and 1.
        visibility: (L,) in [0, 1].
        uncertainty: (L,) in pixels.
        box: Four numbers x0, y0, x1, y1 in pixels.
        score: From 0 to 1.
        pose: In degrees.
        image_size: Width and height in pixels.

    Returns:
        The face; an `InvalidFace` if the landmarks or visibilities are not numbers of the right shape and range.
    """
    try:
        points_px = _numbers(landmarks, f"{where}: its landmarks")
        if points_px.ndim != 2 or points_px.shape[1] != 2 or not len(points_px):
            raise DataError(f"{where}: landmarks of shape {points_px.shape}; give [[x, y], …]")
        annotated, predicted = (
            None if values is None else _shares(values, len(points_px), where) for values in (visible, visibility)
        )
    except DataError as error:
        return InvalidFace.of(image, error)
    corners, confidence = _optional(box, (4,)), _optional(score, ())
    return FaceAnnotation(
        image,
        where,
        points_px,
        face,
        scheme,
        None if annotated is None else annotated > 0.5,
        predicted,
        _optional(uncertainty, (len(points_px),)),
        None if corners is None else Box(*corners.tolist()),
        None if confidence is None else float(confidence),
        pose,
        image_size,
    )


def annotate(face: Face, image: str, number: int, scheme: str, image_size: tuple[int, int]) -> FaceAnnotation:
    """Return an aligned face as an annotation, with the predicted visibility and uncertainty.

    Args:
        face: The face.
        image: The path of its image.
        number: The number of the face in the image.
        scheme: The name of the landmark scheme.
        image_size: Width and height of the image in pixels.
    """
    return FaceAnnotation(
        image,
        f"{image}: face {number}",
        face.landmarks,
        number,
        scheme,
        None,
        face.visibility,
        face.uncertainty,
        face.box,
        float(face.score),
        face.pose,
        image_size,
    )


def missing_problem(face: FaceAnnotation) -> str | None:
    """Return what is wrong with a face if one of its coordinates is not a finite number.

    Args:
        face: The face.
    """
    for landmark, _ in np.argwhere(~np.isfinite(face.points_px)):
        return f"{face.where}: landmark {landmark} is not a finite number; fix it or take the face out"
    return None


def image_name(path: str) -> str:
    """Return a path without its suffix, with `/` between folders.

    Args:
        path: The path. Only known suffixes are removed: `image.003` has none.
    """
    return SUFFIX.sub("", path.strip().replace("\\", "/"))


def by_image(faces: Iterable[FaceAnnotation]) -> list[ImageAnnotation]:
    """Return the images of faces, in the order of their first faces.

    Args:
        faces: The faces.
    """
    groups: dict[str, list[FaceAnnotation]] = {}
    for face in faces:
        groups.setdefault(face.image, []).append(face)
    sizes = {image: next((f.image_size for f in group if f.image_size), None) for image, group in groups.items()}
    return [ImageAnnotation(image, tuple(group), sizes[image]) for image, group in groups.items()]


def _landmark_numbers(names: Sequence[str], scheme: Scheme | None) -> list[int] | None:
    """Return the number of the landmark that each name of a file stands for; None if a name has no number.

    A name is one of the scheme's landmark names, or of those of the built-in schemes without a scheme, or ends in a
    number, as in `12`, `point_12` or `kp-12`. Numbers are as they are: a file may count from 1.
    """
    for candidate in SCHEMES.values() if scheme is None else (scheme,):
        if set(names) <= set(candidate.point_names):
            return [candidate.point_names.index(name) for name in names]
    matches = [LAST_NUMBER.search(name) for name in names]
    numbers = [int(match[1]) for match in matches if match]
    return numbers if len(numbers) == len(names) and len(set(numbers)) == len(numbers) else None


def landmark_places(
    names: Iterable[str], scheme: Scheme | None, where: str, *, from_zero: bool = False
) -> tuple[dict[str, int], int]:
    """Return the index of the landmark that each name stands for, and the number of landmarks.

    Args:
        names: The names that a file uses.
        scheme: The scheme, if it is known.
        where: The file, for messages.
        from_zero: Whether the file is known to count from 0. Otherwise a smallest number of 1 means that it counts from
            1, unless a built-in scheme has one landmark more than the largest number: then landmark 0 is missing.

    Returns:
        Name to index, and L: of the scheme, else as many as the largest number asks for.

    Raises:
        DataError: If a name stands for no landmark.
    """
    ordered = list(dict.fromkeys(names))
    numbers = _landmark_numbers(ordered, scheme)
    if numbers is None:
        known = f"a landmark of scheme {scheme.name!r}" if scheme else "a landmark of a built-in scheme"
        bad = next((name for name in ordered if _landmark_numbers([name], scheme) is None), ordered[0])
        raise DataError(f"{where}: label {bad!r} is neither {known} nor a number; name the labels 0, 1, 2, …")
    whole = {scheme.points} if scheme else {known.points for known in SCHEMES.values()}
    without_zero = from_zero or max(numbers, default=0) + 1 in whole or (scheme and max(numbers) < scheme.points)
    if numbers and min(numbers) == 1 and not without_zero:
        numbers = [number - 1 for number in numbers]
    count = scheme.points if scheme else max(numbers, default=-1) + 1
    if scheme and max(numbers, default=0) >= count:
        last = ordered[int(np.argmax(numbers))]
        raise DataError(f"{where}: label {last!r}, but scheme {scheme.name!r} has {count} points")
    return dict(zip(ordered, numbers, strict=True)), count


def point_labels(count: int, scheme: Scheme | None) -> list[str]:
    """Return a name for each landmark: those of the scheme, else numbers from 0.

    Args:
        count: The number of landmarks.
        scheme: The scheme. Its names are used if it has this number of landmarks.
    """
    return list(scheme.point_names) if scheme and scheme.points == count else [str(i) for i in range(count)]


def check_complete(face: FaceAnnotation, target: str) -> None:
    """Check that no landmark is missing, for a format that cannot leave one out.

    Args:
        face: The face.
        target: The name of the format, for the message.

    Raises:
        ValueError: If a landmark is missing.
    """
    missing = np.flatnonzero(~np.isfinite(face.points_px).all(axis=1))
    if len(missing):
        problem = f"landmark {missing[0]} is missing, which {target} cannot express"
        raise ValueError(f"{face.where}: {problem}; choose coco or json")


def landmark_box(face: FaceAnnotation) -> Box:
    """Return the box of a face, else the tight box of the landmarks that are not missing.

    Args:
        face: The face.
    """
    return face.box or tight_box(face.points_px[np.isfinite(face.points_px).all(axis=1)])


def _optional(values: object, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Return finite numbers of this shape, None if they are absent or something else."""
    try:
        numbers = None if values is None else _numbers(values, "")
    except DataError:
        return None
    return numbers if numbers is not None and numbers.shape == shape and np.isfinite(numbers).all() else None


def _numbers(values: object, what: str) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # 1e39 becomes infinite, which is reported later
            return np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{what} are not numbers of equal rows; give [[x, y], …]") from None


def _shares(values: object, count: int, where: str) -> NDArray[np.float32]:
    shares = _numbers(values, f"{where}: its visibilities")
    if shares.shape != (count,) or not ((shares >= 0) & (shares <= 1)).all():
        raise DataError(f"{where}: its visibilities are not {count} numbers from 0 to 1")
    return shares
