import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.inference.command_output import Align, WriteImage, errors, record, square, written

from unveil.cli.images import check_writable
from unveil.inference import aligner as runtime
from unveil.inference import pipeline
from unveil.inference.external_detectors import DetectorError
from unveil.io.formats import FORMATS, FormatName, read_annotations
from unveil.io.formats.matching import ImageIndex, match_faces
from unveil.types import Detection, Image


def test_an_image_gives_json_and_overlay(align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any) -> None:
    write_image("a.png")
    assert align("a.png") == 0
    assert written(tmp_path / "out") == ["a.json", "a.overlay.png"]
    content = record(tmp_path / "out" / "a.json")
    assert content["image"] == "a.png"
    assert len(content["faces"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "1 image, 1 face: json, overlay in out\n"
    assert captured.err == ""


def test_a_folder_gives_its_tree_and_every_kind(align: Align, write_image: WriteImage, tmp_path: Path) -> None:
    write_image("in/a.png")
    write_image("in/deep/b.jpg")
    assert align("in", "--save", "json", "pts", "csv", "aligned") == 0
    per_face = ["0.aligned-112.png", "0.aligned-256.png", "json", "pts"]
    expected = [f"{stem}.{end}" for stem in ("a", "deep/b") for end in per_face]
    assert written(tmp_path / "out") == sorted([*expected, "faces.csv"])


@pytest.mark.parametrize("kind", ["pts", "json", "csv", "coco", "dlib", "cvat", "label-studio"])
def test_every_annotation_format_is_written_and_finds_its_images_again(
    align: Align, write_image: WriteImage, tmp_path: Path, kind: FormatName
) -> None:
    paths = [write_image("in/a.png"), write_image("in/deep/b.jpg")]
    assert align("in", "--save", kind) == 0
    form = FORMATS[kind]
    source = tmp_path / "out" if form.in_folder else tmp_path / f"out/faces{form.suffix}"
    annotations = read_annotations(source)
    matched, problems = match_faces(annotations.valid, ImageIndex(tmp_path / "in"))
    assert not annotations.invalid
    assert not problems
    assert [face.image for face in matched] == paths
    assert np.isfinite(matched[0].annotation.points_px).all()
    if kind == "dlib":
        assert (tmp_path / "out" / annotations.valid[0].image).resolve() == paths[0].resolve()


def test_several_faces_have_numbered_pts_files(align: Align, write_image: WriteImage, tmp_path: Path) -> None:
    write_image("a.png")
    (tmp_path / "boxes.json").write_text('{"a.png": [[10, 10, 40, 50], [50, 10, 80, 50]]}')
    assert align("a.png", "--boxes", "boxes.json", "--save", "pts") == 0
    assert written(tmp_path / "out") == ["a.0.pts", "a.1.pts"]


def test_a_file_name_of_odd_bytes_survives(align: Align, write_image: WriteImage, tmp_path: Path, capfd: Any) -> None:
    name = os.fsdecode(b"in/\xff, \xe9.png")
    write_image("in/plain.png").rename(tmp_path / name)
    kinds = ("json", "csv", "coco", "label-studio", "pts", "overlay")
    assert align("in", "--save", *kinds) == 0
    read = [read_annotations(tmp_path / "out" / file).valid[0].image for file in ("faces.csv", "faces.coco.json")]
    assert read == [name, name.removeprefix("in/")]
    assert record(next((tmp_path / "out").glob("*[!oa].json")))["image"] == name
    assert capfd.readouterr().err == ""
    (tmp_path / name).write_bytes(b"")
    assert align("in") == 2
    assert "the file is empty" in capfd.readouterr().err


def test_boxes_skip_detection(align: Align, write_image: WriteImage, tmp_path: Path) -> None:
    a, b = write_image("a.png"), write_image("b.png")
    boxes = {"a.png": [[10, 10, 40, 50], [50, 10, 80, 50]], str(b.resolve()): [[5, 6, 50, 60]]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    assert align(a, "b.png", "--boxes", "boxes.json") == 0
    assert [face["box"] for face in record(tmp_path / "out/a.json")["faces"]] == boxes["a.png"]
    assert [face["box"] for face in record(tmp_path / "out/b.json")["faces"]] == [[5, 6, 50, 60]]


def test_an_image_without_a_face_is_a_warning(
    align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any
) -> None:
    write_image("black.png", np.zeros((50, 50, 3), np.uint8))
    assert align("black.png") == 0
    assert record(tmp_path / "out" / "black.json")["faces"] == []
    (line,) = errors(capsys)
    assert line.startswith("warning: black.png: no face found")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.jpg", None, "no such file"),
        ("text.jpg", b"some text", "not an image"),
        ("empty.jpg", b"", "the file is empty"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "cut short"),
    ],
)
def test_a_file_that_is_no_image_is_one_line_and_the_others_go_on(
    align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any, name: str, content: bytes | None, complaint: str
) -> None:
    write_image("good.png")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert align(name, "good.png") == 1
    (line,) = errors(capsys)
    assert line.startswith(f"error: {name}: ")
    assert complaint in line
    assert written(tmp_path / "out") == ["good.json", "good.overlay.png"]
    assert align(name) == 2
    assert len(errors(capsys)) == 1


def test_an_image_of_one_pixel_is_one_line(align: Align, write_image: WriteImage, capsys: Any) -> None:
    write_image("dot.png", np.zeros((1, 1, 3), np.uint8))
    assert align("dot.png") == 2
    assert "dot.png: 1x1 pixels" in errors(capsys)[0]


def test_files_that_are_not_images_are_counted_by_suffix(
    align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any
) -> None:
    for name in ("in/a.png", "in/deep/b.png"):
        write_image(name)
    for name in ("in/notes.txt", "in/deep/more.TXT", "in/clip.mp4", "in/README", "in/.hidden"):
        (tmp_path / name).touch()
    assert align("in") == 0
    (line,) = errors(capsys)
    assert line.startswith("warning: in: skipped 4 files that are not images: 2 .txt, ")
    assert {"1 .mp4", "1 without a suffix"} <= set(line.split(", "))


def test_a_decision_about_the_values_of_an_image_is_a_warning(align: Align, tmp_path: Path, capsys: Any) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 96, 3), 4000, np.uint16))
    assert align("a.png") == 0
    assert errors(capsys) == ["warning: a.png: 16-bit values up to 4000 were scaled from 0-4095 to 0-255"]


def test_a_folder_or_glob_without_images_is_one_line(
    align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "empty").mkdir()
    assert align("empty", "none/*.jpg") == 2
    assert len(errors(capsys)) == 2
    write_image("good.png")
    assert align("empty", "good.png") == 1


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ([[200, 10, 260, 50]], "lies outside the image of 96x64"),
        ([[10, 10, float("nan"), 50]], "is not finite"),
        ([[10, 10, 40]], "expected four numbers"),
        ([["10", 10, 40, 50]], "expected four numbers"),
        ({"x0": 10}, "expected a list"),
    ],
)
def test_a_bad_box_is_one_line_and_the_others_go_on(
    align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any, entry: object, complaint: str
) -> None:
    write_image("a.png")
    write_image("b.png")
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": entry, "b.png": [[10, 10, 40, 50]]}))
    assert align("a.png", "b.png", "--boxes", "boxes.json") == 1
    (line,) = errors(capsys)
    assert line.startswith("error: a.png: ")
    assert complaint in line
    assert written(tmp_path / "out") == ["b.json", "b.overlay.png"]


def test_an_image_that_the_boxes_do_not_name_is_a_failure_and_a_stray_entry_a_warning(
    align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any
) -> None:
    write_image("a.png")
    (tmp_path / "boxes.json").write_text('{"b.png": []}')
    assert align("a.png", "--boxes", "boxes.json") == 2
    warning, error = errors(capsys)
    assert warning.startswith("warning: boxes.json: no image of this run is ")
    assert error.startswith("error: a.png: no boxes in boxes.json")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "No such file"), ("{", "not JSON"), ("[1]", "holds a list"), (b"\xff\xfe\x00", "not JSON")],
)
def test_an_unreadable_boxes_file_stops_everything(
    align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any, content: str | bytes | None, complaint: str
) -> None:
    write_image("a.png")
    if content is not None:
        (tmp_path / "boxes.json").write_bytes(content.encode() if isinstance(content, str) else content)
    assert align("a.png", "--boxes", "boxes.json") == 2
    (line,) = errors(capsys)
    assert line.startswith("error: boxes.json: ")
    assert complaint in line
    assert not (tmp_path / "out").exists()


def test_the_message_for_an_unknown_model_has_the_nearest(
    align: Align, write_image: WriteImage, model_dir: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "shipped_models", lambda: {"glomface-light": model_dir})
    write_image("a.png")
    assert align("a.png", "--model", "glomface-ligth") == 2
    (line,) = errors(capsys)
    assert "unknown model 'glomface-ligth': did you mean 'glomface-light'?" in line


def test_an_out_folder_that_cannot_be_written_is_one_line(
    align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any
) -> None:
    write_image("a.png")
    (tmp_path / "file").touch()
    for out in ("file", "file/below"):
        assert align("a.png", out=out) == 2
        (line,) = errors(capsys)
        assert "is a file, not a folder" in line


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # chmod does not stop root, who runs many tests
    with pytest.raises(ValueError, match="no permission to write"):
        check_writable(tmp_path / "new" / "deep")


def test_a_detector_that_cannot_be_had_is_one_line_and_boxes_work_without_it(
    align: Align, write_image: WriteImage, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DetectorError("use --detector yunet")

    monkeypatch.setattr(pipeline, "load_detector", refuse)
    write_image("a.png")
    assert align("a.png") == 2
    assert errors(capsys) == ["error: use --detector yunet"]
    (tmp_path / "boxes.json").write_text('{"a.png": [[10, 10, 40, 50]]}')
    assert align("a.png", "--boxes", "boxes.json") == 0


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--min-score", "60"], ["--min-score", "nan"], ["--save"]])
def test_an_option_out_of_range_is_one_line(
    align: Align, write_image: WriteImage, capsys: Any, arguments: list[str]
) -> None:
    write_image("a.png")
    assert align("a.png", *arguments) == 2
    (line,) = errors(capsys)
    assert line.startswith(f"error: {arguments[0]}")


def test_trouble_of_an_unknown_kind_stops_one_image_only(
    align: Align, write_image: WriteImage, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_once(image_rgb: Image) -> list[Detection]:
        if image_rgb.shape[0] == 20:
            raise RuntimeError("out\nof memory")
        return square(image_rgb)

    monkeypatch.setattr(pipeline, "load_detector", lambda *_: fails_once)
    write_image("a.png", np.full((20, 20, 3), 9, np.uint8))
    write_image("b.png")
    assert align("a.png", "b.png") == 1
    assert errors(capsys) == ["error: a.png: RuntimeError: out of memory"]
