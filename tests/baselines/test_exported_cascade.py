"""DRN and SDM as ONNX files, one for each stage."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from unveil.baselines.coupled import coupled, mean_face
from unveil.baselines.exported_cascade import is_cascade, load_cascade
from unveil.cli import main
from unveil.data.synthetic import drawn_face
from unveil.geometry import tight_box
from unveil.inference.aligner import AlignmentModel
from unveil.models.checkpoints import NetworkSpec, weights_bytes
from unveil.registry import build_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DRN of two stages and its export."""
    folder = tmp_path_factory.mktemp("drn")
    torch.manual_seed(0)
    spec = NetworkSpec("drn", "ibug68", 64, 1.0, {"hidden": (8,), "stages": 2})
    network = build_network(spec)
    network.get_buffer("mean_shape").copy_(torch.from_numpy(mean_face()))
    for stage in network.get_submodule("stages").children():
        nn.init.normal_(stage.get_parameter("layers.2.weight"), std=0.02)
    (folder / "best.safetensors").write_bytes(weights_bytes(network, spec))
    assert main(["export", str(folder / "best.safetensors"), "--out", str(folder / "model")]) == 0
    return folder


def test_the_exported_cascade_aligns_as_the_run_does_and_behind_a_restorer(folder: Path) -> None:
    assert is_cascade(folder / "model")
    assert not is_cascade(folder)
    image, points_px = drawn_face(np.random.default_rng(3), 160)
    box = tight_box(points_px)
    for restore in (None, lambda image, _: np.full_like(image, 90)):
        (one,), (other,) = (coupled(folder / name, restore)(image, [box]) for name in ("model", "best.safetensors"))
        np.testing.assert_allclose(one.points_px, other.points_px, atol=0.05)


def test_its_files_are_checked_and_align_says_what_runs_it(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a cascade, which needs SIFT between its stages; name it in"):
        AlignmentModel.load(folder / "model")
    for path in (folder / "model").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "stage-2.onnx").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"stage-2\.onnx: another SHA-256"):
        load_cascade(tmp_path)
    (tmp_path / "stage-1.onnx").unlink()
    with pytest.raises(ValueError, match=r"stage-1\.onnx: No such file"):
        load_cascade(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"stages": 0}))
    with pytest.raises(ValueError, match=r"config\.json: stages"):
        load_cascade(tmp_path)
