"""Packs: the faces of a data set cut out and laid into one file. N faces, L landmarks.

A pack is an uncompressed `.npz` without pickle: a JSON header, the JPEG bytes end to end, where each begins, the
landmarks in pixels of the cut-out pictures, the faces' names and, where it is known, which landmarks are visible.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet, Faces, Sample, decode_image, folder
from unveil.geometry import tight_box
from unveil.io.annotations import DataError, written_whole
from unveil.schemes.scheme import SCHEMES, Scheme
from unveil.schemes.serialization import carried_scheme, own_scheme
from unveil.types import Image, Points

FORMAT = "unveil pack"
VERSION = 1
WINDOW = 2.0  # sides of the tight box: room to turn, shift and scale a model's crop without leaving the picture

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of faces done and the number of all."""


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """A pack in memory, its pictures still JPEG."""

    path: Path
    label: str
    scheme: Scheme
    found: int
    expected: int | None
    names: tuple[str, ...]
    points_px: NDArray[np.float32]
    jpeg: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    visible: NDArray[np.bool_] | None = None

    @classmethod
    def read(cls, path: Path, scheme: Scheme | None = None) -> "Pack":
        """Opens a pack, in the scheme that it carries unless another of that name is given.

        DataError if it is damaged, no pack at all, or of another scheme.
        """
        header, arrays = _read_arrays(path)
        scheme = scheme or _carried(path, header)
        points_px, names, jpeg, offsets = (arrays[key] for key in ("points_px", "names", "jpeg", "offsets"))
        if scheme.name != header["scheme"] or points_px.shape != (len(names), scheme.points, 2):
            has = f"{points_px.shape[1]} points of scheme {header['scheme']!r}"
            raise DataError(f"{path}: faces of {has}, but scheme {scheme.name!r} has {scheme.points}")
        if len(offsets) != len(names) + 1 or offsets[-1] != len(jpeg):
            raise DataError(f"{path}: damaged, its pictures do not fill it; write it again with `unveil prepare`")
        visible = arrays.get("visible")
        if visible is not None and (visible.dtype != np.bool_ or visible.shape != points_px.shape[:2]):
            raise DataError(f"{path}: damaged, its visibility fits no faces; write it again with `unveil prepare`")
        counts = (header["found"], header["expected"])
        return cls(path, header["label"], scheme, *counts, tuple(names.tolist()), points_px, jpeg, offsets, visible)

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Image:
        """One face, RGB, (side, side, 3)."""
        start, end = self.offsets[index], self.offsets[index + 1]
        return decode_image(self.jpeg[start:end], f"{self.path}, face {self.names[index]!r}")


def read_faces(path: Path, scheme: Scheme | None = None) -> Faces:
    """The faces of a pack, or of a folder of pictures with `.pts` files, ibug68 unless another scheme is given."""
    if (path / "helen/testset").is_dir() or (path / "lfpw/testset").is_dir():
        raise DataError(
            f"{path}: a 300W release, test faces and all; pack its training faces with `unveil prepare 300w`"
        )
    if path.is_dir():
        return folder(path) if scheme is None else folder(path, scheme)
    return Pack.read(path, scheme)


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    path: Path
    label: str
    faces: int
    bytes: int


def write_pack(
    data_set: DataSet, path: Path, side: int = 288, quality: int = 90, progress: Progress | None = None
) -> Packed:
    """Cuts out every face, `side` pixels square, and writes the file whole or not at all.

    JPEG `quality` is 0 to 100. DataError names a picture that cannot be read or a face that is not in its picture.
    """
    pictures: list[NDArray[np.uint8]] = []
    points_px: list[Points] = []
    for done, sample in enumerate(data_set.samples, start=1):
        picture, points = cut_out(sample, side)
        pictures.append(_jpeg(picture, quality))
        points_px.append(points)
        if progress is not None:
            progress(done, data_set.found)
    header: dict[str, object] = {
        "format": FORMAT,
        "version": VERSION,
        "label": data_set.label,
        "scheme": data_set.scheme.name,
    }
    if own := own_scheme(data_set.scheme):
        header["own_scheme"] = own
    header |= {"found": data_set.found, "expected": data_set.expected, "side": side, "quality": quality}
    known: dict[str, Any] = {} if data_set.visible is None else {"visible": data_set.visible}
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            header=np.array(json.dumps(header)),
            names=np.array([sample.name for sample in data_set.samples], np.str_),
            points_px=np.stack(points_px),
            offsets=np.cumsum([0, *(len(picture) for picture in pictures)], dtype=np.int64),
            jpeg=np.concatenate(pictures),
            **known,
        )
    return Packed(path, data_set.label, data_set.found, path.stat().st_size)


def cut_out(sample: Sample, side: int) -> tuple[Image, Points]:
    """The face's square window, black outside the picture, as (side, side, 3), and its landmarks in pixels of that."""
    box = tight_box(sample.points_px)
    window = round(WINDOW * max(box.x1 - box.x0, box.y1 - box.y0))
    image = sample.load()
    height, width = image.shape[:2]
    if not 0 < window <= 8 * max(height, width):
        raise DataError(
            f"{sample.image}: a face {window / WINDOW:g} px wide in {width} x {height} px; mend its landmarks"
        )
    left, top = (round((low + high - window + 1) / 2) for low, high in ((box.x0, box.x1), (box.y0, box.y1)))
    cut = np.zeros((window, window, 3), np.uint8)
    rows, columns = np.clip((top, top + window), 0, height), np.clip((left, left + window), 0, width)
    inside = image[slice(*rows), slice(*columns)]
    if not inside.size:
        raise DataError(f"{sample.image}: a face outside its {width} x {height} px; mend its landmarks")
    cut[rows[0] - top :, columns[0] - left :][: inside.shape[0], : inside.shape[1]] = inside
    how = cv2.INTER_AREA if window > side else cv2.INTER_CUBIC
    points_px = (sample.points_px - (left, top) + 0.5) * (side / window) - 0.5
    return np.asarray(cv2.resize(cut, (side, side), interpolation=how), np.uint8), points_px.astype(np.float32)


def _carried(path: Path, header: dict[str, Any]) -> Scheme:
    """The scheme of a pack; packs that were written before they carried schemes of one's own have its name only."""
    own = header.get("own_scheme")
    if own is None and header["scheme"] not in SCHEMES:
        raise DataError(f"{path}: its scheme {header['scheme']!r} is not built in; name its scheme file with --scheme")
    try:
        return carried_scheme(header["scheme"], own)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _jpeg(picture: Image, quality: int) -> NDArray[np.uint8]:
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return np.asarray(cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), how)[1], np.uint8)


def _read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays of a pack; every way in which the file can be wrong has its own sentence."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                raise DataError(f"{path}: not a pack; make one with `unveil prepare`")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file or folder; make a pack with `unveil prepare`") from None
    except DataError:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise DataError(f"{path}: cut short or damaged; copy it again or write it with `unveil prepare`") from error
    try:
        header = json.loads(str(arrays.pop("header")))
    except (KeyError, ValueError):
        header = {}
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise DataError(f"{path}: not a pack; make one with `unveil prepare`")
    if header["version"] != VERSION:
        has = f"a pack of version {header['version']}, but this unveil reads version {VERSION}"
        raise DataError(f"{path}: {has}; write it again with `unveil prepare`")
    return header, arrays
