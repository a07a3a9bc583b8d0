"""A data set under occluders, written to disk with its names and landmarks: test sets for robustness."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from unveil.data.datasets.registry import DataSet
from unveil.data.occlusion import Occluder
from unveil.io.annotations import write_pts
from unveil.io.files import DataError, write_file
from unveil.io.images import encode_png


def face_rng(name: str, seed: int) -> np.random.Generator:
    """Return the random generator of one face: the same whatever other faces the set has.

    Args:
        name: The face's name in its data set.
        seed: The seed of the whole set.
    """
    return np.random.default_rng((seed, zlib.crc32(name.encode("utf-8", "surrogateescape"))))


def occlude_data_set(
    faces: DataSet,
    root: Path,
    out: Path,
    occlude: Occluder,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write every face of a data set under an occluder, as `out/NAME.png` and `out/NAME.pts`.

    Args:
        faces: The data set.
        root: The folder that the data set was read from.
        out: The folder to write to.
        occlude: Covers a face; its randomness depends on the seed and the face's name alone.
        seed: The seed.
        progress: Called with the number of faces that are done and their total.

    Returns:
        The number of faces.

    Raises:
        DataError: `out` lies in `root`, where it would overwrite images of the set or be read as part of it.
    """
    if out.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{out}: the data set itself lies there, in {root}; give another folder")
    for done, sample in enumerate(faces.samples, start=1):
        occluded = occlude(sample.load(), sample.points_px, face_rng(sample.name, seed))
        target = out / f"{sample.name}.png"
        write_file(target, encode_png(occluded.image))
        write_pts(target.with_suffix(".pts"), sample.points_px)
        if progress is not None:
            progress(done, len(faces.samples))
    return len(faces.samples)
