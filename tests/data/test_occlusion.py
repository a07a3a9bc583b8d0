"""Occluders: what they cover, what they leave alone, and that a seed decides everything."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unveil.data.occlusion import KINDS, Library, Occluded, face_region, is_occluded, occluder
from unveil.data.occlusion.compose import Window
from unveil.data.occlusion.library import Sprite, Template
from unveil.data.occlusion.mask_shape import MaskFit, coons, fit_patch, spline
from unveil.data.occlusion.template import six_points
from unveil.data.occlusion.textures import PATTERNS, image_patch
from unveil.types import Image, Points

SOFT_EDGE = 6  # pixels round the mask that blending and a shadow may change
JAW, NOSE, EYES, MOUTH = slice(0, 17), slice(27, 36), slice(36, 48), slice(48, 68)


def ring(
    count: int, centre: tuple[float, float], radii: tuple[float, float], start: float = math.pi
) -> NDArray[np.float64]:
    """Points clockwise (in the picture) round an ellipse, (count, 2), from its left end."""
    angles = start + np.linspace(0, math.tau, count, endpoint=False)
    return np.stack([centre[0] + radii[0] * np.cos(angles), centre[1] + radii[1] * np.sin(angles)], axis=1)


def upright_face() -> Points:
    """Sixty-eight points of a frontal face, (68, 2), in a box of about 2 by 2 round the origin."""
    angles = np.linspace(math.pi, 0, 17)
    jaw = np.stack([np.cos(angles), -0.25 + 1.25 * np.sin(angles)], axis=1)
    brow_x = np.linspace(-0.8, -0.2, 5)
    brow = np.stack([brow_x, -0.55 - 0.1 * np.sin(np.linspace(0, math.pi, 5))], axis=1)
    bridge = np.stack([np.zeros(4), np.linspace(-0.3, 0.15, 4)], axis=1)
    nostrils = np.stack([np.linspace(-0.2, 0.2, 5), [0.25, 0.28, 0.3, 0.28, 0.25]], axis=1)
    left_eye, right_eye = ring(6, (-0.45, -0.3), (0.17, 0.07)), ring(6, (0.45, -0.3), (0.17, 0.07))
    lips = np.concatenate([ring(12, (0, 0.55), (0.35, 0.14)), ring(8, (0, 0.55), (0.25, 0.05))])
    right_brow = brow[::-1] * (-1, 1)
    return np.concatenate([jaw, brow, right_brow, bridge, nostrils, left_eye, right_eye, lips]).astype(np.float32)


def face_at(centre: tuple[float, float], radius: float, roll: float = 0.0, narrow: float = 1.0) -> Points:
    cos, sin = math.cos(roll), math.sin(roll)
    turned = (upright_face() * (narrow, 1)) @ np.array([[cos, sin], [-sin, cos]])
    return np.asarray(turned * radius + centre, np.float32)


def cut_out(height: int, width: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """An RGBA ellipse that fills its picture."""
    pixels = np.zeros((height, width, 4), np.uint8)
    cv2.ellipse(pixels, (width // 2, height // 2), (width // 2 - 1, height // 2 - 1), 0, 0, 360, (*colour, 255), -1)
    return pixels


def drawn_library() -> Library:
    anchors = np.array([[8, 20], [60, 4], [112, 20], [12, 60], [60, 94], [108, 60]], np.float32)
    names = ("plain", "plain_left", "plain_right")
    templates = tuple(Template(name, cut_out(100, 120, (200, 220, 240)), anchors) for name in names)
    hand = Sprite("palm", "hands", cut_out(80, 60, (220, 180, 150)))
    return Library(templates, (hand, Sprite("ball", "objects", cut_out(64, 64, (250, 30, 30)))))


LIBRARY = drawn_library()
FACE = face_at((96, 100), 62)


def picture(height: int = 192, width: int = 192, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(40, 220, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def occlude(kind: str, seed: int, points_px: Points = FACE, share: float | None = None) -> Occluded:
    return occluder(kind, LIBRARY, share)(picture(), points_px, np.random.default_rng(seed))


def changed_far_from(mask: NDArray[np.bool_], before: Image, after: Image) -> int:
    side = 2 * SOFT_EDGE + 1
    near = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return int(((before != after).any(axis=2) & ~near).sum())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(24, 200), st.integers(24, 200)),
    centre=st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)),
    radius=st.floats(0.02, 1.5),
    roll=st.floats(-math.pi, math.pi),
    narrow=st.floats(0.05, 1.0),
)
def test_occluder_never_leaves_the_crop(
    kind: str,
    seed: int,
    size: tuple[int, int],
    centre: tuple[float, float],
    radius: float,
    roll: float,
    narrow: float,
) -> None:
    height, width = size
    image = picture(height, width)
    points_px = face_at((centre[0] * width, centre[1] * height), radius * min(size), roll, narrow)
    before = image.copy()
    result = occluder(kind, LIBRARY)(image, points_px, np.random.default_rng(seed))
    assert np.array_equal(image, before)
    assert result.image.shape == image.shape
    assert result.image.dtype == np.uint8
    assert result.mask.shape == (height, width)
    assert result.mask.dtype == np.bool_


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_pixels_away_from_the_mask_stay_as_they_were(kind: str, seed: int) -> None:
    result = occlude(kind, seed)
    assert changed_far_from(result.mask, picture(), result.image) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_the_same_picture(kind: str) -> None:
    first, second = occlude(kind, 7), occlude(kind, 7)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.mask, second.mask)


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_gives_another_picture(kind: str) -> None:
    assert not np.array_equal(occlude(kind, 1).image, occlude(kind, 2).image)


@pytest.mark.parametrize("kind", KINDS)
def test_the_covered_pixels_are_changed(kind: str) -> None:
    result = occlude(kind, 3)
    assert result.mask.any()
    assert (result.image != picture()).any(axis=2)[result.mask].mean() > 0.8


def test_a_landmark_under_the_mask_is_occluded() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[2:5, 3:6] = True
    points_px = np.array([[3, 2], [5.4, 4.4], [5.6, 4], [2, 2], [-1, -1], [3, 30]], np.float32)
    assert is_occluded(points_px, mask).tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("seed", range(30))
def test_a_face_mask_covers_the_mouth_and_leaves_the_brows(seed: int) -> None:
    occluded = is_occluded(FACE, occlude("mask", seed).mask)
    assert occluded[MOUTH].mean() > 0.9
    assert not occluded[17:27].any()
    assert occluded[EYES].mean() < 0.2


@pytest.mark.parametrize("roll", [-2.5, -0.6, 0.6, 1.6])
def test_a_face_mask_turns_with_the_head(roll: float) -> None:
    points_px = face_at((96, 96), 50, roll)
    occluded = is_occluded(points_px, occlude("mask", 4, points_px).mask)
    assert occluded[MOUTH].all()
    assert not occluded[17:27].any()


@pytest.mark.parametrize("seed", range(20))
def test_a_flat_mask_covers_the_mouth_and_leaves_the_brows(seed: int) -> None:
    occluded = is_occluded(FACE, occlude("flat", seed).mask)
    assert occluded[MOUTH].mean() > 0.8
    assert not occluded[17:27].any()


def test_the_edges_of_flat_masks_lie_inside_and_outside_the_jaw() -> None:
    jaws = np.stack([is_occluded(FACE, occlude("flat", seed).mask)[3:14] for seed in range(60)])
    assert 0.2 < jaws.mean() < 0.9
    assert jaws.mean(axis=0).min() > 0.1


def test_most_face_masks_cover_the_nose_tip_and_some_do_not() -> None:
    tips = [is_occluded(FACE, occlude("mask", seed).mask)[33] for seed in range(60)]
    assert 0.6 < np.mean(tips) < 1.0


@pytest.mark.parametrize("seed", range(12))
def test_sunglasses_cover_the_eyes_and_leave_the_mouth(seed: int) -> None:
    occluded = is_occluded(FACE, occlude("sunglasses", seed).mask)
    assert occluded[EYES].mean() > 0.9
    assert not occluded[MOUTH].any()


@pytest.mark.parametrize("seed", range(6))
def test_a_template_is_laid_from_bridge_to_chin(seed: int) -> None:
    occluded = is_occluded(FACE, occlude("template", seed).mask)
    assert occluded[MOUTH].all()
    assert not occluded[17:27].any()
    assert occluded[EYES].mean() < 0.5


def test_the_six_anchors_of_a_face_lie_where_masks_are_hung() -> None:
    a, b, c, d, e, f = six_points(FACE, bridge=0.0)
    assert np.allclose(b, FACE[27], atol=1e-3)
    assert np.allclose(e, FACE[8], atol=1e-3)
    assert a[1] == pytest.approx(FACE[30, 1], abs=0.1)
    assert d[1] == pytest.approx(FACE[57, 1], abs=0.1)
    assert a[0] < d[0] < e[0] < f[0] < c[0]


@pytest.mark.parametrize("kind", ["noise", "polygon", "sprite"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_wanted_share_of_the_face_is_covered(kind: str, share: float, seed: int) -> None:
    result = occlude(kind, seed, share=share)
    region = face_region(FACE, result.mask.shape)
    assert (result.mask & region).sum() / region.sum() == pytest.approx(share, abs=0.03)


def test_the_face_region_holds_the_landmarks_and_the_forehead() -> None:
    region = face_region(FACE, (192, 192))
    assert is_occluded(FACE, region).mean() > 0.9  # the hull's own corners may round to the pixel outside
    forehead = FACE[27] - (0, 50)
    assert region[int(forehead[1]), int(forehead[0])]
    assert not region[0, 0]


@pytest.mark.parametrize("kind", ["noise", "polygon", "sprite"])
@pytest.mark.parametrize("count", [29, 98, 5])
def test_other_schemes_are_occluded_where_no_scheme_is_needed(kind: str, count: int) -> None:
    points_px = np.random.default_rng(0).uniform(50, 140, (count, 2)).astype(np.float32)
    assert occlude(kind, 0, points_px).mask.any()


@pytest.mark.parametrize("kind", ["mask", "template", "sunglasses", "flat"])
def test_a_drawn_kind_names_itself_and_the_points_it_cannot_use(kind: str) -> None:
    with pytest.raises(ValueError, match=f"'{kind}': 98 points"):
        occlude(kind, 0, np.zeros((98, 2), np.float32))


@pytest.mark.parametrize("kind", ["template", "sprite"])
def test_an_empty_library_has_no_cut_outs(kind: str) -> None:
    with pytest.raises(ValueError, match=r"Library\.read"):
        occluder(kind)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="unknown occluder 'scarf'"):
        occluder("scarf")


def test_a_share_outside_the_face_is_refused() -> None:
    with pytest.raises(ValueError, match=r"coverage 1\.5"):
        occluder("noise", coverage=1.5)


def test_a_face_outside_the_picture_is_left_alone() -> None:
    result = occlude("mask", 0, face_at((-900, -900), 40))
    assert not result.mask.any()
    assert np.array_equal(result.image, picture())


def test_a_mask_in_a_black_and_white_picture_is_grey() -> None:
    grey = np.repeat(picture()[..., :1], 3, axis=2)
    for seed in range(5):
        result = occluder("mask")(grey, FACE, np.random.default_rng(seed)).image.astype(int)
        assert np.ptp(result, axis=2).max() <= 1


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 40), (90, 30)])
def test_every_pattern_fills_its_window(pattern: object, shape: tuple[int, int]) -> None:
    assert callable(pattern)
    paint = pattern(np.random.default_rng(0), *shape)
    assert paint.shape == (*shape, 3)
    assert paint.min() >= 0
    assert paint.max() <= 255


@pytest.mark.parametrize("seed", range(8))
def test_a_piece_of_the_smallest_picture_is_still_a_texture(seed: int) -> None:
    assert image_patch(np.random.default_rng(seed), 9, 30, picture(1, 2)).shape == (9, 30, 3)


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
def test_a_worn_mask_is_finite_on_any_face(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert np.isfinite(fit_patch(rng.normal(0, 1, (68, 2)), MaskFit.draw(rng)).nodes).all()


def test_a_filled_square_has_its_area_and_its_place() -> None:
    window = Window(10, 10, 30, 30)
    alpha = window.fill(np.array([[14.5, 12.5], [24.5, 12.5], [24.5, 22.5], [14.5, 22.5]]))
    assert alpha.sum() == pytest.approx(100, rel=0.08)
    assert alpha[3:13, 5:15].min() > 0.9
