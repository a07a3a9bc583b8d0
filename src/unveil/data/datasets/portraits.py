"""Pictures of faces without landmarks, made ready for restoration: any folder of them, and CelebAMask-HQ.

S pixels of a side. Occluders are drawn from landmarks, so a predictor gives each face its own on the way into a pack.
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

from unveil.data.datasets.samples import PICTURES, DataSet, Sample, need_folder, read_image
from unveil.data.pack import Packed, Progress, write_pack
from unveil.geometry import tight_box
from unveil.io.annotations import DataError, written_whole
from unveil.schemes.scheme import IBUG68
from unveil.types import Face, Image, Points

FaceOf: TypeAlias = Callable[[Image], Face | None]
"""The face in a picture with 68 landmarks, in its pixels, or None where no face is found."""

CELEBAMASK_HQ = 30_000
HQ_FOLDER = "CelebA-HQ-img"


@dataclass(frozen=True, slots=True)
class PreparedFaces:
    """What was packed, and the names of the pictures that were left out."""

    packed: Packed
    unreadable: tuple[str, ...]
    faceless: tuple[str, ...]
    cut_off: tuple[str, ...]
    covered: tuple[str, ...]


def prepare_faces(
    root: Path,
    out: Path,
    face_of: FaceOf,
    *,
    size: int = 160,
    inside: float = 0.85,
    visible: float = 0.9,
    hidden: Sequence[str] = (),
    quality: int = 92,
    progress: Progress | None = None,
    packing: Progress | None = None,
) -> PreparedFaces:
    """Packs every picture in `root` and below with predicted landmarks, cut out `size` pixels square.

    Left out are pictures that cannot be read or have no face, those that hold less than `inside` of the square round
    it, since their rest would be black, and faces of which less than the share `visible` of the landmarks is seen: they
    are covered already. `hidden` are parts of the face that are covered in every one of these pictures, "eyes" say:
    the pack says so, and whether the predictor sees them does not matter. DataError if that leaves none, or there is
    no such part. `progress` counts pictures that were looked at, `packing` faces that were packed.
    """
    need_folder(root)
    bare = ~_landmarks_of(hidden)
    paths = _pictures(root)
    samples: list[Sample] = []
    unreadable: list[str] = []
    faceless: list[str] = []
    cut_off: list[str] = []
    covered: list[str] = []
    for done, path in enumerate(paths, start=1):
        name = path.relative_to(root).with_suffix("").as_posix()
        image = _picture_or_none(path)
        face = None if image is None else face_of(image)
        if image is None:
            unreadable.append(name)
        elif face is None:
            faceless.append(name)
        elif _share_inside(image, face.landmarks) < inside:
            cut_off.append(name)
        elif float((face.visibility[bare] > 0.5).mean()) < visible:
            covered.append(name)
        else:
            samples.append(Sample(name, path, face.landmarks, bare if hidden else None))
        if progress is not None:
            progress(done, len(paths))
    if not samples:
        raise DataError(f"{root}: {len(paths)} pictures, but no whole, bare face in any; give a folder of portraits")
    faces = DataSet(root.resolve().name, tuple(samples), IBUG68)
    packed = write_pack(faces, out, side=size, quality=quality, progress=packing)
    return PreparedFaces(packed, tuple(unreadable), tuple(faceless), tuple(cut_off), tuple(covered))


def prepare_celebamask_hq(
    root: Path,
    out: Path,
    *,
    size: int = 256,
    quality: int = 95,
    partial: bool = False,
    progress: Progress | None = None,
) -> int:
    """Writes the faces of CelebAMask-HQ as `size` px JPEG files, as the paper does (section 4.1.3); their number.

    `root` is the release's folder with `CelebA-HQ-img`, that folder itself, or CelebA-HQ's `.h5`. DataError unless
    there are 30 000 or `partial` is set, if `out` is the folder that is read, or if h5py is missing for an `.h5`.
    """
    count, pictures = _hdf5(root, size) if root.is_file() else _images(root, out)
    if count != CELEBAMASK_HQ and not (partial and 0 < count < CELEBAMASK_HQ):
        mend = "complete it" + (" or pass --partial to take what there is" if 0 < count < CELEBAMASK_HQ else "")
        raise DataError(f"celebamask-hq: expected {CELEBAMASK_HQ} faces, found {count} in {root}; {mend}")
    out.mkdir(parents=True, exist_ok=True)
    for done, (name, image) in enumerate(pictures, start=1):
        how = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_CUBIC
        small = image if image.shape[:2] == (size, size) else cv2.resize(image, (size, size), interpolation=how)
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        with written_whole(out / f"{name}.jpg") as temporary:
            temporary.write_bytes(content.tobytes())
        if progress is not None:
            progress(done, count)
    return count


def _landmarks_of(parts: Sequence[str]) -> NDArray[np.bool_]:
    """(68,), True where a landmark is of one of these parts; DataError for what is none."""
    there = IBUG68.hierarchy.parts
    of_them = np.zeros(IBUG68.points, np.bool_)
    for name in parts:
        if name not in there:
            raise DataError(f"no part {name!r} to be hidden: there are {', '.join(there)}")
        of_them[list(there[name])] = True
    return of_them


def _pictures(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    return [path for path in files if not path.name.startswith(".")]


def _picture_or_none(path: Path) -> Image | None:
    try:
        return read_image(path)
    except DataError:
        return None


def _share_inside(image: Image, points_px: Points) -> float:
    """How much of the square as wide as the landmark box's diagonal lies in the picture."""
    box = tight_box(points_px)
    half = math.hypot(box.x1 - box.x0, box.y1 - box.y0) / 2
    height, width = image.shape[:2]
    x, y = (box.x0 + box.x1) / 2 + 0.5, (box.y0 + box.y1) / 2 + 0.5
    across = min(x + half, width) - max(x - half, 0)
    down = min(y + half, height) - max(y - half, 0)
    return float(max(across, 0.0) * max(down, 0.0) / max(4 * half * half, 1e-6))


def _images(root: Path, out: Path) -> tuple[int, Iterator[tuple[str, Image]]]:
    need_folder(root)
    folder = root / HQ_FOLDER if (root / HQ_FOLDER).is_dir() else root
    if out.resolve() == folder.resolve():
        raise DataError(f"{out}: the pictures themselves lie there; give another folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    return len(paths), ((path.stem, read_image(path)) for path in paths)


def _hdf5(path: Path, size: int) -> tuple[int, Iterator[tuple[str, Image]]]:
    """The faces of CelebA-HQ's HDF5: `data1024x1024` and so on down, (N, 3, R, R) or, in some copies, (N, R, R, 3)."""
    try:
        h5py = import_module("h5py")
    except ImportError:
        raise DataError(f"{path}: reading HDF5 needs h5py; pip install 'unveil[evaluate]'") from None
    try:
        with h5py.File(path, "r") as file:
            lengths = {int(key[4:].split("x")[0]): len(file[key]) for key in file if key.startswith("data")}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not an HDF5 file of CelebA-HQ ({error}); copy it again") from error
    sharp = sorted(resolution for resolution in lengths if resolution >= size)
    if not sharp:
        has = ", ".join(f"data{r}x{r}" for r in sorted(lengths)) or "no data…x… at all"
        raise DataError(f"{path}: it has {has}, but pictures of {size} px or more are needed")
    return lengths[sharp[0]], _rows(h5py, path, f"data{sharp[0]}x{sharp[0]}")


def _rows(h5py: Any, path: Path, key: str) -> Iterator[tuple[str, Image]]:
    with h5py.File(path, "r") as file:
        for row, stored in enumerate(map(np.asarray, file[key])):
            picture = stored.transpose(1, 2, 0) if stored.shape[0] == 3 else stored
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise DataError(f"{path}: {key}, number {row}, is {stored.dtype} of shape {stored.shape}, no picture")
            yield f"{row:05}", np.ascontiguousarray(picture)
