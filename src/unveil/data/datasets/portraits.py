"""Portraits without annotations: any folder of them, and CelebAMask-HQ.

Occluders are placed by landmarks, so a model predicts those of each face before it is packed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.samples import DataSet, Sample, require_folder
from unveil.data.pack import PackResult, Progress, write_pack
from unveil.geometry import tight_box
from unveil.installation import install_command
from unveil.io.files import DataError, write_file
from unveil.io.images import IMAGE_SUFFIXES, read_image
from unveil.schemes.scheme import IBUG68
from unveil.types import Face, Image, Points

FaceOf: TypeAlias = Callable[[Image], Face | None]
"""From an image to its face with 68 landmarks in pixels, or None if there is no face."""

CELEBAMASK_HQ = 30_000
HQ_FOLDER = "CelebA-HQ-img"


@dataclass(frozen=True, slots=True)
class PreparedPortraits:
    """The faces that were packed, and the names of the images that were left out, by reason.

    Args:
        packed: The pack that was written.
        unreadable: Images that cannot be read.
        no_face: Images without a face.
        cut_off: Images that contain too small a part of the face.
        occluded: Images whose face has too few visible landmarks.
    """

    packed: PackResult
    unreadable: tuple[str, ...]
    no_face: tuple[str, ...]
    cut_off: tuple[str, ...]
    occluded: tuple[str, ...]


def prepare_portraits(
    root: Path,
    out: Path,
    face_of: FaceOf,
    *,
    size: int = 160,
    inside: float = 0.85,
    visible: float = 0.9,
    occluded_parts: Sequence[str] = (),
    quality: int = 92,
    progress: Progress | None = None,
    packing: Progress | None = None,
) -> PreparedPortraits:
    """Pack every image in a folder and below with predicted landmarks.

    Args:
        root: The folder.
        out: The pack.
        face_of: Predicts the landmarks.
        size: Side of a cut-out, pixels.
        inside: Leave out images that hold less than this share of the square around the face.
        visible: Leave out faces with less than this share of visible landmarks.
        occluded_parts: Parts of the face that are occluded in every image, as "eyes". The pack stores them as
            occluded, and their predicted visibility is ignored.
        quality: JPEG quality, 0 to 100.
        progress: Called with the number of images done and of all.
        packing: Called with the number of faces packed and of all.

    Returns:
        What was packed, and the images that were left out.

    Raises:
        DataError: No image is left, or there is no such part.
    """
    require_folder(root)
    bare = ~_landmarks_of(occluded_parts)
    paths = _list_images(root)
    samples: list[Sample] = []
    unreadable: list[str] = []
    no_face: list[str] = []
    cut_off: list[str] = []
    occluded: list[str] = []
    for done, path in enumerate(paths, start=1):
        name = path.relative_to(root).with_suffix("").as_posix()
        image = _image_or_none(path)
        face = None if image is None else face_of(image)
        if image is None:
            unreadable.append(name)
        elif face is None:
            no_face.append(name)
        elif _share_inside(image, face.landmarks) < inside:
            cut_off.append(name)
        elif face.visibility is None or float((face.visibility[bare] > 0.5).mean()) < visible:
            occluded.append(name)
        else:
            samples.append(Sample(name, path, face.landmarks, bare if occluded_parts else None))
        if progress is not None:
            progress(done, len(paths))
    if not samples:
        raise DataError(
            f"{root}: {len(paths)} images, but none has a whole face without occlusion; give a folder of portraits"
        )
    faces = DataSet(root.resolve().name, tuple(samples), IBUG68)
    packed = write_pack(faces, out, side=size, quality=quality, progress=packing)
    return PreparedPortraits(packed, tuple(unreadable), tuple(no_face), tuple(cut_off), tuple(occluded))


def prepare_celebamask_hq(
    root: Path,
    out: Path,
    *,
    size: int = 256,
    quality: int = 95,
    partial: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write the faces of CelebAMask-HQ as small JPEG files.

    Args:
        root: The release's folder with `CelebA-HQ-img`, that folder itself, or CelebA-HQ's `.h5`.
        out: The folder to write.
        size: Side of an image, pixels.
        quality: JPEG quality, 0 to 100.
        partial: Whether fewer than 30 000 images are accepted.
        progress: Called with the number of images done and of all.

    Returns:
        The number of images.

    Raises:
        DataError: Images are missing, `out` is the folder that is read, or h5py is missing for an `.h5`.

    Source: GAN-IA, section 4.1.3.
    """
    count, images = _hdf5(root, size) if root.is_file() else _images(root, out)
    if count != CELEBAMASK_HQ and not (partial and 0 < count < CELEBAMASK_HQ):
        fix = "complete it" + (" or pass --partial to take what there is" if 0 < count < CELEBAMASK_HQ else "")
        raise DataError(f"celebamask-hq: expected {CELEBAMASK_HQ} faces, found {count} in {root}; {fix}")
    for done, (name, image) in enumerate(images, start=1):
        how = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
        small = image if image.shape[:2] == (size, size) else cv2.resize(image, (size, size), interpolation=how)
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        write_file(out / f"{name}.jpg", content.tobytes())
        if progress is not None:
            progress(done, count)
    return count


def _landmarks_of(parts: Sequence[str]) -> NDArray[np.bool_]:
    """Return (68,), True where a landmark belongs to one of these parts; DataError for an unknown part."""
    there = IBUG68.hierarchy.parts
    of_them = np.zeros(IBUG68.points, np.bool_)
    for name in parts:
        if name not in there:
            raise DataError(f"no part {name!r}; there are {', '.join(there)}")
        of_them[list(there[name])] = True
    return of_them


def _list_images(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return [path for path in files if not path.name.startswith(".")]


def _image_or_none(path: Path) -> Image | None:
    try:
        return read_image(path)
    except DataError:
        return None


def _share_inside(image: Image, points_px: Points) -> float:
    """Return the share of the face's square, as wide as its box's diagonal, that lies inside the image."""
    box = tight_box(points_px)
    half = math.hypot(box.x1 - box.x0, box.y1 - box.y0) / 2
    height, width = image.shape[:2]
    x, y = (box.x0 + box.x1) / 2 + 0.5, (box.y0 + box.y1) / 2 + 0.5
    across = min(x + half, width) - max(x - half, 0)
    down = min(y + half, height) - max(y - half, 0)
    return float(max(across, 0.0) * max(down, 0.0) / max(4 * half * half, 1e-6))


def _images(root: Path, out: Path) -> tuple[int, Iterator[tuple[str, Image]]]:
    require_folder(root)
    folder = root / HQ_FOLDER if (root / HQ_FOLDER).is_dir() else root
    if out.resolve() == folder.resolve():
        raise DataError(f"{out}: the images are read from it; give another folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return len(paths), ((path.stem, read_image(path)) for path in paths)


def _hdf5(path: Path, size: int) -> tuple[int, Iterator[tuple[str, Image]]]:
    """Return number and images of CelebA-HQ's HDF5: `data1024x1024` and smaller, (N, 3, R, R) or (N, R, R, 3)."""
    try:
        h5py = import_module("h5py")
    except ImportError:
        raise DataError(f"{path}: reading HDF5 needs h5py; {install_command('evaluate')}") from None
    try:
        with h5py.File(path, "r") as file:
            lengths = {int(key[4:].split("x")[0]): len(file[key]) for key in file if key.startswith("data")}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not an HDF5 file of CelebA-HQ ({error}); copy it again") from error
    sharp = sorted(resolution for resolution in lengths if resolution >= size)
    if not sharp:
        has = ", ".join(f"data{r}x{r}" for r in sorted(lengths)) or "no data…x… at all"
        raise DataError(f"{path}: it has {has}, but images of {size} px or more are needed")
    return lengths[sharp[0]], _rows(h5py, path, f"data{sharp[0]}x{sharp[0]}")


def _rows(h5py: Any, path: Path, key: str) -> Iterator[tuple[str, Image]]:
    with h5py.File(path, "r") as file:
        for row, stored in enumerate(map(np.asarray, file[key])):
            image = stored.transpose(1, 2, 0) if stored.shape[0] == 3 else stored
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise DataError(f"{path}: {key}, number {row}, is {stored.dtype} of shape {stored.shape}, not an image")
            yield f"{row:05}", np.ascontiguousarray(image)
