"""Occluders: what they cover, what they leave alone, and that a seed decides everything."""

import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.data.occluded_faces import (
    FACE,
    LIBRARY,
    face_at,
    occlude,
    photograph,
)

from unveil.cli.occlude import Kind
from unveil.data.datasets.registry import folder
from unveil.data.occlusion import KINDS, Library, OcclusionConfig, face_region, is_occluded, occluder
from unveil.data.occlusion.haircut import cut_hair
from unveil.data.occlusion.library import write_hair
from unveil.data.occlusion.sheet import contact_sheet
from unveil.data.occlusion.template import six_points
from unveil.types import Image, Points

SOFT_EDGE = 12  # pixels around the mask that blending, motion blur and a shadow may change
THIN = ("hair", "haircut", "beard", "glasses")  # kinds with strands, stubble and reflections that are not in the mask
JAW, NOSE, EYES, MOUTH = slice(0, 17), slice(27, 36), slice(36, 48), slice(48, 68)


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
    image = photograph(height, width)
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
    allowed = 0.12 * result.mask.size if kind in THIN else 0
    assert changed_far_from(result.mask, photograph(), result.image) <= allowed


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_the_same_image(kind: str) -> None:
    first, second = occlude(kind, 7), occlude(kind, 7)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.mask, second.mask)


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_gives_another_image(kind: str) -> None:
    assert not np.array_equal(occlude(kind, 1).image, occlude(kind, 2).image)


@pytest.mark.parametrize("kind", KINDS)
def test_the_covered_pixels_are_changed(kind: str) -> None:
    result = next(found for found in (occlude(kind, seed) for seed in range(3, 30)) if found.mask.any())
    assert (result.image != photograph()).any(axis=2)[result.mask].mean() > 0.8


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
@pytest.mark.parametrize("coverage", [0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_requested_fraction_of_the_face_is_covered(kind: str, coverage: float, seed: int) -> None:
    result = occlude(kind, seed, coverage=coverage)
    region = face_region(FACE, result.mask.shape)
    assert (result.mask & region).sum() / region.sum() == pytest.approx(coverage, abs=0.03)


def test_the_face_region_holds_the_landmarks_and_the_forehead() -> None:
    region = face_region(FACE, (192, 192))
    assert is_occluded(FACE, region).mean() > 0.9  # the hull's own corners may round to the pixel outside
    forehead = FACE[27] - (0, 50)
    assert region[int(forehead[1]), int(forehead[0])]
    assert not region[0, 0]


def covered_parts(kind: str, seeds: int = 40) -> NDArray[np.float64]:
    """How often each landmark of the frontal face is occluded, (68,)."""
    flags = np.stack([is_occluded(FACE, occlude(kind, seed).mask) for seed in range(seeds)])
    return np.asarray(flags.mean(axis=0), np.float64)


@pytest.mark.parametrize(
    ("kind", "often", "never"),
    [
        ("hair", slice(17, 27), slice(48, 68)),
        ("haircut", slice(17, 27), slice(48, 68)),
        ("hat", slice(17, 27), slice(31, 68)),
        ("hood", (0, 1, 15, 16), slice(30, 36)),
        ("scarf", slice(6, 11), slice(17, 27)),
        ("beard", slice(5, 12), slice(17, 31)),
        ("glasses", (17, 26, 27, 28, 39, 42), slice(48, 68)),
        ("hand", slice(0, 68), ()),
        ("held", slice(48, 68), (19, 24)),
    ],
)
def test_each_kind_occludes_the_landmarks_that_it_lies_on(kind: str, often: object, never: object) -> None:
    coverage = covered_parts(kind)
    assert coverage[np.r_[often]].mean() > 0.12
    assert never == () or coverage[np.r_[never]].mean() < 0.12
    assert coverage.max() < 1


def test_clear_lenses_leave_the_eyes_visible() -> None:
    eyes = [is_occluded(FACE, occlude("glasses", seed).mask)[36:48].mean() for seed in range(40)]
    assert np.median(eyes) < 0.2


def test_a_hand_has_an_arm_that_leaves_the_image() -> None:
    borders = [occlude("hand", seed).mask for seed in range(12)]
    assert all(np.concatenate([m[0], m[-1], m[:, 0], m[:, -1]]).any() for m in borders)


def test_hair_is_cut_out_above_the_face_and_not_on_it() -> None:
    image, points_px = drawn_head()
    cutout = cut_hair("a", image, points_px)
    assert cutout is not None
    alpha = cutout.pixels[..., 3] > 127
    assert not is_occluded(cutout.points, alpha)[27:].any()
    rows, _ = np.nonzero(alpha)
    assert np.median(rows) < cutout.points[17:27, 1].mean()
    colour = cutout.pixels[alpha][:, :3].mean(axis=0)
    assert np.abs(colour - (60, 40, 30)).max() < 30


def test_a_bald_head_or_one_that_is_cut_off_gives_no_hair() -> None:
    image, points_px = drawn_head(hair=(225, 175, 145))
    assert cut_hair("a", image, points_px) is None
    image, points_px = drawn_head()
    assert cut_hair("a", image[120:], points_px - (0, 120)) is None


def test_hair_is_written_and_read_as_a_part_of_a_library(tmp_path: Path) -> None:
    cutout = cut_hair("a", *drawn_head())
    assert cutout is not None
    write_hair(tmp_path / "hair", [cutout])
    (read,) = Library.read(tmp_path).hair
    assert read.name == "a"
    np.testing.assert_allclose(read.points, cutout.points, atol=0.01)
    assert np.abs(read.pixels[..., 3].astype(int) - cutout.pixels[..., 3]).mean() < 3
    assert is_occluded(
        FACE, occluder("haircut", Library.read(tmp_path))(photograph(), FACE, np.random.default_rng(2)).mask
    ).any()


def test_hair_is_added_to_a_folder_that_has_some(tmp_path: Path) -> None:
    cutout = cut_hair("a", *drawn_head())
    assert cutout is not None
    write_hair(tmp_path / "hair", [cutout])
    write_hair(tmp_path / "hair", [replace(cutout, name="b")])
    assert [hair.name for hair in Library.read(tmp_path).hair] == ["a", "b"]


def test_a_contact_sheet_has_a_row_for_each_kind_that_can_be_drawn(drawn_folder: Path) -> None:
    sheet, left_out = contact_sheet(folder(drawn_folder), ("hat", "haircut"), Library())
    assert sheet.shape == (224, 7 * 224, 3)
    assert left_out == ("haircut",)
    with pytest.raises(ValueError, match="no occluder can be drawn of sprite"):
        contact_sheet(folder(drawn_folder), ("sprite",), Library())


def test_the_command_line_and_the_config_have_every_kind() -> None:
    assert get_args(Kind) == KINDS
    assert set(KINDS) <= OcclusionConfig.model_fields.keys()


def drawn_head(hair: tuple[int, int, int] = (60, 40, 30)) -> tuple[Image, Points]:
    """A face of one colour with hair above it, before a background of another."""
    image = np.full((320, 320, 3), (90, 140, 190), np.uint8)
    cv2.ellipse(image, (160, 160), (76, 98), 0, 0, 360, hair, -1)
    cv2.ellipse(image, (160, 190), (62, 78), 0, 0, 360, (225, 175, 145), -1)
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), face_at((160, 192), 60)


@pytest.mark.parametrize("kind", ["noise", "polygon", "sprite", "hand"])
@pytest.mark.parametrize("count", [29, 98, 5])
def test_other_schemes_are_occluded_where_no_scheme_is_needed(kind: str, count: int) -> None:
    points_px = np.random.default_rng(0).uniform(50, 140, (count, 2)).astype(np.float32)
    assert occlude(kind, 0, points_px).mask.any()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("noise", "polygon", "sprite", "hand")])
def test_a_drawn_kind_names_itself_and_the_points_it_cannot_use(kind: str) -> None:
    with pytest.raises(ValueError, match=f"'{kind}': 98 points"):
        occlude(kind, 0, np.zeros((98, 2), np.float32))


@pytest.mark.parametrize("kind", ["template", "sprite", "hand", "haircut"])
def test_an_empty_library_has_no_cut_outs(kind: str) -> None:
    with pytest.raises(ValueError, match=r"Library\.read|prepare-hair"):
        occluder(kind)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="unknown occluder 'veil'"):
        occluder("veil")


def test_a_coverage_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"coverage 1\.5"):
        occluder("noise", coverage=1.5)


def test_a_face_outside_the_image_is_left_alone() -> None:
    result = occlude("mask", 0, face_at((-900, -900), 40))
    assert not result.mask.any()
    assert np.array_equal(result.image, photograph())


def test_a_mask_in_a_black_and_white_image_is_grey() -> None:
    grey = np.repeat(photograph()[..., :1], 3, axis=2)
    for seed in range(5):
        result = occluder("mask")(grey, FACE, np.random.default_rng(seed)).image.astype(int)
        assert np.ptp(result, axis=2).max() <= 1
