"""The parts of drawn occluders: patterns, splines, patches and filled outlines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.occluded_faces import photograph

from unveil.data.occlusion.compose import Window
from unveil.data.occlusion.mask_shape import MaskFit, coons, fit_patch, spline
from unveil.data.occlusion.textures import PATTERNS, image_patch


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 40), (90, 30)])
def test_every_pattern_fills_its_window(pattern: object, shape: tuple[int, int]) -> None:
    assert callable(pattern)
    paint = pattern(np.random.default_rng(0), *shape)
    assert paint.shape == (*shape, 3)
    assert paint.min() >= 0
    assert paint.max() <= 255


@pytest.mark.parametrize("seed", range(8))
def test_a_piece_of_the_smallest_image_is_still_a_texture(seed: int) -> None:
    assert image_patch(np.random.default_rng(seed), 9, 30, photograph(1, 2)).shape == (9, 30, 3)


def test_a_spline_passes_through_its_knots() -> None:
    knots = np.random.default_rng(0).normal(0, 1, (5, 2))
    assert np.allclose(spline(knots, 17)[::4], knots)


def test_a_patch_keeps_its_borders() -> None:
    top = np.stack([np.linspace(0, 1, 5), [0, 0.1, 0.3, 0.1, 0]], axis=1)
    left = np.stack([[0, -0.1, 0], np.linspace(0, 1, 3)], axis=1)
    right = left + np.array([1, 0])
    patch = coons(top, top + np.array([0, 1]), left, right)
    assert np.allclose(patch.nodes[0], top)
    assert np.allclose(patch.nodes[:, -1], right)
    assert np.allclose(patch.row(0.0), top)
    assert np.allclose(patch.column(-1.0), left)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_fitted_mask_is_finite_on_any_face(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert np.isfinite(fit_patch(rng.normal(0, 1, (68, 2)), MaskFit.draw(rng)).nodes).all()


def test_a_filled_square_has_its_area_and_its_place() -> None:
    window = Window(10, 10, 30, 30)
    alpha = window.fill(np.array([[14.5, 12.5], [24.5, 12.5], [24.5, 22.5], [14.5, 22.5]]))
    assert alpha.sum() == pytest.approx(100, rel=0.08)
    assert alpha[3:13, 5:15].min() > 0.9
