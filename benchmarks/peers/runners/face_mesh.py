"""MediaPipe Face Mesh: it detects the face in the crop and predicts 478 vertices, of which 68 are used.

With `--all` after the job and the folder, the output has all vertices, for `vertices.py`.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import mediapipe  # type: ignore[import-not-found]
import numpy as np
from benchmarks.peers.jobs import Box, Image, run
from numpy.typing import NDArray

REFINE = True  # the mesh with attention for eyes and lips: NME is 4.77 %, on the same faces 5.12 % without
MIN_CONFIDENCE = 0.01  # low, because each crop contains a face
# From vertices.py: the nearest vertex to each landmark, on average over 600 training faces of 300W.
VERTICES = (
    *(127, 227, 177, 215, 172, 136, 149, 148, 152, 377, 378, 365, 397, 435, 401, 447, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 195, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 155, 153, 144, 382, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)


def main() -> None:
    selected = slice(None) if "--all" in sys.argv else list(VERTICES)
    mesh = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True,
        max_num_faces=1,
        refine_landmarks=REFINE,
        min_detection_confidence=MIN_CONFIDENCE,
        min_tracking_confidence=MIN_CONFIDENCE,
    )

    def align(image: Image, box: Box) -> NDArray[np.float64] | None:
        crop, corner = padded_crop(image, box)
        faces = mesh.process(crop).multi_face_landmarks
        if not faces:
            return None
        normalized = np.array([(point.x, point.y) for point in faces[0].landmark], np.float64)
        height, width = crop.shape[:2]
        return (normalized * (width, height) - 0.5 + corner)[selected]

    folder = Path(mediapipe.__file__).parent / "modules"
    landmarks = "face_landmark_with_attention" if REFINE else "face_landmark"
    weights = [
        folder / "face_detection/face_detection_short_range.tflite",
        folder / f"face_landmark/{landmarks}.tflite",
    ]
    run(align, weights, {"mediapipe": version("mediapipe")})


def padded_crop(image: Image, box: Box) -> tuple[Image, tuple[int, int]]:
    """Return the crop in whole pixels, black outside the image, and the coordinates of its first pixel."""
    x0, y0, x1, y1 = (round(value) for value in box)
    crop = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    height, width = image.shape[:2]
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    crop[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    return crop, (x0, y0)


if __name__ == "__main__":
    main()
