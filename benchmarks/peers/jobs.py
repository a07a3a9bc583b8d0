"""Exchange files of the comparison and a runner: faces with boxes as input, landmarks and times as output.

This module runs in the environment of each package, so it imports only numpy and OpenCV, not unveil. L
is the number of landmarks.
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
"""x0, y0, x1, y1 in pixels; (0, 0) is the centre of the first pixel."""
Align: TypeAlias = Callable[[Image, Box], NDArray[Any] | None]
"""The predictor of a package: maps an image and a box to landmarks (L, 2) in pixels, or to None without a face."""

WARM_UP = 3  # untimed calls
THREADS_VARIABLE = "RUNNER_THREADS"
"""The environment variable with the maximum number of threads of a runner."""


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a job."""

    name: str
    image: str
    """The path of a PNG file. PNG is lossless, so all decoders return the same pixels."""
    box: Box
    """The box as the package expects it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Time per face, model size and versions of a runner."""

    ms_per_face: float
    """Median time from the decoded image to landmarks in pixels."""
    model_mb: float
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunnerResult:
    """The predictions of a runner, by face name. Faces without a prediction are absent."""

    points_px: Mapping[str, NDArray[np.float64]]
    timing: Timing


def threads() -> int:
    """Return the maximum number of threads of this runner."""
    return int(os.environ.get(THREADS_VARIABLE, "1"))


def write_job(path: Path, faces: Iterable[Face]) -> None:
    """Write the faces of a job as JSON."""
    path.write_text(json.dumps([asdict(face) for face in faces]))


def read_job(path: Path) -> list[Face]:
    """Read the faces that `write_job` wrote."""
    return [Face(item["name"], item["image"], tuple(item["box"])) for item in json.loads(path.read_bytes())]


def read_result(folder: Path) -> RunnerResult:
    """Read the files that `run` wrote into a folder."""
    predictions = json.loads((folder / "predictions.json").read_bytes())
    timing = Timing(**json.loads((folder / "timing.json").read_bytes()))
    return RunnerResult({name: np.array(points, np.float64) for name, points in predictions.items()}, timing)


def run(align: Align, weights: Sequence[Path], versions: Mapping[str, str]) -> None:
    """Predict the faces of a job and write `predictions.json` and `timing.json`: `RUNNER JOB FOLDER`.

    `unveil evaluate --predictions` reads `predictions.json` too.

    Args:
        align: The predictor.
        weights: The weight files; their sizes are added up.
        versions: Versions of the installed packages, by name.
    """
    job, folder = Path(sys.argv[1]), Path(sys.argv[2])
    cv2.setNumThreads(threads())
    faces = read_job(job)
    for face in faces[:1] * WARM_UP:
        align(_read_image(face.image), face.box)
    predictions: dict[str, list[list[float]]] = {}
    times = []
    for face in faces:
        image = _read_image(face.image)
        start = time.perf_counter()
        points_px = align(image, face.box)
        times.append(1e3 * (time.perf_counter() - start))
        if points_px is not None:
            predictions[face.name] = np.asarray(points_px, np.float64).round(3).tolist()
    megabytes = sum(path.stat().st_size for path in weights) / 1e6
    python = {"python": ".".join(map(str, sys.version_info[:3]))}
    (folder / "predictions.json").write_text(json.dumps(predictions))
    (folder / "timing.json").write_text(
        json.dumps(asdict(Timing(statistics.median(times), megabytes, {**versions, **python})))
    )


@lru_cache(maxsize=1)  # `tune.py` writes many faces with the same image
def _read_image(path: str) -> Image:
    decoded = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    if decoded is None:
        raise SystemExit(f"{path}: OpenCV cannot decode this image")
    return np.asarray(decoded, np.uint8)
