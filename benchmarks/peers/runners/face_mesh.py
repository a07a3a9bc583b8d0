"""MediaPipe Face Mesh: it finds the face in the crop itself and lays a mesh of 478 points on it, of which we keep 68.

`--all` after the job and the folder keeps all of them, for tuning.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import mediapipe  # type: ignore[import-not-found]
import numpy as np
from benchmarks.peers.jobs import Box, Image, run
from numpy.typing import NDArray

REFINE = True  # the mesh with attention to eyes and lips: NME on the same faces is 4.77 %, 5.12 % without
SURE = 0.01  # both confidences: a doubtful face is better than none, since each crop holds one
# Found by vertices.py: on 600 training faces of 300W, the vertex nearest to each landmark in the mean.
VERTICES = (
    *(127, 227, 177, 215, 172, 136, 149, 148, 152, 377, 378, 365, 397, 435, 401, 447, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 195, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 155, 153, 144, 382, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)


def main() -> None:
    kept = slice(None) if "--all" in sys.argv else list(VERTICES)
    mesh = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True,
        max_num_faces=1,
        refine_landmarks=REFINE,
        min_detection_confidence=SURE,
        min_tracking_confidence=SURE,
    )

    def align(image: Image, box: Box) -> NDArray[np.float64] | None:
        crop, corner = padded(image, box)
        faces = mesh.process(crop).multi_face_landmarks
        if not faces:
            return None
        shares = np.array([(point.x, point.y) for point in faces[0].landmark], np.float64)
        height, width = crop.shape[:2]
        return (shares * (width, height) - 0.5 + corner)[kept]

    folder = Path(mediapipe.__file__).parent / "modules"
    landmarks = "face_landmark_with_attention" if REFINE else "face_landmark"
    weights = [
        folder / "face_detection/face_detection_short_range.tflite",
        folder / f"face_landmark/{landmarks}.tflite",
    ]
    run(align, weights, {"mediapipe": version("mediapipe")})


def padded(image: Image, box: Box) -> tuple[Image, tuple[int, int]]:
    """The crop in whole pixels, black outside the picture, and the place of its first pixel."""
    x0, y0, x1, y1 = (round(value) for value in box)
    crop = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    height, width = image.shape[:2]
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    crop[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    return crop, (x0, y0)


if __name__ == "__main__":
    main()
