"""Landmarks of many faces in an `.npz`: `names` and an array beside them. N faces, L landmarks."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.io.files import DataError
from unveil.io.formats.records import Faces, face_annotation

Role: TypeAlias = Literal["predictions", "ground truth"]

PREFERRED: Mapping[Role, tuple[str, ...]] = MappingProxyType(
    {"ground truth": ("ground_truth", "truth", "points"), "predictions": ("predictions", "points")}
)


def read(path: Path, array: str | None, role: Role) -> Faces:
    """Yield the faces of `names` and one array of landmarks, in its order.

    Args:
        path: The file.
        array: The name of the array; None takes the one that the role implies.
        role: What the landmarks are.

    Raises:
        DataError: If the file is damaged, or has no such array.
    """
    arrays = _load(path)
    array = array or _implied(path, arrays, role)
    if array not in arrays:
        raise DataError(f"{path}: no array {array!r} in it; it has {', '.join(sorted(arrays))}")
    points, names = arrays[array], arrays.get("names")
    if not _holds_landmarks(points):
        raise DataError(f"{path}:{array}: an array of shape {points.shape}; landmarks are numbers (N, L, 2)")
    if names is None or names.dtype.kind != "U" or names.shape != points.shape[:1]:
        raise DataError(f"{path}: no array 'names' of {len(points)} strings beside {array!r}; add it")
    kind = "visible" if role == "ground truth" else "visibility"
    flags = arrays.get(kind)
    if flags is not None and flags.shape != points.shape[:2]:
        raise DataError(f"{path}:{kind}: an array of shape {flags.shape}, but {array!r} has {points.shape}")
    for i, name in enumerate(names.tolist()):
        values: dict[str, Any] = {kind: None if flags is None else flags[i]}
        yield face_annotation(name, f"{path}:{array}: {name!r}", points[i], **values)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not an .npz of plain arrays, or cut short ({error})") from None


def _implied(path: Path, arrays: Mapping[str, NDArray[Any]], role: Role) -> str:
    """Return the array that is meant when none is named: by its name, else the only one of landmarks."""
    truths = () if role == "ground truth" else ("truth", "ground_truth")
    others = [key for key in arrays if _holds_landmarks(arrays[key]) and key not in truths]
    named = [key for key in PREFERRED[role] if key in others]
    if not named and len(others) != 1:
        has = ", ".join(f"{path}:{key}" for key in others) if others else "none of its arrays is (N, L, 2)"
        raise DataError(f"{path}: which array is the {role}? {'One of ' * bool(others)}{has}")
    return (named or others)[0]


def _holds_landmarks(values: NDArray[Any]) -> bool:
    return values.ndim == 3 and values.shape[2] == 2 and values.dtype.kind in "fiu"
