"""OpenCV's LBF: local binary features and linear regression (Ren et al. 2014)."""

import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from benchmarks.peers.jobs import Box, Image, run
from numpy.typing import NDArray

WEIGHTS = Path(sys.prefix) / "landmark.yaml"


def main() -> None:
    facemark = cv2.face.createFacemarkLBF()  # type: ignore[attr-defined]
    facemark.loadModel(str(WEIGHTS))

    def align(image: Image, box: Box) -> NDArray[np.float32] | None:
        x0, y0, x1, y1 = (round(value) for value in box)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        fitted, shapes = facemark.fit(grey, np.array([[x0, y0, x1 - x0, y1 - y0]], np.int32))
        return np.asarray(shapes[0][0], np.float32) if fitted else None

    versions = {"opencv-contrib-python-headless": version("opencv-contrib-python-headless"), "GoldenFace": "1.1"}
    run(align, [WEIGHTS], versions)


if __name__ == "__main__":
    main()
