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
    """Split faces by the hash of their names.

    A face stays in its split in every run, whatever other faces are in the set.

    Args:
        names: The faces' names.
        val_share: Expected share of validation faces, 0 to 1.

    Returns:
        The indices of both splits.
    """
    hashes = [int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 for name in names]
    is_val = np.array([value < val_share for value in hashes], np.bool_)
    return Split(np.flatnonzero(~is_val), np.flatnonzero(is_val))
