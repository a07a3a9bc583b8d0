"""Cold start, time per face and memory, as `make bench` prints them: of fresh processes, or medians of many runs."""

import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from skimage.data import astronaut

import unveil
from unveil.inference.aligner import AlignmentModel
from unveil.inference.detector import load_detector
from unveil.inference.external_detectors import MIN_SCORE
from unveil.inference.onnx_model import shipped_models, shipped_restorers
from unveil.inference.restorer import Restorer
from unveil.metrics.timing import median_milliseconds
from unveil.schemes.scheme import IBUG68

COLD_START = """
import resource, sys, time
start = time.perf_counter()
import unveil
faces = unveil.Pipeline()(unveil.read_image(sys.argv[1]))
print(len(faces), time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    portrait = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "portrait.jpg", Path(folder) / "12-megapixels.jpg"
        cv2.imwrite(str(small), portrait[..., ::-1])
        cv2.imwrite(str(large), cv2.resize(portrait[..., ::-1], (3464, 3464), interpolation=cv2.INTER_CUBIC))
        for name, path in {"512 x 512": small, "12 megapixels": large}.items():
            colds = [_cold_start(path) for _ in range(5)]
            seconds, megabytes = (statistics.median(figures) for figures in zip(*colds, strict=True))
            print(f"cold start to first result, {name}: {seconds:.2f} s, peak memory {megabytes:.0f} MB")
    face = unveil.Pipeline()(portrait)[0]
    for name, place in shipped_models().items():
        print(f"{name}: model.onnx {(place / 'model.onnx').stat().st_size / 1e6:.1f} MB")
        for threads in (1, 2):
            model = AlignmentModel.load(name, threads)
            one, eight = median_milliseconds([partial(model, portrait, [face.box] * faces) for faces in (1, 8)])
            print(f"{name}: {one:.1f} ms a face, {eight / 8:.1f} ms a face of eight, {threads} thread(s)")
    for name, place in shipped_restorers().items():
        restorer = Restorer.load(name)
        (time,) = median_milliseconds([partial(restorer, portrait, [face.landmarks], IBUG68)])
        size = (place / "model.onnx").stat().st_size / 1e6
        print(f"{name}: model.onnx {size:.1f} MB, {time:.0f} ms a face, 1 thread")
    detector = load_detector("unveil", None, MIN_SCORE, 1)
    (time,) = median_milliseconds([partial(detector, portrait)])
    print(f"detector: {time:.0f} ms for 512 x 512, 1 thread")
    print(json.dumps({"python": sys.version.split()[0], "unveil": unveil.__version__, "opencv": cv2.__version__}))


def _cold_start(path: Path) -> tuple[float, float]:
    """Return the seconds from before the first import to the faces, and the peak of memory in MB."""
    done = subprocess.run([sys.executable, "-c", COLD_START, str(path)], capture_output=True, text=True, check=True)
    faces, seconds, megabytes = done.stdout.split()
    if int(faces) != 1:
        raise SystemExit(f"expected one face on the portrait, found {faces}")
    return float(seconds), float(megabytes)


if __name__ == "__main__":
    main()
