"""Video input: frames and their times from files, image sequences, streams and cameras. H and W the size of a frame."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from unveil.io.opencv_log import quiet_opencv
from unveil.io.video_containers import missing_end, skipped_frames
from unveil.io.video_sources import (
    DEFAULT_FPS,
    Capture,
    Received,
    SequenceCapture,
    VideoError,
    check_file,
    is_camera,
    is_sequence,
    is_url,
    source_name,
    stdin_path,
    url_path,
)
from unveil.types import Image

COUNTED = frozenset((".mp4", ".m4v", ".mov", ".avi"))  # state their number of frames; for others FFmpeg estimates it
LONGEST_GAP_S = 10.0  # between two frames: a timestamp farther ahead is damaged
TRIES = 3  # reads that may fail in a row before a camera counts as disconnected
MOST_DAMAGED = 300  # the same for a file that does not state its number of frames
OFF_GRID = 0.2  # frames: how far from a whole number a timestamp of a constant rate may be, since files round them
UNSTARTED = frozenset((".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob"))  # may begin between two key frames
INEXACT = frozenset((".mpg", ".mpeg", ".vob"))  # FFmpeg's timestamps of these may be wrong by one frame
TRUNCATED_SHARE = 0.02  # of the stated frames: so many may be missing at the end of a file that is complete
STREAM_TIMEOUT_MS = 15_000
LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame of a video.

    Args:
        index: Its number in the video, from 0. Frames that cannot be decoded are counted, so numbers may be missing.
        time_s: Its time in seconds.
        image_rgb: RGB image (H, W, 3) with square pixels, upright as the metadata say.
    """

    index: int
    time_s: float
    image_rgb: Image


class Video:
    """An open video. Iterate over it for its frames.

    Args:
        name: Name of the source in messages.
        capture: OpenCV's capture, or an object with the same methods.
        live: Whether it is a camera or a stream, whose times come from the clock.

    Attributes:
        fps: Frames per second.
        expected: Number of frames that the source states, or None.
        read: Number of frames read so far.
        damaged: Numbers of the frames that could not be decoded so far.
        missing_end: Returns where the file ends if there was more, as in "at 630 of 900 bytes"; None if it is complete.
        skipped: Numbers of the frames that FFmpeg skips without an error.
    """

    def __init__(self, name: str, capture: Capture, live: bool) -> None:
        self.name, self.live = name, live
        fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.fps = fps if math.isfinite(fps) and 0.01 < fps < 1000 else DEFAULT_FPS
        self.expected = int(count) if not live and 0 < count < 2**31 else None
        self.read = self._position = 0
        self.damaged: list[int] = []
        self.missing_end: Callable[[], str | None] = lambda: None
        self.skipped: frozenset[int] = frozenset()
        self._gaps: list[int] = []
        self._constant_rate = not live
        self._suffix = Path(name).suffix.lower()
        self._capture, self._aspect = capture, _pixel_aspect(capture)

    def __iter__(self) -> Iterator[Frame]:
        started_s, last_s = time.monotonic(), -1 / self.fps
        while (image_bgr := self._next()) is not None:
            time_s = time.monotonic() - started_s if self.live else self._timestamp(last_s)
            self._skip_gap(time_s)
            last_s = time_s
            self.read += 1
            self._position += 1
            image_rgb = np.asarray(cv2.cvtColor(self._square(image_bgr), cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(self._position - 1, time_s, image_rgb)

    @property
    def problems(self) -> list[str]:
        """What was wrong with the frames, one line for each problem. Complete after the last frame."""
        counted = self.expected is not None and (self._suffix in COUNTED or "%" in self.name)
        missing = max(0, (self.expected or 0) - self._position) if counted else 0
        problems = []
        complete = counted and self.read >= (self.expected or 0)
        damaged = sorted(self.damaged + (self._gaps if self._constant_rate and not complete else []))
        if damaged:
            total = self.expected if counted else self._position
            numbers = f"{len(damaged)} of {total} frames could not be decoded and were left out"
            problems.append(f"{self.name}: {numbers}: {_ranges(damaged)}")
        end = self.missing_end()
        if missing > (0 if end else max(2, TRUNCATED_SHARE * (self.expected or 0))) or (end and not counted):
            stated = f"{'' if counted else 'about '}{self.expected}"
            of_all = f" of {stated}" if (self.expected or 0) > self._position else ""
            where = "" if end is None else f", cut short {end}"
            problems.append(
                f"{self.name}: ends early after {self._position}{of_all} frames{where}; copy or download the rest again"
            )
        if self.live:
            problems.append(f"{self.name}: no more frames after {self.read}; check the connection and other programs")
        return problems

    def _next(self) -> Image | None:
        """Return the next frame that can be decoded, BGR, or None at the end."""
        remaining = MOST_DAMAGED if self.expected is None else self.expected - self._position
        for failed in range(TRIES if self.live else max(TRIES, remaining)):
            success, image_bgr = self._capture.read()
            if success:
                self._skip(0 if self.live else failed)
                return np.asarray(image_bgr, np.uint8)
        self._skip(0)
        return None

    def _skip(self, failed: int) -> None:
        """Count the frames that could not be read, and the skipped ones among and after them."""
        while failed or self._position in self.skipped:
            failed -= self._position not in self.skipped
            self.damaged.append(self._position)
            self._position += 1

    def _skip_gap(self, time_s: float) -> None:
        """Count the frames between the last one and this one, which FFmpeg may skip without an error.

        A gap is damage only if the rate is constant, which is certain after the last frame.
        """
        number = time_s * self.fps
        self._constant_rate &= abs(number - round(number)) < OFF_GRID
        if self._constant_rate and (self.read or self._suffix not in UNSTARTED):
            following = round(number)
            if following - self._position > (self._suffix in INEXACT):
                self._gaps += range(self._position, following)
                self._position = following

    def _timestamp(self, last_s: float) -> float:
        """Return the frame's timestamp, or, if that is implausible, the time that its number gives."""
        if self.skipped:  # FFmpeg does not count them
            return self._position / self.fps
        stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        plausible = math.isfinite(stamp_s) and last_s < stamp_s < last_s + LONGEST_GAP_S
        return stamp_s if plausible else last_s + 1 / self.fps

    def _square(self, image_bgr: Image) -> Image:
        """Stretch a frame whose pixels are not square."""
        if self._aspect == 1:
            return image_bgr
        height, width = image_bgr.shape[:2]
        size = (round(width * max(self._aspect, 1)), round(height * max(1 / self._aspect, 1)))
        return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_LINEAR), np.uint8)


@contextmanager
def open_video(source: str, fps: float | None = None) -> Iterator[Video]:
    """Open a video.

    Args:
        source: A video file; an image sequence, as a folder, a glob or a numbered pattern such as `%04d.png`; a URL
            (`rtsp://`, `http://`, ...); a camera's number; or `-` for a video on standard input.
        fps: Frame rate of an image sequence, 30 if None. Ignored for other sources.

    Yields:
        The open video, which is closed at the end of the block.

    Raises:
        VideoError: The source cannot be opened.

    Example:
        >>> with open_video("talk.mp4") as video:
        ...     for frame in video:
        ...         print(frame.index, frame.time_s, frame.image_rgb.shape)
    """
    if is_sequence(source):
        yield Video(source, SequenceCapture(source, fps or DEFAULT_FPS), live=False)
        return
    name, camera = source_name(source), is_camera(source)
    if not camera and not is_url(source) and source != "-":
        check_file(Path(source))
    # FFmpeg's own lines do not name the file. OpenCV reads this variable once in a process.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with ExitStack() as stack:
        received = Received()
        path = source
        if source == "-" or is_url(source):
            path = stack.enter_context(stdin_path(received) if source == "-" else url_path(source))
        stack.enter_context(quiet_opencv())
        capture = _capture(path, camera)
        stack.callback(capture.release)
        if not capture.isOpened():
            raise VideoError(_not_opened(source, name))
        scheme = source.split("://")[0].lower() if is_url(source) else ""
        endless = scheme in LIVE_SCHEMES or (scheme != "" and capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0)
        video = Video(name, capture, live=camera or endless)
        if not camera and not is_url(path):
            from_file = partial(missing_end, Path(path))
            video.missing_end = received.missing_end if received.size else from_file
            video.skipped = skipped_frames(Path(path))
        yield video


def _capture(path: str, camera: bool) -> cv2.VideoCapture:
    if camera:
        return cv2.VideoCapture(int(path))
    # Other backends than FFmpeg open sound files as videos and print messages.
    backend = int(cv2.CAP_FFMPEG if cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends() else cv2.CAP_ANY)
    if not is_url(path):
        return cv2.VideoCapture(path, backend)
    timeouts = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
    return cv2.VideoCapture(path, backend, [number for key in timeouts for number in (key, STREAM_TIMEOUT_MS)])


def _not_opened(source: str, name: str) -> str:
    if is_camera(source):
        return f"{name}: cannot be opened; check that it is connected, allowed, and not used by another program"
    if is_url(source):
        return f"{name}: cannot be opened; check the address, the password and the network"
    if source == "-":
        return "standard input: not a video that OpenCV can read; pipe in a whole file, Matroska or MPEG-TS"
    if not Path(source).stat().st_size:
        return f"{source}: the file is empty (0 bytes); copy or download it again"
    if (end := missing_end(Path(source))) is not None:
        return f"{source}: cut short {end}; copy or download it again"
    return f"{source}: not a video that OpenCV can read, truncated, or without frames; convert it to .mp4"


def _pixel_aspect(capture: Capture) -> float:
    """Return the width of a pixel over its height; 1 if the source does not state it."""
    width, height = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    if not (width > 0 and height > 0 and 0.1 < width / height < 10):
        return 1.0
    turned = round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90  # OpenCV has turned the frame already
    return height / width if turned else width / height


def _ranges(numbers: list[int]) -> str:
    """Return sorted numbers as text: `3, 68-76`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
