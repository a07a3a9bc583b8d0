"""Video output that browsers play: WebM and MP4, with the sound of the source where PyAV is installed."""

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

import cv2
import numpy as np

from unveil.io.opencv_log import quiet_opencv
from unveil.io.video_sources import VideoError
from unveil.types import Image

OPENCV_CODECS = MappingProxyType({".webm": "VP80", ".mp4": "vp09", ".mkv": "VP80", ".avi": "MJPG"})
"""Codec of each suffix in OpenCV's wheels. Browsers play .webm and .mp4."""

_VP9 = ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "b": "0"})
PYAV_CODECS = MappingProxyType(
    {".webm": _VP9, ".mkv": _VP9, ".mp4": ("libx264", {"preset": "veryfast", "crf": "20"})},
)
AUDIO_CODECS = MappingProxyType(
    {".webm": ("libopus", ("opus", "vorbis")), ".mkv": ("libopus", ("opus", "vorbis", "aac", "mp3", "flac"))}
    | {".mp4": ("aac", ("aac", "mp3"))}
)
"""Encoder of each suffix, and the codecs that are copied without encoding."""

WriteFrame: TypeAlias = Callable[[Image, float], None]


class _Encoder(Protocol):
    def write(self, image_rgb: Image) -> None: ...

    def close(self) -> None: ...


@contextmanager
def keep_partial(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name that is replaced even if the block fails: what was written is kept.

    Args:
        path: The file. Missing folders are created.

    Yields:
        A temporary path in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex[:12]}.part{path.suffix}")
    try:
        yield temporary
    finally:
        if temporary.exists():
            temporary.replace(path)


def has_pyav() -> bool:
    """Return whether PyAV is installed, which encodes H.264, VP9 and sound."""
    return find_spec("av") is not None


@contextmanager
def write_video(path: Path, fps: float, sound_from: Path | None = None) -> Iterator[WriteFrame]:
    """Write a video, which is complete when the block ends, with or without an error.

    The video has a constant frame rate. A frame is repeated until the time of the next one, so that a source with a
    varying rate keeps its speed.

    Args:
        path: The video: .webm, .mp4, .mkv or .avi.
        fps: Its frames per second.
        sound_from: A video file whose sound is copied. Needs PyAV.

    Yields:
        A function that adds an RGB frame (H, W, 3) taken at a time in seconds.

    Raises:
        VideoError: The video cannot be written.
    """
    with keep_partial(path) as temporary, ExitStack() as stack:
        encoder: _Encoder | None = None
        size, start_s, written = (0, 0), 0.0, 0
        before: Image | None = None

        def add(image_rgb: Image, time_s: float) -> None:
            nonlocal encoder, size, start_s, written, before
            if encoder is None:
                start_s = time_s
                size = (image_rgb.shape[1], image_rgb.shape[0])
                if path.suffix in PYAV_CODECS:  # their colour has half the resolution
                    size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
                try:
                    encoder = _open_encoder(temporary, fps, size, sound_from, start_s)
                except (OSError, ValueError) as error:
                    raise VideoError(f"{path}: this video cannot be written ({error}); try --out NAME.avi") from error
                stack.callback(encoder.close)
            if image_rgb.shape[1::-1] != size:  # OpenCV would drop the frame without an error
                image_rgb = np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
            due = math.floor((time_s - start_s) * fps + 0.5) + 1
            for _ in range(due - written - 1):
                encoder.write(image_rgb if before is None else before)
            if due > written:
                encoder.write(image_rgb)
            written, before = max(written, due), image_rgb

        yield add


def _open_encoder(path: Path, fps: float, size: tuple[int, int], sound_from: Path | None, start_s: float) -> _Encoder:
    if min(size) < 1:
        raise ValueError("a frame without pixels")
    if path.suffix in PYAV_CODECS and has_pyav():
        return _PyAVEncoder(path, fps, size, sound_from, start_s)
    return _OpenCVEncoder(path, fps, size)


class _OpenCVEncoder:
    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        code = cv2.VideoWriter.fourcc(*OPENCV_CODECS[path.suffix])
        with quiet_opencv(), _quiet_stderr():  # OpenCV prints a warning about the code of VP8
            self._writer = cv2.VideoWriter(str(path), code, fps, size)
        if not self._writer.isOpened():
            raise ValueError("OpenCV has no encoder for it")

    def write(self, image_rgb: Image) -> None:
        self._writer.write(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()


class _PyAVEncoder:
    def __init__(self, path: Path, fps: float, size: tuple[int, int], sound_from: Path | None, start_s: float) -> None:
        import av

        codec, options = PYAV_CODECS[path.suffix]
        rate = Fraction(fps).limit_denominator(1001)
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {})
        stream: Any = self._container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        self._stream = stream
        self._count, self._rate = 0, rate
        self._sound = None if sound_from is None else _Sound.open(sound_from, self._container, path.suffix, start_s)

    def write(self, image_rgb: Image) -> None:
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image_rgb), format="rgb24")
        frame.pts, frame.time_base = self._count, 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self._count += 1
        if self._sound is not None:
            self._sound.copy_until(float(self._count / self._rate))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        if self._sound is not None:
            self._sound.close()
        self._container.close()


class _Sound:
    """Copies the sound of a video file, encoded anew if the output's format does not allow its codec."""

    def __init__(self, source: Any, output: Any, suffix: str, start_s: float) -> None:
        import av

        self._source, self._output = source, output
        stream, video = source.streams.audio[0], source.streams.video
        first = float(video[0].start_time * video[0].time_base) if video and video[0].start_time is not None else 0.0
        self._shift_s = first + start_s
        encoder, copied = AUDIO_CODECS[suffix]
        self._copies = stream.codec_context.name in copied
        if self._copies:
            self._stream = output.add_stream_from_template(stream)
        else:
            self._stream = output.add_stream(encoder, rate=48000)
            self._stream.layout = "mono" if stream.codec_context.channels == 1 else "stereo"
            self._resampler = av.AudioResampler(format=self._stream.format, layout=self._stream.layout, rate=48000)
        self._packets = source.demux(stream)
        self._time_s: float = -math.inf
        self._ended = False

    @classmethod
    def open(cls, path: Path, output: Any, suffix: str, start_s: float) -> "_Sound | None":
        """Return the sound of a file, or None if it has none that can be read."""
        import av

        try:
            source = av.open(str(path))
        except (av.FFmpegError, OSError):
            return None
        try:
            return (
                cls(source, output, suffix, start_s)
                if source.streams.audio and source.streams.audio[0].codec_context
                else None
            )
        except (av.FFmpegError, ValueError):
            source.close()
            return None

    def copy_until(self, time_s: float) -> None:
        """Copy the sound up to a time of the output in seconds."""
        import av

        while not self._ended and self._time_s < time_s:
            try:
                packet = next(self._packets, None)
                if packet is None or packet.dts is None:
                    self._ended = packet is None or packet.size == 0
                    continue
                self._time_s = float(packet.pts * packet.time_base) - self._shift_s
                if self._time_s >= 0:
                    self._mux(packet)
            except av.FFmpegError:  # damaged sound is left out
                continue

    def _mux(self, packet: Any) -> None:
        if self._copies:
            shift = round(self._shift_s / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._stream
            self._output.mux(packet)
            return
        for frame in packet.decode():
            frame.pts = round((float(frame.pts * frame.time_base) - self._shift_s) / frame.time_base)
            for resampled in self._resampler.resample(frame):
                self._output.mux(self._stream.encode(resampled))

    def close(self) -> None:
        import av

        if not self._copies:
            with suppress(av.FFmpegError, ValueError):
                for resampled in self._resampler.resample(None):
                    self._output.mux(self._stream.encode(resampled))
                self._output.mux(self._stream.encode())
        self._source.close()


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Discard what native code prints on stderr."""
    sys.stderr.flush()
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
