"""Landmarks behind a turned head, at any roll."""

import math

import numpy as np
import pytest

from unveil.data.self_occlusion import self_occluded
from unveil.data.synthetic import frontal_shape
from unveil.schemes.scheme import IBUG68
from unveil.types import Points


def turned_head() -> Points:
    """A drawn face whose nose, eyes and mouth are shifted as by a large yaw."""
    points = 100 * frontal_shape()
    points[:, 0] *= 0.7
    points[27:36, 0] += 25
    return points


@pytest.mark.parametrize("degrees", [0, 45, 90, 180, -90])
def test_the_far_jaw_is_occluded_at_any_roll(degrees: int) -> None:
    angle = math.radians(degrees)
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    occluded = self_occluded(IBUG68, (turned_head() @ rotation).astype(np.float32))
    assert occluded.any()
    assert (occluded == self_occluded(IBUG68, turned_head())).all()


@pytest.mark.parametrize("degrees", [0, 90, 180])
def test_a_frontal_face_occludes_nothing_at_any_roll(degrees: int) -> None:
    angle = math.radians(degrees)
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    assert not self_occluded(IBUG68, (100 * frontal_shape() @ rotation).astype(np.float32)).any()
