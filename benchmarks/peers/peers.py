"""The packages of the comparison: command, input box and training data of each."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from benchmarks.peers.faces import Square
from benchmarks.peers.jobs import THREADS_VARIABLE, Box, Face, RunnerResult, read_result, write_job

ROOT = Path(__file__).parents[2]
VENVS = ROOT / "benchmarks" / ".venvs"
RUNNERS = "benchmarks.peers.runners"
LOG_LEVELS = dict.fromkeys(("GLOG_minloglevel", "TF_CPP_MIN_LOG_LEVEL"), "2")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", THREADS_VARIABLE)


class PackageError(RuntimeError):
    """A package cannot run. The message is one line with the fix."""


@dataclass(frozen=True, slots=True)
class Package:
    """A landmark predictor that runs in its own process and environment."""

    title: str
    command: tuple[str, ...]
    """The command. Its arguments are the job file, the output folder and `options`."""
    trained_on: str
    """The training data, as a note in the table."""
    square: Square | None = None
    """The input box; None for the tight landmark box."""
    offset_px: tuple[float, float] = (0.0, 0.0)
    """Offset added to the landmarks, because pixel conventions differ. `tune.py` computes it."""
    options: tuple[str, ...] = ()
    required_paths: tuple[Path, ...] = ()
    """Paths that `install.py` creates."""

    def box_of(self, tight: Box) -> Box:
        """Return the input box for a tight landmark box."""
        return tight if self.square is None else self.square.around(tight)

    def predict(self, faces: Sequence[Face], folder: Path, threads: int = 1) -> RunnerResult:
        """Run the package in a new process.

        Args:
            faces: The faces, with boxes from `box_of`.
            folder: The folder of the exchange files; it must not exist.
            threads: Maximum number of threads, and of processor cores.

        Raises:
            PackageError: The package is not installed, or its runner fails.
        """
        missing = [path for path in self.required_paths if not path.exists()]
        if missing:
            raise PackageError(f"{self.title}: {missing[0]} does not exist; run python -m benchmarks.peers.install")
        folder.mkdir(parents=True)
        job = folder / "job.json"
        write_job(job, faces)
        process = subprocess.run(
            [*self.command, str(job), str(folder), *self.options],
            cwd=ROOT,
            env={**os.environ, **LOG_LEVELS, **dict.fromkeys(THREAD_VARIABLES, str(threads))},
            preexec_fn=partial(_limit_cores, threads),
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            lines = process.stderr.strip().splitlines()
            errors = [line for line in lines if "Error" in line] or lines or ["no message on stderr"]
            raise PackageError(f"{self.title}: exit status {process.returncode}: {errors[-1]}")
        result = read_result(folder)
        shifted = {name: points_px + self.offset_px for name, points_px in result.points_px.items()}
        return replace(result, points_px=shifted)


def unveil_package(model: str) -> Package:
    """Return a model of unveil as a package, by its shipped name or its folder."""
    trained = "300W, 2012 of 3148 faces, under synthetic occluders, none of them these masks"
    command = (sys.executable, "-m", f"{RUNNERS}.unveil_onnx")
    return Package(f"unveil {Path(model).name}", command, trained, options=(model,))


def _python(environment: Path, runner: str) -> tuple[str, ...]:
    return str(environment / "bin" / "python"), "-m", f"{RUNNERS}.{runner}"


PACKAGES: Mapping[str, Package] = MappingProxyType(
    {
        "dlib": Package(
            "dlib 68-point predictor",
            _python(VENVS / "dlib", "dlib_68"),
            "all of 300-W, **including these test faces**",
            square=Square(0.63, 0.49, -0.06),
            offset_px=(0.72, -0.01),
            required_paths=(VENVS / "dlib",),
        ),
        "mediapipe": Package(
            "MediaPipe Face Mesh",
            _python(VENVS / "mediapipe", "face_mesh"),
            "Google's own faces; the vertices of its mesh are matched to the points on training faces",
            square=Square(0.90, 0.92, -0.04),
            offset_px=(0.87, 0.86),
            required_paths=(VENVS / "mediapipe",),
        ),
        "face-api": Package(
            "face-api 68-point net",
            (shutil.which("node") or "node", str(ROOT / "benchmarks" / "peers" / "runners" / "face_api.mjs")),
            "some 35 000 faces that are not named; **may contain these test faces**",
            square=Square(0.50, 0.78, 0.09),
            offset_px=(1.24, 0.67),
            required_paths=(VENVS / "face-api",),
        ),
        "lbf": Package(
            "OpenCV LBF",
            _python(VENVS / "lbf", "lbf"),
            "HELEN, which part is not stated; **may contain these test faces**",
            square=Square(0.71, 0.64, -0.10),
            offset_px=(0.71, -0.23),
            required_paths=(VENVS / "lbf",),
        ),
    }
)


def _limit_cores(count: int) -> None:
    """Limit the child process to some cores, so that no thread pool uses more."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])
