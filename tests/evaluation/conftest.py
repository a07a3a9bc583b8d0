"""Models that always answer with the same face, so that every figure can be worked out by hand. L landmarks."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unveil.cli import main
from unveil.data.synthetic import frontal_shape
from unveil.schemes.scheme import IBUG68, Scheme
from unveil.types import Points

SIZE = 16
MakeModel = Callable[..., Path]
Evaluate = Callable[..., int]


def save_model(folder: Path, points_unit: Points, scheme: Scheme = IBUG68) -> Path:
    """A model folder: the landmarks given, (L, 2) in crop units; visibility the crop's mean brightness."""
    folder.mkdir(parents=True)
    arrays = {"points": points_unit[None].astype(np.float32), "ones": np.ones((1, len(points_unit)), np.float32)}
    arrays |= {"zero": np.zeros(1, np.float32), "last": np.array([2, 3]), "one": np.array([1])}
    steps = (
        ("Squeeze", ["mean", "last"], "mean1"),  # B 1
        ("Squeeze", ["mean", "one"], "mean2"),  # B 1 1
        ("Mul", ["mean1", "ones"], "visibility"),
        ("Mul", ["mean2", "zero"], "nothing"),
        ("Add", ["points", "nothing"], "points_unit"),
        ("Add", ["visibility", "zero"], "uncertainty_unit"),
    )
    nodes = [helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1)]
    nodes += [helper.make_node(operator, inputs, [output]) for operator, inputs, output in steps]
    count = len(points_unit)
    shapes: dict[str, list[Any]] = {"points_unit": ["B", count, 2], "visibility": ["B", count]}
    shapes["uncertainty_unit"] = ["B", count]
    graph = helper.make_graph(
        nodes,
        "constants",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content: bytes = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    config = {"format": 1, "name": folder.name, "scheme": scheme.name, "input_size": SIZE, "margin": 1.0}
    (folder / "config.json").write_text(
        json.dumps(config | {"sha256": {"model.onnx": hashlib.sha256(content).hexdigest()}}), "utf-8"
    )
    onnx.checker.check_model(model)
    return folder


def mean_face() -> Points:
    """The drawn face in units of its own crop: a model that answers with it is near the truth of drawn faces."""
    shape = frontal_shape()
    low, high = shape.min(axis=0), shape.max(axis=0)
    points_unit: Points = (2 * (shape - (low + high) / 2) / np.linalg.norm(high - low)).astype(np.float32)
    return points_unit


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "mean", mean_face())


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Writes a model of a name, of the mean face moved in crop units, or of other points and their scheme."""

    def make(name: str, points_unit: Points | None = None, scheme: Scheme = IBUG68, moved: float = 0.0) -> Path:
        return save_model(tmp_path / name, (mean_face() if points_unit is None else points_unit) + moved, scheme)

    return make


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """`unveil evaluate` in `tmp_path`; gives the status."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["evaluate", *map(str, arguments)])
