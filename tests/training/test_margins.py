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
from unveil.inference.aligner import ModelConfig, RestorerConfig, read_config
from unveil.models.checkpoints import Blueprint, build, weights_bytes
from unveil.schemes.scheme import IBUG68
from unveil.training.batches import held_out_examples
from unveil.training.config import Restoring
from unveil.training.gan import make_pair
from unveil.training.network_configs import GanIa
from unveil.training.presets import ALL

SMALL: dict[str, dict[str, Any]] = {
    "glomface-light": {"dim": 16, "whole": 24, "part_widths": (16, 12, 8), "channels": 8, "width": 0.25, "size": 64},
    "glomface": {"patch_widths": (4, 6, 8), "whole": 24, "hidden_widths": (24, 16, 12), "part_widths": (16, 12, 8)},
    "plain": {"dim": 16, "whole": 24, "channels": 8, "width": 0.25, "size": 64},
    "hourglass": {"depth": 2, "channels": 8, "width": 0.25, "size": 64},
    "pfld": {"width": 0.06},
    "gan-ia": {"widths": (8, 8), "dilations": (2,), "last": 8, "size": 32},
}


@pytest.fixture
def no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """The export that takes seconds is left out: what a file says of itself does not depend on its graph."""

    def noted(_network: object, blueprint: Blueprint, _opset: int) -> bytes:
        model = helper.make_model(helper.make_graph([], "nothing", [], []))
        onnx.helper.set_model_props(model, {"unveil": blueprint.to_json()})
        content: bytes = model.SerializeToString()
        return content

    monkeypatch.setattr(export, "to_onnx", noted)
    monkeypatch.setattr(export, "parity", lambda *_: {"points_unit": 0.0})


@pytest.mark.usefixtures("no_onnx")
@pytest.mark.parametrize("name", SMALL)
def test_the_margin_of_training_reaches_the_config(name: str, tmp_path: Path) -> None:
    model = ALL[name].model.model_copy(update=SMALL[name])
    if isinstance(model, GanIa):
        model = model.model_copy(update={"margin": 1.3})
    blueprint = model.blueprint(IBUG68)
    (tmp_path / "last.safetensors").write_bytes(weights_bytes(build(blueprint).eval(), blueprint))
    folder = export.export_model(tmp_path / "last.safetensors", tmp_path / "model", name).folder
    restores = isinstance(model, GanIa)
    config = read_config(folder, RestorerConfig) if restores else read_config(folder, ModelConfig)
    assert (config.margin, config.input_size) == (1.3 if restores else 1.0, model.size)
    notes = json.loads(onnx.load(folder / "model.onnx").metadata_props[0].value)
    assert (notes["margin"], notes["input_size"]) == (config.margin, config.input_size)


def test_landmark_networks_are_validated_on_crops_of_their_margin(drawn_folder: Path) -> None:
    faces = read_faces(drawn_folder)
    (example,) = held_out_examples(faces, np.array([0]), 64, None)["clean"]
    crop = Crop.around(tight_box(faces.points_px[0]), ALL["pfld"].model.blueprint(IBUG68).margin)
    np.testing.assert_array_equal(example.image, crop.extract(faces.image(0), 64))


def test_restorers_are_validated_on_crops_of_their_margin(drawn_folder: Path) -> None:
    faces, preset = read_faces(drawn_folder), ALL["gan-ia-light"]
    assert isinstance(preset, Restoring)
    config = preset.model_copy(update={"model": preset.model.model_copy(update={"margin": 1.3})})
    sampler = OcclusionSampler(config.occlusion.without("template", "sprite"))
    pair = make_pair(faces, 0, config, sampler, 64, np.random.default_rng(0), still=True)
    crop = Crop.around(tight_box(faces.points_px[0]), config.model.blueprint(IBUG68).margin)
    np.testing.assert_allclose(pair.points_unit, crop.to_unit(faces.points_px[0]), atol=1e-4)
