"""The peers: the command of each, the box that it gets, the faces that it was trained on."""

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
from benchmarks.peers.jobs import THREADS, Answer, Box, Face, read_answer, write_job

ROOT = Path(__file__).parents[2]
VENVS = ROOT / "benchmarks" / ".venvs"
RUNNERS = "benchmarks.peers.runners"
QUIET = dict.fromkeys(("GLOG_minloglevel", "TF_CPP_MIN_LOG_LEVEL"), "2")
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", THREADS)


class PeerError(RuntimeError):
    """A peer that cannot be run; the message is one line with the fix."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A landmark predictor of others, in a process and an environment of its own."""

    title: str
    command: tuple[str, ...]
    """The command; the job's file and the folder for the answer follow, then `options`."""
    trained_on: str
    """The caveat of its row."""
    square: Square | None = None
    """The box it is given; None is the tight landmark box itself."""
    offset_px: tuple[float, float] = (0.0, 0.0)
    """Added to its landmarks, since conventions of pixel coordinates differ; found by `tune.py` too."""
    options: tuple[str, ...] = ()
    needs: tuple[Path, ...] = ()
    """Files that `install.py` creates."""

    def box_of(self, tight: Box) -> Box:
        return tight if self.square is None else self.square.of(tight)

    def answer(self, faces: Sequence[Face], folder: Path, threads: int = 1) -> Answer:
        """Run the peer on faces with boxes of its own kind, on as many cores as threads, with files in `folder`.

        Raises:
            PeerError: It fails.
        """
        missing = [path for path in self.needs if not path.exists()]
        if missing:
            raise PeerError(f"{self.title}: no {missing[0]}; run python -m benchmarks.peers.install")
        folder.mkdir(parents=True)
        job = folder / "job.json"
        write_job(job, faces)
        done = subprocess.run(
            [*self.command, str(job), str(folder), *self.options],
            cwd=ROOT,
            env={**os.environ, **QUIET, **dict.fromkeys(POOLS, str(threads))},
            preexec_fn=partial(_on_cores, threads),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            errors = [line for line in lines if "Error" in line] or lines or ["no message on stderr"]
            raise PeerError(f"{self.title}: stopped with {done.returncode}: {errors[-1]}")
        found = read_answer(folder)
        moved = {name: points_px + self.offset_px for name, points_px in found.points_px.items()}
        return replace(found, points_px=moved)


def unveil_peer(model: str) -> Peer:
    """Return a model of ours, by its shipped name or its folder."""
    trained = "300W training faces, 2012 of 3148, under synthetic occluders; none of these masks"
    command = (sys.executable, "-m", f"{RUNNERS}.unveil_onnx")
    return Peer(f"unveil {Path(model).name}", command, trained, options=(model,))


def _python(place: Path, runner: str) -> tuple[str, ...]:
    return str(place / "bin" / "python"), "-m", f"{RUNNERS}.{runner}"


PEERS: Mapping[str, Peer] = MappingProxyType(
    {
        "dlib": Peer(
            "dlib 68-point predictor",
            _python(VENVS / "dlib", "dlib_68"),
            "all of iBUG's 300-W and its mirror images, **these test faces among them**",
            square=Square(0.63, 0.49, -0.06),
            offset_px=(0.72, -0.01),
            needs=(VENVS / "dlib",),
        ),
        "mediapipe": Peer(
            "MediaPipe Face Mesh",
            _python(VENVS / "mediapipe", "face_mesh"),
            "Google's own faces; its points are a mesh's, matched to 300W's on training faces",
            square=Square(0.90, 0.92, -0.04),
            offset_px=(0.87, 0.86),
            needs=(VENVS / "mediapipe",),
        ),
        "face-api": Peer(
            "face-api 68-point net",
            (shutil.which("node") or "node", str(ROOT / "benchmarks" / "peers" / "runners" / "face_api.mjs")),
            "some 35 000 faces that its author does not name; **may hold these test faces**",
            square=Square(0.50, 0.78, 0.09),
            offset_px=(1.24, 0.67),
            needs=(VENVS / "face-api",),
        ),
        "lbf": Peer(
            "OpenCV LBF",
            _python(VENVS / "lbf", "lbf"),
            "HELEN by its author's word, which part is not said; **may hold these test faces**",
            square=Square(0.71, 0.64, -0.10),
            offset_px=(0.71, -0.23),
            needs=(VENVS / "lbf",),
        ),
    }
)


def _on_cores(count: int) -> None:
    """Restrict the child to as many cores as threads, so that no pool of its libraries uses more."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])
