"""The report and its plots: whole in one file, and with all that it takes to get the figures again."""

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from unveil.data.datasets.registry import folder
from unveil.data.synthetic import drawn_face
from unveil.evaluation.galleries import GROUND_TRUTH, PREDICTION, draw_pair, median, worst
from unveil.evaluation.provenance import code_version
from unveil.evaluation.report import file_name
from unveil.schemes.scheme import IBUG68

Evaluate = Callable[..., int]


@pytest.fixture
def report(evaluate: Evaluate, model_dir: Path, drawn_folder: Path, tmp_path: Path) -> str:
    """The page of twelve drawn faces."""
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", drawn_folder, "--seed", "7")
    assert evaluate(*arguments, "--save", "out", "--json", "a.json") == 0
    return (tmp_path / "out" / "report.html").read_text("utf-8")


def test_the_report_needs_no_other_file(report: str) -> None:
    assert not re.search(r"https?://|//\w+\.\w+|<script|<link|@import|url\(", report)
    sources = re.findall(r'src="([^"]+)"', report)
    assert sources
    assert all(source.startswith(("data:image/jpeg;base64,", "data:image/png;base64,")) for source in sources)


def test_the_report_shows_the_ten_worst_and_the_ten_median_faces_and_the_curve(report: str, tmp_path: Path) -> None:
    jpegs = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', report)
    assert len(jpegs) == 20
    decoded = [cv2.imdecode(np.frombuffer(b64decode(jpeg), np.uint8), cv2.IMREAD_COLOR) for jpeg in jpegs]
    shapes = {image.shape for image in decoded if image is not None}
    assert shapes == {(288, 288, 3)}
    ced, uncertainty = re.findall(r'src="data:image/png;base64,([^"]+)"', report)
    assert b64decode(ced) == (tmp_path / "out" / "ced.png").read_bytes()
    assert b64decode(uncertainty) == (tmp_path / "out" / "uncertainty.png").read_bytes()
    errors = [float(text) for text in re.findall(r"<figcaption>face_\d+: ([\d.]+) %", report)]
    assert errors[:10] == sorted(errors[:10], reverse=True)
    assert errors[10:] == sorted(errors[10:])
    assert "<td>left cheek</td>" in report


def test_the_report_has_what_makes_its_figures_reproducible(report: str, model_dir: Path) -> None:
    assert hashlib.sha256((model_dir / "model.onnx").read_bytes()).hexdigest() in report
    assert f"unveil evaluate --models {model_dir} --dataset folder" in report
    assert code_version() in report
    for fact in ("gt boxes", "mirror averaging", "<td>7, for occluders", "onnxruntime ", "numpy ", "1000 resamples"):
        assert fact in report


def test_the_report_of_covered_faces_shows_whether_visibility_can_be_believed(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, tmp_path: Path
) -> None:
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", drawn_folder, "--occlude", "noise")
    assert evaluate(*arguments, "--save", "out") == 0
    plot = cv2.imread(str(tmp_path / "out" / "reliability.png"))
    assert plot is not None
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Calibration of the visibility" in page


def test_a_report_without_known_visibility_has_no_such_plot(report: str, tmp_path: Path) -> None:
    assert "Calibration of the visibility" not in report
    assert not (tmp_path / "out" / "reliability.png").exists()


def test_what_is_saved_of_a_model_evaluates_to_the_same_figures(
    report: str, evaluate: Evaluate, model_dir: Path, tmp_path: Path
) -> None:
    assert "<h1>" in report
    saved = tmp_path / "out" / f"{file_name(str(model_dir))}.npz"
    assert evaluate("--predictions", saved, "--ground-truth", saved, "--strict", "--json", "again.json") == 0
    first, again = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "again.json"))
    shared = first.keys() & again.keys()
    assert len(shared) > 50
    assert {name: first[name] for name in shared} == pytest.approx({name: again[name] for name in shared}, abs=1e-9)


def test_names_that_are_html_are_shown_and_not_obeyed(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "<b>&x").symlink_to(model_dir)
    assert evaluate("--models", "<b>&x", "--dataset", "folder", "--root", drawn_folder, "--save", "out") == 0
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "&lt;b&gt;&amp;x" in page
    assert "<b>" not in page


def test_errors_grow_with_the_coverage_and_the_axis_has_the_measured_one(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, tmp_path: Path
) -> None:
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", drawn_folder, "--occlude", "polygon")
    coverages = ("0.5", "0", "0.2", "0.7")
    assert evaluate(*arguments, "--coverage", *coverages, "--save", "out", "--json", "a.json") == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert all(isinstance(value, int | float) for value in found.values())
    covered = [found[f"face_coverage_at_coverage{coverage}"] for coverage in (0, 20, 50, 70)]
    assert covered == sorted(covered)
    assert covered == pytest.approx([0, 20, 50, 70], abs=3)
    assert found["occluded_fraction_at_coverage20"] < found["occluded_fraction_at_coverage70"]
    # The output of the constant model does not depend on the image, so an occluder cannot change its error.
    assert found["nme_ocular_at_coverage0"] == pytest.approx(found["nme_ocular_at_coverage70"])
    assert (tmp_path / "out" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert len(re.findall(r'src="data:image/png;base64,', page)) == 4  # curve, sweep, visibility, uncertainty
    assert "the ground truth of visibility comes from synthetic occluders (polygon)" in page


def test_one_coverage_is_no_sweep_and_a_seed_gives_the_same_faces_again(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, tmp_path: Path
) -> None:
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", drawn_folder, "--occlude", "noise")
    found = []
    for seed in (1, 1, 2):
        assert evaluate(*arguments, "--coverage", "0.3", "--seed", seed, "--json", "a.json") == 0
        found.append(json.loads((tmp_path / "a.json").read_text()))
    fractions = [values["occluded_fraction"] for values in found]
    assert fractions[0] == fractions[1] != fractions[2]
    assert found[0]["face_coverage"] == pytest.approx(30, abs=3)
    assert {"nme_ocular_visible", "nme_ocular_occluded", "occlusion_recall_at_precision80"} <= found[0].keys()


def test_the_worst_faces_come_first_and_the_median_ones_from_the_middle() -> None:
    errors = np.array([0.5, 0.1, 0.4, 0.2, 0.3])
    assert worst(errors, 2).tolist() == [0, 2]
    assert median(errors, 3).tolist() == [3, 4, 2]
    assert median(errors).tolist() == [1, 3, 4, 2, 0]


def test_ground_truth_and_prediction_are_drawn_in_their_colours_wherever_the_prediction_lies() -> None:
    image, points_px = drawn_face(np.random.default_rng(0))
    for away in (0.0, 12.0, 1e6):
        drawn = draw_pair(image, points_px, points_px + np.float32(away), IBUG68)
        near = {
            colour: int((np.abs(drawn.astype(int) - colour).max(axis=2) < 40).sum())
            for colour in (GROUND_TRUTH, PREDICTION)
        }
        assert drawn.shape == (288, 288, 3)
        assert near[PREDICTION] > 100 or away == 1e6
        assert near[GROUND_TRUTH] > 100 or away == 0.0


def test_a_files_name_keeps_no_folders() -> None:
    assert [file_name(model) for model in ("glomface-light", "/tmp/runs/a b", "..")] == [
        *("glomface-light", "tmp-runs-a-b", "model")
    ]


def test_a_report_never_touches_what_it_reports_on(report: str, drawn_folder: Path) -> None:
    assert report
    assert sorted(path.suffix for path in drawn_folder.iterdir()) == [".png"] * 12 + [".pts"] * 12
    assert len(folder(drawn_folder)) == 12
