import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch

from unveil import Pipeline, Restorer
from unveil.export.onnx_export import export_model, onnx_difference
from unveil.inference.aligner import AlignmentModel
from unveil.inference.onnx_model import ModelError, shipped_models, shipped_restorers
from unveil.inference.torch_restorer import load_torch_restorer
from unveil.models.checkpoints import load_network, weights_bytes
from unveil.models.generator import Generator, GeneratorConfig
from unveil.schemes.scheme import IBUG68
from unveil.types import Box, Image, Points

GREEN = (20, 200, 30)
BOX = Box(60.0, 40.0, 140.0, 120.0)


def flat(colour: tuple[int, int, int], height: int = 160, width: int = 200) -> Image:
    return np.full((height, width, 3), colour, np.uint8)


def corners(x0: float, y0: float, x1: float, y1: float) -> Points:
    """The fewest landmarks of a face in this box."""
    return np.array([[x0, y0], [x1, y1]], np.float32)


# From weights to a folder, and from a folder to a restorer


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The weights of a small generator, and the folder that they are exported to."""
    torch.manual_seed(0)
    sizes = GeneratorConfig(input_size=32, widths=(8, 16), dilations=(2,), head_channels=8)
    network = Generator(sizes)
    with torch.no_grad():
        network(torch.rand(4, 3, 32, 32))
        network.attention.get_parameter("gamma").fill_(0.5)
    folder = tmp_path_factory.mktemp("generator")
    spec = sizes.spec(IBUG68)
    (folder / "best.safetensors").write_bytes(weights_bytes(network.eval(), spec))
    export_model(folder / "best.safetensors", folder / "model", "small")
    return folder / "best.safetensors", folder / "model"


def test_an_exported_generator_computes_what_torch_computes(exported: tuple[Path, Path], portrait: Image) -> None:
    weights, folder = exported
    network, _ = load_network(weights)
    content = (folder / "model.onnx").read_bytes()
    for faces in (1, 3):
        assert max(onnx_difference(network, content, 32, faces).values()) < 5e-3  # its weights are float16
    assert b".py" not in content  # the exporter notes stack traces, with the paths of the machine
    (found,) = Restorer.load(folder)(portrait, [corners(180, 70, 270, 180)])
    image = torch.from_numpy(found.crop.extract(portrait, 32)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = network(image)
    np.testing.assert_allclose(found.restored, expected.restored[0].permute(1, 2, 0) * 255, atol=1.5)
    np.testing.assert_allclose(found.mask, expected.mask[0, 0], atol=5e-3)


def test_a_guided_restorer_draws_the_same_landmark_map_for_torch_and_onnx(portrait: Image, tmp_path: Path) -> None:
    sizes = GeneratorConfig(input_size=32, widths=(8, 16), dilations=(2,), head_channels=8, guided=True)
    torch.manual_seed(0)
    network = Generator(sizes).eval()
    weights = tmp_path / "last.safetensors"
    weights.write_bytes(weights_bytes(network, sizes.spec(IBUG68)))
    restorer = Restorer.load(export_model(weights, tmp_path / "model", "guided").folder)
    assert restorer.networks[0].guided
    points_px = AlignmentModel.load("glomface-light")(portrait, [Box(180, 70, 270, 180)])[0].points_px
    (found,) = restorer(portrait, [points_px], IBUG68)
    (windows,) = load_torch_restorer(weights).restore_each([portrait], [points_px], IBUG68)
    np.testing.assert_allclose(found.mask, windows[0].mask, atol=5e-3)
    np.testing.assert_allclose(found.restored.astype(int), windows[0].restored.astype(int), atol=2)
    (unguided,) = restorer(portrait, [points_px])
    assert np.abs(unguided.mask - found.mask).max() > 0.02


def test_an_exported_folder_has_its_config_and_weights_to_train_on(exported: tuple[Path, Path]) -> None:
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
    network, spec = load_network(exported[0])
    path = tmp_path / "best.safetensors"
    with torch.no_grad():
        network.get_parameter("head.weight").fill_(1e6)
    path.write_bytes(weights_bytes(network, spec))
    with pytest.raises(ValueError, match=r"head\.weight has values beyond float16"):
        export_model(path, tmp_path / "model", "steep")
    assert not (tmp_path / "model").exists()


def test_models_and_restorers_are_not_taken_for_one_another(model_dir: Path, restorer_dir: Path) -> None:
    with pytest.raises(ModelError, match="a restorer; name it in --restorer"):
        AlignmentModel.load(restorer_dir)
    with pytest.raises(ModelError, match="a landmark model; name it in --model"):
        Restorer.load(model_dir)


def test_an_unfit_restorer_is_one_line(
    restorer_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: tuple[Path, Path]
) -> None:
    folder = copytree(restorer_dir, tmp_path / "edited")
    (folder / "model.onnx").write_bytes((exported[1] / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match=r"model\.onnx: SHA-256 .* copy the model again"):
        Restorer.load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"config\.json: No such file"):
        Restorer.load(tmp_path / "empty")
    monkeypatch.setattr("unveil.inference.restorer.shipped_restorers", dict)
    with pytest.raises(ModelError, match="unknown restorer 'gan-ia-light': there is none in this package"):
        Restorer.load("gan-ia-light")


def test_shipped_restorers_are_no_landmark_models() -> None:
    models, restorers = shipped_models(), shipped_restorers()
    assert "glomface-light" in models
    assert not models.keys() & restorers.keys()


# From an image to the restored image


@pytest.fixture(scope="module")
def pipeline(model_dir: Path, restorer_dir: Path) -> Pipeline:
    return Pipeline(model_dir, detector=None, restorer=restorer_dir)


def test_what_covers_a_face_is_gone_and_nothing_else_changes(pipeline: Pipeline, skin: tuple[int, int, int]) -> None:
    image = flat(skin)
    image[70:100, 80:120] = GREEN
    image[:10] = (0, 0, 250)
    found = pipeline.restore(image, [BOX])
    assert found.mask[70:100, 80:120].all()
    assert found.mask.sum() < 2 * 30 * 40
    np.testing.assert_array_equal(found.image[~found.mask], image[~found.mask])
    assert np.abs(found.image[found.mask].astype(int) - np.array(skin)).max() <= 2
    (before,), (after,) = found.before, found.after
    assert before.box == after.box == BOX
    np.testing.assert_array_equal(pipeline(found.image, [BOX])[0].visibility, after.visibility)
    np.testing.assert_array_equal(pipeline(image, [BOX])[0].visibility, before.visibility)


def test_a_face_with_nothing_in_front_comes_back_as_it_is(pipeline: Pipeline, portrait: Image) -> None:
    found = pipeline.restore(portrait, [(180, 70, 270, 180)])
    np.testing.assert_array_equal(found.image, portrait)
    assert not found.mask.any()
    assert found.after == found.before
    assert len(found.before) == 1
    assert pipeline.restore(portrait, []).before == []


def test_a_pipeline_without_a_restorer_refuses_to_restore(model_dir: Path) -> None:
    with pytest.raises(ValueError, match="has no restorer; build it with restorer="):
        Pipeline(model_dir, detector=None).restore(flat((9, 9, 9)), [BOX])


@pytest.mark.parametrize("side", [30, 2000])
def test_small_and_huge_faces_are_restored(pipeline: Pipeline, skin: tuple[int, int, int], side: int) -> None:
    image = flat(skin, side * 6 // 5, side // 2)  # half of it lies outside, which takes half the time
    low, high = side // 2, side * 3 // 4
    image[low:high, : side // 4] = GREEN
    found = pipeline.restore(image, [(-side / 2, side / 10, side / 2, side * 11 / 10)])
    assert found.mask[low:high, : side // 4].all()
    assert np.abs(found.image.astype(int) - np.array(skin)).max() <= 2


@pytest.mark.parametrize("box", [(-60, -50, 60, 50), (140, 100, 280, 230), (-150, 20, 20, 140), (-80, -80, 300, 300)])
def test_a_face_partly_outside_the_image_is_restored(
    pipeline: Pipeline, skin: tuple[int, int, int], box: tuple[float, ...]
) -> None:
    image = flat(skin)
    x, y = (int(np.clip(value, 0, most)) for value, most in ((box[0] / 2 + box[2] / 2, 180), (box[3] - 40, 140)))
    image[max(y - 15, 0) : y + 15, max(x - 15, 0) : x + 15] = GREEN
    found = pipeline.restore(image, [box])
    np.testing.assert_array_equal(found.image[~found.mask], image[~found.mask])
    assert np.abs(found.image[found.mask].astype(int) - np.array(skin)).max(initial=0) <= 2


def test_overlapping_faces_share_an_occluder(pipeline: Pipeline, skin: tuple[int, int, int]) -> None:
    image = flat(skin)
    image[60:110, 50:150] = GREEN
    found = pipeline.restore(image, [(40, 40, 110, 120), (90, 40, 160, 120)])
    assert found.mask[60:110, 50:150].all()
    assert np.abs(found.image.astype(int) - np.array(skin)).max() <= 2
    assert len(found.before) == len(found.after) == 2


def test_many_faces_are_restored_in_order(restorer_dir: Path, skin: tuple[int, int, int]) -> None:
    faces = [corners(10 * i, 10, 10 * i + 60, 70) for i in range(9)]
    found = Restorer.load(restorer_dir)(flat(skin), faces)
    assert [face.crop.centre[0] for face in found] == [10 * i + 30 for i in range(9)]
