"""Exported files describe themselves, run without unveil, and can be quantized."""

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from skimage.data import astronaut

from unveil.cli import main
from unveil.data.datasets.registry import folder
from unveil.data.synthetic import drawn_face
from unveil.export import onnx_export as export
from unveil.export.onnx_export import LICENCE
from unveil.export.onnx_files import add_metadata, read_metadata
from unveil.export.quantization import calibration_split, face_crops, measure_cost, quantize
from unveil.inference.aligner import AlignmentModel
from unveil.inference.onnx_model import shipped_models
from unveil.inference.pipeline import Pipeline
from unveil.io.annotations import write_pts
from unveil.models.checkpoints import NetworkSpec, build, weights_bytes
from unveil.types import Box

ROOT = Path(__file__).parents[2]
SIZES = {
    "dim": 16,
    "memory_dim": 24,
    "part_dims": (16, 12, 8),
    "patch_spacings_unit": (0.1,),
    "channels": 8,
    "width_mult": 0.25,
}
SMALL = NetworkSpec("glomface-light", "ibug68", 64, 1.1, SIZES)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small network with random weights that moves the landmarks by some pixels."""
    torch.manual_seed(0)
    network = build(SMALL)
    for weight in network.parameters():
        if weight.ndim > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    network.get_buffer("mean_shape").uniform_(-0.5, 0.5)
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    path.write_bytes(weights_bytes(network, SMALL))
    return path


@pytest.fixture(scope="module")
def exported(weights: Path) -> Path:
    """Export the network to a model folder."""
    out = weights.parent / "small"
    assert main(["export", str(weights), "--out", str(out), "--licence", "CC0"]) == 0
    return out


@pytest.fixture(scope="module")
def content(exported: Path) -> bytes:
    return (exported / "model.onnx").read_bytes()


@pytest.fixture
def no_torch_export(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the torch export, which takes seconds: the same network gives the same file."""
    monkeypatch.setattr(export, "to_onnx", lambda *_: content)


def test_an_exported_file_describes_itself(exported: Path, content: bytes) -> None:
    metadata = read_metadata(content)
    assert (metadata["scheme"], metadata["input_size"], metadata["margin"], metadata["licence"]) == (
        "ibug68",
        64,
        1.1,
        "CC0",
    )
    assert metadata["outputs"] == ["points_unit", "visibility", "uncertainty_unit"]
    assert metadata["weights_sha256"] == hashlib.sha256((exported / "model.safetensors").read_bytes()).hexdigest()
    assert 0 <= metadata["difference_px"] == 32 * metadata["difference"]["points_unit"] < 0.1
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert (
        json.loads(session.get_modelmeta().custom_metadata_map["unveil"]) == metadata
    )  # readable without the onnx package


def test_metadata_are_added_and_nothing_else_changes(content: bytes) -> None:
    extended = add_metadata(content, {"licence": "own", "more": 1})
    assert read_metadata(extended) == {**read_metadata(content), "licence": "own", "more": 1}
    assert onnx.load_from_string(extended).graph == onnx.load_from_string(content).graph
    with pytest.raises(ValueError, match="an ONNX file without metadata of unveil"):
        read_metadata(onnx.ModelProto().SerializeToString())


@pytest.mark.usefixtures("no_torch_export")
def test_a_model_folder_is_exported_again_from_its_weights(exported: Path, tmp_path: Path) -> None:
    assert main(["export", str(exported), "--out", str(tmp_path / "again"), "--name", "small"]) == 0
    again = read_metadata((tmp_path / "again/model.onnx").read_bytes())
    assert again["licence"] == LICENCE
    assert again["weights_sha256"] == read_metadata((exported / "model.onnx").read_bytes())["weights_sha256"]


def test_an_unknown_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "glomface-ligth", "--out", str(tmp_path / "x")]) == 2
    assert "unknown model 'glomface-ligth': did you mean 'glomface-light'?" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["int8", "int8-static"])
def test_a_quantized_file_predicts_nearly_the_same(method: str, content: bytes) -> None:
    quantized = quantize(content, method)  # type: ignore[arg-type]
    assert read_metadata(quantized) == {**read_metadata(content), "quantization": method}
    kinds = {node.op_type for node in onnx.load_from_string(quantized).graph.node}
    assert "MatMulInteger" in kinds
    assert ("QuantizeLinear" in kinds) == (method == "int8-static")
    image_rgb, _ = drawn_face(np.random.default_rng(1))
    faces = np.stack([image_rgb[:64, :64], image_rgb[64:128, 64:128]]).transpose(0, 3, 1, 2) / np.float32(255)
    both = [
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(["points_unit"], {"images": faces})
        for model in (content, quantized)
    ]
    assert both[1][0].shape == (2, 68, 2)
    assert 0 < np.abs(both[0][0] - both[1][0]).max() < 0.1


def test_quantizing_the_shipped_model_costs_little(tmp_path: Path) -> None:
    """The faces are a photograph at twelve angles; the annotations are the model's own predictions."""
    whole = (shipped_models()["glomface-light"] / "model.onnx").read_bytes()
    model, portrait = AlignmentModel.load("glomface-light"), np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    for i in range(12):
        turn = cv2.getRotationMatrix2D((224, 126), 4 * i - 22, 1)
        turned = np.asarray(cv2.warpAffine(portrait, turn, (512, 300)), np.uint8)
        cv2.imwrite(str(tmp_path / f"{i}.png"), turned[..., ::-1])
        write_pts(tmp_path / f"{i}.pts", model(turned, [Box(179, 76, 270, 177)])[0].points_px)
    faces = folder(tmp_path)
    found = measure_cost(whole, quantize(whole, "int8"), faces, calibration_split(faces, holdout=False).val)
    assert found.faces == 12
    assert abs(found.nme_percent[1] - found.nme_percent[0]) < 0.1
    assert found.bytes[1] < 0.7 * found.bytes[0]


@pytest.mark.usefixtures("no_torch_export")
def test_the_command_quantizes_measures_and_writes_a_model_that_loads(
    weights: Path, drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = ["--calibrate", str(drawn_folder), "--measure", str(drawn_folder)]
    out = tmp_path / "small-int8"
    assert main(["export", str(weights), "--out", str(out), "--quantize", "int8-static", *faces]) == 0
    output = capsys.readouterr().out
    assert "int8-static: NME (ocular) " in output
    assert " % on 12 faces, " in output
    assert " px of the crop" in output
    assert AlignmentModel.load(out).config.name == "small-int8"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--measure", "packs/mine.npz"], "--measure packs/mine.npz: needs --quantize; add it"),
        (["--quantize", "int8", "--calibrate", "x"], "--calibrate x: int8 needs no faces; use --quantize int8-static"),
        (["--quantize", "int8", "--measure", "absent.npz"], "absent.npz: no such file or folder"),
    ],
)
def test_contradictory_options_are_one_line(
    arguments: list[str], line: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(weights), "--out", str(tmp_path / "x"), *arguments]) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_calibration_and_measurement_can_use_different_faces(drawn_folder: Path) -> None:
    faces = folder(drawn_folder)
    assert face_crops(faces, np.array([0, 3]), 64, 1.0).shape == (2, 3, 64, 64)
    split = calibration_split(faces, holdout=True)
    assert len(split.val) > 0
    assert set(split.train) | set(split.val) == set(range(12))
    assert not set(split.train) & set(split.val)


def test_a_restorer_is_not_quantized(content: bytes) -> None:
    with pytest.raises(ValueError, match="only landmark models can be quantized"):
        quantize(add_metadata(content, {"outputs": ["restored", "mask"]}), "int8")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """`examples/onnx_only.py` as a module."""
    spec = importlib.util.spec_from_file_location("onnx_only", ROOT / "examples/onnx_only.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
def test_onnxruntime_and_numpy_alone_predict_the_same_landmarks(zoom: float, example: ModuleType) -> None:
    portrait = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]  # public domain
    image_rgb = np.asarray(cv2.resize(portrait, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA), np.uint8)
    box = Box(*(zoom * side for side in (179, 76, 270, 177)))
    (face,) = Pipeline(detector=None)(image_rgb, [box])
    file = shipped_models()["glomface-light"] / "model.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    points, visibility = example.align(session, image_rgb, box)
    assert np.abs(points - face.landmarks).max() < 0.5
    assert np.abs(visibility - face.visibility).max() < 0.01


def test_a_quantized_file_contains_no_paths(content: bytes) -> None:
    quantized = quantize(content, "int8")
    assert b".py" not in quantized
    assert b"/tmp" not in quantized
