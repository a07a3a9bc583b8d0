"""Predictions and ground truth on the command line, with figures that were computed by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unveil.io.annotations import write_pts
from unveil.types import Points

Evaluate = Callable[..., int]
NAMES = ("helen/testset/1", "lfpw/testset/1", "lfpw/testset/2")
AWAY = (5, 9, 20)  # hundredths of the distance between the outer eye corners, which is 100 px


def true_face() -> Points:
    """68 points with 100 px between the outer eye corners, 50 px between the eyes' means and a box of 200 x 50."""
    points_px = np.random.default_rng(0).uniform((0, 0), (200, 50), (68, 2))
    points_px[[0, 16]] = (0, 0), (200, 50)
    points_px[36:42], points_px[42:48] = (80, 25), (120, 25)
    points_px[[36, 45]] = (50, 25), (150, 25)
    return points_px.astype(np.float32)


def arrays(away: tuple[float, ...] = AWAY) -> dict[str, Any]:
    """The arrays of an oracle: the predictions are the ground truth moved by (3, 4) / 5 of so many pixels."""
    ground_truth = np.stack([true_face() + 10 * i for i in range(len(away))])
    direction = np.array((0.6, 0.8), np.float32)
    return {
        "names": np.array(NAMES[: len(away)]),
        "truth": ground_truth,
        "peer": ground_truth + np.array(away, np.float32)[:, None, None] * direction,
    }


@pytest.fixture
def oracle(tmp_path: Path) -> Path:
    np.savez(tmp_path / "oracle.npz", **arrays())
    return tmp_path / "oracle.npz"


def folder_of(root: Path, faces: dict[str, Points]) -> Path:
    for name, points_px in faces.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_pts(root / f"{name}.pts", points_px)
    return root


def test_an_oracle_gives_the_figures_of_arithmetic_in_one_flat_object(
    evaluate: Evaluate, oracle: Path, tmp_path: Path, capsys: Any
) -> None:
    assert evaluate("--predictions", f"{oracle}:peer", "--ground-truth", oracle, "--json", "out/figures.json") == 0
    found = json.loads((tmp_path / "out/figures.json").read_text())
    assert all(isinstance(value, int | float) for value in found.values())
    expected = {
        "n": 3,
        "problems": 0,
        "nme_ocular": 34 / 3,
        "nrmse_ocular": 34 / 3,
        "nme_pupil": 68 / 3,
        "nme_box": 34 / 3,
        "fr8_ocular": 200 / 3,
        "fr10_ocular": 100 / 3,
        "fr10_pupil": 200 / 3,
        "auc10_ocular": 20,
        "auc8_ocular": 12.5,
        "nme_ocular_region_left_cheek": 34 / 3,
        "nme_ocular_ci95_low": 5,
        "nme_ocular_ci95_high": 20,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=0.05)
    lines = capsys.readouterr().out.splitlines()
    assert any("nme_ocular " in line and "11.333 (5.00 to 20.00)" in line for line in lines)


def test_rows_of_the_ground_truth_are_measured_alone_and_at_the_given_thresholds(
    evaluate: Evaluate, oracle: Path, tmp_path: Path
) -> None:
    options = ("--rows", "1:", "--thresholds", "12.5", "--json", "figures.json")
    assert evaluate("--predictions", f"{oracle}:peer", "--ground-truth", oracle, *options) == 0
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["n"] == 2
    assert {"fr12.5_ocular", "auc12.5_ocular"} <= found.keys()
    assert not {"fr8_ocular", "fr10_ocular"} & found.keys()


def test_rows_that_were_not_chosen_are_not_reported_and_broken_ones_count(
    evaluate: Evaluate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = arrays()
    broken = {**whole, "truth": whole["truth"].copy()}
    broken["truth"][0, 0] = np.nan
    np.savez(tmp_path / "broken.npz", **broken)
    first = {"names": whole["names"][:2], "peer": whole["peer"][:2]}
    np.savez(tmp_path / "first.npz", **first)
    options = ("--predictions", f"{tmp_path / 'first.npz'}:peer", "--ground-truth", f"{tmp_path / 'broken.npz'}:truth")
    assert evaluate(*options, "--rows", "1:2", "--json", "figures.json") == 0
    assert json.loads((tmp_path / "figures.json").read_text())["n"] == 1
    assert not capsys.readouterr().err
    assert evaluate(*options, "--rows", "0:2", "--json", "figures.json") == 1
    assert "landmark 0 is not a finite number" in capsys.readouterr().err
    assert json.loads((tmp_path / "figures.json").read_text())["n"] == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--rows", "3:"), "none of its 3 faces is in the chosen rows; choose others"),
        (("--rows", "first"), "--rows first: give FROM:TO, the first row being 0, as in 0:554"),
        (("--thresholds", "0"), "--thresholds 0: give per cent, above 0 and up to 100"),
    ],
)
def test_rows_and_thresholds_that_cannot_be_are_one_line(
    evaluate: Evaluate, oracle: Path, capsys: Any, options: tuple[str, str], complaint: str
) -> None:
    assert evaluate("--predictions", f"{oracle}:peer", "--ground-truth", oracle, *options) == 2
    assert capsys.readouterr().err.strip().endswith(complaint)


def test_folders_of_pts_give_what_an_npz_gives(evaluate: Evaluate, oracle: Path, tmp_path: Path, capsys: Any) -> None:
    held = arrays()
    folder_of(tmp_path / "truth", dict(zip(NAMES, held["truth"], strict=True)))
    folder_of(tmp_path / "peer", dict(zip(NAMES, held["peer"], strict=True)))
    assert evaluate("--predictions", "peer", "--ground-truth", "truth", "--json", "folders.json") == 0
    assert evaluate("--predictions", f"{oracle}:peer", "--ground-truth", oracle, "--json", "npz.json") == 0
    folders, npz = (json.loads((tmp_path / name).read_text()) for name in ("folders.json", "npz.json"))
    assert folders == pytest.approx(npz, abs=0.01)
    assert capsys.readouterr().err == ""


def coincident() -> Points:
    points_px = true_face()
    points_px[45] = points_px[36]
    return points_px


def not_a_number() -> Points:
    points_px = true_face()
    points_px[7] = np.nan
    return points_px


@pytest.mark.parametrize(
    ("predicted", "true", "complaint"),
    [
        (None, true_face(), "no prediction for"),
        (true_face()[:66], true_face(), "66 points, but scheme 'ibug68' has 68; fix it"),
        (not_a_number(), true_face(), "landmark 7 is not a finite number; fix it"),
        (
            true_face(),
            coincident(),
            "length of its ground truth is zero; fix the landmarks or",
        ),
        (np.zeros((98, 2), np.float32), np.zeros((98, 2), np.float32), "evaluate each scheme on its own"),
    ],
    ids=["missing", "wrong count", "NaN", "zero length", "mixed schemes"],
)
def test_one_broken_pair_is_named_and_the_rest_is_measured_unless_strict(
    evaluate: Evaluate, tmp_path: Path, capsys: Any, predicted: Points | None, true: Points, complaint: str
) -> None:
    held = arrays((5, 9))
    ground_truth = dict(zip(NAMES[:2], held["truth"], strict=True)) | {"bad": true}
    peer = dict(zip(NAMES[:2], held["peer"], strict=True)) | ({} if predicted is None else {"bad": predicted})
    content = {name: points_px.tolist() for name, points_px in peer.items()}
    (tmp_path / "peer.json").write_text(json.dumps(content), "utf-8")
    folder_of(tmp_path / "truth", ground_truth)
    arguments = ("--predictions", "peer.json", "--ground-truth", "truth", "--json", "figures.json")
    assert evaluate(*arguments, "--strict") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "bad" in line
    assert complaint in line
    assert not (tmp_path / "figures.json").exists()
    assert evaluate(*arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0] == line
    assert "over the 2 faces that could be paired" in captured.out
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["n"] == 2
    assert found["problems"] > 0
    assert found["nme_ocular"] == pytest.approx(7, abs=0.01)


def test_nothing_to_measure_is_status_2_and_one_line(evaluate: Evaluate, tmp_path: Path, capsys: Any) -> None:
    folder_of(tmp_path / "truth", {"a": true_face()})
    folder_of(tmp_path / "peer", {"b": true_face()})
    for predictions in ("peer", "nothing.npz", "truth.txt"):
        assert evaluate("--predictions", predictions, "--ground-truth", "truth") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "give either --models, --dataset, --root or --predictions, --ground-truth"),
        (("--predictions", "a"), "also give --ground-truth"),
        (("--models", "a", "--root", "."), "also give --dataset"),
        (("--models", "a", "--predictions", "b"), "give either"),
        (("--predictions", "a", "--ground-truth", "b", "--occlude", "noise"), "--occlude is for --models"),
        (("--models", "a", "a", "--dataset", "folder", "--root", "."), "one is given twice"),
        (
            ("--models", "x/y", "x-y", "--dataset", "folder", "--root", ".", "--save", "out"),
            "the same file name",
        ),
        (("--predictions", "a", "--ground-truth", "b", "--threads", "0"), "--threads 0"),
        (("--predictions", "a", "--ground-truth", "b", "--json", "."), "a folder; name a file"),
        (
            ("--predictions", "a", "--ground-truth", "b", "--save", "file/below"),
            "is a file, not a folder",
        ),
    ],
)
def test_options_that_cannot_go_together_are_one_line(
    evaluate: Evaluate, tmp_path: Path, capsys: Any, arguments: tuple[str, ...], complaint: str
) -> None:
    (tmp_path / "file").touch()
    assert evaluate(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_predictions_have_a_report_too(evaluate: Evaluate, oracle: Path, tmp_path: Path) -> None:
    assert evaluate("--predictions", f"{oracle}:peer", "--ground-truth", oracle, "--save", "out") == 0
    html = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "nme_ocular" in html
    assert "SHA-256" in html
    assert (tmp_path / "out" / "ced.png").read_bytes().startswith(b"\x89PNG")
