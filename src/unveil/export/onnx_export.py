"""From a trained network to the folder that the pipeline loads. B faces, L landmarks, S pixels."""

import copy
import hashlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from jaxtyping import Float
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.baselines.pfld import Pfld
from unveil.export.onnx_metadata import with_notes
from unveil.inference.aligner import OUTPUTS, RESTORER_OUTPUTS, model_folder, shipped_models, shipped_restorers
from unveil.io.annotations import written_whole
from unveil.models.checkpoints import Blueprint, load_mean, weights_bytes
from unveil.models.conv_norm import fold_norms
from unveil.models.generator import Generator, Restoration
from unveil.models.glomface import Prediction
from unveil.models.layers import ScaledConv

OPSET = 20
LICENCE = "the terms of the pictures and annotations that it was trained on"
SMALL = 256  # elements: initialisers below this stay in float32
# How far ONNX and torch with the same weights may be apart: a thousandth of a crop, half a level of a pixel.
TOLERANCES = {"points_unit": 0.002, "restored": 0.002}


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


class DeployedPoints(nn.Module):
    """PFLD as the ONNX file has it: the landmarks alone, without the pose net that taught them."""

    def __init__(self, network: Pfld) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B L 2"]]:
        return (self.network.landmarks(images),)


class DeployedRestorer(nn.Module):
    """A generator as the ONNX file has it: the restored face, and each pixel's probability of being covered."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 1 S S"]]:
        found: Restoration = self.generator(images)
        return found.restored, found.mask


def deployed(network: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The network as the ONNX file has it, and the names of its outputs."""
    if isinstance(network, Generator):
        return DeployedRestorer(network).eval(), RESTORER_OUTPUTS
    if isinstance(network, Pfld):
        return DeployedPoints(network).eval(), ("points_unit",)
    return Deployed(network).eval(), OUTPUTS


def channels_of(network: nn.Module) -> int:
    """Of its pictures: RGB, and what a guided generator is told."""
    return network.channels if isinstance(network, Generator) else 3


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how far ONNX and torch are apart at most: per output; landmarks in crop pixels too."""

    folder: Path
    bytes: int
    difference: dict[str, float]
    difference_px: float | None


def fold(network: nn.Module) -> nn.Module:
    """Multiplies every convolution's gain into its filters, in place: float16 then rounds the product."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ScaledConv):
                module.weight.mul_(module.scale.view(-1, 1, 1, 1))
                module.scale.fill_(1.0)
    return network


def to_onnx(network: nn.Module, blueprint: Blueprint, opset: int = OPSET) -> bytes:
    """The network as ONNX for any number of faces; large weights lie in it as float16 and are widened on loading.

    ValueError for an operator set that lacks what is needed, or that this onnx does not know.
    """
    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise ValueError(f"--opset {opset}: give {OPSET} to {newest}")
    size = blueprint.input_size
    module, outputs = deployed(network)
    model = graph_of(module, torch.zeros(2, channels_of(network), size, size), "images", outputs, opset)
    narrow_weights(model)
    forget_where(model)
    model.producer_name = "unveil"
    onnx.helper.set_model_props(model, {"unveil": blueprint.to_json()})
    onnx.checker.check_model(model)
    buffer = io.BytesIO()
    onnx.save(model, buffer)
    return buffer.getvalue()


def graph_of(module: nn.Module, example: Tensor, given: str, outputs: Sequence[str], opset: int = OPSET) -> Any:
    """A module of one input, which `given` names, as an ONNX model for any number of faces: axis 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[given],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("faces", min=1, max=4096)},),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


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


def narrowed(network: nn.Module) -> nn.Module:
    """A copy with the weights that the ONNX file holds: large ones as float16 keeps them."""
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for weight in [weight for weight in copied.parameters() if weight.numel() >= SMALL]:
            weight.copy_(weight.half())
    return copied


def parity(network: nn.Module, content: bytes, size: int, faces: int = 3) -> dict[str, float]:
    """The largest difference between torch and the ONNX file on smooth random pictures, per output.

    White noise would not do: who looks a thousandth of a pixel beside sees something else, step after step.
    """
    coarse = torch.rand(faces, channels_of(network), size // 16, size // 16, generator=torch.Generator().manual_seed(0))
    images = F.interpolate(coarse, size=size, mode="bilinear")
    module, outputs = deployed(network)
    with torch.no_grad():
        expected = module(images)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(list(outputs), {"images": images.numpy()})
    return {
        name: float(np.abs(ours.numpy() - np.asarray(theirs)).max())
        for name, ours, theirs in zip(outputs, expected, found, strict=True)
    }


def weights_of(model: Path) -> Path:
    """The safetensors file of a run, or that of a shipped model by its name or of a model's folder."""
    if model.suffix == ".safetensors":
        return model
    return model_folder(model, shipped_models() | shipped_restorers()) / "model.safetensors"


def export_model(
    weights: Path,
    out: Path,
    name: str,
    *,
    average: Sequence[Path] = (),
    opset: int = OPSET,
    licence: str = LICENCE,
    finish: Callable[[bytes], bytes] | None = None,
) -> Exported:
    """Writes `model.onnx`, `model.safetensors` (float16) and `config.json` with their SHA-256 into `out`.

    `weights` is a safetensors file that `unveil train` wrote, of a landmark network or of a generator; with those in
    `average`, of the same network, the mean of all is exported. `finish` is what is done to the ONNX file last,
    quantising it say; the difference from torch is measured before. ValueError if ONNX and torch disagree about the
    same weights, if float16 cannot hold them, or if the network is of a kind that no command runs.
    """
    network, blueprint = load_mean(weights, average)
    _check(network, blueprint, weights)
    fold(network)
    content = weights_bytes(network, blueprint, half=True)
    fold_norms(network)  # after, since the file keeps the norms that a network is built with
    files = {"model.onnx": to_onnx(network, blueprint, opset), "model.safetensors": content}
    wrong = parity(narrowed(network), files["model.onnx"], blueprint.input_size)
    for output, most in TOLERANCES.items():
        if output in wrong and not wrong[output] < most:
            raise ValueError(f"{weights}: ONNX and torch differ by {wrong[output]:.4f} in {output}; not exported")
    difference = parity(network, files["model.onnx"], blueprint.input_size)
    away_px = difference["points_unit"] * blueprint.input_size / 2 if "points_unit" in difference else None
    notes = {"licence": licence, "weights_sha256": hashlib.sha256(content).hexdigest(), "outputs": list(difference)}
    away = {"difference": difference, "difference_px": away_px}
    files["model.onnx"] = with_notes(files["model.onnx"], {**notes, **away})
    if finish is not None:
        files["model.onnx"] = finish(files["model.onnx"])
    sha256 = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    config = {"format": 1, **_described(network, blueprint, name), "sha256": sha256}
    out.mkdir(parents=True, exist_ok=True)
    files["config.json"] = (json.dumps(config, indent=2) + "\n").encode()
    for file, content in files.items():
        with written_whole(out / file) as temporary:
            temporary.write_bytes(content)
    return Exported(out, sum(map(len, files.values())), difference, away_px)


def _check(network: nn.Module, blueprint: Blueprint, weights: Path) -> None:
    """ValueError, naming the file, if nothing could run the exported network."""
    if blueprint.component is not None:
        raise ValueError(f"{weights}: restores the {blueprint.component} alone; export a network of whole faces")
    if not isinstance(network, Generator | Pfld) and "calibration" not in dict(network.named_buffers()):
        raise ValueError(f"{weights}: a network {blueprint.network!r}, which neither align nor restore runs")
    for name, weight in network.state_dict().items():
        if (torch.isinf(weight.half()) & ~torch.isinf(weight)).any():
            raise ValueError(f"{weights}: {name} holds numbers that float16 does not; train again, or for longer")


def _described(network: nn.Module, blueprint: Blueprint, name: str) -> dict[str, Any]:
    """What `config.json` says of a network but for its files: a `RestorerConfig` or a `ModelConfig`."""
    crop = {"input_size": blueprint.input_size, "margin": blueprint.margin}
    outputs = {"outputs": list(deployed(network)[1])}
    if isinstance(network, Generator):
        return {"kind": "restorer", "name": name, **crop, "guided": network.guided, **outputs}
    own = {} if blueprint.own_scheme is None else {"own_scheme": dict(blueprint.own_scheme)}
    offset = {"annotation_offset": blueprint.annotation_offset} if blueprint.annotation_offset else {}
    return {"name": name, "scheme": blueprint.scheme, **own, **crop, **offset, **outputs}
