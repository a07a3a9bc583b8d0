"""Restored faces laid back into the photograph: nothing changes outside the mask, and inside it there is no seam."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unveil.geometry import Crop
from unveil.inference.blending import RestoredCrop, blend, membrane, occluded_pixels
from unveil.types import Image

GREEN = (20, 200, 30)
SIZE = 64


def flat(colour: tuple[int, int, int], height: int = 160, width: int = 200) -> Image:
    return np.full((height, width, 3), colour, np.uint8)


def crop_of(
    image_rgb: Image, crop: Crop, mask: NDArray[np.float32], gain: float = 1.0, lift: float = 0.0
) -> RestoredCrop:
    """A restorer that returns the ground truth in another light."""
    ground_truth = crop.extract(image_rgb, len(mask)).astype(np.float32)
    return RestoredCrop(crop, np.clip(ground_truth * gain + lift, 0, 255).astype(np.uint8), mask)


def square_mask(low: int = 20, high: int = 44, size: int = SIZE) -> NDArray[np.float32]:
    mask = np.zeros((size, size), np.float32)
    mask[low:high, low:high] = 1
    return mask


@settings(max_examples=60, deadline=None)
@given(
    centre=st.tuples(st.floats(-60, 160), st.floats(-60, 160)),
    side=st.floats(0.1, 400),
    angle=st.floats(-3.2, 3.2),
    size=st.sampled_from([8, 16, 33]),
    shape=st.tuples(st.integers(8, 90), st.integers(8, 90)),
    faces=st.integers(0, 3),
    seed=st.integers(0, 2**16),
)
def test_no_byte_differs_outside_the_mask_or_outside_the_crops(
    centre: tuple[float, float],
    side: float,
    angle: float,
    size: int,
    shape: tuple[int, int],
    faces: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    crops = [Crop((centre[0] + 20 * i, centre[1]), side, angle) for i in range(faces)]
    coarse = rng.random((faces, 4, 4)).astype(np.float32) ** 2
    found = [
        RestoredCrop(
            crop,
            rng.integers(0, 256, (size, size, 3), np.uint8),
            np.kron(cells, np.ones((size, size), np.float32))[::4, ::4],
        )
        for crop, cells in zip(crops, coarse, strict=True)
    ]
    original = image.copy()
    restored, mask = blend(image, found)
    np.testing.assert_array_equal(image, original)
    assert restored.dtype == np.uint8
    assert (restored.shape, mask.shape) == (image.shape, shape)
    np.testing.assert_array_equal(restored[~mask], image[~mask])
    y, x = np.nonzero(mask)
    inside = [np.abs(crop.to_unit(np.stack([x, y], axis=1).astype(np.float32))).max(axis=1) <= 1.2 for crop in crops]
    assert not mask.any() or np.any(inside, axis=0).all() or side < 20  # half a pixel is much of a tiny crop


def test_another_light_leaves_no_seam(portrait: Image) -> None:
    crop = Crop((225.0, 130.0), 150.0)
    covered = portrait.copy()
    covered[107:153, 202:248] = GREEN
    restored, mask = blend(covered, [crop_of(portrait, crop, square_mask(), 0.9, -10)])
    pasted, _ = blend(covered, [crop_of(portrait, crop, square_mask())])
    assert mask[107:153, 202:248].all()
    off = np.abs(restored.astype(float) - portrait)[mask].mean()
    assert off < np.abs(pasted.astype(float) - portrait)[mask].mean() + 4
    assert off < 8  # the restored face itself is 27 off


def test_an_occluder_that_the_crop_cuts_off_lends_no_colour(skin: tuple[int, int, int]) -> None:
    image = flat(skin)
    image[80:] = GREEN
    crop = Crop((100.0, 80.0), 90.0)
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[SIZE // 2 :] = 1
    restored, covered = blend(image, [RestoredCrop(crop, flat(skin, SIZE, SIZE), mask)])
    assert np.abs(restored[covered].astype(int) - np.array(skin)).max() <= 1
    assert (restored[130:] == np.array(GREEN)).all()


def test_an_occluder_larger_than_its_mask_lends_no_colour(skin: tuple[int, int, int]) -> None:
    image = flat(skin)
    image[50:110, 70:130] = GREEN
    crop = Crop((100.0, 80.0), 90.0)
    found = RestoredCrop(crop, flat((190, 145, 128), SIZE, SIZE), square_mask(26, 38))  # an eighth too dark
    restored, covered = blend(image, [found])
    assert np.abs(restored[covered].astype(int) - np.array(skin)).max() <= 3


@pytest.mark.parametrize("first", [0, 1])
def test_what_two_crops_show_is_painted_by_the_face_it_belongs_to(first: int) -> None:
    image = flat((100, 100, 100))
    crops = [Crop((70.0, 80.0), 80.0), Crop((130.0, 80.0), 80.0)]
    whole = np.ones((SIZE, SIZE), np.float32)
    found = [
        RestoredCrop(crop, flat(colour, SIZE, SIZE), whole)
        for crop, colour in zip(crops, ((110, 0, 0), (0, 110, 0)), strict=True)
    ]
    restored, _ = blend(image, [found[first], found[1 - first]])
    assert (restored[50:110, 40:98] == (110, 0, 0)).all()
    assert (restored[50:110, 102:160] == (0, 110, 0)).all()


def test_specks_and_gaps_of_the_mask_are_the_networks_noise() -> None:
    mask = np.zeros((128, 128), np.float32)
    mask[3:7, 3:7] = 1
    assert not occluded_pixels(mask).any()
    mask[40:80, 40:80] = 0.9
    mask[60:64, 60:64] = 0.1
    mask[100, :] = 0.4
    found = occluded_pixels(mask)
    assert not found[:20].any()
    assert found[36:84, 45:75].all()
    assert not found[:36].any()
    assert not found[84:].any()
    assert occluded_pixels(np.ones((16, 16), np.float32)).all()


@pytest.mark.parametrize("shape", [(40, 60), (61, 33), (2, 9), (1, 1)])
def test_the_membrane_through_a_plane_is_the_plane(shape: tuple[int, int]) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    plane = np.stack([x, y - x], axis=2)
    known = np.zeros(shape, np.bool_)
    known[0], known[-1], known[:, 0], known[:, -1] = True, True, True, True
    found = membrane(np.where(known[..., None], plane, 1e6), known)
    np.testing.assert_array_equal(found[known], plane[known])
    assert np.abs(found - plane).max() <= 0.03 * np.ptp(plane)


def test_the_membrane_of_nothing_is_flat() -> None:
    values = np.full((9, 12, 3), 7.0, np.float32)
    assert not membrane(values, np.zeros((9, 12), np.bool_)).any()
    corner = np.zeros((9, 12), np.bool_)
    corner[0, 0] = True
    np.testing.assert_allclose(membrane(values, corner), 7.0)


def test_work_stops_between_faces() -> None:
    image = flat((100, 100, 100))
    found = [
        RestoredCrop(Crop((40.0 + 40 * i, 80.0), 40.0), flat((90, 90, 90), 32, 32), np.ones((32, 32), np.float32))
        for i in range(3)
    ]
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        blend(image, found, check)
    assert len(calls) == 2


def test_a_large_face_gets_the_grain_of_its_skin(skin: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    grainy = np.clip(flat(skin, 600, 600) + rng.normal(0, 4, (600, 600, 1)), 0, 255).astype(np.uint8)
    covered = grainy.copy()
    covered[250:350, 250:350] = GREEN
    mask = square_mask(24, 40)
    crop = RestoredCrop(Crop((299.5, 299.5), 500.0), flat(skin, SIZE, SIZE), mask)
    restored, replaced = blend(covered, [crop])
    inside = restored[270:330, 270:330].astype(float)
    assert replaced[250:350, 250:350].all()
    assert 2.0 < inside.std(axis=(0, 1)).mean() < 6.0
    again, _ = blend(covered, [crop])
    np.testing.assert_array_equal(again, restored)


def test_memory_is_bounded_by_the_photograph_and_not_by_the_number_of_faces() -> None:
    height, width = 1200, 1600
    image = np.full((height, width, 3), 120, np.uint8)
    mask = np.zeros((32, 32), np.float32)
    mask[10:22, 10:22] = 1
    faces = [RestoredCrop(Crop((800.0 + i, 600.0), 1500.0), flat((110, 110, 110), 32, 32), mask) for i in range(24)]
    tracemalloc.start()
    blend(image, faces[:2])
    few = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    blend(image, faces)
    many = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert many < 1.2 * few
    assert few < 20 * height * width
