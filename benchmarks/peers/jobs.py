"""Files between the comparison and a peer's runner: faces with boxes, then landmarks and times. L landmarks.

It runs in every peer's own environment, so it imports only numpy and OpenCV, not unveil.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""RGB, (H, W, 3)."""
Box: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, the first pixel's centre being (0, 0)."""
Align: TypeAlias = Callable[[Image, Box], NDArray[Any] | None]
"""A peer: from an image and a box of its own kind to (L, 2) in pixels, or None where it finds no face."""

WARM_UP = 3  # calls that do not count
THREADS = "PEER_THREADS"
"""The environment variable with the number of threads that a runner may use."""


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a job."""

    name: str
    image: str
    """The path of a PNG, which every peer decodes alike."""
    box: Box
    """Already of the kind that the peer was trained on."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Time, size and versions of a runner."""

    ms_per_face: float
    """Median, from the decoded image to landmarks in its pixels."""
    model_mb: float
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """The landmarks of a runner by face name, without the faces that have none."""

    points_px: Mapping[str, NDArray[np.float64]]
    timing: Timing


def threads() -> int:
    """Return how many threads this runner may use."""
    return int(os.environ.get(THREADS, "1"))


def write_job(path: Path, faces: Iterable[Face]) -> None:
    path.write_text(json.dumps([asdict(face) for face in faces]))


def read_job(path: Path) -> list[Face]:
    return [Face(item["name"], item["image"], tuple(item["box"])) for item in json.loads(path.read_bytes())]


def read_answer(folder: Path) -> Answer:
    found = json.loads((folder / "predictions.json").read_bytes())
    timing = Timing(**json.loads((folder / "timing.json").read_bytes()))
    return Answer({name: np.array(points, np.float64) for name, points in found.items()}, timing)


def run(align: Align, weights: Sequence[Path], versions: Mapping[str, str]) -> None:
    """Run `RUNNER JOB FOLDER`; `unveil evaluate` reads the `predictions.json` that it writes."""
    job, folder = Path(sys.argv[1]), Path(sys.argv[2])
    cv2.setNumThreads(threads())
    faces = read_job(job)
    for face in faces[:1] * WARM_UP:
        align(_read_image(face.image), face.box)
    found: dict[str, list[list[float]]] = {}
    times = []
    for face in faces:
        image = _read_image(face.image)
        start = time.perf_counter()
        points_px = align(image, face.box)
        times.append(1e3 * (time.perf_counter() - start))
        if points_px is not None:
            found[face.name] = np.asarray(points_px, np.float64).round(3).tolist()
    megabytes = sum(path.stat().st_size for path in weights) / 1e6
    python = {"python": ".".join(map(str, sys.version_info[:3]))}
    (folder / "predictions.json").write_text(json.dumps(found))
    (folder / "timing.json").write_text(
        json.dumps(asdict(Timing(statistics.median(times), megabytes, {**versions, **python})))
    )


@lru_cache(maxsize=1)  # while boxes are tuned, many faces of a job share an image
def _read_image(path: str) -> Image:
    decoded = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    if decoded is None:
        raise SystemExit(f"{path}: not an image that OpenCV can read")
    return np.asarray(decoded, np.uint8)
