from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from unveil.inference.pipeline import Pipeline
from unveil.inference.tracking import Tracker
from unveil.schemes.scheme_file import scheme_from_dict
from unveil.types import Box, Detection, Image

GREY = np.full((100, 120, 3), 128, np.uint8)
FOUND = [Detection(Box(10, 10, 50, 60), 0.9), Detection(Box(60, 10, 100, 60), 0.8)]


def fixed_detector(_: Image) -> list[Detection]:
    """A detector of one's own is any function from an image to detections."""
    return FOUND


def test_faces_have_all_their_fields_in_the_detectors_order(model_dir: Path) -> None:
    faces = Pipeline(model_dir, fixed_detector)(GREY)
    assert [face.box for face in faces] == [detection.box for detection in FOUND]
    assert [face.score for face in faces] == [0.9, 0.8]
    for face in faces:
        assert face.landmarks.shape == (68, 2)
        assert face.visibility is not None
        assert face.uncertainty is not None
        assert face.visibility.shape == face.uncertainty.shape == (68,)
        assert face.five_points is not None
        assert face.pose is not None
        assert face.five_points.shape == (5, 2)
        assert abs(face.pose.yaw) < 3
        assert abs(face.pose.roll) < 3


def test_given_boxes_are_taken_as_they_are_and_nothing_is_detected(model_dir: Path) -> None:
    (face,) = Pipeline(model_dir, detector=None)(GREY, boxes=[(10, 10, 50, 60)])
    assert face.box == Box(10, 10, 50, 60)
    assert face.score == 1.0
    assert Pipeline(model_dir, detector=None)(GREY, boxes=[]) == []


def test_a_pipeline_without_detector_needs_boxes(model_dir: Path) -> None:
    with pytest.raises(ValueError, match="give boxes"):
        Pipeline(model_dir, detector=None)(GREY)


def test_a_face_cut_by_the_edge_of_the_image_is_aligned(model_dir: Path) -> None:
    (face,) = Pipeline(model_dir, detector=None)(GREY, boxes=[(-30, -20, 30, 40)])
    assert np.isfinite(face.landmarks).all()


@pytest.mark.parametrize(
    ("box", "complaint"),
    [
        ((200, 10, 250, 60), "lies outside the image of 120x100"),
        ((10, -80, 50, -20), "lies outside"),
        ((float("nan"), 10, 50, 60), "not finite"),
        ((10, 10, float("inf"), 60), "not finite"),
        ((50, 10, 10, 60), "is empty"),
        ((10, 10, 10, 60), "is empty"),
        ((-1e6, -1e6, 1e6, 1e6), "far larger than the image"),
        ((0.2, 0.1, 0.8, 0.9), "cannot be pixels"),
        ((0, 0, 1, 2), "cannot be pixels"),
        ((10, 20, 30), r"boxes\[0\]: an entry of shape \(3,\); give four numbers"),
        ([(10, 20, 30, 40)], r"boxes\[0\]: an entry of shape \(1, 4\); give four numbers"),
        (("a", 20, 30, 40), r"boxes\[0\]: .*give four numbers"),
    ],
)
def test_a_box_that_holds_no_face_is_named(model_dir: Path, box: tuple[float, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Pipeline(model_dir, detector=None)(GREY, boxes=[box])


@pytest.mark.parametrize("image", [GREY[..., 0], GREY / 255, GREY[..., :1], "face.jpg"])
def test_what_is_not_rgb_of_8_bits_is_refused(model_dir: Path, image: Image) -> None:
    with pytest.raises(ValueError, match="expected an RGB image"):
        Pipeline(model_dir, fixed_detector)(image)


def test_one_box_instead_of_a_list_is_named(model_dir: Path) -> None:
    with pytest.raises(ValueError, match="is one box; give a list of boxes"):
        Pipeline(model_dir, detector=None)(GREY, boxes=(10, 10, 50, 60))  # type: ignore[arg-type]
    (face,) = Pipeline(model_dir, detector=None)(GREY, boxes=np.array([[10, 10, 50, 60]]))  # type: ignore[arg-type]
    assert face.box == Box(10, 10, 50, 60)


@pytest.mark.parametrize("five_points", [None, [[0], [1], [2], [3], [4]]])
@pytest.mark.parametrize("has_points", [False, True])
def test_detected_boxes_fit_the_landmarks_of_a_scheme_or_are_refused_by_pipeline_and_tracker(
    model_dir: Path, five_points: list[list[int]] | None, has_points: bool
) -> None:
    points_px = np.array([[20, 20], [40, 20], [30, 30], [22, 40], [38, 40]], np.float32)
    detection = Detection(Box(10, 10, 50, 60), 0.9, points_px if has_points else None)
    pipeline = Pipeline(model_dir, lambda _: [detection])
    description = {"name": "own", "points": list("abcde"), "flip": [1, 0, 2, 4, 3], "five_points": five_points}
    scheme = scheme_from_dict({key: value for key, value in description.items() if value is not None})
    own: Any = SimpleNamespace(scheme=scheme, config=pipeline.model.config)
    pipeline.model = own
    if five_points and has_points:
        assert [found.box for found in pipeline.detect(GREY)] == [Box(20, 20, 40, 40)]
    else:
        with pytest.raises(ValueError, match="do not fit scheme 'own'; give boxes"):
            pipeline.detect(GREY)
        with pytest.raises(ValueError, match="do not fit scheme 'own'; give boxes"):
            Tracker(pipeline)(GREY, 0.0)
