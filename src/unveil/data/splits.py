"""The split into training and validation faces: one rule for all networks, by the hash of a face's name."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of the training and of the validation faces, ascending.

    Args:
        train: Indices of the training faces.
        val: Indices of the validation faces.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]


def split_by_name(names: Sequence[str], val_share: float) -> Split:
    """Return the split of faces by the hash of their names.

    A face stays in its split in every run, whatever other faces are in the set.

    Args:
        names: The faces' names.
        val_share: Expected share of validation faces, 0 to 1.
    """
    is_val = np.array([name_hash(name) < val_share for name in names], np.bool_)
    return Split(np.flatnonzero(~is_val), np.flatnonzero(is_val))


def name_hash(name: str) -> float:
    """Return the share of all names whose hash is smaller, from 0: a face validates if it is below `val_share`.

    Args:
        name: The face's name.
    """
    return int(hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8], 16) / 2**32
