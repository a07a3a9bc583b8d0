import re
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import pytest
from tests.io.video_files import FPS, encode, grey, read

from unveil.io.video import COUNTED, Video
from unveil.io.video_sources import VideoError
from unveil.io.video_writer import write_video
from unveil.types import Image


def test_damage_inside_a_file_costs_only_the_damaged_frames(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is in the extra [video]")
    path = encode(tmp_path / "a.mp4")
    with av.open(str(path)) as file:
        places = [(p.pos, p.size) for p in file.demux(video=0) if p.size]
    content = bytearray(path.read_bytes())
    for position, size in places[33:37]:
        content[position : position + size] = b"\xff" * size
    path.write_bytes(content)
    frames, problems = read(path)
    lost = sorted(set(range(60)) - {frame.index for frame in frames})
    assert set(lost) >= {33, 34, 35, 36}
    assert max(lost) < 40  # the next key frame
    assert [round(frame.time_s * FPS) for frame in frames] == [frame.index for frame in frames]
    (line,) = problems
    assert f"{len(lost)} of 60 frames could not be decoded and were left out: 33-{max(lost)}" in line


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".ts"])
def test_damage_that_ffmpeg_skips_without_an_error_is_reported(tmp_path: Path, suffix: str) -> None:
    av = pytest.importorskip("av", reason="PyAV is in the extra [video]")
    path = encode(tmp_path / f"a{suffix}")
    with av.open(str(path)) as file:
        places = [p.pos for p in file.demux(video=0) if p.size]
    content = bytearray(path.read_bytes())
    content[places[25] : places[36]] = bytes(places[36] - places[25])
    path.write_bytes(content)
    frames, problems = read(path)
    lost = sorted(set(range(60)) - {frame.index for frame in frames})
    assert {27, 34} <= set(lost) <= set(range(60)) - {0, 59}
    assert f"{len(lost)} of 60 frames could not be decoded and were left out" in problems[0]


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".flv", ".wmv", ".ts", ".m2ts", ".mpg", ".mp4"])
@pytest.mark.parametrize("share", [0.6, 0.97])
def test_a_file_that_is_cut_short_is_reported(tmp_path: Path, suffix: str, share: float) -> None:
    path = encode(tmp_path / f"a{suffix}")
    assert read(path)[1] == []
    size = round(path.stat().st_size * share)
    path.write_bytes(path.read_bytes()[:size])
    frames, problems = read(path)
    if len(frames) < 60 or suffix not in COUNTED:
        (line,) = problems
        assert re.match(
            rf"{re.escape(str(path))}: ends early after {len(frames)}( of( about)? 60)? frames, cut short", line
        )


def test_a_movie_without_its_index_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mov", faststart=False)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(VideoError, match=r"a\.mov: cut short without its index \(moov\)"):
        read(path)


def test_frames_of_an_avi_file_that_ffmpeg_skips_are_reported_with_their_numbers(tmp_path: Path) -> None:
    with write_video(tmp_path / "a.avi", FPS) as write:
        for i in range(30):
            write(grey(8 * i), i / FPS)
    content = bytearray((tmp_path / "a.avi").read_bytes())
    index = content.rindex(b"idx1") + 8
    places = [struct.unpack_from("<8xI", content, index + 16 * i)[0] for i in range(30)]
    start = content.index(b"movi")
    content[start + places[9] + 20 : start + places[13]] = bytes(places[13] - places[9] - 20)
    (tmp_path / "a.avi").write_bytes(content)
    frames, problems = read(tmp_path / "a.avi")
    read_numbers = [frame.index for frame in frames]
    assert set(range(30)) - set(read_numbers) in ({9, 10, 11, 12}, {10, 11, 12})
    assert [round(frame.time_s * FPS) for frame in frames] == read_numbers
    assert all(abs(float(frame.image_rgb.mean()) - 8 * frame.index) < 3 for frame in frames if frame.index != 9)
    assert problems[0].endswith("-12")


def test_a_rate_that_varies_is_no_damage() -> None:
    times_s = [0.0, 0.04, 0.08, 0.21, 0.25, 0.3, 0.5]
    images = iter(range(len(times_s)))
    current = {"i": 0}

    def grab() -> tuple[bool, Image]:
        current["i"] = next(images, -1)
        return current["i"] >= 0, grey(0)

    stamps = {cv2.CAP_PROP_POS_MSEC: lambda: 1000 * times_s[current["i"]], cv2.CAP_PROP_FPS: lambda: 25.0}
    capture = SimpleNamespace(get=lambda key: stamps.get(key, lambda: 0.0)(), read=grab)
    video = Video("a.mkv", cast(Any, capture), live=False)
    assert len(list(video)) == len(times_s)
    assert video.problems == []
