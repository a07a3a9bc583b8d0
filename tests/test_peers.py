"""The comparison with other packages, without installing them: boxes, metrics, the table and wrong options."""

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmarks.peers.compare import main
from benchmarks.peers.faces import Square
from benchmarks.peers.figures import INNER, Row, compute_metrics, markdown
from benchmarks.peers.jobs import Face, Timing
from benchmarks.peers.peers import PACKAGES, Package, PackageError

from unveil.data.datasets.registry import folder


def test_a_square_grows_with_the_box_and_moves_with_it() -> None:
    square = Square(0.5, 0.5, 0.1)
    x0, y0, x1, y1 = square.around((0, 0, 100, 60))
    assert (x1 - x0, y1 - y0) == (80, 80)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == (50, 38)
    assert square.around((10, 5, 110, 65)) == (x0 + 10, y0 + 5, x1 + 10, y1 + 5)


def test_the_inner_landmarks_are_all_but_the_jaw() -> None:
    assert list(range(17, 68)) == INNER


def test_a_face_without_a_prediction_is_a_failure_and_left_out_of_the_mean_error(drawn_folder: Path) -> None:
    faces = folder(drawn_folder)
    eyes = np.linalg.norm(faces.points_px[:, 36] - faces.points_px[:, 45], axis=1)
    shift = np.zeros_like(faces.points_px)
    shift[..., 0] = 0.05 * eyes[:, None]
    predictions = dict(zip(faces.names[1:], (faces.points_px + shift)[1:].astype(np.float64), strict=True))
    metrics = compute_metrics(predictions, faces, np.random.default_rng(0))
    assert (metrics.n, metrics.n_missing) == (12, 1)
    assert metrics.nme_ocular == pytest.approx(5, abs=1e-3)
    assert metrics.nme_ocular_inner51 == pytest.approx(5, abs=1e-3)
    assert metrics.fr10_ocular == pytest.approx(100 / 12)


def test_the_table_has_one_line_for_each_package_and_the_mean_over_masks(drawn_folder: Path) -> None:
    faces = folder(drawn_folder)
    exact = dict(zip(faces.names, faces.points_px.astype(np.float64), strict=True))
    clean = compute_metrics(exact, faces, np.random.default_rng(0))
    masks = {kind: replace(clean, nme_ocular_inner51=error) for kind, error in (("surgical", 4.0), ("cloth", 6.0))}
    package = next(iter(PACKAGES.values()))
    timings = {1: Timing(1.5, 2.0, {}), 2: Timing(1.0, 2.0, {})}
    head, rule, line = markdown([Row(package, timings, {"clean": clean, **masks})]).splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    cells = dict(zip(head.split(" | "), line.split(" | "), strict=True))
    assert cells["inner-51 NME masked"] == "5.00"
    assert cells["without prediction"] == "0 of 36"
    assert (cells["ms, 1 thread"], cells["ms, 2 threads"]) == ("1.5", "1.0")


def test_a_runner_gets_its_number_of_threads(tmp_path: Path) -> None:
    runner = (
        "import os; from benchmarks.peers.jobs import run, threads; import numpy as np;"
        "cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else threads();"
        "run(lambda image, box: np.full((68, 2), 10 * threads() + cores), [], {})"
    )
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    package = Package("a package", (sys.executable, "-c", runner), "nothing")
    result = package.predict([Face("a", str(path), (0, 0, 7, 7))], tmp_path / "run", threads=1)
    assert (result.points_px["a"] == 11).all()


def test_every_package_states_its_training_data() -> None:
    assert all(package.trained_on for package in PACKAGES.values())


def test_the_error_for_a_missing_package_names_the_command_that_installs_it(tmp_path: Path) -> None:
    package = replace(next(iter(PACKAGES.values())), required_paths=(tmp_path / "absent",))
    with pytest.raises(PackageError, match=r"absent does not exist; run python -m benchmarks\.peers\.install"):
        package.predict([], tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--models", "a/mine", "a-mine"], "two models have the same file name; rename a folder"),
        (["--peers", "nobody"], "--peers nobody: unknown package; choose from dlib"),
        (["--threads", "0"], "--threads 0: give one or more numbers of at least 1"),
    ],
)
def test_a_wrong_option_is_one_line_on_stderr(
    drawn_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.setattr("benchmarks.peers.compare._faces", lambda _: folder(drawn_folder))
    monkeypatch.setattr(sys, "argv", ["compare", "--root", str(drawn_folder), *arguments])
    assert main() == 2
    assert complaint in capsys.readouterr().err
