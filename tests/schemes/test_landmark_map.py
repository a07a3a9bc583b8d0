"""Landmarks drawn for a restorer: where they lie, and how far off training draws them."""

import numpy as np
import pytest

from unveil.schemes.landmark_map import draw_landmark_map, perturb_landmarks
from unveil.schemes.scheme import IBUG68, Contour

SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], np.float32)
AROUND = (Contour((0, 1, 2, 3), closed=True),)


def test_lines_run_through_the_landmarks_and_close_where_the_contour_does() -> None:
    drawn = draw_landmark_map(SQUARE, AROUND, 64)
    assert drawn.dtype == np.uint8
    y, x = np.nonzero(drawn > 127)
    assert x.min() == y.min() == pytest.approx(16, abs=1)
    assert x.max() == y.max() == pytest.approx(47, abs=1)
    assert drawn[32, :20].max() > 100  # the side that closes it
    assert draw_landmark_map(SQUARE, (Contour((0, 1, 2, 3)),), 64)[32, :20].max() == 0
    assert drawn[24:40, 24:40].max() == 0


def test_nothing_is_drawn_without_contours_and_far_landmarks_do_no_harm() -> None:
    assert not draw_landmark_map(SQUARE, (), 32).any()
    assert not draw_landmark_map(SQUARE + 1e9, AROUND, 32).any()


def test_landmarks_are_as_far_off_on_average_as_requested() -> None:
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (68, 2)).astype(np.float32)
    rng = np.random.default_rng(1)
    off = [np.abs(perturb_landmarks(points, IBUG68.contours, 0.02, rng) - points).mean() for _ in range(200)]
    assert 0.015 < np.mean(off) < 0.03
    assert max(off) > 2 * min(off)
    np.testing.assert_array_equal(perturb_landmarks(points, IBUG68.contours, 0.0, rng), points)
