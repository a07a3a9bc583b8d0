"""The crop that a network was trained on is the crop that its folder asks for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from unveil.data.occlusion import OcclusionSampler
from unveil.data.pack import read_faces
from unveil.export import onnx_export as export
from unveil.geometry import Crop, tight_box
from unveil.inference.onnx_model import ModelConfig, RestorerConfig, read_config
from unveil.models.checkpoints import NetworkSpec, weights_bytes
from unveil.models.generator import GeneratorConfig
from unveil.registry import PRESETS, build_network
from unveil.schemes.scheme import IBUG68
from unveil.training.gan_config import GanTrainConfig
from unveil.training.restoration import make_pair
from unveil.training.validation import val_examples

SMALL: dict[str, dict[str, Any]] = {
    "glomface-light": {
        "dim": 16,
        "memory_dim": 24,
        "part_dims": (16, 12, 8),
        "channels": 8,
        "width_mult": 0.25,
        "input_size": 64,
    },
    "glomface": {"patch_channels": (4, 6, 8), "memory_dim": 24, "mlp_dims": (24, 16, 12), "part_dims": (16, 12, 8)},
    "plain": {"dim": 16, "memory_dim": 24, "channels": 8, "width_mult": 0.25, "input_size": 64},
    "hourglass": {"depth": 2, "channels": 8, "width_mult": 0.25, "input_size": 64},
    "pfld": {"width_mult": 0.06},
    "gan-ia": {"widths": (8, 8), "dilations": (2,), "head_channels": 8, "input_size": 32},
}


@pytest.fixture
def no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """The export that takes seconds is left out: what a file says of itself does not depend on its graph."""

    def noted(_network: object, spec: NetworkSpec, _opset: int) -> bytes:
        model = helper.make_model(helper.make_graph([], "nothing", [], []))
        onnx.helper.set_model_props(model, {"unveil": spec.to_json()})
        content: bytes = model.SerializeToString()
        return content

    monkeypatch.setattr(export, "to_onnx", noted)
    monkeypatch.setattr(export, "onnx_difference", lambda *_: {"points_unit": 0.0})


@pytest.mark.usefixtures("no_onnx")
@pytest.mark.parametrize("name", SMALL)
def test_the_margin_of_training_reaches_the_config(name: str, tmp_path: Path) -> None:
    model = PRESETS[name].model.model_copy(update=SMALL[name])
    if isinstance(model, GeneratorConfig):
        model = model.model_copy(update={"margin": 1.3})
    spec = model.spec(IBUG68)
    (tmp_path / "last.safetensors").write_bytes(weights_bytes(build_network(spec).eval(), spec))
    folder = export.export_model(tmp_path / "last.safetensors", tmp_path / "model", name).folder
    restores = isinstance(model, GeneratorConfig)
    config = read_config(folder, RestorerConfig) if restores else read_config(folder, ModelConfig)
    assert (config.margin, config.input_size) == (1.3 if restores else 1.0, model.input_size)
    notes = json.loads(onnx.load(folder / "model.onnx").metadata_props[0].value)
    assert (notes["margin"], notes["input_size"]) == (config.margin, config.input_size)


def test_landmark_networks_are_validated_on_crops_of_their_margin(drawn_folder: Path) -> None:
    faces = read_faces(drawn_folder)
    (example,) = val_examples(faces, np.array([0]), 64, None)["clean"]
    crop = Crop.around(tight_box(faces.points_px[0]), PRESETS["pfld"].model.spec(IBUG68).margin)
    np.testing.assert_array_equal(example.image, crop.extract(faces.image(0), 64))


def test_restorers_are_validated_on_crops_of_their_margin(drawn_folder: Path) -> None:
    faces, preset = read_faces(drawn_folder), PRESETS["gan-ia-light"]
    assert isinstance(preset, GanTrainConfig)
    config = preset.model_copy(update={"model": preset.model.model_copy(update={"margin": 1.3})})
    sampler = OcclusionSampler(config.occlusion.without("template", "sprite"))
    pair = make_pair(faces, 0, config, sampler, 64, np.random.default_rng(0), validation=True)
    crop = Crop.around(tight_box(faces.points_px[0]), config.model.spec(IBUG68).margin)
    np.testing.assert_allclose(pair.points_unit, crop.to_unit(faces.points_px[0]), atol=1e-4)
