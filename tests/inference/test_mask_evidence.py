"""The aligner's visibility decides which regions of a restorer's mask stay."""

import numpy as np
import pytest

from unveil.geometry import Crop
from unveil.inference.blending import RestoredCrop
from unveil.inference.mask_evidence import supported_mask
from unveil.types import Points

SIZE = 64


def crop_with_region(probability: float, side: int) -> RestoredCrop:
    """A mask with one square region around (20, 20)."""
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[20 - side // 2 : 20 + side // 2, 20 - side // 2 : 20 + side // 2] = probability
    return RestoredCrop(Crop((31.5, 31.5), SIZE), np.zeros((SIZE, SIZE, 3), np.uint8), mask)


def points() -> Points:
    return np.array([[20, 20], [50, 50]], np.float32)


@pytest.mark.parametrize(
    ("visibility", "probability", "side", "stays"),
    [
        ((0.1, 0.9), 0.6, 8, True),  # a landmark in it is occluded
        ((0.9, 0.1), 0.6, 8, False),  # the occluded landmark is elsewhere
        ((0.9, 0.9), 0.6, 20, False),
        ((0.9, 0.9), 1.0, 20, True),  # large and certain
        ((0.9, 0.9), 1.0, 6, False),
    ],
)
def test_a_region_stays_if_a_landmark_is_occluded_there_or_it_is_large_and_certain(
    visibility: tuple[float, float], probability: float, side: int, stays: bool
) -> None:
    crop = crop_with_region(probability, side)
    found = supported_mask(crop, points(), np.array(visibility, np.float32))
    assert found.mask.any() == stays
    if stays:
        np.testing.assert_array_equal(found.mask, crop.mask)


def test_without_visibility_every_region_stays() -> None:
    crop = crop_with_region(0.6, 8)
    assert supported_mask(crop, points(), None) is crop


def test_regions_are_decided_one_by_one() -> None:
    crop = crop_with_region(0.6, 8)
    crop.mask[45:55, 45:55] = 0.6
    found = supported_mask(crop, points(), np.array([0.9, 0.1], np.float32))
    assert not found.mask[:40, :40].any()
    np.testing.assert_array_equal(found.mask[45:55, 45:55], crop.mask[45:55, 45:55])
