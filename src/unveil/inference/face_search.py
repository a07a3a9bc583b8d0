"""The search for new faces in a video, in a thread of its own so that no frame waits for the detector."""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.inference.detector import Detector
from unveil.types import Box, Detection, Image


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """The faces of the frame in which a search started.

    Args:
        detections: The faces, best score first, in pixels of the frame.
        boxes: Boxes of the tracked faces in that frame, by id.
    """

    detections: Sequence[Detection]
    boxes: dict[int, Box]


class FaceSearch:
    """Run the detector on single frames of a video.

    A result is used in the first frame that is `delay_s` later than the frame of the search, even if it was ready
    before. So the same video gives the same result on every machine. The frame waits only if the detector needs longer.

    Args:
        detector: The detector.
        side: Longer side of the image that the detector gets, in pixels. Larger frames are reduced to it.
        background: Whether the detector runs in a thread. If not, every search returns at once.
    """

    def __init__(self, detector: Detector, side: int, background: bool) -> None:
        self.detector, self.side, self.background = detector, side, background
        self.started_s = -math.inf
        self._due_s = math.inf
        self._future: Future[list[Detection]] | None = None
        self._boxes: dict[int, Box] = {}
        self._thread: ThreadPoolExecutor | None = None

    @property
    def running(self) -> bool:
        """Whether a search has started whose result was not used yet."""
        return self._future is not None

    def start(self, image_rgb: Image, time_s: float, delay_s: float, boxes: dict[int, Box]) -> None:
        """Start a search. A search that is still running is abandoned.

        Args:
            image_rgb: RGB frame (H, W, 3). It may be overwritten after the call.
            time_s: Time of the frame in seconds.
            delay_s: Time until the result is used, in seconds; 0 runs the detector at once.
            boxes: Boxes of the tracked faces in this frame, by id.
        """
        self.started_s, self._due_s, self._boxes = time_s, time_s + delay_s, boxes
        small = self._reduced(image_rgb)
        shape = image_rgb.shape[:2]
        at_once = not self.background or delay_s <= 0
        if at_once:
            self._due_s = time_s
        if at_once and self._thread is None:
            self._future = Future()
            self._future.set_result(self._detect(small, shape))
            return
        if self._thread is None:  # from now on for every search: a detector runs in one thread at a time
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="unveil-search")
        small = small.copy() if small is image_rgb else small
        self._future = self._thread.submit(self._detect, small, shape)

    def result(self, time_s: float) -> SearchResult | None:
        """Return the result of the search, once.

        Args:
            time_s: Time of the current frame in seconds.

        Returns:
            The result, or None if no search runs or it is not due yet.
        """
        if self._future is None or time_s < self._due_s - 1e-9:
            return None
        future, self._future = self._future, None
        return SearchResult(future.result(), self._boxes)

    def abandon(self) -> None:
        """Discard the search that is running, for example after a scene cut."""
        self._future = None

    def _reduced(self, image_rgb: Image) -> Image:
        height, width = image_rgb.shape[:2]
        scale = min(1.0, self.side / max(height, width))
        if scale == 1:
            return image_rgb
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        step = max(1, int(1 / scale) // 2)  # averaging every pixel of a 4K frame would delay it
        return np.asarray(
            cv2.resize(np.ascontiguousarray(image_rgb[::step, ::step]), size, interpolation=cv2.INTER_AREA), np.uint8
        )

    def _detect(self, small: Image, shape: tuple[int, int]) -> list[Detection]:
        detections = self.detector(small)
        if small.shape[:2] == shape:
            return detections
        scale = np.array([shape[1] / small.shape[1], shape[0] / small.shape[0]])
        return [_rescaled(detection, scale) for detection in detections]


def _rescaled(detection: Detection, scale: NDArray[np.float64]) -> Detection:
    """Convert a detection to pixels of the frame. Pixel centres are whole numbers, hence the half pixels."""
    corners = (np.array(detection.box, np.float64).reshape(2, 2) + 0.5) * scale - 0.5
    points = None if detection.points is None else ((detection.points + 0.5) * scale - 0.5).astype(np.float32)
    return Detection(Box(*corners.ravel().tolist()), detection.score, points)
