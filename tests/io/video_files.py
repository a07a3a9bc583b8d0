"""Small videos for the tests, and how they are read."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from unveil.io.video import Frame, open_video
from unveil.types import Image

FPS, WIDTH, HEIGHT = 25, 96, 64


def grey(level: int) -> Image:
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


def read(source: Path | str) -> tuple[list[Frame], list[str]]:
    with open_video(str(source)) as video:
        return list(video), video.problems


CODECS = {".webm": "libvpx-vp9", ".mpg": "mpeg2video", ".avi": "mpeg4", ".flv": "flv1", ".wmv": "wmv2"}


def encode(
    path: Path, count: int = 60, aspect: Fraction = Fraction(1), sound: bool = False, faststart: bool = True
) -> Path:
    """Write a test video with one key frame every ten frames, if wanted with a tone."""
    av = pytest.importorskip("av", reason="PyAV is in the extra [video]")
    rng = np.random.default_rng(0)
    with av.open(
        str(path), "w", options={"movflags": "+faststart"} if faststart and path.suffix == ".mp4" else {}
    ) as file:
        codec = CODECS.get(path.suffix, "libx264")
        options = {"libx264": {"preset": "ultrafast", "bf": "0"}, "libvpx-vp9": {"cpu-used": "8"}}.get(codec, {})
        options |= {"g": "10"}
        stream = file.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.sample_aspect_ratio = WIDTH, HEIGHT, "yuv420p", aspect
        tone = file.add_stream("aac", rate=48000, layout="mono") if sound else None
        for i in range(count):
            image = np.clip(grey(4 * i).astype(np.int16) + rng.integers(0, 40, (HEIGHT, WIDTH, 3)), 0, 255)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")))
        file.mux(stream.encode())
        if tone is not None:
            samples = np.sin(np.arange(48000 * count // FPS) * 0.06).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 48000
            file.mux(tone.encode(frame))
            file.mux(tone.encode())
    return path
