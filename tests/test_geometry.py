"""Boxes, crops and the way back, against values worked out by hand."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unveil.geometry import Crop, flip_points, tight_box
from unveil.schemes.scheme import SCHEMES, Scheme
from unveil.types import Box, Image, Points

TURN = math.pi / 2

crops = st.builds(
    Crop,
    centre=st.tuples(st.floats(20, 80), st.floats(20, 80)),
    side=st.floats(8, 40),
    angle=st.floats(-math.pi, math.pi),
    mirrored=st.booleans(),
)


def ramp(width: int, height: int, per_x: int, per_y: int) -> Image:
    rows, columns = np.mgrid[:height, :width]
    return np.repeat((per_x * columns + per_y * rows)[..., None], 3, axis=2).astype(np.uint8)


def grid_unit(size: int) -> Points:
    """The unit coordinates of a crop's pixels, row by row: (size * size, 2)."""
    steps = (2 * np.arange(size) + 1) / size - 1
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2).astype(np.float32)


def test_the_tight_box_touches_the_outermost_landmarks() -> None:
    points_px = np.array([[3, 4], [10, -2], [5, 9]], np.float32)
    assert tight_box(points_px) == Box(3, -2, 10, 9)


@given(crops)
def test_to_px_and_to_unit_are_inverse_with_rotation_and_mirror(crop: Crop) -> None:
    points_unit = grid_unit(4)
    np.testing.assert_allclose(crop.to_unit(crop.to_px(points_unit)), points_unit, atol=1e-4)


def test_unit_corners_are_the_corners_of_the_window() -> None:
    corners_unit = np.array([[-1, -1], [1, 1]], np.float32)
    np.testing.assert_allclose(Crop((10, 20), 8).to_px(corners_unit), [[6, 16], [14, 24]])


def test_a_crop_turned_clockwise_has_its_right_edge_at_the_bottom_of_the_window() -> None:
    right_unit = np.array([[1, 0]], np.float32)
    np.testing.assert_allclose(Crop((10, 20), 8, angle=TURN).to_px(right_unit), [[10, 24]], atol=1e-5)


def test_a_mirrored_crop_has_its_right_edge_at_the_left_of_the_window() -> None:
    right_unit = np.array([[1, 0]], np.float32)
    np.testing.assert_allclose(Crop((10, 20), 8, mirrored=True).to_px(right_unit), [[6, 20]])


def test_the_window_round_a_box_is_as_wide_as_its_diagonal_times_the_margin() -> None:
    crop = Crop.around(Box(10, 20, 40, 60), margin=1.5)
    assert crop == Crop((25, 40), 75)


# The window of 32 px round (31, 31), seen with 16 px, has its pixel centres at 16, 18, ... 46.
@pytest.mark.parametrize(
    ("crop", "first_row"),
    [
        (Crop((31, 31), 32), [48, 52, 56]),  # 2x + y at (16, 16), (18, 16), (20, 16)
        (Crop((31, 31), 32, mirrored=True), [108, 104, 100]),  # at (46, 16), (44, 16), (42, 16)
        (Crop((31, 31), 32, angle=TURN), [108, 110, 112]),  # at (46, 16), (46, 18), (46, 20)
    ],
    ids=["upright", "mirrored", "turned"],
)
def test_extract_is_exact_where_pixels_meet_pixels(crop: Crop, first_row: list[int]) -> None:
    window = crop.extract(ramp(64, 64, 2, 1), 16)
    assert window.shape == (16, 16, 3)
    assert window[0, :3, 0].tolist() == first_row


def test_extract_is_exact_between_pixels() -> None:
    window = Crop((31.5, 31.5), 32).extract(ramp(64, 64, 2, 0), 16)
    assert window[0, :3, 0].tolist() == [33, 37, 41]  # 2x at 16.5, 18.5, 20.5


@given(crops)
def test_extract_shows_at_each_pixel_what_lies_at_its_unit_coordinate(crop: Crop) -> None:
    image = ramp(101, 101, 1, 1)
    values = crop.extract(image, 24)[..., 0].reshape(-1)
    places_px = crop.to_px(grid_unit(24))
    inside = ((places_px >= 0) & (places_px <= 100)).all(axis=1)
    np.testing.assert_allclose(values[inside], places_px[inside].sum(axis=1), atol=1)


def test_extract_does_not_move_a_face_that_it_shrinks_first() -> None:
    window = Crop((127.5, 127.5), 128).extract(ramp(256, 256, 1, 0), 16)
    expected = 127.5 - 64 + (np.arange(16) + 0.5) * 8
    np.testing.assert_allclose(window[8, :, 0], expected, atol=1)


def test_extract_is_black_outside_the_image() -> None:
    white = np.full((20, 20, 3), 255, np.uint8)
    window = Crop((0, 10), 16).extract(white, 16)
    assert (window[:, :7] == 0).all()
    assert (window[:, 9:] == 255).all()


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_flipping_points_twice_gives_them_back(scheme: Scheme) -> None:
    points_px = np.random.default_rng(0).uniform(0, 99, (scheme.points, 2)).astype(np.float32)
    once = flip_points(points_px, 100, scheme.flip_order)
    np.testing.assert_allclose(flip_points(once, 100, scheme.flip_order), points_px, atol=1e-4)


def test_a_flipped_point_takes_the_number_of_its_mirror_image() -> None:
    points_px = np.array([[0, 5], [9, 6]], np.float32)
    np.testing.assert_array_equal(flip_points(points_px, 10, (1, 0)), [[0, 6], [9, 5]])


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_a_reduced_window_shows_each_place_within_a_tenth_of_a_pixel(angle: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    image = np.asarray(cv2.resize(noise, (1600, 1200), interpolation=cv2.INTER_CUBIC), np.uint8)
    crop = Crop((707.3, 611.9), 700, angle)
    x, y = crop.to_px(grid_unit(64)).reshape(64, 64, 2).transpose(2, 0, 1)
    expected = cv2.remap(cv2.GaussianBlur(image, (0, 0), 2), x, y, cv2.INTER_LINEAR).astype(np.float64)
    slope = np.abs(np.diff(expected, axis=1)).mean()
    assert np.abs(crop.extract(image, 64) - expected).mean() < 0.1 * slope


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_box_in_the_image_undoes_an_upright_crop_at_quarter_turns(degrees: int, mirrored: bool) -> None:
    box = Box(10, 20, 50, 52)
    crop = replace(Crop.around(box, 1.5, math.radians(degrees)), mirrored=mirrored)
    width, height = (40, 32) if degrees % 180 == 0 else (32, 40)
    half = crop.side / 2
    upright = Box(-width / 2 / half, -height / 2 / half, width / 2 / half, height / 2 / half)
    np.testing.assert_allclose(crop.image_box(upright), box, atol=1e-3)


def test_an_oblique_box_in_the_image_leads_to_the_same_crop() -> None:
    crop = Crop.around(Box(10, 20, 50, 60), 1.0, math.radians(40))
    side = 1 / math.sqrt(2)
    again = Crop.around(crop.image_box(Box(-side, -side, side, side)), 1.0, crop.angle)
    np.testing.assert_allclose((*again.centre, again.side), (*crop.centre, crop.side), rtol=1e-3)
