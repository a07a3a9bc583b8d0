"""`unveil convert`: any annotation file to any other, with what it lacks named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from unveil.cli import main
from unveil.io.annotations import read_pts, write_pts
from unveil.io.formats import FORMATS, FormatName, read_annotations
from unveil.types import Points

Convert = Callable[..., int]


def shape(seed: int, points: int = 68) -> Points:
    return np.random.default_rng(seed).integers(10, 80, (points, 2)).astype(np.float32)


@pytest.fixture
def convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Convert:
    """`unveil convert` in a folder with two images, one with two faces, and their `.pts` files."""
    monkeypatch.chdir(tmp_path)
    for name, height in (("in/deep/a.jpg", 90), ("in/image.003.png", 100)):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(name, np.full((height, 120, 3), 99, np.uint8))
    write_pts(Path("in/deep/a.0.pts"), shape(0))
    write_pts(Path("in/deep/a.1.pts"), shape(1))
    write_pts(Path("in/image.003.pts"), shape(2))
    return lambda *arguments: main(["convert", *map(str, arguments)])


def files(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pts"])
def test_pts_go_to_every_format_and_back(convert: Convert, name: FormatName, capsys: Any) -> None:
    out = "out.json" if name == "json" else f"out{FORMATS[name].suffix}"
    assert convert("in", "--to", name, "--out", out) == 0
    captured = capsys.readouterr()
    assert captured.out == f"2 images, 3 faces: {name} in {out}\n"
    assert captured.err == ""
    read = read_annotations(out)
    assert [face.image for face in read.valid] == ["deep/a.jpg", "deep/a.jpg", "image.003.png"]
    if FORMATS[name].needs_size:
        assert read.valid[0].image_size == (120, 90)
    assert convert(out, "--to", "pts", "--out", "back") == 0
    assert files("back") == ["deep/a.0.pts", "deep/a.1.pts", "image.003.pts"]
    for path in files("back"):
        np.testing.assert_allclose(read_pts(Path("back") / path), read_pts(Path("in") / path), atol=2e-3)


def test_json_goes_to_one_file_per_image_or_to_a_single_one(convert: Convert) -> None:
    assert convert("in", "--to", "json", "--out", "out") == 0
    assert files("out") == ["deep/a.json", "image.003.json"]
    assert convert("out", "--to", "csv", "--out", "out.csv") == 0
    assert len(read_annotations("out.csv").valid) == 3


def test_paths_are_replaced_by_those_below_the_images(convert: Convert) -> None:
    content = {"/home/me/photos/deep/a.jpg": shape(0).tolist(), "C:\\photos\\image.003.png": shape(2).tolist()}
    Path("faces.json").write_text(json.dumps(content), "utf-8")
    assert convert("faces.json", "--to", "cvat", "--out", "faces.xml", "--images", "in") == 0
    assert [face.image for face in read_annotations("faces.xml").valid] == ["deep/a.jpg", "image.003.png"]
    assert [face.image_size for face in read_annotations("faces.xml").valid] == [(120, 90), (120, 100)]


def test_a_face_that_cannot_be_read_or_has_no_image_is_named(convert: Convert, capsys: Any) -> None:
    Path("in/image.003.pts").write_text("1 2\n3 x\n")
    write_pts(Path("in/lost.pts"), shape(0))
    assert convert("in", "--to", "coco", "--out", "out.json") == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "error: in/image.003.pts, line 2: '3 x' is not two numbers",
        "error: in/lost.pts: no image 'lost.pts' below in; check the path",
    ]
    assert captured.out.startswith("1 image, 2 faces: coco")


def test_visibility_that_a_format_cannot_keep_is_a_warning(convert: Convert, capsys: Any) -> None:
    face = {"landmarks": shape(0).tolist(), "visibility": [0.5] * 68}
    Path("a.json").write_text(json.dumps({"image": "a.jpg", "width": 90, "height": 90, "faces": [face]}), "utf-8")
    assert convert("a.json", "--to", "dlib", "--out", "out.xml") == 0
    assert capsys.readouterr().err == (
        "warning: out.xml: dlib has no visibility for each landmark, so it is not written\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("none.json", "--to", "csv", "--out", "a.csv"), "none.json: no such file or folder; give"),
        (("in", "--to", "csv", "--out", "in"), "--out in: a folder; name the file to write, as in faces.csv"),
        (("in", "--to", "csv", "--out", "a.csv", "--scheme", "wflw98"), "in: 68 points, but scheme 'wflw98' has 98"),
        (("in", "--to", "csv", "--out", "a.csv", "--images", "no"), "no: no such folder"),
        (("bare.csv", "--to", "label-studio", "--out", "a.json"), "gone.jpg: label-studio needs the size of the image"),
        (("bare.csv", "--to", "csv", "--out", "bare.csv"), "--out bare.csv: that is the source itself"),
    ],
)
def test_what_cannot_be_converted_is_one_line(
    convert: Convert, capsys: Any, arguments: tuple[str, ...], complaint: str
) -> None:
    Path("bare.csv").write_text("gone.jpg," + ",".join(map(str, shape(0).ravel())) + "\n", "utf-8")
    assert convert(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {complaint}")


def test_a_damaged_image_and_a_face_of_another_scheme_cost_themselves_only(convert: Convert, capsys: Any) -> None:
    write_pts(Path("in/deep/a.0.pts"), shape(0, 67))
    Path("in/image.003.png").write_bytes(b"x")
    assert convert("in", "--to", "coco", "--out", "out.json") == 1
    captured = capsys.readouterr()
    assert captured.out == "1 image, 1 face: coco in out.json\n"
    assert [line.split(": ", 2)[1] for line in captured.err.splitlines()] == ["in/deep/a.0.pts", "in/image.003.png"]
    Path("in/deep/a.jpg").write_bytes(b"x")
    assert convert("in", "--to", "coco", "--out", "none.json") == 2
    assert "error: in: no face could be converted" in capsys.readouterr().err
    assert not Path("none.json").exists()


def test_landmarks_that_cannot_be_true_are_a_warning(convert: Convert, capsys: Any) -> None:
    write_pts(Path("in/image.003.pts"), np.concatenate([np.full((1, 2), -1, np.float32), shape(2, 67)]))
    assert convert("in", "--to", "csv", "--out", "out.csv") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: in/image.003.pts: landmark 0 is at (-1, -1), which marks a missing one")


@pytest.mark.parametrize(("to", "suffix"), [("pts", ".pts"), ("json", ".json")])
def test_images_that_differ_in_their_suffix_have_files_of_their_own(convert: Convert, to: str, suffix: str) -> None:
    Path("two.json").write_text(json.dumps({"a.jpg": shape(0).tolist(), "a.png": shape(1).tolist()}), "utf-8")
    assert convert("two.json", "--to", to, "--out", "out") == 0
    assert files("out") == [f"a.jpg{suffix}", f"a.png{suffix}"]
    read = read_annotations("out", allow_missing=True).valid
    assert [face.points_px.tolist() for face in read] == [shape(0).tolist(), shape(1).tolist()]


def test_images_with_one_json_file_are_refused_before_anything_is_written(convert: Convert, capsys: Any) -> None:
    faces = {name: shape(i).tolist() for i, name in enumerate(("a.jpg", "a.png", "a.jpg.jpg"))}
    Path("three.json").write_text(json.dumps(faces), "utf-8")
    assert convert("three.json", "--to", "json", "--out", "out") == 2
    assert "another image also gives a.jpg.json" in capsys.readouterr().err
    assert not Path("out").exists() or files("out") == []


def test_two_images_with_the_same_pts_file_are_refused_before_anything_is_written(
    convert: Convert, capsys: Any
) -> None:
    face = {"landmarks": shape(0).tolist()}
    images = [{"image": "IMG.jpg", "faces": [face, face]}, {"image": "IMG.0.jpg", "faces": [face]}]
    Path("two.json").write_text(json.dumps(images), "utf-8")
    assert convert("two.json", "--to", "pts", "--out", "out") == 2
    assert "IMG.0.jpg: another image also gives IMG.0.pts; rename one of them" in capsys.readouterr().err
    assert not Path("out").exists() or files("out") == []


@pytest.mark.parametrize("to", ["coco", "dlib"])
def test_a_face_without_any_landmark_costs_only_itself(convert: Convert, capsys: Any, to: str) -> None:
    faces = {"deep/a.jpg": shape(0).tolist(), "image.003.png": [[None, None]] * 68}
    Path("two.json").write_text(json.dumps(faces), "utf-8")
    assert convert("two.json", "--to", to, "--out", "out.file", "--images", "in") == 1
    assert "image.003.png': all landmarks are missing" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["pts", "cvat"])
def test_a_face_with_a_missing_landmark_costs_only_itself(convert: Convert, capsys: Any, to: str) -> None:
    damaged = shape(1).tolist()
    damaged[7] = [None, None]
    faces = {"deep/a.jpg": shape(0).tolist(), "b.jpg": damaged, "image.003.png": shape(2).tolist()}
    Path("three.json").write_text(json.dumps(faces), "utf-8")
    out = "out" if to == "pts" else "out.xml"
    assert convert("three.json", "--to", to, "--out", out, "--images", "in") == 1
    assert len(read_annotations(out).valid) == 2
    assert "b.jpg" in capsys.readouterr().err


def test_a_landmark_that_is_missing_is_named_by_file_and_point(convert: Convert, capsys: Any) -> None:
    points = shape(0).tolist()
    points[7] = [None, None]
    Path("a.json").write_text(json.dumps({"a.jpg": points}), "utf-8")
    assert convert("a.json", "--to", "pts", "--out", "out") == 2
    assert "a.json: 'a.jpg': landmark 7 is missing, which pts cannot express" in capsys.readouterr().err
    assert convert("a.json", "--to", "coco", "--out", "b.json") == 0
    assert np.isnan(read_annotations("b.json", allow_missing=True).valid[0].points_px[7]).all()
