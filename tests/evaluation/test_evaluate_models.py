"""Models over data sets on the command line: the same faces and boxes for all, and every figure marked."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unveil import evaluation
from unveil.data.datasets.registry import folder
from unveil.data.synthetic import write_drawn_faces
from unveil.evaluation import ground_truth_box, headline_normaliser, noisy_box, result_of, run_models
from unveil.geometry import Crop, box_iou, tight_box
from unveil.inference.aligner import AlignmentModel
from unveil.installation import install_command
from unveil.io.annotations import read_pts, write_pts
from unveil.schemes.scheme import COFW29, IBUG68, WFLW98, WFLW98_TO_IBUG68
from unveil.types import Box, Detection, Image, Points

Evaluate = Callable[..., int]
MakeModel = Callable[..., Path]


def written(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_one_model_gives_one_flat_object_with_what_the_functions_give(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", drawn_folder)
    assert evaluate(*arguments, "--json", "out/a.json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "12, gt boxes, mirror averaging off" in captured.out
    found, faces = written(tmp_path / "out/a.json"), folder(drawn_folder)
    assert all(isinstance(value, int | float) for value in found.values())
    run = run_models({"mean": AlignmentModel.load(model_dir)}, faces)
    figures = result_of("mean", run.predictions["mean"][0], faces)
    for name, value in found.items():
        assert name == "ms_per_face" or value == pytest.approx(figures.flat()[name]), name
    assert found["n"] == 12
    assert found["partial"] is False
    assert 0 < found["nme_ocular_ci95_low"] < found["nme_ocular"] < found["nme_ocular_ci95_high"] < 20


def test_several_models_are_side_by_side_each_with_its_own_figures(
    evaluate: Evaluate, model_dir: Path, make_model: MakeModel, drawn_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    other = make_model("other", moved=0.05)
    arguments = ("--dataset", "folder", "--root", drawn_folder, "--flip-average", "--json", "a.json")
    assert evaluate("--models", model_dir, other, *arguments) == 0
    found = written(tmp_path / "a.json")
    assert list(found) == [str(model_dir), str(other)]
    assert found[str(model_dir)]["nme_ocular"] < found[str(other)]["nme_ocular"]
    assert str(other) in capsys.readouterr().out


def test_a_partial_set_is_refused_or_marked_in_every_output(
    evaluate: Evaluate, model_dir: Path, tmp_path: Path, capsys: Any
) -> None:
    write_drawn_faces(tmp_path / "300w" / "ibug", 3)
    arguments = ("--models", model_dir, "--dataset", "300w", "--split", "challenging", "--root", "300w")
    assert evaluate(*arguments) == 2
    (line,) = errors(capsys)
    assert "expected 135 faces, found 3 in 300w (short: ibug 3/135); complete it or pass --partial" in line
    assert evaluate(*arguments, "--partial", "--json", "a.json", "--save", "out") == 0
    found = written(tmp_path / "a.json")
    assert (found["n"], found["n_expected"], found["partial"]) == (3, 135, True)
    out = capsys.readouterr().out
    html = (tmp_path / "out" / "report.html").read_text("utf-8")
    for text in (out, html):
        assert "300w/challenging 3/135 PARTIAL" in text
        assert "PARTIAL SET: 3 of 135 faces; not comparable" in text
    assert evaluate(*arguments[:-3], "easy", "--root", "300w") == 2
    assert "300w has no split 'easy': there are train, common, challenging, full" in errors(capsys)[0]


def test_a_broken_face_is_named_and_the_rest_is_measured_unless_strict(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    shutil.copytree(drawn_folder, tmp_path / "faces")
    (tmp_path / "faces" / "face_003.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    points_px = read_pts(tmp_path / "faces" / "face_005.pts")
    points_px[45] = points_px[36]
    write_pts(tmp_path / "faces" / "face_005.pts", points_px)
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", "faces", "--json", "a.json")
    assert evaluate(*arguments, "--strict") == 2
    assert len(errors(capsys)) == 1
    assert not (tmp_path / "a.json").exists()
    assert evaluate(*arguments) == 1
    captured = capsys.readouterr()
    zero, cut = captured.err.splitlines()
    assert "face_005: the ocular length of its ground truth is zero" in zero
    assert "face_003.png: the PNG is cut short" in cut
    assert "faces 10/12 PARTIAL" in captured.out
    assert written(tmp_path / "a.json")["n"] == 10


def half_blind(image_rgb: Image) -> list[Detection]:
    """Finds nothing on images whose first pixel is dark."""
    return [Detection(Box(40, 40, 120, 120), 0.9)] if image_rgb[0, 0].mean() > 128 else []


def test_faces_that_the_detector_misses_are_counted_and_reported(
    evaluate: Evaluate,
    model_dir: Path,
    drawn_folder: Path,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unveil.evaluation.comparison.load_detector", lambda *_: half_blind)
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", drawn_folder, "--boxes", "detector")
    assert evaluate(*arguments, "--json", "a.json", "--save", "out") == 0
    found, faces = written(tmp_path / "a.json"), folder(drawn_folder)
    missed = sum(not half_blind(sample.load()) for sample in faces.samples)
    assert 0 < missed < 12
    assert found["detector_missed"] == missed
    assert found["nme_ocular_found"] > 0
    line = f"the detector missed {missed} of 12 faces; they got the middle half of the image"
    assert line in capsys.readouterr().out
    assert line in unescape((tmp_path / "out" / "report.html").read_text("utf-8"))


def test_boxes_come_from_a_file_by_the_faces_name_or_image(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    faces = folder(drawn_folder)
    boxes = {sample.name: [[0, 0, 9, 9], list(tight_box(sample.points_px))] for sample in faces.samples[:4]}
    boxes |= {str(sample.image): [list(tight_box(sample.points_px))] for sample in faces.samples[4:]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", drawn_folder, "--json", "a.json")
    assert evaluate(*arguments, "--boxes", "boxes.json") == 0
    from_file = written(tmp_path / "a.json")
    assert from_file["detector_missed"] == 0
    assert evaluate(*arguments) == 0
    assert from_file["nme_ocular"] == pytest.approx(written(tmp_path / "a.json")["nme_ocular"], abs=1e-4)
    boxes["face_000"], boxes["face_001"] = [], [[0, 0, float("nan"), 9]]
    del boxes["face_002"]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    capsys.readouterr()
    assert evaluate(*arguments, "--boxes", "boxes.json") == 1
    bad, none = errors(capsys)
    assert bad.startswith("error: face_001: box [0, 0, nan, 9] is not finite")
    assert none.startswith("error: face_002: no boxes in boxes.json; add an entry")
    assert written(tmp_path / "a.json")["detector_missed"] == 1
    assert evaluate(*arguments, "--boxes", "none.json") == 2
    assert "none.json" in errors(capsys)[0]


def test_box_noise_stays_within_its_fraction_and_falls_the_same_on_a_name() -> None:
    image, points_px = np.zeros((9, 9, 3), np.uint8), np.array([[10, 20], [50, 100]], np.float32)
    for name in "abcdefgh":
        box = noisy_box(0.1)(image, points_px, name)
        assert box == noisy_box(0.1)(image, points_px, name)
        assert isinstance(box, Box)
        assert abs((box.x0 + box.x1) / 2 - 30) <= 4
        assert abs((box.y0 + box.y1) / 2 - 60) <= 8
        assert 0.9 <= (box.x1 - box.x0) / 40 <= 1.1
        true_box = ground_truth_box(image, points_px, name)
        assert isinstance(true_box, Box)
        assert box_iou(box, true_box) > 0.6
    with pytest.raises(ValueError, match=r"box noise -0\.1: give a fraction of the box"):
        noisy_box(-0.1)


def points_98(points: Points) -> Points:
    """98 points whose 68 are these; the others lie amid them, so that no box changes."""
    more = np.repeat(points.mean(axis=0, keepdims=True), WFLW98.points, axis=0)
    more[list(WFLW98_TO_IBUG68)] = points
    more[[96, 97]] = points[[36, 45]]  # the pupils may not coincide
    return more.astype(np.float32)


def test_a_model_of_98_points_is_measured_on_68_and_one_of_68_on_98(
    evaluate: Evaluate, model_dir: Path, make_model: MakeModel, drawn_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    model = AlignmentModel.load(model_dir)
    plain = run_models({"mean": model}, folder(drawn_folder)).predictions["mean"][0].predicted_px
    box = Box(0, 0, 16, 16)
    unit = Crop.around(box).to_unit(model(np.zeros((16, 16, 3), np.uint8), [box])[0].points_px)
    wide = make_model("wide", points_98(unit), WFLW98)
    shutil.copytree(drawn_folder, tmp_path / "faces98")
    for path in (tmp_path / "faces98").glob("*.pts"):
        write_pts(path, points_98(read_pts(path)))
    found = {}
    for root in (drawn_folder, "faces98"):
        assert evaluate("--models", model_dir, wide, "--dataset", "folder", "--root", root, "--json", "a.json") == 0
        found[root] = written(tmp_path / "a.json")
        assert "wide has scheme wflw98; its landmarks of ibug68 are evaluated" in capsys.readouterr().out
    figures = [values["nme_ocular"] for models in found.values() for values in models.values()]
    assert figures == pytest.approx([figures[0]] * 4, abs=1e-3)
    assert plain.shape == (12, 68, 2)
    assert evaluate("--models", wide, "--dataset", "folder", "--root", "faces98", "--json", "a.json") == 0
    assert written(tmp_path / "a.json")["n"] == 12
    assert "as ibug68" not in capsys.readouterr().out


def test_a_model_without_the_sets_landmarks_is_one_clear_line(
    evaluate: Evaluate, make_model: MakeModel, drawn_folder: Path, capsys: Any
) -> None:
    few = make_model("few", np.zeros((29, 2), np.float32), COFW29)
    assert evaluate("--models", few, "--dataset", "folder", "--root", drawn_folder) == 2
    (line,) = errors(capsys)
    assert "few' has the 29 points of scheme 'cofw29', but" in line
    assert "the 68 of 'ibug68'; name another data set or model" in line


def test_a_model_that_answers_with_no_number_is_named(
    evaluate: Evaluate, make_model: MakeModel, drawn_folder: Path, capsys: Any
) -> None:
    mad = make_model("mad", np.full((68, 2), np.nan, np.float32))
    assert evaluate("--models", mad, "--dataset", "folder", "--root", drawn_folder) == 2
    (line,) = errors(capsys)
    assert "mad': face 0 ('face_000'): landmark 0 of the prediction is not a finite number" in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--dataset", "300v"), "unknown data set '300v': did you mean '300w'?"),
        (("--dataset", "300w", "--scheme", "ibug68"), "300w has its own; leave --scheme out"),
        (("--dataset", "folder", "--coverage", "0.1"), "--coverage needs --occlude"),
        (("--dataset", "folder", "--occlude", "mask", "--coverage", "0.1"), "'mask' has a fixed size"),
        (
            ("--dataset", "folder", "--occlude", "noise", "--coverage", "0", "1.5"),
            "--coverage 1.5: give a fraction",
        ),
        (("--dataset", "folder", "--box-noise", "-1"), "box noise -1"),
        (("--dataset", "folder", "--box-noise", "inf"), "box noise inf"),
        (("--dataset", "folder", "--occlude", "mask", "--templates", "N95"), "--templates N95: is for template"),
        (("--dataset", "folder", "--seed", "-1"), "--seed -1: give 0 or more"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, capsys: Any, arguments: tuple[str, ...], complaint: str
) -> None:
    assert evaluate("--models", model_dir, "--root", drawn_folder, *arguments) == 2
    (line,) = errors(capsys)
    assert complaint in line


def test_without_matplotlib_only_save_is_refused_and_before_the_work(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(evaluation, "compare", lambda *_, **__: pytest.fail("it ran"))
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", drawn_folder)
    assert evaluate(*arguments, "--save", "out") == 2
    assert errors(capsys) == [f"error: --save needs matplotlib: {install_command('evaluate')}"]


def test_help_waits_for_nothing_and_the_evaluation_needs_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys; from unveil.cli import main; main(['evaluate', '--help']); "
        "assert not {'torch', 'cv2', 'onnxruntime'} & set(sys.modules); "
        "import unveil.evaluation; assert not {'torch', 'matplotlib', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_a_set_of_68_points_goes_by_the_eye_corners_and_one_of_29_by_the_pupils() -> None:
    assert [headline_normaliser(scheme) for scheme in (IBUG68, WFLW98, COFW29)] == ["ocular", "ocular", "pupil"]
