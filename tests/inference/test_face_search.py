"""The background search of a tracker."""

import threading

import numpy as np

from unveil.inference.face_search import FaceSearch
from unveil.types import Detection, Image

FRAME = np.zeros((48, 64, 3), np.uint8)


def test_the_detector_runs_in_one_thread_at_a_time() -> None:
    running, most, gate = 0, 0, threading.Event()

    def detector(_: Image) -> list[Detection]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        gate.wait(0.2)
        running -= 1
        return []

    search = FaceSearch(detector, 640, background=True)
    search.start(FRAME, 0.0, 0.2, {})
    search.abandon()  # a scene cut
    search.start(FRAME, 0.1, 0.0, {})
    assert search.result(0.1) is not None
    assert most == 1
