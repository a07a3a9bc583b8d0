import io
import os
import re
import shutil
import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from unveil.io import video_writer
from unveil.io.video import COUNTED, Frame, Video, open_video
from unveil.io.video_sources import VideoError, expand_sources, output_name, source_name
from unveil.io.video_writer import write_video
from unveil.types import Image

FPS, WIDTH, HEIGHT = 25, 96, 64


def grey(level: int) -> Image:
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


def read(source: Path | str) -> tuple[list[Frame], list[str]]:
    with open_video(str(source)) as video:
        return list(video), video.problems


def write_frames(folder: Path, count: int = 12) -> Path:
    folder.mkdir()
    for i in range(count):
        cv2.imwrite(str(folder / f"shot{i + 1}.png"), grey(10 * i))
    return folder


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


@pytest.mark.parametrize("name", ["", "*.png", "shot%d.png"])
def test_an_image_sequence_is_a_video(tmp_path: Path, name: str) -> None:
    folder = write_frames(tmp_path / "frames")
    frames, problems = read(str(folder / name) if name else folder)
    assert [round(float(frame.image_rgb.mean())) for frame in frames] == [10 * i for i in range(12)]
    assert frames[3].time_s == pytest.approx(3 / 30)
    assert problems == []


def test_a_missing_and_a_damaged_image_of_a_sequence_are_reported(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames")
    (folder / "shot4.png").unlink()
    (folder / "shot9.png").write_bytes(b"\x89PNG")
    frames, problems = read(str(folder / "shot%d.png"))
    assert [frame.index for frame in frames] == [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]
    assert problems[0].endswith("2 of 12 frames could not be decoded and were left out: 3, 8")


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    frames, _ = read(encode(tmp_path / "a.mp4", 3, Fraction(3, 2)))
    assert frames[0].image_rgb.shape == (HEIGHT, 144, 3)


@pytest.mark.parametrize("suffix", [".webm", ".mkv", ".mp4", ".avi"])
@pytest.mark.parametrize("pyav", [True, False])
def test_every_format_is_written_and_read_back(
    tmp_path: Path, suffix: str, pyav: bool, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    if pyav:
        pytest.importorskip("av", reason="PyAV is in the extra [video]")
    monkeypatch.setattr(video_writer, "has_pyav", lambda: pyav)
    path = tmp_path / f"a{suffix}"
    with write_video(path, FPS) as write:
        for i in range(10):
            write(grey(20 * i), i / FPS)
    frames, problems = read(path)
    assert [round(float(frame.image_rgb.mean()) / 20) for frame in frames] == list(range(10))
    assert frames[-1].time_s == pytest.approx(9 / FPS, abs=2e-3)
    assert problems == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "opus"), (".mp4", "aac")])
def test_the_sound_is_carried_over(tmp_path: Path, suffix: str, codec: str) -> None:
    av = pytest.importorskip("av", reason="PyAV is in the extra [video]")
    source = encode(tmp_path / "a.mp4", 50, sound=True)
    path = tmp_path / f"b{suffix}"
    with write_video(path, FPS, source) as write:
        for i in range(50):
            write(grey(100), i / FPS)
    with av.open(str(path)) as file:
        (stream,) = file.streams.audio
        assert stream.codec_context.name == codec
        seconds = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
    assert seconds == pytest.approx(2.0, abs=0.1)


def test_a_video_without_sound_gives_one_without_sound(tmp_path: Path) -> None:
    source = encode(tmp_path / "a.mp4", 5)
    with write_video(tmp_path / "b.webm", FPS, source) as write:
        write(grey(100), 0.0)
    assert len(read(tmp_path / "b.webm")[0]) == 1


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_a_video_is_read_from_standard_input(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a{suffix}"
    with write_video(path, FPS) as write:
        for i in range(5):
            write(grey(20 * i), i / FPS)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(path.read_bytes()))))
    with open_video("-") as video:
        assert len(list(video)) == 5
    assert video.name == "standard input"


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_a_stream_on_standard_input_that_is_cut_short_is_reported(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode(tmp_path / f"a{suffix}").read_bytes()
    for data, is_cut in ((content, False), (content[: len(content) * 2 // 3], True)):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(data))))
        frames, problems = read("-")
        assert len(frames) < 60 if is_cut else problems == []
        assert ["cut short" in problem for problem in problems] == [True] * is_cut


def test_globs_and_folders_of_videos_are_several_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clips/a.mp4", "clips/b.webm", "frames/1.png", "both/a.mp4", "both/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    videos = [os.path.join("clips", name) for name in ("a.mp4", "b.webm")]  # noqa: PTH118
    assert expand_sources(["clips"]) == expand_sources(["clips/*", "clips/a.mp4"]) == videos
    assert expand_sources(["frames", "frames/*.png", "frames/%04d.png", "0", "-", "rtsp://host/a"]) == [
        *("frames", "frames/*.png", "frames/%04d.png", "0", "-", "rtsp://host/a"),
    ]
    with pytest.raises(VideoError, match="holds videos and images"):
        expand_sources(["both"])
    with pytest.raises(VideoError, match="no file matches"):
        expand_sources(["clips/*.mov"])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("talk.mp4", "talk"),
        ("frames/%04d.png", "frames"),
        ("frames/shot_%04d.png", "shot"),
        ("frames/*.png", "frames"),
        ("0", "camera-0"),
        ("-", "stdin"),
        ("rtsp://user:secret@host:554/live/door?token=1", "door"),
        ("http://host", "host"),
    ],
)
def test_outputs_are_named_after_their_source(source: str, name: str) -> None:
    assert output_name(source) == name


def test_a_message_does_not_show_the_password_of_a_url() -> None:
    assert source_name("rtsp://user:secret@host:554/live?token=1") == "rtsp://host:554/live"


def test_a_url_is_read(tmp_path: Path, serve_folder: Callable[[Path], str]) -> None:
    with write_video(tmp_path / "a.webm", FPS) as write:
        for i in range(5):
            write(grey(20 * i), i / FPS)
    address = serve_folder(tmp_path)
    with open_video(f"{address}/a.webm") as video:
        assert not video.live
        assert len(list(video)) == 5
    with pytest.raises(VideoError, match="check the address"), open_video(f"{address}/none.webm"):
        pass


def test_a_movie_with_its_index_at_the_end_is_read_from_a_server_that_sends_whole_files_only(
    tmp_path: Path, serve_folder: Callable[[Path], str]
) -> None:
    encode(tmp_path / "a.mp4", 5, faststart=False)
    with open_video(f"{serve_folder(tmp_path)}/a.mp4?token=1") as video:
        assert len(list(video)) == 5
    assert video.name.endswith("/a.mp4")


@pytest.fixture
def serve_folder() -> Any:
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    servers = []

    def serve(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=folder))
        Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


CHROMIUM = os.environ.get("UNVEIL_CHROMIUM") or shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; set UNVEIL_CHROMIUM")
@pytest.mark.parametrize("pyav", [True, False])
def test_the_default_format_plays_in_a_browser(
    tmp_path: Path, pyav: bool, monkeypatch: pytest.MonkeyPatch, serve_folder: Callable[[Path], str]
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    monkeypatch.setattr(video_writer, "has_pyav", lambda: pyav)
    with write_video(tmp_path / "a.webm", FPS) as write:
        for i in range(50):
            write(grey(5 * i), i / FPS)
    (tmp_path / "index.html").write_text("<video src='a.webm' preload='auto' muted></video>")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(serve_folder(tmp_path))
        page.wait_for_function("document.querySelector('video').readyState >= 3", timeout=10000)
        assert page.evaluate("document.querySelector('video').duration") == pytest.approx(2.0, abs=0.1)
        browser.close()
