"""A data set under occluders, written to disk with its names and landmarks kept: robustness test sets of one's own."""

import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from unveil.data.datasets.registry import DataSet
from unveil.data.occlusion import Occluder
from unveil.io.annotations import DataError, write_pts, written_whole


def generator_of(name: str, seed: int) -> np.random.Generator:
    """The randomness that falls on one face: the same whatever other faces are in the set."""
    return np.random.default_rng((seed, zlib.crc32(name.encode())))


def occlude_data_set(
    faces: DataSet,
    root: Path,
    out: Path,
    occlude: Occluder,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes every face as `out/NAME.png` and `.pts`; the number of faces. A face's occluder depends on seed and name.

    DataError if `out` lies in the set's own folder `root`, where pictures of the set would be written over, or the next
    reading would take it for the set.
    """
    if out.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{out}: the data set itself lies there, in {root}; give another folder")
    for done, sample in enumerate(faces.samples, start=1):
        occluded = occlude(sample.load(), sample.points_px, generator_of(sample.name, seed))
        target = out / f"{sample.name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        content = cv2.imencode(".png", cv2.cvtColor(occluded.image, cv2.COLOR_RGB2BGR))[1]
        with written_whole(target) as temporary:
            temporary.write_bytes(content.tobytes())
        write_pts(target.with_suffix(".pts"), sample.points_px)
        if progress is not None:
            progress(done, len(faces.samples))
    return len(faces.samples)
