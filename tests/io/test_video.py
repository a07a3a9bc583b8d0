import io
import os
import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
from tests.io.video_files import FPS, HEIGHT, encode, grey, read

from unveil.io import video_writer
from unveil.io.video import open_video
from unveil.io.video_sources import VideoError, expand_sources, output_name, source_name
from unveil.io.video_writer import write_video


def write_frames(folder: Path, count: int = 12) -> Path:
    folder.mkdir()
    for i in range(count):
        cv2.imwrite(str(folder / f"shot{i + 1}.png"), grey(10 * i))
    return folder


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


def test_a_gap_shows_the_frame_before_it(tmp_path: Path) -> None:
    with write_video(tmp_path / "a.avi", FPS) as write:
        for value, time_s in ((20, 0), (220, 5 / FPS), (120, 6 / FPS)):
            write(grey(value), time_s)
    frames, _ = read(tmp_path / "a.avi")
    assert [round(float(frame.image_rgb.mean()) / 20) for frame in frames] == [1] * 5 + [11, 6]


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
