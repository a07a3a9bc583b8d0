"""The paper's seven components end to end: train, export, restore, blend, train and evaluate behind them."""

import json
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import pytest
import torch
from tests.constant_models import save_model
from torch import nn

from unveil import Pipeline
from unveil.baselines.coupled import coupled, restore_fn
from unveil.cli import main
from unveil.data.synthetic import write_drawn_faces
from unveil.export import onnx_export
from unveil.geometry import Crop, tight_box
from unveil.inference.blending import RestoredCrop, blend, composite, replace_occluded
from unveil.inference.restorer import Restorer
from unveil.inference.torch_restorer import load_torch_restorer
from unveil.io.annotations import read_pts
from unveil.io.images import read_image, write_png
from unveil.models.checkpoints import NetworkSpec, weights_bytes
from unveil.registry import build_network
from unveil.schemes.ibug68 import COMPONENT_MARGIN, COMPONENTS
from unveil.schemes.scheme import IBUG68

SIZES = {"widths": (8, 8), "dilations": (2,), "head_channels": 8, "attention": True}
TRAIN = ["--widths", "8", "8", "--dilations", "2", "--head-channels", "8", "--input-size", "32", "--patch", "16"]
STEPS = ["--steps", "4", "--generator-steps", "2", "--discriminator-steps", "1", "--batch", "2", "--warmup-steps", "1"]
SHORT = [
    "--decay-steps",
    "1",
    "--threads",
    "1",
    "--val-share",
    "0.3",
    "--val-faces",
    "2",
    "--discriminator-width",
    "0.05",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces, the run of a component that the command trained, and six untrained networks."""
    folder = tmp_path_factory.mktemp("components")
    write_drawn_faces(folder / "faces", 12)
    data = ["--data", str(folder / "faces"), "--out", str(folder / "runs/mouth"), "--component", "mouth"]
    assert main(["train", "gan-ia", *data, *TRAIN, *STEPS, *SHORT]) == 0
    for part in COMPONENTS:
        run = folder / "runs" / part.name
        if part.name == "mouth":
            continue
        torch.manual_seed(0)
        spec = NetworkSpec("gan-ia", "ibug68", 32, COMPONENT_MARGIN, SIZES, component=part.name)
        network = build_network(spec)
        nn.init.zeros_(network.get_parameter("head.weight"))
        nn.init.constant_(network.get_parameter("head.bias"), 4.0)  # white, nearly certain that all is occluded
        run.mkdir()
        (run / "last.safetensors").write_bytes(weights_bytes(network, spec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, "to_onnx", once_per_network(onnx_export.to_onnx))
        assert main(["export", str(folder / "runs"), "--out", str(folder / "model")]) == 0
    return folder


def once_per_network(to_onnx: Any) -> Any:
    """Convert networks of the same weights once, since each conversion takes seconds; six of the seven are the same."""
    converted: dict[float, bytes] = {}

    def convert(network: nn.Module, spec: NetworkSpec, opset: int) -> bytes:
        key = sum(float(weight.double().sum()) for weight in network.state_dict().values())
        if key not in converted:
            converted[key] = to_onnx(network, spec, opset)
        return converted[key]

    return convert


def test_the_exported_components_are_those_of_the_runs_in_their_order(folder: Path) -> None:
    exported, runs = Restorer.load(folder / "model"), load_torch_restorer(folder / "runs")
    assert [network.component for network in exported.networks] == list(COMPONENTS)
    assert exported.name == "model"
    assert json.loads((folder / "model/left brow/config.json").read_text())["component"] == "left brow"
    image, points_px = face(folder)
    for one, other in zip(exported(image, [points_px], IBUG68), runs(image, [points_px], IBUG68), strict=True):
        assert one.crop == other.crop
        np.testing.assert_allclose(one.restored.astype(int), other.restored, atol=1)
        np.testing.assert_allclose(one.mask, other.mask, atol=0.01)


def test_restore_takes_the_folder_and_blends_every_component(folder: Path, tmp_path: Path) -> None:
    image, points_px = face(folder)
    shape = Crop.around(tight_box(points_px)).to_unit(points_px)
    aligner = save_model(tmp_path / "aligner", shape)
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in/a.png", image)
    x0, y0, x1, y1 = tight_box(points_px)
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({str(tmp_path / "in/a.png"): [[float(x0), float(y0), float(x1), float(y1)]]}))
    arguments = ["--model", str(aligner), "--restorer", str(folder / "model"), "--boxes", str(boxes)]
    assert (
        main(["restore", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *arguments, "--save", "restored"]) == 0
    )
    (written,) = (tmp_path / "out").rglob("*.png")
    pipeline = Pipeline(aligner, None, restorer=folder / "model")
    restored = pipeline.restore(image, [(x0, y0, x1, y1)])
    np.testing.assert_array_equal(read_image(written), restored.image)
    assert restored.mask.any()
    np.testing.assert_array_equal(restored.image[~restored.mask], image[~restored.mask])


def test_regressors_are_trained_and_evaluated_behind_the_blended_components(folder: Path, tmp_path: Path) -> None:
    faces = [
        "--data",
        str(folder / "faces"),
        "--val-share",
        "0.3",
        "--views",
        "1",
        "--batch",
        "2",
        "--input-size",
        "64",
    ]
    run = tmp_path / "sdm"
    assert main(["train", "sdm", *faces, "--stages", "2", "--restorer", str(folder / "runs"), "--out", str(run)]) == 0
    image, points_px = face(folder)
    restore = restore_fn(load_torch_restorer(folder / "runs"))
    (bare,), (behind,) = (coupled(run, how)(image, [tight_box(points_px)]) for how in (None, restore))
    assert np.abs(bare.points_px - behind.points_px).max() > 0.01


def test_crops_with_masks_are_blended_and_whole_crops_laid_over_each_other() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (80, 80, 3), np.uint8)
    mask = np.zeros((32, 32), np.float32)
    mask[8:24, 8:24] = 1
    crop, white = Crop((39.5, 39.5), 60.0), np.full((32, 32, 3), 255, np.uint8)
    soft, hard = RestoredCrop(crop, white, mask), RestoredCrop(crop, white, np.ones_like(mask))
    np.testing.assert_array_equal(replace_occluded(image, [soft]), blend(image, [soft])[0])
    np.testing.assert_array_equal(replace_occluded(image, [hard, hard]), composite(image, [hard, hard]))


def test_an_incomplete_set_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    copytree(folder / "model", tmp_path / "few")
    rmtree(tmp_path / "few/nose")
    with pytest.raises(ValueError, match="few: has no nose; train the rest"):
        Restorer.load(tmp_path / "few")
    assert len(Restorer.load(folder / "model/mouth").networks) == 1
    assert main(["export", str(folder / "runs"), "--out", str(tmp_path / "x"), "--average", "a.safetensors"]) == 2


def face(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    (first, *_) = sorted((folder / "faces").glob("*.pts"))
    image = next(path for path in first.parent.glob(f"{first.stem}.*") if path.suffix != ".pts")
    return read_image(image), read_pts(first, IBUG68)
