"""The kinds of video sources: files, image sequences, URLs, cameras and standard input."""

import glob
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import cv2
import numpy as np

from unveil.io.files import DataError
from unveil.io.images import IMAGE_SUFFIXES, ImageError, read_image
from unveil.io.video_containers import HEAD, missing_stream_end
from unveil.types import Image

DEFAULT_FPS = 30.0  # of an image sequence, and of a camera or file that does not state its rate
URL_TIMEOUT_S = 15
MOST_CAMERAS = 1000  # above, OpenCV's numbers mean its backends
STILL_SUFFIXES = IMAGE_SUFFIXES - {".gif"}
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".3gp", ".ogv")
)
PATTERN = re.compile(r"%0?(\d*)d")  # of a numbered image sequence


class VideoError(DataError):
    """A video that cannot be read or written. The message is one line that names it and the fix."""


class Capture(Protocol):
    """The methods of `cv2.VideoCapture` that reading a video needs."""

    def get(self, propId: int) -> float:  # noqa: N803 - OpenCV's name
        """Return a property of the video or of the latest frame; 0 if it is unknown.

        Args:
            propId: One of OpenCV's `CAP_PROP` numbers.
        """

    def read(self) -> tuple[bool, Any]:
        """Return whether a frame was read, and the frame, BGR."""


class SequenceCapture:
    """Reads an image sequence with the methods of `cv2.VideoCapture`.

    Args:
        source: A folder, a glob, or a numbered pattern such as `frames/%04d.png`.
        fps: Frames per second.

    Raises:
        VideoError: There are no images.
    """

    def __init__(self, source: str, fps: float) -> None:
        self.paths, self.fps, self._index = sequence_paths(source), fps, -1
        if not self.paths:
            raise VideoError(f"{source}: no images; expected {', '.join(sorted(STILL_SUFFIXES))}")

    def get(self, propId: int) -> float:  # noqa: N803 - OpenCV's name
        """Return the frame rate, the number of frames or the time of the latest frame; 0 for other properties.

        Args:
            propId: One of OpenCV's `CAP_PROP` numbers.
        """
        values = {
            cv2.CAP_PROP_FPS: self.fps,
            cv2.CAP_PROP_FRAME_COUNT: len(self.paths),
            cv2.CAP_PROP_POS_MSEC: 1000 * self._index / self.fps,
        }
        return float(values.get(propId, 0.0))

    def read(self) -> tuple[bool, Image]:
        """Return whether the next image could be read, and the image, BGR."""
        self._index += 1
        path = self.paths[self._index] if self._index < len(self.paths) else None
        if path is not None:
            with suppress(ImageError):
                return True, np.ascontiguousarray(read_image(path, warn=lambda _: None)[..., ::-1])
        return False, np.zeros((0, 0, 3), np.uint8)


def is_camera(source: str) -> bool:
    """Return whether a source is the number of a camera, and no file has this name.

    Args:
        source: A source as the user named it.
    """
    return source.isdecimal() and not Path(source).exists()


def is_url(source: str) -> bool:
    """Return whether a source is a URL.

    Args:
        source: A source as the user named it.
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def is_sequence(source: str) -> bool:
    """Return whether a source is an image sequence: a folder, a glob of images or a numbered pattern.

    Args:
        source: A source as the user named it.
    """
    path = Path(source)
    if is_url(source) or path.is_file():
        return False
    suffix = path.suffix.lower()
    return path.is_dir() or ((PATTERN.search(source) or glob.has_magic(source)) and suffix not in VIDEO_SUFFIXES)


def source_name(source: str) -> str:
    """Return a source's name for messages: a URL without its password and query.

    Args:
        source: A source as the user named it.

    Raises:
        VideoError: The number of a camera is too large.
    """
    if is_camera(source):
        if int(source) >= MOST_CAMERAS:
            raise VideoError(f"camera {source}: no camera has that number; they count from 0")
        return f"camera {source}"
    if is_url(source):
        parts = urlsplit(source)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return "standard input" if source == "-" else source


def output_name(source: str) -> str:
    """Return the name of a source's output files, without a suffix.

    Args:
        source: A source as the user named it.
    """
    if is_camera(source):
        return f"camera-{source}"
    if source == "-":
        return "stdin"
    if is_url(source):
        parts = urlsplit(source)
        return Path(parts.path).stem or (parts.hostname or "stream")
    path = Path(source)
    if path.is_dir():
        return path.resolve().name or "frames"
    if is_sequence(source):
        return (
            re.sub(r"[^\w.-]+", "", PATTERN.sub("", path.stem)).strip("-_.") or path.absolute().parent.name or "frames"
        )
    return path.stem


def expand_sources(arguments: Sequence[str]) -> list[str]:
    """Replace globs of videos and folders of videos by the videos.

    Args:
        arguments: Sources as the user named them.

    Returns:
        The sources, each for one video, without duplicates.

    Raises:
        VideoError: A glob matches nothing, or a folder holds images as well as videos.
    """
    sources: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if is_url(argument) or argument == "-" or path.is_file():
            sources.append(argument)
        elif path.is_dir():
            names = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
            videos = [str(name) for name in names if name.suffix.lower() in VIDEO_SUFFIXES]
            images = [name for name in names if name.suffix.lower() in STILL_SUFFIXES]
            if videos and images:
                raise VideoError(f"{argument}: holds videos and images; name the videos, or the images by a glob")
            sources += videos or [argument]
        elif glob.has_magic(argument) and not PATTERN.search(argument):
            matches = sorted(match for match in glob.glob(argument) if Path(match).is_file())  # noqa: PTH207
            videos = [match for match in matches if Path(match).suffix.lower() in VIDEO_SUFFIXES]
            if not matches:
                raise VideoError(f"{argument}: no file matches this pattern; quote it and check the folder")
            sources += videos or [argument]
        else:
            sources.append(argument)
    return list(dict.fromkeys(sources))


def sequence_paths(source: str) -> list[Path]:
    """Return the images of a sequence in order.

    Args:
        source: A folder, a glob or a numbered pattern. The images of a pattern include the missing numbers in between.
    """
    path = Path(source)
    if path.is_dir():
        found = [entry for entry in path.iterdir() if entry.suffix.lower() in STILL_SUFFIXES]
    elif match := PATTERN.search(path.name):
        digits = rf"(\d{{{int(match[1])},}})" if match[1] else r"(\d+)"
        name = re.compile(re.escape(path.name[: match.start()]) + digits + re.escape(path.name[match.end() :]))
        folder = path.parent.iterdir() if path.parent.is_dir() else ()
        numbers = [int(found_name[1]) for entry in folder if (found_name := name.fullmatch(entry.name))]
        return [path.with_name(path.name % i) for i in range(min(numbers), max(numbers) + 1)] if numbers else []
    else:
        found = [Path(name) for name in glob.glob(source) if Path(name).suffix.lower() in STILL_SUFFIXES]  # noqa: PTH207
    return sorted((entry for entry in found if not entry.name.startswith(".")), key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key by which frame 9 precedes frame 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def check_file(path: Path) -> None:
    """Check that a path is a file that may be a video.

    Args:
        path: The path.

    Raises:
        VideoError: It is not.
    """
    if not path.exists():
        raise VideoError(f"{path}: no such file; check the path (a camera is named by its number: 0, 1, ...)")
    if path.suffix.lower() in STILL_SUFFIXES:
        raise VideoError(f"{path}: an image, not a video; use unveil align, or name a folder or glob of frames")
    if not os.access(path, os.R_OK):
        raise VideoError(f"{path}: cannot be read (Permission denied)")


class Received:
    """What has come through a pipe: its length in bytes, its first and its last bytes."""

    def __init__(self) -> None:
        self.size, self.ended, self._head, self._tail = 0, False, b"", b""

    def add(self, data: bytes) -> None:
        """Count the next bytes.

        Args:
            data: The bytes.
        """
        self.size += len(data)
        self._head += data[: HEAD - len(self._head)]
        self._tail = (self._tail + data)[-HEAD:]

    def missing_end(self) -> str | None:
        """Return where the stream ends if its container shows that there was more."""
        return missing_stream_end(self._head, self._tail, self.size) if self.ended else None


@contextmanager
def stdin_path(received: Received) -> Iterator[str]:
    """Make a video on standard input readable for OpenCV.

    MP4 and MOV need to be searched, so they are copied to a temporary file. Other formats are read as they arrive.

    Args:
        received: Counts what is read as it arrives.

    Yields:
        What OpenCV opens.
    """
    stream: Any = sys.stdin.buffer
    head = stream.read(12)
    if _needs_search(head) or os.name == "nt":
        with _temporary_copy(head, stream) as path:
            yield path
        return
    reading, writing = os.pipe()

    def feed() -> None:
        with suppress(OSError), os.fdopen(writing, "wb") as pipe:
            chunk = head + stream.read1(65536)
            while chunk:
                received.add(chunk)
                pipe.write(chunk)
                chunk = stream.read1(65536)
            received.ended = True

    threading.Thread(target=feed, daemon=True).start()
    try:
        yield f"pipe:{reading}"
    finally:
        os.close(reading)


@contextmanager
def url_path(url: str) -> Iterator[str]:
    """Make a video at a URL readable for OpenCV.

    An MP4 or MOV file whose server cannot send a part of it is copied to a temporary file. Others are read as they
    arrive.

    Args:
        url: The URL.

    Yields:
        What OpenCV opens.
    """
    with ExitStack() as stack:
        path = url
        if re.match(r"https?://[^?#]*\.(mp4|m4v|mov|3gp)($|[?#])", url, re.I):
            request = Request(url, headers={"Range": "bytes=0-"})
            with suppress(OSError, ValueError, HTTPException), urlopen(request, timeout=URL_TIMEOUT_S) as answer:
                head = answer.read(12)
                if answer.status == 200 and _needs_search(head):  # 206 if the server can send a part
                    path = stack.enter_context(_temporary_copy(head, answer))
        yield path


def _needs_search(head: bytes) -> bool:
    """Return whether a file that begins so is MP4 or MOV, whose index may be at the end."""
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")


@contextmanager
def _temporary_copy(head: bytes, stream: Any) -> Iterator[str]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with path.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(stream, file)
        yield str(path)
