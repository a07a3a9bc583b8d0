import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from unveil.cli import main
from unveil.inference import pipeline
from unveil.inference.tracking import TrackedFace, Tracker
from unveil.io.video import Video, open_video
from unveil.io.video_sources import VideoError
from unveil.io.video_writer import write_video
from unveil.types import Box, Detection, Image

Track = Callable[..., int]
FPS, COUNT, WIDTH, HEIGHT = 25, 12, 96, 64


def middle(image_rgb: Image) -> list[Detection]:
    """Finds one face, the middle of the frame, unless it is black."""
    return [Detection(Box(32, 16, 64, 48), 0.9)] if image_rgb.any() else []


@pytest.fixture
def track(
    tmp_path: Path,
    make_model: Callable[[NDArray[np.float32]], Path],
    face_unit: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> Track:
    """`unveil track` in `tmp_path` with a model of constants that fill their box, and a detector of the middle."""
    low, high = face_unit.min(axis=0), face_unit.max(axis=0)
    model = make_model((face_unit - (low + high) / 2) / (np.linalg.norm(high - low) / 2))
    monkeypatch.setattr(pipeline, "load_detector", lambda *_: middle)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["track", *map(str, arguments), "--model", str(model)])


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.avi")


def write_clip(path: Path, brightness: int = 90) -> Path:
    rng = np.random.default_rng(0)
    with write_video(path, FPS) as write:
        for i in range(COUNT):
            frame = rng.integers(brightness, brightness + 9, (HEIGHT, WIDTH, 3)) * (brightness > 0)
            write(frame.astype(np.uint8), i / FPS)
    return path


def frames(path: Path) -> list[Image]:
    with open_video(str(path)) as opened:
        return [frame.image_rgb for frame in opened]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("clip")
def test_a_video_gives_a_drawn_video_and_a_line_a_frame(track: Track, tmp_path: Path, capsys: Any) -> None:
    assert track("clip.avi") == 0
    assert written(tmp_path / "out") == ["clip.jsonl", "clip.webm"]
    assert len(frames(tmp_path / "out/clip.webm")) == COUNT
    found = lines(tmp_path / "out/clip.jsonl")
    assert [line["frame"] for line in found] == list(range(COUNT))
    assert [line["time_s"] for line in found] == pytest.approx([i / FPS for i in range(COUNT)], abs=1e-3)
    assert all([(face["id"], face["state"]) for face in line["faces"]] == [(1, "tracked")] for line in found)
    assert set(found[0]["faces"][0]) > {"id", "state", "landmarks", "visibility", "uncertainty", "pose"}
    captured = capsys.readouterr()
    assert captured.out.startswith("frames: 12, faces: 1, frames/s: ")
    assert captured.err == ""


@pytest.mark.usefixtures("clip")
def test_the_table_has_the_values_of_the_lines(track: Track, tmp_path: Path) -> None:
    assert track("clip.avi", "--save", "json", "csv", "--out", "results/a") == 0
    assert written(tmp_path / "results") == ["a.csv", "a.jsonl"]
    with (tmp_path / "results/a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    face = lines(tmp_path / "results/a.jsonl")[3]["faces"][0]
    assert (rows[3]["frame"], rows[3]["id"], rows[3]["state"]) == ("3", "1", "tracked")
    assert [float(rows[3][name]) for name in ("x67", "y67")] == face["landmarks"][67]
    assert [float(rows[3][f"box_{edge}"]) for edge in ("x0", "y0", "x1", "y1")] == face["box"]
    assert float(rows[3]["visibility0"]) == face["visibility"][0]
    assert float(rows[3]["yaw"]) == face["pose"]["yaw"]


def test_several_sources_go_to_one_folder_and_share_no_state(track: Track, tmp_path: Path, capsys: Any) -> None:
    for name in ("a/clip.avi", "b/clip.avi", "c.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_clip(tmp_path / name)
    assert track("a/clip.avi", "b/clip.avi", "c.avi", "missing.mp4", "--save", "json", "--out", "all") == 1
    assert written(tmp_path / "all") == ["c.jsonl", "clip-2.jsonl", "clip.jsonl"]
    assert all(lines(path)[0]["faces"][0]["id"] == 1 for path in (tmp_path / "all").iterdir())
    captured = capsys.readouterr()
    assert captured.out.count("frames: 12") == 3
    assert captured.err.startswith("error: missing.mp4: no such file")
    assert track("a/clip.avi", "c.avi", "--out", "all.webm") == 2
    assert "name a folder" in capsys.readouterr().err


def test_an_image_sequence_has_the_rate_that_is_given(track: Track, tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"shots/{i:04d}.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    assert track("shots/%04d.png", "--fps", "10") == 0
    assert written(tmp_path / "out") == ["shots.jsonl", "shots.webm"]
    assert [line["time_s"] for line in lines(tmp_path / "out/shots.jsonl")] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def stop_after_five_frames(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    follow = Tracker.__call__

    def stopped(self: Tracker, image_rgb: Image, time_s: float, flip_average: bool) -> list[TrackedFace]:
        if time_s > 4.5 / FPS:
            raise error
        return follow(self, image_rgb, time_s, flip_average=flip_average)

    monkeypatch.setattr(Tracker, "__call__", stopped)


@pytest.mark.usefixtures("clip")
def test_an_interrupted_run_leaves_readable_files(
    track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    stop_after_five_frames(monkeypatch, KeyboardInterrupt())
    assert track("clip.avi", "--save", "video", "json", "csv") == 130
    assert written(tmp_path / "out") == ["clip.csv", "clip.jsonl", "clip.webm"]
    assert len(frames(tmp_path / "out/clip.webm")) == len(lines(tmp_path / "out/clip.jsonl")) == 5
    assert len((tmp_path / "out/clip.csv").read_text().splitlines()) == 6
    assert capsys.readouterr().err == "interrupted; files that were written are complete\n"


@pytest.mark.usefixtures("clip")
def test_trouble_in_the_middle_is_one_line_and_keeps_what_is_there(
    track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    stop_after_five_frames(monkeypatch, RuntimeError("out\nof memory"))
    assert track("clip.avi") == 1
    assert len(lines(tmp_path / "out/clip.jsonl")) == 5
    assert capsys.readouterr().err == "error: RuntimeError: out of memory\n"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.mp4", None, "no such file"),
        ("text.mp4", b"some text", "not a video"),
        ("empty.mp4", b"", "the file is empty"),
        ("photo.png", b"\x89PNG", "use unveil align"),
        ("folder", None, "no images"),
        ("99", None, "cannot be opened"),
        ("99999999999", None, "no camera has that number"),
    ],
)
def test_a_source_that_is_no_video_is_one_line(
    track: Track, tmp_path: Path, capfd: Any, name: str, content: bytes | None, complaint: str
) -> None:
    (tmp_path / "folder").mkdir()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert track(name) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {'camera ' if name.isdecimal() else ''}{name}: ")
    assert complaint in line
    assert not (tmp_path / "out").exists()


def test_a_video_without_frames_is_one_line(track: Track, tmp_path: Path, capsys: Any) -> None:
    cv2.VideoWriter(str(tmp_path / "none.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT)).release()
    assert track("none.mp4") == 2
    assert "without frames" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_broken_frame_is_left_out_and_counted(track: Track, clip: Path, tmp_path: Path, capfd: Any) -> None:
    content = bytearray(clip.read_bytes())
    names = [i for i in range(len(content)) if content[i : i + 4] == b"00dc"]  # the first is in the header
    start = names[5] + 8
    content[start : start + 200] = bytes(200)
    clip.write_bytes(content)
    assert track("clip.avi", "--save", "json") == 1
    assert capfd.readouterr().err == "error: clip.avi: 1 of 12 frames could not be decoded and were left out: 4\n"
    times = [round(line["time_s"] * FPS) for line in lines(tmp_path / "out/clip.jsonl")]
    assert times == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]


def test_a_video_that_is_cut_short_is_followed_to_where_it_ends(track: Track, clip: Path, capfd: Any) -> None:
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 3 // 4])
    assert track("clip.avi", "--save", "json") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: clip.avi: ends early after ")


def test_a_video_without_a_face_is_a_warning(track: Track, tmp_path: Path, capsys: Any) -> None:
    write_clip(tmp_path / "black.avi", brightness=0)
    assert track("black.avi", "--save", "json") == 0
    assert capsys.readouterr().err.startswith("warning: black.avi: no face found")
    assert all(line["faces"] == [] for line in lines(tmp_path / "out/black.jsonl"))


@pytest.mark.usefixtures("clip")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--out", "a.avi"), ["a.avi", "a.jsonl"]),
        (("--out", "new/a.mp4"), ["new/a.jsonl", "new/a.mp4"]),
        (("--out", "a.jsonl", "--save", "json"), ["a.jsonl"]),
        (("--out", "."), ["clip.jsonl", "clip.webm"]),
    ],
)
def test_files_go_to_out(track: Track, tmp_path: Path, arguments: tuple[str, ...], expected: list[str]) -> None:
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert track("clip.avi", *arguments) == 0
    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert sorted(path.relative_to(tmp_path).as_posix() for path in after - before) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("--out", "a.mov"),
        ("--out", "clip.avi"),
        ("--save",),
        ("--threads", "0"),
        ("--min-score", "2"),
        ("--out", "clip.avi/b.mp4"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(
    track: Track, clip: Path, capsys: Any, arguments: tuple[str, ...]
) -> None:
    content = clip.read_bytes()
    assert track("clip.avi", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {arguments[0]}")
    assert clip.read_bytes() == content


class Camera:
    """A `cv2.VideoCapture` of frames with these timestamps, that states this rate."""

    def __init__(self, stamps_ms: list[float], fps: float = 0.0) -> None:
        self.stamps_ms, self.fps, self.at = stamps_ms, fps, -1

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FPS: self.fps, cv2.CAP_PROP_POS_MSEC: self.stamps_ms[max(self.at, 0)]}.get(what, 0.0)

    def read(self) -> tuple[bool, Image | None]:
        self.at += 1
        more = self.at < len(self.stamps_ms)
        return more, np.full((HEIGHT, WIDTH, 3), 90, np.uint8) if more else None

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def release(self) -> None:
        pass


def test_a_camera_that_disconnects_is_reported_and_its_frames_are_kept(
    track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("cv2.VideoCapture", lambda _: Camera([0.0] * 7))
    assert track("0", "--save", "json") == 1
    assert capsys.readouterr().err.startswith("error: camera 0: no more frames after 7")
    found = lines(tmp_path / "out/camera-0.jsonl")
    times = [line["time_s"] for line in found]
    assert len(times) == 7
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("stamps_ms", "times_s"),
    [
        ([0, 40, 80, 120], [0, 0.04, 0.08, 0.12]),
        ([0, 10, 200, 210], [0, 0.01, 0.2, 0.21]),  # a rate that varies
        ([0, 0, 0, 0], [0, 0.04, 0.08, 0.12]),  # a backend without timestamps
        ([0, 40, 20, float("nan")], [0, 0.04, 0.08, 0.12]),
        ([0, 40, 1e12, 120], [0, 0.04, 0.08, 0.12]),
    ],
)
def test_times_are_the_files_own_where_they_make_sense(stamps_ms: list[float], times_s: list[float]) -> None:
    opened = Video("a.mp4", cast(Any, Camera(stamps_ms, FPS)), live=False)
    assert [frame.time_s for frame in opened] == pytest.approx(times_s)


def test_a_written_video_keeps_the_speed_of_a_source_whose_rate_varies(tmp_path: Path) -> None:
    with write_video(tmp_path / "a.avi", 10.0) as write:
        for time_s, grey in ((5.0, 10), (5.1, 60), (5.4, 110), (5.41, 160), (5.6, 210)):
            write(np.full((HEIGHT, WIDTH, 3), grey, np.uint8), time_s)
    greys = [round(float(frame.mean()), -1) for frame in frames(tmp_path / "a.avi")]
    assert len(greys) == 7
    assert greys[:2] == [10, 60]
    assert greys[-1] == 210


def test_a_video_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def write_nothing() -> None:
        with write_video(tmp_path / "a.mp4", 25.0) as write:
            write(np.zeros((0, 0, 3), np.uint8), 0.0)

    with pytest.raises(VideoError, match="this video cannot be written"):
        write_nothing()
    assert written(tmp_path) == []


def test_rotation_in_the_metadata_is_obeyed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "turned.mp4")
    content = path.read_bytes()
    one, none, minus = b"\0\1\0\0", bytes(4), b"\xff\xff\0\0"
    upright = one + none * 3 + one + none * 3 + b"\x40\0\0\0"
    turned = none + one + none + minus + none * 4 + b"\x40\0\0\0"
    header = content.index(b"tkhd")
    path.write_bytes(content[:header] + content[header:].replace(upright, turned, 1))
    assert frames(path)[0].shape == (WIDTH, HEIGHT, 3)


def test_help_waits_for_no_library() -> None:
    code = (
        "import sys; from unveil.cli import main; main(['track', '--help']); "
        "assert not {'torch', 'cv2', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
