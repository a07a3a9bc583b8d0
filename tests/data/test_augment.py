"""Views of faces for training."""

import math

import numpy as np
import pytest

from unveil.data.augment import AugmentConfig, augment
from unveil.data.synthetic import drawn_face
from unveil.geometry import tight_box
from unveil.schemes.scheme import IBUG68
from unveil.types import Points

STILL = {"rotation": 0.0, "shift": 0.0, "scale": (1.0, 1.0), "colour": 0.0, "shade": 0.0, "grey": 0.0, "blur": 0.0}


def landmarks(flip: float, offset: float, moved: float) -> Points:
    """Those of a drawn face, (68, 2) in crop units, whose annotations were moved right by so many diagonals."""
    image, points_px = drawn_face(np.random.default_rng(0))
    x0, y0, x1, y1 = tight_box(points_px)
    points_px = points_px + np.array([moved * math.hypot(x1 - x0, y1 - y0), 0], np.float32)
    config = AugmentConfig.model_validate(STILL | {"flip": flip, "annotation_offset": offset})
    rng = np.random.default_rng(1)
    return augment(image, points_px, scheme=IBUG68, size=64, config=config, occlude=None, rng=rng).points_unit


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_annotations_right_of_what_they_mark_lie_right_of_it_in_every_view(flip: float) -> None:
    exact, beside = landmarks(flip, 0.0, 0.0), landmarks(flip, 0.01, 0.01)
    # The crop follows the annotations to the right, so the face moves left in it, or right in a mirrored one.
    face_moved = np.array([0.02 if flip else -0.02, 0])
    np.testing.assert_allclose(beside - (exact + face_moved), [[0.02, 0]] * 68, atol=1e-4)
