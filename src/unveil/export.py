"""From a trained network to the folder that the pipeline loads. B faces, L landmarks, S pixels."""

import hashlib
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from jaxtyping import Float
from onnx import numpy_helper
from torch import Tensor, nn

from unveil.data.annotations import written_whole
from unveil.inference.runtime import OUTPUTS
from unveil.models.glomface import Prediction
from unveil.models.layers import ScaledConv
from unveil.models.weights import Blueprint, load_network, weights_bytes

OPSET = 20
SMALL = 256  # elements: initialisers below this stay in float32


class Deployed(nn.Module):
    """A landmark network with calibrated outputs, as the ONNX file has them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, images: Float[Tensor, "B 3 S S"]
    ) -> tuple[Float[Tensor, "B L 2"], Float[Tensor, "B L"], Float[Tensor, "B L"]]:
        prediction: Prediction = self.network(images)
        gain, offset, spread = self.network.get_buffer("calibration")
        visibility = torch.sigmoid(prediction.visibility * gain + offset)
        return prediction.points_unit, visibility, torch.exp(prediction.log_spread) * spread


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how far ONNX and torch are apart at most, per output."""

    folder: Path
    bytes: int
    difference: dict[str, float]


def fold(network: nn.Module) -> nn.Module:
    """Multiplies every convolution's gain into its filters, in place: float16 then rounds the product."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ScaledConv):
                module.weight.mul_(module.scale.view(-1, 1, 1, 1))
                module.scale.fill_(1.0)
    return network


def to_onnx(network: nn.Module, blueprint: Blueprint, opset: int = OPSET) -> bytes:
    """The network as ONNX for any number of faces; large weights lie in it as float16 and are widened on loading."""
    size = blueprint.input_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        program = torch.onnx.export(
            Deployed(network).eval(),
            (torch.zeros(2, 3, size, size),),
            input_names=["images"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"images": {0: torch.export.Dim("faces", min=1, max=4096)}},
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    narrow_weights(model)
    forget_where(model)
    model.producer_name = "unveil"
    onnx.helper.set_model_props(model, {"unveil": blueprint.to_json()})
    onnx.checker.check_model(model)
    buffer = io.BytesIO()
    onnx.save(model, buffer)
    return buffer.getvalue()


def forget_where(model: onnx.ModelProto) -> None:
    """Takes out the exporter's notes on nodes and values: they hold stack traces, with the paths of this machine."""
    graph = model.graph
    for noted in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del noted.metadata_props[:]
        noted.ClearField("doc_string")


def narrow_weights(model: onnx.ModelProto) -> None:
    """Stores large float32 weights as float16 behind a cast, which onnxruntime evaluates once while it loads."""
    graph, casts = model.graph, []
    for initialiser in graph.initializer:
        if initialiser.data_type != onnx.TensorProto.FLOAT or np.prod(initialiser.dims) < SMALL:
            continue
        name = initialiser.name
        narrow = numpy_helper.to_array(initialiser).astype(np.float16)
        initialiser.CopyFrom(numpy_helper.from_array(narrow, f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in [value for value in graph.value_info if value.name in {cast.output[0] for cast in casts}]:
        graph.value_info.remove(value)


def parity(network: nn.Module, content: bytes, size: int, faces: int = 3) -> dict[str, float]:
    """The largest difference between torch and the ONNX file on random pictures, per output."""
    images = torch.rand(faces, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = Deployed(network).eval()(images)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(list(OUTPUTS), {"images": images.numpy()})
    return {
        name: float(np.abs(ours.numpy() - np.asarray(theirs)).max())
        for name, ours, theirs in zip(OUTPUTS, expected, found, strict=True)
    }


def export_alignment(weights: Path, out: Path, name: str, *, opset: int = OPSET) -> Exported:
    """Writes `model.onnx`, `model.safetensors` (float16) and `config.json` with their SHA-256 into `out`.

    `weights` is a safetensors file that `unveil train` wrote. ValueError if ONNX and torch disagree by more than a
    hundredth of a crop.
    """
    network, blueprint = load_network(weights)
    fold(network)
    files = {
        "model.onnx": to_onnx(network, blueprint, opset),
        "model.safetensors": weights_bytes(network, blueprint, half=True),
    }
    difference = parity(network, files["model.onnx"], blueprint.input_size)
    if not difference["points_unit"] < 0.02:
        raise ValueError(f"{weights}: ONNX and torch differ by {difference['points_unit']:.4f}; not exported")
    config = {
        "format": 1,
        "name": name,
        "scheme": blueprint.scheme,
        **({} if blueprint.own_scheme is None else {"own_scheme": dict(blueprint.own_scheme)}),
        "input_size": blueprint.input_size,
        "margin": blueprint.margin,
        "outputs": list(OUTPUTS),
        "sha256": {file: hashlib.sha256(content).hexdigest() for file, content in files.items()},
    }
    out.mkdir(parents=True, exist_ok=True)
    files["config.json"] = (json.dumps(config, indent=2) + "\n").encode()
    for file, content in files.items():
        with written_whole(out / file) as temporary:
            temporary.write_bytes(content)
    return Exported(out, sum(map(len, files.values())), difference)
