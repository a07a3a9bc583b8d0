"""Faces warped towards other faces' shapes."""

import numpy as np
import pytest

from unveil.data.augment import AugmentConfig, Example, augment
from unveil.data.synthetic import drawn_face
from unveil.data.tps_warp import ShapeSampler, interpolate_shape, tps_warp
from unveil.geometry import Crop, tight_box, unit_to_crop_px
from unveil.schemes.scheme import IBUG68
from unveil.types import Image, Points

SIZE = 96


def shape(seed: int) -> Points:
    """Landmarks of a drawn face in units of its own crop, (68, 2)."""
    _, points_px = drawn_face(np.random.default_rng(seed))
    return Crop.around(tight_box(points_px), 1.2).to_unit(points_px)


def another(seed: int) -> Points:
    """The same landmarks on a face that is turned and twisted."""
    points, (a, b) = shape(seed), np.random.default_rng(seed).uniform(0, 6, 2)
    waves = np.stack([np.sin(3 * points[:, 1] + a), np.sin(3 * points[:, 0] + b)], axis=1)
    return (points + 0.12 * waves).astype(np.float32)


def ramps() -> Image:
    """An image whose colours encode the position of each pixel: red grows to the right, green downwards."""
    line = np.linspace(20, 235, SIZE)
    red, green = np.meshgrid(line, line)
    return np.stack([red, green, np.zeros_like(red)], axis=-1).round().astype(np.uint8)


def colours(image: Image, points_unit: Points) -> np.ndarray:
    x, y = unit_to_crop_px(points_unit, SIZE).round().astype(int).T
    return image[y, x, :2].astype(int)


@pytest.mark.parametrize("seed", range(6))
def test_landmarks_follow_the_image(seed: int) -> None:
    points = shape(seed)
    target = interpolate_shape(another(seed), points, 0.7)
    image, moved = tps_warp(ramps(), points, target)
    assert np.abs(moved - points).max() > 0.02
    assert np.abs(moved - target).mean() < 0.5 * np.abs(points - target).mean()
    assert np.abs(colours(image, moved) - colours(ramps(), points)).max() <= 4  # a pixel is two levels


def test_the_crops_edge_stays() -> None:
    points = shape(0)
    image, _ = tps_warp(ramps(), points, interpolate_shape(another(101), points, 0.7))
    for side in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert np.abs(image[side].astype(int) - ramps()[side]).max() <= 6


def test_a_face_warped_towards_itself_is_itself() -> None:
    points = shape(0)
    turned = points @ np.array([[0.6, 0.8], [-0.8, 0.6]], np.float32) * 3 + 7
    np.testing.assert_allclose(interpolate_shape(turned, points, 1.0), points, atol=1e-5)
    np.testing.assert_allclose(interpolate_shape(shape(1), points, 0.0), points, atol=1e-6)
    image, moved = tps_warp(ramps(), points, points)
    np.testing.assert_allclose(moved, points, atol=1e-5)
    assert np.abs(image.astype(int) - ramps()).max() <= 1


def test_what_would_fold_is_left_alone() -> None:
    points = shape(0)
    image, moved = tps_warp(ramps(), points, -points)
    np.testing.assert_array_equal(moved, points)
    np.testing.assert_array_equal(image, ramps())


def test_landmarks_that_lie_on_each_other_move_together() -> None:
    points = np.repeat(shape(0)[:34], 2, axis=0)
    _, moved = tps_warp(ramps(), points, interpolate_shape(another(102), points, 0.3))
    np.testing.assert_allclose(moved[::2], moved[1::2], atol=1e-5)


def view(warp: float, shapes: ShapeSampler | None) -> Example:
    image, points_px = drawn_face(np.random.default_rng(0))
    config = AugmentConfig(warp=warp)
    rng = np.random.default_rng(1)
    return augment(image, points_px, scheme=IBUG68, size=64, config=config, occlude=None, rng=rng, shapes=shapes)


def test_views_are_warped_if_the_config_has_warp() -> None:
    others = ShapeSampler(another(103)[None])
    plain, unwarped, warped = view(0.0, None), view(0.0, others), view(1.0, others)
    np.testing.assert_array_equal(unwarped.image, plain.image)
    np.testing.assert_array_equal(unwarped.points_unit, plain.points_unit)
    assert np.abs(warped.points_unit - plain.points_unit).max() > 0.01


def test_faces_without_weight_are_never_warped_towards() -> None:
    shapes = np.stack([shape(seed) for seed in range(3)])
    others = ShapeSampler(shapes, np.array([0.0, 1.0, 0.0]))
    for seed in range(5):
        np.testing.assert_array_equal(others(np.random.default_rng(seed)), shapes[1])
