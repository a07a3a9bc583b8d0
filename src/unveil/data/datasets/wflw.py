"""WFLW (Wu et al. 2018): 98 landmarks, one face per line, six flags that define the test subsets. N faces.

A line has 196 coordinates, the detector's box as x0 y0 x1 y1, six flags and the image's path, separated by spaces.
Coordinates count from 0 and are read as they are.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from unveil.data.datasets.samples import (
    DataSet,
    Sample,
    image_below,
    numbered_lines,
    require_complete,
    require_folder,
    require_split,
)
from unveil.io.files import DataError
from unveil.schemes.scheme import WFLW98
from unveil.types import Box

LISTS = "list_98pt_rect_attr_train_test"
IMAGES = "WFLW_images"
FLAGS = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
"""The flags of a line, in their order. Each defines a subset of the test faces."""

FACES: Mapping[str, int] = MappingProxyType(
    {
        "train": 7500,
        "test": 2500,
        "pose": 326,
        "expression": 314,
        "illumination": 698,
        "makeup": 206,
        "occlusion": 736,
        "blur": 773,
    }
)
"""Number of faces of the official release in each split and each test subset."""

NUMBERS = 2 * WFLW98.points + 4 + len(FLAGS)


def wflw(root: Path, split: str, partial: bool = False) -> DataSet:
    """Read WFLW.

    Args:
        root: The folder with `WFLW_images` and the folder of lists; the latter may be inside `WFLW_annotations`.
        split: `train`, `test`, or a subset of the test faces by its flag, from `pose` to `blur`.
        partial: Whether fewer faces are accepted.

    Returns:
        The faces. A name is that of the image and the number of the line, because an image may have several faces.

    Raises:
        DataError: A line is damaged, or faces are missing.
    """
    require_split("wflw", split, tuple(FACES))
    require_folder(root)
    name = f"list_98pt_rect_attr_{'train' if split == 'train' else 'test'}.txt"
    places = (root / LISTS / name, root / "WFLW_annotations" / LISTS / name)
    path = next((place for place in places if place.is_file()), None)
    listed = [] if path is None else [face for flags, face in _faces(path, root / IMAGES) if split in flags]
    samples = tuple(face for face in listed if face.image.is_file())
    short = [] if len(listed) == FACES[split] else [f"{name} {len(listed)}/{FACES[split]}"]
    if len(samples) < len(listed):
        first = next(face.image for face in listed if not face.image.is_file()).relative_to(root)
        short.append(f"{IMAGES} {len(samples)}/{len(listed)}, the first missing one is {first.as_posix()}")
    return require_complete(DataSet(f"wflw/{split}", samples, WFLW98, FACES[split]), root, short, partial=partial)


def _faces(path: Path, images: Path) -> Iterator[tuple[frozenset[str], Sample]]:
    """Yield each face of a list with the splits that it belongs to."""
    split = "train" if path.stem.endswith("train") else "test"
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        *fields, name = line.split(maxsplit=NUMBERS)
        if len(fields) != NUMBERS:
            wanted = f"{NUMBERS} numbers (196 coordinates, 4 of a box, 6 flags) and a path are expected"
            raise DataError(f"{where}: {len(fields) + 1} fields, but {wanted}")
        try:
            numbers = np.array(fields, np.float64)
        except ValueError:
            raise DataError(f"{where}: a field before the path is not a number") from None
        if not np.isfinite(numbers).all():
            raise DataError(f"{where}: a coordinate is not finite")
        if not np.isin(numbers[-len(FLAGS) :], (0, 1)).all():
            raise DataError(f"{where}: the flags are {' '.join(fields[-len(FLAGS) :])}, but each is 0 or 1")
        points_px = numbers[: 2 * WFLW98.points].reshape(-1, 2).astype(np.float32)
        flags = {flag for flag, is_set in zip(FLAGS, numbers[-len(FLAGS) :], strict=True) if is_set}
        splits = {split} if split == "train" else {split, *flags}
        image = image_below(images, name, where)
        stem = image.relative_to(images).with_suffix("").as_posix()
        box = Box(*numbers[2 * WFLW98.points :][:4].tolist())
        yield frozenset(splits), Sample(f"{stem}_{number}", image, points_px, box=box)
