import json
from dataclasses import asdict
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unveil import Pipeline, Restorer
from unveil.export import export_model, parity
from unveil.face.schemes import IBUG68
from unveil.geometry import Crop
from unveil.inference import runtime
from unveil.inference.blending import RestoredCrop, blended, covered_pixels, membrane
from unveil.inference.runtime import AlignmentModel, ModelError
from unveil.models.generator import Generator, GeneratorSizes
from unveil.models.restorers import load_restorer
from unveil.models.weights import Blueprint, load_network, weights_bytes
from unveil.types import Box, Image, Points

GREEN = (20, 200, 30)
SIZE = 64
BOX = Box(60.0, 40.0, 140.0, 120.0)


def flat(colour: tuple[int, int, int], height: int = 160, width: int = 200) -> Image:
    return np.full((height, width, 3), colour, np.uint8)


def crop_of(
    image_rgb: Image, crop: Crop, mask: NDArray[np.float32], gain: float = 1.0, lift: float = 0.0
) -> RestoredCrop:
    """A restorer that knows the truth, but in another light."""
    truth = crop.extract(image_rgb, len(mask)).astype(np.float32)
    return RestoredCrop(crop, np.clip(truth * gain + lift, 0, 255).astype(np.uint8), mask)


def square_mask(low: int = 20, high: int = 44, size: int = SIZE) -> NDArray[np.float32]:
    mask = np.zeros((size, size), np.float32)
    mask[low:high, low:high] = 1
    return mask


def corners(x0: float, y0: float, x1: float, y1: float) -> Points:
    """The fewest landmarks of a face in this box."""
    return np.array([[x0, y0], [x1, y1]], np.float32)


# From weights to a folder, and from a folder to a restorer


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The weights of a small generator, and the folder that they are exported to."""
    torch.manual_seed(0)
    sizes = GeneratorSizes(widths=(8, 16), dilations=(2,), last=8)
    network = Generator(**asdict(sizes))
    with torch.no_grad():
        network(torch.rand(4, 3, 32, 32))
        network.attention.get_parameter("gamma").fill_(0.5)
    folder = tmp_path_factory.mktemp("generator")
    blueprint = Blueprint("gan-ia", "ibug68", 32, 1.15, asdict(sizes))
    (folder / "best.safetensors").write_bytes(weights_bytes(network.eval(), blueprint))
    export_model(folder / "best.safetensors", folder / "model", "small")
    return folder / "best.safetensors", folder / "model"


def test_an_exported_generator_says_what_torch_says(exported: tuple[Path, Path], portrait: Image) -> None:
    weights, folder = exported
    network, _ = load_network(weights)
    content = (folder / "model.onnx").read_bytes()
    for faces in (1, 3):
        assert max(parity(network, content, 32, faces).values()) < 5e-3  # its weights are float16
    assert b".py" not in content  # the exporter notes stack traces, with the paths of the machine
    (found,) = Restorer.load(folder)(portrait, [corners(180, 70, 270, 180)])
    image = torch.from_numpy(found.crop.extract(portrait, 32)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = network(image)
    np.testing.assert_allclose(found.restored, expected.restored[0].permute(1, 2, 0) * 255, atol=1.5)
    np.testing.assert_allclose(found.mask, expected.mask[0, 0], atol=5e-3)


def test_a_guided_restorer_is_told_the_landmarks_alike_by_torch_and_onnx(portrait: Image, tmp_path: Path) -> None:
    sizes = GeneratorSizes(widths=(8, 16), dilations=(2,), last=8, guided=True)
    torch.manual_seed(0)
    network = Generator(**asdict(sizes)).eval()
    weights = tmp_path / "last.safetensors"
    weights.write_bytes(weights_bytes(network, Blueprint("gan-ia", "ibug68", 32, 1.15, asdict(sizes))))
    restorer = Restorer.load(export_model(weights, tmp_path / "model", "guided").folder)
    assert restorer.config.guided
    points_px = AlignmentModel.load("glomface-light")(portrait, [Box(180, 70, 270, 180)])[0].points_px
    (found,) = restorer(portrait, [points_px], IBUG68.contours)
    (windows,) = load_restorer(weights)([portrait], [points_px])
    np.testing.assert_allclose(found.mask, windows[0].mask, atol=5e-3)
    np.testing.assert_allclose(found.restored.astype(int), windows[0].restored.astype(int), atol=2)
    (untold,) = restorer(portrait, [points_px])
    assert np.abs(untold.mask - found.mask).max() > 0.02


def test_a_restorers_folder_says_what_it_is_and_trains_on(exported: tuple[Path, Path]) -> None:
    weights, folder = exported
    config = json.loads((folder / "config.json").read_text())
    assert (config["kind"], config["name"], config["input_size"], config["margin"]) == ("restorer", "small", 32, 1.15)
    assert set(config["sha256"]) == {"model.onnx", "model.safetensors"}
    network, _ = load_network(folder / "model.safetensors")
    whole, _ = load_network(weights)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(images).restored, whole(images).restored, atol=5e-3, rtol=0)


def test_what_no_command_could_run_is_not_exported(exported: tuple[Path, Path], tmp_path: Path) -> None:
    network, blueprint = load_network(exported[0])
    path = tmp_path / "best.safetensors"
    mouth = Blueprint(**{**json.loads(blueprint.to_json()), "component": "mouth"})
    path.write_bytes(weights_bytes(network, mouth))
    with pytest.raises(ValueError, match=r"best\.safetensors: restores the mouth alone"):
        export_model(path, tmp_path / "model", "mouth")
    with torch.no_grad():
        network.get_parameter("to_picture.weight").fill_(1e6)
    path.write_bytes(weights_bytes(network, blueprint))
    with pytest.raises(ValueError, match=r"to_picture\.weight holds numbers that float16 does not"):
        export_model(path, tmp_path / "model", "steep")
    assert not (tmp_path / "model").exists()


def test_models_and_restorers_are_not_taken_for_one_another(model_dir: Path, restorer_dir: Path) -> None:
    with pytest.raises(ModelError, match="a restorer; name it in --restorer"):
        AlignmentModel.load(restorer_dir)
    with pytest.raises(ModelError, match="no restorer; name it in --restorer"):
        Restorer.load(model_dir)


def test_an_unfit_restorer_is_one_line(
    restorer_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: tuple[Path, Path]
) -> None:
    folder = copytree(restorer_dir, tmp_path / "edited")
    (folder / "model.onnx").write_bytes((exported[1] / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match=r"model\.onnx: SHA-256 .* copy the model again"):
        Restorer.load(folder)
    with pytest.raises(ModelError, match=r"config\.json: No such file"):
        Restorer.load(tmp_path)
    monkeypatch.setattr("unveil.inference.restoration.shipped_restorers", dict)
    with pytest.raises(ModelError, match="unknown restorer 'gan-ia-light': there is none in this package"):
        Restorer.load("gan-ia-light")


def test_shipped_restorers_are_no_landmark_models() -> None:
    models, restorers = runtime.shipped_models(), runtime.shipped_restorers()
    assert "glomface-light" in models
    assert not models.keys() & restorers.keys()


# From a picture to the restored picture


@pytest.fixture(scope="module")
def pipeline(model_dir: Path, restorer_dir: Path) -> Pipeline:
    return Pipeline(model_dir, detector=None, restorer=restorer_dir)


def test_what_covers_a_face_is_gone_and_nothing_else_changes(pipeline: Pipeline, skin: tuple[int, int, int]) -> None:
    picture = flat(skin)
    picture[70:100, 80:120] = GREEN
    picture[:10] = (0, 0, 250)
    found = pipeline.restore(picture, [BOX])
    assert found.mask[70:100, 80:120].all()
    assert found.mask.sum() < 2 * 30 * 40
    np.testing.assert_array_equal(found.image[~found.mask], picture[~found.mask])
    assert np.abs(found.image[found.mask].astype(int) - np.array(skin)).max() <= 2
    (before,), (after,) = found.before, found.after
    assert before.box == after.box == BOX
    np.testing.assert_array_equal(pipeline(found.image, [BOX])[0].visibility, after.visibility)
    np.testing.assert_array_equal(pipeline(picture, [BOX])[0].visibility, before.visibility)


def test_a_face_with_nothing_in_front_comes_back_as_it_is(pipeline: Pipeline, portrait: Image) -> None:
    found = pipeline.restore(portrait, [(180, 70, 270, 180)])
    np.testing.assert_array_equal(found.image, portrait)
    assert not found.mask.any()
    assert found.after == found.before
    assert len(found.before) == 1
    assert pipeline.restore(portrait, []).before == []


def test_a_pipeline_without_a_restorer_says_so(model_dir: Path) -> None:
    with pytest.raises(ValueError, match="has no restorer; build it with restorer="):
        Pipeline(model_dir, detector=None).restore(flat((9, 9, 9)), [BOX])


@pytest.mark.parametrize("side", [30, 2000])
def test_small_and_huge_faces_are_restored(pipeline: Pipeline, skin: tuple[int, int, int], side: int) -> None:
    picture = flat(skin, side * 6 // 5, side // 2)  # half of it lies outside, which takes half the time
    low, high = side // 2, side * 3 // 4
    picture[low:high, : side // 4] = GREEN
    found = pipeline.restore(picture, [(-side / 2, side / 10, side / 2, side * 11 / 10)])
    assert found.mask[low:high, : side // 4].all()
    assert np.abs(found.image.astype(int) - np.array(skin)).max() <= 2


@pytest.mark.parametrize("box", [(-60, -50, 60, 50), (140, 100, 280, 230), (-150, 20, 20, 140), (-80, -80, 300, 300)])
def test_a_face_partly_outside_the_picture_is_restored(
    pipeline: Pipeline, skin: tuple[int, int, int], box: tuple[float, ...]
) -> None:
    picture = flat(skin)
    x, y = (int(np.clip(value, 0, most)) for value, most in ((box[0] / 2 + box[2] / 2, 180), (box[3] - 40, 140)))
    picture[max(y - 15, 0) : y + 15, max(x - 15, 0) : x + 15] = GREEN
    found = pipeline.restore(picture, [box])
    np.testing.assert_array_equal(found.image[~found.mask], picture[~found.mask])
    assert np.abs(found.image[found.mask].astype(int) - np.array(skin)).max(initial=0) <= 2


def test_overlapping_faces_share_an_occluder(pipeline: Pipeline, skin: tuple[int, int, int]) -> None:
    picture = flat(skin)
    picture[60:110, 50:150] = GREEN
    found = pipeline.restore(picture, [(40, 40, 110, 120), (90, 40, 160, 120)])
    assert found.mask[60:110, 50:150].all()
    assert np.abs(found.image.astype(int) - np.array(skin)).max() <= 2
    assert len(found.before) == len(found.after) == 2


def test_many_faces_are_restored_in_order(restorer_dir: Path, skin: tuple[int, int, int]) -> None:
    faces = [corners(10 * i, 10, 10 * i + 60, 70) for i in range(9)]
    found = Restorer.load(restorer_dir)(flat(skin), faces)
    assert [face.crop.centre[0] for face in found] == [10 * i + 30 for i in range(9)]


# Blending


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
    picture = rng.integers(0, 256, (*shape, 3), np.uint8)
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
    original = picture.copy()
    restored, mask = blended(picture, found)
    np.testing.assert_array_equal(picture, original)
    assert restored.dtype == np.uint8
    assert (restored.shape, mask.shape) == (picture.shape, shape)
    np.testing.assert_array_equal(restored[~mask], picture[~mask])
    y, x = np.nonzero(mask)
    inside = [np.abs(crop.to_unit(np.stack([x, y], axis=1).astype(np.float32))).max(axis=1) <= 1.2 for crop in crops]
    assert not mask.any() or np.any(inside, axis=0).all() or side < 20  # half a pixel is much of a tiny crop


def test_another_light_leaves_no_seam(portrait: Image) -> None:
    crop = Crop((225.0, 130.0), 150.0)
    covered = portrait.copy()
    covered[107:153, 202:248] = GREEN
    restored, mask = blended(covered, [crop_of(portrait, crop, square_mask(), 0.9, -10)])
    pasted, _ = blended(covered, [crop_of(portrait, crop, square_mask())])
    assert mask[107:153, 202:248].all()
    off = np.abs(restored.astype(float) - portrait)[mask].mean()
    assert off < np.abs(pasted.astype(float) - portrait)[mask].mean() + 4
    assert off < 8  # the restored face itself is 27 off


def test_an_occluder_that_the_crop_cuts_off_lends_no_colour(skin: tuple[int, int, int]) -> None:
    picture = flat(skin)
    picture[80:] = GREEN
    crop = Crop((100.0, 80.0), 90.0)
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[SIZE // 2 :] = 1
    restored, covered = blended(picture, [RestoredCrop(crop, flat(skin, SIZE, SIZE), mask)])
    assert np.abs(restored[covered].astype(int) - np.array(skin)).max() <= 1
    assert (restored[130:] == np.array(GREEN)).all()


def test_an_occluder_larger_than_its_mask_lends_no_colour(skin: tuple[int, int, int]) -> None:
    picture = flat(skin)
    picture[50:110, 70:130] = GREEN
    crop = Crop((100.0, 80.0), 90.0)
    found = RestoredCrop(crop, flat((190, 145, 128), SIZE, SIZE), square_mask(26, 38))  # an eighth too dark
    restored, covered = blended(picture, [found])
    assert np.abs(restored[covered].astype(int) - np.array(skin)).max() <= 3


@pytest.mark.parametrize("first", [0, 1])
def test_what_two_crops_show_is_painted_by_the_face_it_belongs_to(first: int) -> None:
    picture = flat((100, 100, 100))
    crops = [Crop((70.0, 80.0), 80.0), Crop((130.0, 80.0), 80.0)]
    whole = np.ones((SIZE, SIZE), np.float32)
    found = [
        RestoredCrop(crop, flat(colour, SIZE, SIZE), whole)
        for crop, colour in zip(crops, ((110, 0, 0), (0, 110, 0)), strict=True)
    ]
    restored, _ = blended(picture, [found[first], found[1 - first]])
    assert (restored[50:110, 40:98] == (110, 0, 0)).all()
    assert (restored[50:110, 102:160] == (0, 110, 0)).all()


def test_specks_and_gaps_of_the_mask_are_the_networks_noise() -> None:
    mask = np.zeros((128, 128), np.float32)
    mask[3:7, 3:7] = 1
    assert not covered_pixels(mask).any()
    mask[40:80, 40:80] = 0.9
    mask[60:64, 60:64] = 0.1
    mask[100, :] = 0.4
    found = covered_pixels(mask)
    assert not found[:20].any()
    assert found[36:84, 45:75].all()
    assert not found[:36].any()
    assert not found[84:].any()
    assert covered_pixels(np.ones((16, 16), np.float32)).all()


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
