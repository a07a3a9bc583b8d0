"""dlib's 68-point predictor, an ensemble of regression trees (Kazemi and Sullivan 2014)."""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import dlib  # type: ignore[import-not-found]
import numpy as np
from benchmarks.peers.jobs import Box, Image, run
from numpy.typing import NDArray


def weights() -> Path:
    """Return the weight file. Importing its package fails, because that needs the removed `pkg_resources`."""
    package = find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise SystemExit("face_recognition_models is not installed: run python -m benchmarks.peers.install dlib")
    return Path(package.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat"


def main() -> None:
    predictor = dlib.shape_predictor(str(weights()))

    def align(image: Image, box: Box) -> NDArray[np.float64]:
        shape = predictor(image, dlib.rectangle(*(round(value) for value in box)))
        return np.array([(part.x, part.y) for part in shape.parts()], np.float64)

    run(align, [weights()], {name: version(name) for name in ("dlib-bin", "face_recognition_models")})


if __name__ == "__main__":
    main()
