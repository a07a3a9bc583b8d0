"""Evaluation of face detectors: the figures, and that each condition's landmarks follow its image."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from unveil.cli import main
from unveil.data.pack import read_faces
from unveil.data.synthetic import drawn_face, write_drawn_faces
from unveil.evaluation import detection
from unveil.evaluation.detection import DetectionExample, conditions
from unveil.evaluation.detection import evaluate_detector as evaluate
from unveil.geometry import box_iou, tight_box
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import IBUG68
from unveil.types import Box, Detection, Image, Points

MARK = (255, 0, 255)
RNG = np.random.default_rng(0)


def marked_face() -> tuple[Image, Points]:
    """A grey image whose landmarks are drawn as dots, so that they can be found again after a change."""
    _, points = drawn_face(np.random.default_rng(2))
    image = np.full((160, 160, 3), 90, np.uint8)
    for x, y in points:
        cv2.circle(image, (round(float(x)), round(float(y))), 3, MARK, -1)
    return image, points


@pytest.mark.parametrize(
    "example",
    [
        detection.turned(*marked_face(), RNG, 37.0),
        detection.turned(*marked_face(), RNG, 180.0),
        detection.filling(*marked_face(), RNG, 1.0, 300),
        detection.cut_off(*marked_face(), RNG, "left"),
        detection.cut_off(*marked_face(), RNG, "bottom"),
        detection.placed(*marked_face(), RNG, [np.zeros((50, 70, 3), np.uint8)], 90),
    ],
)
def test_landmarks_follow_the_image(example: DetectionExample) -> None:
    (points,) = example.faces
    height, width = example.image.shape[:2]
    inside = ((points > 4) & (points < (width - 5, height - 5))).all(axis=1)
    assert inside.sum() > 20
    for x, y in points[inside].round().astype(int):
        red, green, _ = example.image[y, x].astype(int)
        assert red - green > 60


def test_half_of_the_box_lies_beyond_the_border() -> None:
    image, points = marked_face()
    for border, axis in (("left", 0), ("top", 1)):
        (cut,) = detection.cut_off(image, points, RNG, border).faces
        assert (cut[:, axis].min() + cut[:, axis].max()) / 2 == pytest.approx(0, abs=1)


def test_a_face_that_fills_the_image_has_a_box_of_that_size() -> None:
    (points,) = detection.filling(*marked_face(), RNG, 1.15, 200).faces
    assert np.ptp(points, axis=0).max() == pytest.approx(230, abs=0.5)


def test_figures_count_found_missed_and_false_detections() -> None:
    image, points = marked_face()
    box, five = tight_box(points), five_points(IBUG68, points)

    def detector(image_rgb: Image) -> list[Detection]:
        found = [Detection(box, 0.9, five), Detection(Box(0, 0, 5, 5), 0.7)]
        return found if image_rgb.mean() > 20 else []

    examples = [DetectionExample(image, (points,)), DetectionExample(image * 0, (points,)), DetectionExample(image)]
    result = evaluate(detector, examples, IBUG68)
    assert (result.faces, result.found, result.false_positives, result.images) == (2, 1, 3, 3)
    assert result.recall == 50
    assert result.box_error == pytest.approx(0)
    assert result.roll_error_deg == pytest.approx(0)


def test_boxes_overlap_by_their_shared_area() -> None:
    assert box_iou(Box(0, 0, 10, 10), Box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert box_iou(Box(0, 0, 1, 1), Box(5, 5, 6, 6)) == 0


def test_conditions_give_the_same_images_each_time(tmp_path: Path) -> None:
    write_drawn_faces(tmp_path / "faces", 3)
    named = conditions(read_faces(tmp_path / "faces"), [0, 2], [np.zeros((60, 80, 3), np.uint8)])
    assert {"as they are", "turned 90", "20 px", "fills 1.15 of 640 px", "half cut top", "noise 30"} <= set(named)
    first, second = (list(named["20 px"]()) for _ in range(2))
    assert len(first) == 2
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


def test_the_command_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate-detector"]) == 2
    assert "give --root DIR of the data set, or --data PACK" in capsys.readouterr().err


def test_a_detector_of_another_package_is_a_function_of_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_drawn_faces(tmp_path / "faces", 2)
    (tmp_path / "finds_nothing.py").write_text("def build():\n    return lambda image_rgb: []\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    command = ["evaluate-detector", "--data", str(tmp_path / "faces"), "--conditions", "as they are", "--detectors"]
    assert main([*command, "finds_nothing:build"]) == 0
    assert "build    0.0 (0/2)" in capsys.readouterr().out
    assert main([*command, "nowhere:build"]) == 2
    assert "--detectors nowhere:build: No module named 'nowhere'; give MODULE:FUNCTION" in capsys.readouterr().err
