"""COFW (Burgos-Artizzu et al. 2013) with 29 landmarks, and its test faces with 68 (Ghiasi and Fowlkes 2015). N faces.

The images are stored in two MATLAB 7.3 files, which are HDF5: a cell array is a row of object references, and every
array is transposed. MATLAB counts pixels from 1; they are converted here to count from 0. Both sets state which
landmarks are occluded.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial as bound
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.samples import DataSet, Sample, require_complete, require_folder, require_split
from unveil.installation import install_command
from unveil.io.files import DataError
from unveil.schemes.scheme import COFW29, IBUG68
from unveil.types import Box, Image

FACES: Mapping[str, int] = MappingProxyType({"train": 1345, "test": 507})
"""Number of faces of the official release in each split. Every test face has 68 landmarks as well."""

KEYS: Mapping[str, str] = MappingProxyType({"train": "Tr", "test": "T"})  # as in IsTr, phisTr, bboxesTr
ANNOTATION_68 = re.compile(r"(\d+)_points\.mat")


def cofw29(root: Path, split: str, partial: bool = False) -> DataSet:
    """Return COFW with 29 landmarks, from `COFW_train_color.mat` or `COFW_test_color.mat`.

    Args:
        root: The folder of the files, or one above it.
        split: `train` (1345 faces) or `test` (507).
        partial: Whether fewer faces are accepted.

    Raises:
        DataError: Faces are missing, a file is damaged, or h5py is not installed.
    """
    require_split("cofw29", split, tuple(FACES))
    path = _colour_file(root, "cofw29", split)
    cells, length = f"Is{KEYS[split]}", COFW29.points
    with _opened(path) as file:
        count = _stored(file, path, cells).size
        phis = _rows(file, path, f"phis{KEYS[split]}", (count, 3 * length))
        boxes = _rows(file, path, f"bboxes{KEYS[split]}", (count, 4))
    points_px = (np.stack([phis[:, :length], phis[:, length : 2 * length]], axis=-1) - 1).astype(np.float32)
    visible = phis[:, 2 * length :] == 0
    samples = tuple(
        Sample(
            f"{split}/{row + 1:04}", path, points_px[row], visible[row], _box(boxes[row]), bound(_read_cell, cells, row)
        )
        for row in range(count)
    )
    short = (f"{path.name} {count}/{FACES[split]}",)
    return require_complete(DataSet(f"cofw29/{split}", samples, COFW29, FACES[split]), root, short, partial=partial)


def cofw68(root: Path, split: str, partial: bool = False) -> DataSet:
    """Return the test faces of COFW with 68 landmarks, of `1_points.mat` and so on and `COFW_test_color.mat`.

    Without `cofw68_test_bboxes.mat` the faces have no box.

    Args:
        root: The folder of the files, or one above it.
        split: `test` (507 faces).
        partial: Whether fewer faces are accepted.

    Raises:
        DataError: Faces are missing, a file is damaged, or h5py or scipy is not installed.
    """
    require_split("cofw68", split, ("test",))
    path = _colour_file(root, "cofw68", split)
    mats = [mat for mat in root.rglob("*_points.mat") if ANNOTATION_68.fullmatch(mat.name)]
    if len(folders := sorted({str(mat.parent) for mat in mats})) > 1:
        raise DataError(f"{root}: annotations in {' and '.join(folders)}; keep those of one folder")
    with _opened(path) as file:
        images = int(_stored(file, path, "IsT").size)
    boxes = _boxes_68(root, images)
    samples = tuple(_face_68(mat, path, images, boxes) for mat in sorted(mats, key=_number_68))
    short = (f"*_points.mat {len(mats)}/{FACES['test']}",)
    return require_complete(DataSet("cofw68/test", samples, IBUG68, FACES["test"]), root, short, partial=partial)


def _read_cell(cells: str, row: int, path: Path) -> Image:
    """Read one image of a cell array, RGB (H, W, 3), also of a grey one; rows count from 0."""
    with _opened(path) as file:
        stored = _stored(file, path, cells)[()].ravel()
        if row >= len(stored):
            raise DataError(f"{path}: {cells} has {len(stored)} images, so there is no number {row + 1}")
        try:
            image = np.asarray(file[stored[row]][()]).T
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: {cells}, number {row + 1}, refers to no image") from error
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
        raise DataError(f"{path}: {cells}, number {row + 1}, is {image.dtype} of shape {image.shape}, not an image")
    grey = image.ndim == 2 or image.shape[2] == 1
    rgb = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) if grey else image
    return np.ascontiguousarray(rgb)


def _colour_file(root: Path, name: str, split: str) -> Path:
    require_folder(root)
    file = f"COFW_{split}_color.mat"
    found = sorted(root.rglob(file), key=lambda path: (len(path.parts), path))
    if not found:
        lacks = f"expected {FACES[split]} faces, found 0 in {root} (short: no {file} in it or below)"
        raise DataError(f"{name}/{split}: {lacks}; complete it")
    return found[0]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file while the block runs; DataError if it cannot be opened."""
    h5py = _needed("h5py")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: not a MATLAB 7.3 file, or cut short; copy or download it again") from error


def _stored(file: Any, path: Path, key: str) -> Any:
    if not hasattr(file.get(key), "shape"):
        raise DataError(
            f"{path}: has no {key!r}, but {', '.join(sorted(file)) or 'nothing'}; is it COFW's colour file?"
        )
    return file[key]


def _rows(file: Any, path: Path, key: str, shape: tuple[int, int]) -> NDArray[np.float64]:
    rows = np.asarray(_stored(file, path, key)[()], np.float64).T
    if rows.shape != shape:
        raise DataError(f"{path}: {key} is {rows.shape}, but {shape[0]} images need {shape}")
    if not np.isfinite(rows).all():
        bad = int(np.argwhere(~np.isfinite(rows))[0, 0]) + 1
        raise DataError(f"{path}: {key}, number {bad}, has a value that is not finite")
    return rows


def _box(xywh: NDArray[np.float64]) -> Box:
    """Convert MATLAB's left, top, width and height, counted from 1, to corners counted from 0."""
    x, y, width, height = xywh.tolist()
    return Box(x - 1, y - 1, x - 1 + width, y - 1 + height)


def _number_68(mat: Path) -> int:
    match = ANNOTATION_68.fullmatch(mat.name)
    assert match is not None
    return int(match[1])


def _face_68(mat: Path, path: Path, images: int, boxes: NDArray[np.float64] | None) -> Sample:
    number = _number_68(mat)
    if not 1 <= number <= images:
        raise DataError(f"{mat}: has no image; {path} has the numbers 1 to {images}")
    arrays = _loaded(mat, ("Points", "Occ"))
    points, occluded = arrays["Points"], arrays["Occ"].ravel()
    if points.shape != (IBUG68.points, 2) or occluded.shape != (IBUG68.points,):
        raise DataError(f"{mat}: Points are {points.shape} and Occ {occluded.shape}, not (68, 2) and 68")
    if not np.isfinite(points).all():
        raise DataError(f"{mat}: a landmark is not finite")
    box = None if boxes is None else _box(boxes[number - 1])
    read = bound(_read_cell, "IsT", number - 1)
    return Sample(f"test/{number:04}", path, (points - 1).astype(np.float32), occluded == 0, box, read)


def _boxes_68(root: Path, images: int) -> NDArray[np.float64] | None:
    mat = min(root.rglob("cofw68_test_bboxes.mat"), default=None)
    if mat is None:
        return None
    boxes = _loaded(mat, ("bboxes",))["bboxes"]
    if boxes.shape != (images, 4):
        raise DataError(f"{mat}: bboxes is {boxes.shape}, but {images} images need {(images, 4)}")
    return boxes


def _loaded(mat: Path, keys: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Return the arrays of a MATLAB file older than 7.3."""
    loadmat = _needed("scipy.io").loadmat
    try:
        stored = loadmat(mat, variable_names=keys)
        return {key: np.asarray(stored[key], np.float64) for key in keys}
    except KeyError as error:
        raise DataError(f"{mat}: has no {error.args[0]!r}; use the file of cofw68-benchmark") from None
    except Exception as error:  # scipy raises errors of a dozen classes for a damaged file
        raise DataError(f"{mat}: not a MATLAB 5 file, or cut short; copy or download it again") from error


def _needed(module: str) -> Any:
    """Import a module of the extra `evaluate`."""
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise DataError(f"COFW's .mat files need {name}: {install_command('evaluate')}") from error
