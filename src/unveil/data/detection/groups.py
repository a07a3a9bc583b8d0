"""Photographs of several people with labelled faces, in one file. F faces of a photograph, L landmarks.

The labels come from a teacher: faces that it is sure of carry landmarks, uncertain ones are regions to ignore.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.io.files import DataError, atomic_write
from unveil.io.images import decode_image
from unveil.schemes.scheme import Scheme, get_scheme
from unveil.types import Image, Points

FORMAT = "unveil group photographs"
VERSION = 1
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class GroupPhoto:
    """One photograph.

    Args:
        name: Name in the set.
        image: RGB image (H, W, 3).
        landmarks: Landmarks of each face, (L, 2) in pixels.
        ignored: Boxes (x0, y0, x1, y1) that may or may not be faces.
    """

    name: str
    image: Image
    landmarks: tuple[Points, ...]
    ignored: tuple[tuple[float, float, float, float], ...]


class GroupPhotos:
    """The photographs of a file, decoded when they are asked for.

    Args:
        path: A file that `unveil prepare detection` wrote.

    Raises:
        DataError: It is missing, damaged or of another kind.
    """

    def __init__(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
            header = json.loads(str(arrays["header"]))
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{path}: not a file of group photographs ({error}); write it with `unveil prepare detection`"
            ) from error
        if header.get("format") != FORMAT:
            raise DataError(f"{path}: holds {header.get('format')!r}; write it with `unveil prepare detection`")
        self.path, self.scheme = path, get_scheme(header["scheme"])
        self.names = tuple(arrays["names"].tolist())
        self._jpeg, self._offsets = arrays["jpeg"], arrays["offsets"]
        self._landmarks, self._face_photo = arrays["landmarks"], arrays["face_photo"]
        self._ignored, self._ignored_photo = arrays["ignored"], arrays["ignored_photo"]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> GroupPhoto:
        start, end = self._offsets[index], self._offsets[index + 1]
        image = decode_image(self._jpeg[start:end], f"{self.path}, {self.names[index]}")
        faces = self._landmarks[self._face_photo == index]
        ignored = self._ignored[self._ignored_photo == index]
        return GroupPhoto(self.names[index], image, tuple(faces), tuple(map(tuple, ignored.tolist())))


def write_groups(photos: Iterable[GroupPhoto], scheme: Scheme, path: Path, quality: int = 92) -> int:
    """Write photographs and their labels into one file.

    Args:
        photos: The photographs.
        scheme: Scheme of the landmarks.
        path: The file; it is written as a whole or not at all.
        quality: JPEG quality, 0 to 100.

    Returns:
        The number of photographs.
    """
    names: list[str] = []
    jpeg: list[NDArray[np.uint8]] = []
    landmarks: list[Points] = []
    face_photo: list[int] = []
    ignored: list[tuple[float, float, float, float]] = []
    ignored_photo: list[int] = []
    for index, photo in enumerate(photos):
        bgr = cv2.cvtColor(photo.image, cv2.COLOR_RGB2BGR)
        names.append(photo.name)
        jpeg.append(np.asarray(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], np.uint8).ravel())
        landmarks.extend(photo.landmarks)
        face_photo.extend([index] * len(photo.landmarks))
        ignored.extend(photo.ignored)
        ignored_photo.extend([index] * len(photo.ignored))
    if not names:
        raise DataError(f"{path}: no photographs to write")
    arrays: dict[str, Any] = {
        "header": np.array(json.dumps({"format": FORMAT, "version": VERSION, "scheme": scheme.name})),
        "names": np.array(names, np.str_),
        "jpeg": np.concatenate(jpeg),
        "offsets": np.cumsum([0, *(len(content) for content in jpeg)], dtype=np.int64),
        "landmarks": np.array(landmarks, np.float32).reshape(-1, scheme.points, 2),
        "face_photo": np.array(face_photo, np.int64),
        "ignored": np.array(ignored, np.float32).reshape(-1, 4),
        "ignored_photo": np.array(ignored_photo, np.int64),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    return len(names)
