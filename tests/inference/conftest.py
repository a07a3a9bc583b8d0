"""A model of constants and a restorer of one colour, so that nothing here needs weights."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from unveil.types import Image

SIZE = 32
SKIN = (200, 150, 130)


def drawn_face() -> NDArray[np.float32]:
    """A drawn face of 68 landmarks in crop units, (68, 2), the same as its mirror image."""

    def arc(centre: tuple[float, float], radii: tuple[float, float], angles: list[float]) -> list[tuple[float, float]]:
        turned = np.radians(angles)
        return [(centre[0] + radii[0] * float(np.cos(a)), centre[1] + radii[1] * float(np.sin(a))) for a in turned]

    points = arc((0, -0.1), (0.6, 0.7), list(np.linspace(180, 0, 17)))  # jaw
    for side in (-1, 1):  # brows
        points += [(side * 0.3 + 0.05 * i, -0.42) for i in range(-2, 3)]
    points += [(0, -0.3 + 0.12 * i) for i in range(4)]  # nose bridge
    points += [(0.07 * i, 0.14) for i in range(-2, 3)]  # nostrils
    for x in (-0.27, 0.27):  # eyes
        points += arc((x, -0.25), (0.1, 0.05), [180, 240, 300, 0, 60, 120])
    points += arc((0, 0.32), (0.22, 0.09), [180 + 30 * i for i in range(12)])  # outer lips
    points += arc((0, 0.32), (0.15, 0.04), [180 + 45 * i for i in range(8)])  # inner lips
    return np.array(points, np.float32)


def save_model(folder: Path, points_unit: NDArray[np.float32], size: int = SIZE) -> Path:
    """A model folder: the landmarks given, visibility the crop's mean brightness, uncertainty a tenth of a unit."""
    folder.mkdir(parents=True)
    constants = {"points": points_unit[None], "ones": np.ones((1, len(points_unit)), np.float32)}
    constants |= {"zero": np.zeros(1, np.float32), "tenth": np.full(1, 0.1, np.float32)}
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),  # B 1 1 1
        helper.make_node("Squeeze", ["mean", "last"], ["mean1"]),  # B 1
        helper.make_node("Squeeze", ["mean", "one"], ["mean2"]),  # B 1 1
        helper.make_node("Mul", ["mean1", "ones"], ["visibility"]),
        helper.make_node("Mul", ["mean2", "zero"], ["nothing2"]),
        helper.make_node("Add", ["points", "nothing2"], ["points_unit"]),
        helper.make_node("Mul", ["visibility", "zero"], ["nothing1"]),
        helper.make_node("Add", ["nothing1", "tenth"], ["uncertainty_unit"]),
    ]
    constants_of = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    constants_of += [numpy_helper.from_array(np.array([2, 3]), "last"), numpy_helper.from_array(np.array([1]), "one")]
    count = len(points_unit)
    outputs: dict[str, list[int | str | None]] = {
        "points_unit": ["B", count, 2],
        "visibility": ["B", count],
        "uncertainty_unit": ["B", count],
    }
    graph = helper.make_graph(
        nodes,
        "constants",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 3, size, size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        constants_of,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    config = {"format": 1, "name": folder.name, "scheme": "ibug68", "input_size": size, "margin": 1.0}
    config["sha256"] = {"model.onnx": hashlib.sha256(content).hexdigest()}
    (folder / "config.json").write_text(json.dumps(config))
    onnx.checker.check_model(model)
    return folder


def save_restorer(folder: Path, size: int = SIZE) -> Path:
    """A restorer's folder: whatever is green covers the face, and all that it knows to paint is `SKIN`."""
    folder.mkdir(parents=True)
    skin = (np.array(SKIN, np.float32) / 255).reshape(1, 3, 1, 1)
    constants: dict[str, NDArray[np.generic]] = {
        "skin": skin,
        "zero": np.zeros(1, np.float32),
        "steep": np.full(1, 40, np.float32),
    }
    constants |= {"green": np.array([1]), "red": np.array([0]), "threshold": np.full(1, 0.4, np.float32)}
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
    graph = helper.make_graph(
        nodes,
        "green",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 3, size, size])],
        [
            helper.make_tensor_value_info("restored", TensorProto.FLOAT, ["B", 3, size, size]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["B", 1, size, size]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    config = {"format": 1, "kind": "restorer", "name": folder.name, "input_size": size, "margin": 1.15}
    (folder / "config.json").write_text(
        json.dumps(config | {"sha256": {"model.onnx": hashlib.sha256(content).hexdigest()}})
    )
    return folder


@pytest.fixture(scope="session")
def restorer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sees what is green and paints it `SKIN`."""
    return save_restorer(tmp_path_factory.mktemp("restorers") / "green", 64)


@pytest.fixture
def skin() -> tuple[int, int, int]:
    """What the restorer of `restorer_dir` paints."""
    return SKIN


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "constant", drawn_face())


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[[NDArray[np.float32]], Path]:
    """Writes a model that answers with the given landmarks in crop units."""
    return lambda points_unit: save_model(tmp_path / "made", points_unit)


@pytest.fixture
def face_unit() -> NDArray[np.float32]:
    """What the model of `model_dir` answers, (68, 2) in crop units."""
    return drawn_face()


@pytest.fixture(scope="session")
def portrait() -> Image:
    """NASA's public-domain portrait of Eileen Collins, 512 x 512, one face."""
    from skimage import data

    return np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """Writes a picture of one colour, or the given one, and gives its path."""

    def write(name: str, image_rgb: Image | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image_rgb = np.full((64, 96, 3), 90, np.uint8) if image_rgb is None else image_rgb
        encoded, data = cv2.imencode(path.suffix, image_rgb[..., ::-1])
        assert encoded
        path.write_bytes(data.tobytes())
        return path

    return write
