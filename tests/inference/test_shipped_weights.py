"""The shipped weights: their size, and their results on a photograph."""

import numpy as np
import pytest
import skimage

from unveil.data.occlusion import occluder
from unveil.inference.onnx_model import shipped_models, shipped_restorers
from unveil.inference.pipeline import Pipeline
from unveil.metrics.restoration import mask_iou
from unveil.types import Image

BOX = (178.0, 91.0, 269.0, 177.0)


@pytest.fixture(scope="module")
def astronaut() -> Image:
    return np.asarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline("glomface-light", detector=None, restorer="gan-ia-light")


def test_files_are_small_enough_to_install() -> None:
    folders = [*shipped_models().values(), *shipped_restorers().values()]
    sizes = {path: path.stat().st_size for folder in folders for path in folder.iterdir()}
    assert max(sizes.values()) <= 8e6
    assert sum(sizes.values()) <= 36e6


def test_a_bare_face_comes_back_to_the_byte(pipeline: Pipeline, astronaut: Image) -> None:
    found = pipeline.restore(astronaut, [BOX])
    assert not found.mask.any()
    np.testing.assert_array_equal(found.image, astronaut)


def test_a_mask_is_found_and_taken_off_and_nothing_else_is_touched(pipeline: Pipeline, astronaut: Image) -> None:
    (face,) = pipeline(astronaut, [BOX])
    masked = occluder("mask")(astronaut, face.landmarks, np.random.default_rng(1))
    found = pipeline.restore(masked.image, [BOX])
    np.testing.assert_array_equal(found.image[~found.mask], masked.image[~found.mask])
    assert mask_iou(masked.mask, found.mask) > 0.7  # what is replaced is a little larger than the occluder
    before, after = (np.abs(image.astype(int) - astronaut)[masked.mask].mean() for image in (masked.image, found.image))
    assert after < 0.7 * before
    (covered_face,), (restored_face,) = found.before, found.after
    assert restored_face.visibility is not None
    assert covered_face.visibility is not None
    assert restored_face.visibility.mean() > covered_face.visibility.mean()
