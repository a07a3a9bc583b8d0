"""Model folders whose networks return constants, so that results can be computed by hand. B faces, L landmarks."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from unveil.schemes.scheme import IBUG68, Scheme

SKIN = (200, 150, 130)
"""What the restorer of `save_restorer` paints."""

Arrays = Mapping[str, NDArray[Any]]
Shape = tuple[int | str, ...]


def save_onnx(
    folder: Path,
    nodes: Sequence[NodeProto],
    constants: Arrays,
    size: int,
    outputs: Mapping[str, Shape],
    config: Mapping[str, Any],
) -> Path:
    """Write `model.onnx` and `config.json` of a network that gets `images`, (B, 3, size, size)."""
    folder.mkdir(parents=True)
    inputs: dict[str, Shape] = {"images": ("B", 3, size, size)}

    def infos(tensors: Mapping[str, Shape]) -> list[ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in tensors.items()]

    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "constants", infos(inputs), infos(outputs), arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    sha256 = {"model.onnx": hashlib.sha256(content).hexdigest()}
    full = {"format": 1, "name": folder.name, "input_size": size, **config, "sha256": sha256}
    (folder / "config.json").write_text(json.dumps(full), "utf-8")
    return folder


def save_model(
    folder: Path,
    points_unit: NDArray[np.float32],
    scheme: Scheme = IBUG68,
    size: int = 32,
    uncertainty: float | None = 0.1,
) -> Path:
    """Write a landmark model: the landmarks given, (L, 2) in crop units; the crop's mean brightness as visibility.

    The uncertainty is a constant in crop units; None for the brightness too.
    """
    count = len(points_unit)
    constants: Arrays = {
        **{"points": points_unit[None].astype(np.float32), "ones": np.ones((1, count), np.float32)},
        **{"zero": np.zeros(1, np.float32), "last": np.array([2, 3]), "one": np.array([1])},
        "offset": np.full(1, uncertainty or 0, np.float32),
        "factor": np.full(1, uncertainty is None, np.float32),
    }
    steps = (
        ("Squeeze", ["mean", "last"], "mean1"),  # B 1
        ("Squeeze", ["mean", "one"], "mean2"),  # B 1 1
        ("Mul", ["mean1", "ones"], "visibility"),
        ("Mul", ["mean2", "zero"], "nothing"),
        ("Add", ["points", "nothing"], "points_unit"),
        ("Mul", ["visibility", "factor"], "scaled"),
        ("Add", ["scaled", "offset"], "uncertainty_unit"),
    )
    nodes = [helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1)]  # B 1 1 1
    nodes += [helper.make_node(operator, inputs, [output]) for operator, inputs, output in steps]
    shapes: dict[str, Shape] = {
        "points_unit": ("B", count, 2),
        "visibility": ("B", count),
        "uncertainty_unit": ("B", count),
    }
    return save_onnx(folder, nodes, constants, size, shapes, {"scheme": scheme.name, "margin": 1.0})


def save_restorer(folder: Path, size: int = 64) -> Path:
    """Write a restorer: green pixels occlude the face, and it paints `SKIN` over them."""
    constants: Arrays = {
        "skin": (np.array(SKIN, np.float32) / 255).reshape(1, 3, 1, 1),
        **{name: np.full(1, value, np.float32) for name, value in (("zero", 0), ("steep", 40), ("threshold", 0.4))},
        **{"green": np.array([1]), "red": np.array([0])},
    }
    nodes = [
        helper.make_node("Mul", ["images", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "skin"], ["restored"]),
        helper.make_node("Gather", ["images", "green"], ["greens"], axis=1),
        helper.make_node("Gather", ["images", "red"], ["reds"], axis=1),
        helper.make_node("Sub", ["greens", "reds"], ["greener"]),
        helper.make_node("Sub", ["greener", "threshold"], ["beyond"]),
        helper.make_node("Mul", ["beyond", "steep"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["mask"]),
    ]
    shapes: dict[str, Shape] = {"restored": ("B", 3, size, size), "mask": ("B", 1, size, size)}
    return save_onnx(folder, nodes, constants, size, shapes, {"kind": "restorer", "margin": 1.15})
