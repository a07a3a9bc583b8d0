"""Packs: the faces of a data set cut out and stored in one file. N faces, L landmarks.

A pack is an uncompressed `.npz` without pickle: a JSON header, the JPEG bytes of all faces, the offset of each, the
landmarks in pixels of the cut-outs, the faces' names and, if it is known, which landmarks are visible.
"""

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet, Faces, Sample, folder
from unveil.geometry import longer_side, tight_box
from unveil.io.annotations import implausible
from unveil.io.files import DataError, atomic_write
from unveil.io.images import decode_image
from unveil.schemes.scheme import SCHEMES, Scheme
from unveil.schemes.scheme_file import resolve_scheme, scheme_record
from unveil.types import Image, Points

FORMAT = "unveil pack"
VERSION = 1
WINDOW = 2.0  # sides of the tight box: a crop can be rotated, shifted and scaled without leaving the cut-out

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of faces done and of all."""


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """A pack in memory; its images stay JPEG until they are asked for.

    Args:
        path: The file.
        label: The set and how many of its faces there are, as `300w/train 2012/3148`.
        scheme: The landmark scheme.
        found: Faces in the pack.
        expected: Faces of the official release, if it has a number.
        names: The faces' names.
        points_px: Landmarks (N, L, 2) in pixels of the cut-outs.
        jpeg: The bytes of all images.
        offsets: Where each image starts, (N + 1,).
        visible: (N, L), False where something occludes a landmark; None if it is not known.

    Example:
        >>> pack = Pack.read(Path("packs/300w-train.npz"))
        >>> pack.image(0).shape
        (288, 288, 3)
    """

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
        """Return the pack in a file.

        Args:
            path: The file.
            scheme: A scheme to use instead of the one in the pack; it must have the same name.

        Raises:
            DataError: The file is damaged, not a pack, or of another scheme.
        """
        header, arrays = _read_arrays(path)
        scheme = scheme or _carried(path, header)
        points_px, names, jpeg, offsets = (arrays[key] for key in ("points_px", "names", "jpeg", "offsets"))
        if scheme.name != header["scheme"] or points_px.shape != (len(names), scheme.points, 2):
            has = f"{points_px.shape[1]} points of scheme {header['scheme']!r}"
            raise DataError(f"{path}: faces of {has}, but scheme {scheme.name!r} has {scheme.points}")
        if len(offsets) != len(names) + 1 or offsets[-1] != len(jpeg):
            raise DataError(f"{path}: damaged, its images do not fill it; write it again with `unveil prepare`")
        visible = arrays.get("visible")
        if visible is not None and (visible.dtype != np.bool_ or visible.shape != points_px.shape[:2]):
            raise DataError(
                f"{path}: damaged, its visibility does not fit its faces; write it again with `unveil prepare`"
            )
        counts = (header["found"], header["expected"])
        return cls(path, header["label"], scheme, *counts, tuple(names.tolist()), points_px, jpeg, offsets, visible)

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Image:
        """Return one face, RGB, (side, side, 3).

        Args:
            index: The number of the face.
        """
        start, end = self.offsets[index], self.offsets[index + 1]
        return decode_image(self.jpeg[start:end], f"{self.path}, face {self.names[index]!r}")

    def subset(self, indices: Sequence[int]) -> "Pack":
        """Return the pack with only these faces, in this order.

        Args:
            indices: The numbers of the faces.
        """
        ranges = [(int(self.offsets[index]), int(self.offsets[index + 1])) for index in indices]
        return replace(
            self,
            names=tuple(self.names[index] for index in indices),
            points_px=self.points_px[list(indices)],
            jpeg=np.concatenate([self.jpeg[start:end] for start, end in ranges]),
            offsets=np.cumsum([0, *(end - start for start, end in ranges)]),
            visible=None if self.visible is None else self.visible[list(indices)],
        )


def read_faces(path: Path, scheme: Scheme | None = None) -> Faces:
    """Return the faces of a pack, or of a folder of images with `.pts` files.

    Args:
        path: The pack or folder.
        scheme: The scheme of a folder, ibug68 by default; a pack contains its own.

    Raises:
        DataError: The file or folder cannot be used, or is a whole 300W release with its test faces.
    """
    if (path / "helen/testset").is_dir() or (path / "lfpw/testset").is_dir():
        raise DataError(
            f"{path}: a 300W release, test faces and all; pack its training faces with `unveil prepare 300w`"
        )
    if path.is_dir():
        return folder(path) if scheme is None else folder(path, scheme)
    return Pack.read(path, scheme)


OnError: TypeAlias = Literal["stop", "skip"]
"""What happens to a face that cannot be used: the error ends the command, or the face is left out."""


@dataclass(frozen=True, slots=True)
class PackResult:
    """The pack that was written.

    Args:
        path: The file.
        label: Name and size of the set.
        faces: Number of faces.
        bytes: Size of the file.
        skipped: One line for each face that was left out.
    """

    path: Path
    label: str
    faces: int
    bytes: int
    skipped: tuple[str, ...] = ()


def write_pack(
    data_set: DataSet,
    path: Path,
    side: int = 288,
    quality: int = 90,
    progress: Progress | None = None,
    *,
    on_error: OnError = "stop",
) -> PackResult:
    """Cut out every face and write the pack atomically.

    Args:
        data_set: The faces.
        path: The file.
        side: Side of a cut-out, pixels; it is twice the longer side of the face's tight box.
        quality: JPEG quality, 0 to 100.
        progress: Called with the number of faces done and of all.
        on_error: Whether a face that cannot be used ends the writing or is left out.

    Returns:
        The file, and the faces that were left out.

    Raises:
        DataError: An image cannot be read, or landmarks are implausible. It names the file and the landmark.
    """
    images: list[NDArray[np.uint8]] = []
    points_px: list[Points] = []
    kept: list[int] = []
    skipped: list[str] = []
    for index, sample in enumerate(data_set.samples):
        try:
            image, points = cut_out(sample, side)
        except DataError as error:
            if on_error == "stop":
                raise
            skipped.append(str(error))
        else:
            kept.append(index)
            images.append(_jpeg(image, quality))
            points_px.append(points)
        if progress is not None:
            progress(index + 1, data_set.found)
    if not kept:
        raise DataError(f"{data_set.label}: no face can be used, the first: {skipped[0]}")
    samples = tuple(data_set.samples[index] for index in kept)
    written = replace(data_set, samples=samples)
    header: dict[str, object] = {
        "format": FORMAT,
        "version": VERSION,
        "label": written.label,
        "scheme": data_set.scheme.name,
    }
    if own := scheme_record(data_set.scheme):
        header["own_scheme"] = own
    header |= {"found": len(samples), "expected": data_set.expected, "side": side, "quality": quality}
    known: dict[str, Any] = {} if written.visible is None else {"visible": written.visible}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            header=np.array(json.dumps(header)),
            names=np.array([sample.name for sample in samples], np.str_),
            points_px=np.stack(points_px),
            offsets=np.cumsum([0, *(len(image) for image in images)], dtype=np.int64),
            jpeg=np.concatenate(images),
            **known,
        )
    return PackResult(path, written.label, len(samples), path.stat().st_size, tuple(skipped))


def cut_out(sample: Sample, side: int) -> tuple[Image, Points]:
    """Return a face's square window, black outside the image, (side, side, 3), and its landmarks in pixels of it.

    Args:
        sample: The face.
        side: Side of the result in pixels.

    Raises:
        DataError: The image cannot be read, or the landmarks are implausible.
    """
    image = sample.load()
    height, width = image.shape[:2]
    if (problem := implausible(sample.points_px, (width, height))) is not None:
        raise DataError(f"{sample.image}: {problem}; fix its annotation, or leave it out with --on-error skip")
    box = tight_box(sample.points_px)
    window = round(WINDOW * longer_side(box))
    if not 0 < window <= 8 * max(height, width):
        size = f"a face {window / WINDOW:g} px wide in {width} x {height} px"
        raise DataError(f"{sample.image}: {size}; fix its landmarks")
    left, top = (round((low + high - window + 1) / 2) for low, high in ((box.x0, box.x1), (box.y0, box.y1)))
    cut = np.zeros((window, window, 3), np.uint8)
    rows, columns = np.clip((top, top + window), 0, height), np.clip((left, left + window), 0, width)
    inside = image[slice(*rows), slice(*columns)]
    if not inside.size:
        raise DataError(f"{sample.image}: a face outside its {width} x {height} px; fix its landmarks")
    cut[rows[0] - top :, columns[0] - left :][: inside.shape[0], : inside.shape[1]] = inside
    how = cv2.INTER_AREA if window > side else cv2.INTER_CUBIC
    points_px = (sample.points_px - (left, top) + 0.5) * (side / window) - 0.5
    return np.asarray(cv2.resize(cut, (side, side), interpolation=how), np.uint8), points_px.astype(np.float32)


def _carried(path: Path, header: dict[str, Any]) -> Scheme:
    """Return the scheme of a pack; early packs have only its name."""
    own = header.get("own_scheme")
    if own is None and header["scheme"] not in SCHEMES:
        raise DataError(f"{path}: its scheme {header['scheme']!r} is not built in; name its scheme file with --scheme")
    try:
        return resolve_scheme(header["scheme"], own)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _jpeg(image: Image, quality: int) -> NDArray[np.uint8]:
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return np.asarray(cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), how)[1], np.uint8)


def _read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header and the arrays of a pack."""
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
