"""Video in and out: frames and their times from a file or a camera, and files that outlive Ctrl-C."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias
from uuid import uuid4

import cv2
import numpy as np

from unveil.io.images import IMAGE_SUFFIXES
from unveil.io.opencv_log import quiet_opencv
from unveil.types import Image

CODECS = MappingProxyType({".mp4": "mp4v", ".avi": "MJPG"})
"""What a video is written as, by its suffix: OpenCV's wheels bring both on every system."""

STILL_SUFFIXES = IMAGE_SUFFIXES - {".gif"}
COUNTED = frozenset((".mp4", ".m4v", ".mov", ".avi"))  # say how many frames they hold; of others FFmpeg guesses it
USUAL_FPS = 30.0  # of a camera or file that does not say
LONGEST_GAP_S = 10.0  # between two frames: a timestamp farther ahead is taken for damaged
MOST_CAMERAS = 1000  # OpenCV's own numbering goes on to name its readers
TRIES = 3  # reads that may fail in a row before a camera is taken to be gone
CUT_SHORT = 0.02  # of the frames that a file promises: so many may be missing from a file that is whole

WriteFrame: TypeAlias = Callable[[Image, float], None]


class VideoError(ValueError):
    """A video that cannot be read or written; the message is one line that names it and the mend."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame, RGB, (H, W, 3), upright as its metadata say, its number among those read, and its time in seconds."""

    index: int
    time_s: float
    image_rgb: Image


class Video:
    """An open file or camera; iterate over it for its frames. `expected` is None where their number is not known."""

    def __init__(self, name: str, capture: cv2.VideoCapture, live: bool) -> None:
        self.name, self.live = name, live
        fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.fps = fps if math.isfinite(fps) and 0.01 < fps < 1000 else USUAL_FPS
        self.expected = int(count) if not live and 0 < count < 2**31 else None
        self.read = self._gaps = 0
        self._capture = capture

    def __iter__(self) -> Iterator[Frame]:
        started_s, last_s = time.monotonic(), -1 / self.fps
        while (image_bgr := self._next()) is not None:
            time_s = time.monotonic() - started_s if self.live else self._stamp(last_s)
            self._gaps += 0 if self.live else max(0, round((time_s - last_s) * self.fps) - 1)
            last_s = time_s
            self.read += 1
            yield Frame(self.read - 1, time_s, np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), np.uint8))

    @property
    def problems(self) -> list[str]:
        """What was wrong with the frames read so far, one line each; to be asked once they are at an end."""
        counted = self.expected is not None and Path(self.name).suffix.lower() in COUNTED
        missing = max(0, (self.expected or 0) - self.read) if counted else 0
        broken = min(missing, self._gaps)
        found = []
        if broken:
            found.append(f"{self.name}: {broken} of {self.expected} frames could not be decoded and were left out")
        if missing - broken > max(2, CUT_SHORT * (self.expected or 0)):
            found.append(
                f"{self.name}: ends after {self.read} of {self.expected} frames; copy or download the rest again"
            )
        if self.live:
            found.append(f"{self.name}: gave no more frames after {self.read}; check its cable and who else uses it")
        return found

    def _next(self) -> Image | None:
        """The next frame, BGR. FFmpeg steps over what it cannot decode by itself, other backends fail a read."""
        for _ in range(TRIES):
            done, image_bgr = self._capture.read()
            if done:
                return np.asarray(image_bgr, np.uint8)
        return None

    def _stamp(self, last_s: float) -> float:
        """The frame's own timestamp, or a frame's length after the one before where it makes no sense."""
        stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        sane = math.isfinite(stamp_s) and last_s < stamp_s < last_s + LONGEST_GAP_S
        return stamp_s if sane else last_s + 1 / self.fps


@contextmanager
def open_video(source: str) -> Iterator[Video]:
    """A video file, or the camera of that number; VideoError if it is neither."""
    path = Path(source)
    live = source.isdecimal() and not path.exists()
    if not live:
        _check_file(path)
    elif int(source) >= MOST_CAMERAS:
        raise VideoError(f"camera {source}: no camera has that number; they count from 0")
    _quiet_ffmpeg()
    with quiet_opencv():
        capture = cv2.VideoCapture(int(source)) if live else cv2.VideoCapture(source, _reader())
        try:
            if not capture.isOpened():
                raise VideoError(_unopened(source, path, live))
            yield Video(f"camera {source}" if live else source, capture, live)
        finally:
            capture.release()


def _quiet_ffmpeg() -> None:
    """Keeps FFmpeg's own lines off stderr, unless the environment asks for them; OpenCV reads this once a process."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def _reader() -> int:
    """FFmpeg where OpenCV has it, as its wheels do: others take sound for video and complain on stderr."""
    return int(cv2.CAP_FFMPEG if cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends() else cv2.CAP_ANY)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise VideoError(f"{path}: a folder, not a video; name one file in it")
    if not path.exists():
        raise VideoError(f"{path}: no such file; check the path (a camera is named by its number: 0, 1, ...)")
    if path.suffix.lower() in STILL_SUFFIXES:
        raise VideoError(f"{path}: a picture, not a video; use unveil align")
    if not os.access(path, os.R_OK):
        raise VideoError(f"{path}: cannot be read (Permission denied)")


def _unopened(source: str, path: Path, live: bool) -> str:
    if live:
        return (
            f"camera {source}: cannot be opened; check that it is plugged in, allowed, and not used by another program"
        )
    if not path.stat().st_size:
        return f"{source}: the file is empty (0 bytes); copy or download it again"
    return f"{source}: not a video that OpenCV can read, cut short, or without frames; convert it to .mp4"


@contextmanager
def kept(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends, well or not: what is there is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid4().hex[:8]}.part{path.suffix}")
    try:
        yield temporary
    finally:
        if temporary.exists():
            temporary.replace(path)


@contextmanager
def video_file(path: Path, fps: float) -> Iterator[WriteFrame]:
    """A video under its name when the block ends, well or not; gives what adds an RGB frame taken at a time.

    The file has one frame rate, so a frame stands until the next one's time has come: a source whose rate varies keeps
    its speed. VideoError if OpenCV cannot write it.
    """
    _quiet_ffmpeg()
    with kept(path) as temporary:
        writer: cv2.VideoWriter | None = None
        size, start_s, written = (0, 0), 0.0, 0

        def add(image_rgb: Image, time_s: float) -> None:
            nonlocal writer, start_s, written, size
            if writer is None:
                size, start_s = (image_rgb.shape[1], image_rgb.shape[0]), time_s
                writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*CODECS[path.suffix]), fps, size)
                if not writer.isOpened():
                    raise VideoError(f"{path}: OpenCV cannot write this video; try --out NAME.avi, or leave video out")
            if image_rgb.shape[1::-1] != size:  # OpenCV would drop the frame and say nothing
                image_rgb = np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
            due = math.floor((time_s - start_s) * fps + 0.5) + 1
            image_bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
            for _ in range(due - written):
                writer.write(image_bgr)
            written = max(written, due)

        try:
            yield add
        finally:
            if writer is not None:
                writer.release()
