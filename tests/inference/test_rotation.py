"""Faces at any rotation in the image plane, with the shipped model."""

import math
from functools import cache

import cv2
import numpy as np
import pytest
import skimage

from unveil.geometry import Crop, tight_box
from unveil.inference.drawing import aligned_crop
from unveil.inference.pipeline import Pipeline
from unveil.schemes.pose import GENERIC_FACE, head_pose, in_plane_angle
from unveil.types import Box, Detection, Image, Points

BOX = Box(178.0, 91.0, 269.0, 177.0)
PORTRAIT: Image = np.asarray(skimage.data.astronaut())[:300, 70:370]  # type: ignore[no-untyped-call]
FIVE = np.array(list(GENERIC_FACE.values()), np.float64)[:, :2]


@cache
def pipeline() -> Pipeline:
    return Pipeline(detector=None)


@cache
def upright() -> Points:
    (face,) = pipeline()(PORTRAIT, [(BOX.x0 - 70, BOX.y0, BOX.x1 - 70, BOX.y1)])
    return face.landmarks


def rotated(degrees: float) -> tuple[Image, Points]:
    """The portrait on a larger canvas, rotated clockwise, and its landmarks."""
    turn = math.radians(degrees)
    matrix = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0]])
    matrix[:, 2] = 212 - matrix[:, :2] @ (149.5, 149.5)
    image = np.asarray(cv2.warpAffine(PORTRAIT, matrix, (425, 425)), np.uint8)
    return image, (upright() @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def error(points: Points, expected: Points) -> float:
    """The mean distance in per cent of the distance of the outer eye corners."""
    size = np.linalg.norm(expected[36] - expected[45])
    return float(100 * np.linalg.norm(points - expected, axis=1).mean() / size)


@pytest.mark.parametrize("degrees", [45, 90, 150, 180, 255, 315])
def test_a_rotated_face_is_aligned_as_well_as_an_upright_one(degrees: int) -> None:
    image, expected = rotated(degrees)
    (face,) = pipeline()(image, [tight_box(expected)])
    assert error(face.landmarks, expected) < 4
    assert face.pose is not None
    (straight,) = pipeline()(PORTRAIT, [tight_box(upright())])
    assert straight.pose is not None
    assert abs(math.remainder(face.pose.roll - straight.pose.roll - degrees, 360)) < 4
    assert face.five_points is not None
    assert straight.five_points is not None
    views = ((face.five_points, image), (straight.five_points, PORTRAIT))
    crops = [aligned_crop(five).extract(view, 64) for five, view in views]
    assert np.abs(crops[0].astype(int) - crops[1]).mean() < 12  # upright again


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of faces in each run of the network."""
    counts: list[int] = []
    run = type(pipeline().model.session).run

    def counted(self: object, outputs: object, inputs: dict[str, Image]) -> object:
        counts.append(len(inputs["images"]))
        return run(self, outputs, inputs)  # type: ignore[arg-type]

    monkeypatch.setattr(type(pipeline().model.session), "run", counted)
    return counts


def test_points_of_the_detector_turn_the_crop_upright_in_one_pass(runs: list[int]) -> None:
    image, expected = rotated(135)
    eyes_nose_mouth = np.stack([expected[36:42].mean(0), expected[42:48].mean(0), *expected[[30, 48, 54]]])
    (face,) = pipeline().align(image, [Detection(tight_box(expected), 0.9, eyes_nose_mouth)])
    assert runs == [1]
    assert error(face.landmarks, expected) < 4


def test_an_upright_face_takes_one_pass_and_several_faces_one_batch(runs: list[int]) -> None:
    pipeline()(PORTRAIT, [tight_box(upright())] * 3)
    assert runs == [3]


def test_landmarks_outside_the_image_have_visibility_0() -> None:
    cut = PORTRAIT[:, : int(upright()[30, 0])]
    (face,) = pipeline()(cut, [tight_box(upright())])
    assert face.visibility is not None
    outside = face.landmarks[:, 0] > cut.shape[1] - 0.5
    assert 10 < outside.sum() < 50
    assert not face.visibility[outside].any()
    assert face.visibility[~outside].mean() > 0.5


@pytest.mark.parametrize("degrees", [-170, -120, -60, 0, 30, 90, 179])
def test_roll_and_angle_are_right_over_the_whole_circle(degrees: float) -> None:
    turn = math.radians(degrees)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    points = (FIVE @ rotation.T * 3 + (200, 100)).astype(np.float32)
    assert math.degrees(in_plane_angle(points)) == pytest.approx(degrees, abs=0.1)
    assert head_pose(points).roll == pytest.approx(degrees, abs=1)
    points[0] += 60  # one of the points is far off
    assert abs(math.remainder(math.degrees(in_plane_angle(points)) - degrees, 360)) < 8


def test_the_crop_of_a_box_fits_an_oblique_face() -> None:
    for degrees in (30, 45, 120, 200):
        _, expected = rotated(degrees)
        by_box = Crop.around(tight_box(expected), angle=math.radians(degrees))
        exact = Crop.around_points(expected, math.radians(degrees))
        assert by_box.side == pytest.approx(exact.side, rel=0.06)
        assert math.dist(by_box.centre, exact.centre) < 0.05 * exact.side
