import math
from dataclasses import replace

import numpy as np
import pytest

from unveil.geometry import Crop
from unveil.inference.drawing import OCCLUDED_COLOUR, TEMPLATE, VISIBLE_COLOUR, aligned_crop, draw_faces
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import IBUG68
from unveil.types import Box, Face, Image, Points, Pose

GREY = np.full((600, 800, 3), 128, np.uint8)


@pytest.fixture
def face(face_unit: Points) -> Face:
    points = Crop((300.0, 300.0), 400.0).to_px(face_unit)
    ones = np.ones(68, np.float32)
    return Face(Box(160, 200, 440, 470), 0.9, points, ones, ones, Pose(0, 0, 0), five_points(IBUG68, points))


def test_the_image_given_is_not_drawn_on(face: Face) -> None:
    image = GREY.copy()
    drawn = draw_faces(image, [face], IBUG68)
    np.testing.assert_array_equal(image, GREY)
    assert drawn.shape == GREY.shape
    assert (drawn != GREY).any()


def test_pixels_away_from_the_face_stay_as_they_were(portrait: Image, face: Face) -> None:
    small = replace(face, landmarks=face.landmarks / np.float32(6), box=Box(*(value / 6 for value in face.box)))
    drawn = draw_faces(portrait, [small], IBUG68)
    changed = (drawn != portrait).any(axis=2)
    assert 0 < changed.sum() < 2500
    assert not changed[:, 90:].any()


def test_a_visible_landmark_is_green_and_an_occluded_one_orange(face: Face) -> None:
    x, y = face.landmarks[8].round().astype(int)
    occluded = replace(face, visibility=np.zeros(68, np.float32))
    assert tuple(draw_faces(GREY, [face], IBUG68)[y, x]) == VISIBLE_COLOUR
    assert tuple(draw_faces(GREY, [occluded], IBUG68)[y, x]) == OCCLUDED_COLOUR


def test_marks_grow_with_the_face(face: Face) -> None:
    large = replace(face, landmarks=face.landmarks * 4, box=Box(*(value * 4 for value in face.box)))
    canvas = np.full((2400, 3200, 3), 128, np.uint8)

    def green(drawn: Image) -> int:
        return int((drawn == VISIBLE_COLOUR).all(axis=2).sum())

    assert green(draw_faces(canvas, [large], IBUG68)) > 8 * green(draw_faces(GREY, [face], IBUG68))


@pytest.mark.parametrize("shift", [-5000, -300, 790, 5000])
def test_a_face_over_the_edge_can_be_drawn(face: Face, shift: float) -> None:
    box = Box(face.box.x0 + shift, face.box.y0, face.box.x1 + shift, face.box.y1)
    moved = replace(face, landmarks=face.landmarks + np.array([shift, 0], np.float32), box=box)
    assert draw_faces(GREY, [moved], IBUG68).shape == GREY.shape


@pytest.mark.parametrize(("scale", "angle"), [(0.3, 0.0), (1.0, 0.5), (4.0, -2.0)])
def test_the_aligned_crop_puts_the_five_points_on_arcfaces_template(scale: float, angle: float) -> None:
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    five = (np.array(TEMPLATE) @ turn.T + (40, 70)).astype(np.float32)
    unit = aligned_crop(five).to_unit(five)
    np.testing.assert_allclose(((unit + 1) * 112 - 1) / 2, TEMPLATE, atol=1e-3)


def test_the_aligned_crop_is_upright_and_its_sizes_agree(portrait: Image) -> None:
    eyes_nose_mouth = np.array([[205, 110], [248, 110], [228, 132], [208, 153], [244, 153]], np.float32)
    crop = aligned_crop(eyes_nose_mouth)
    small, large = crop.extract(portrait, 112), crop.extract(portrait, 224)
    halved = large.reshape(112, 2, 112, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - small).mean() < 3
