"""Export a trained network to a model folder that the pipeline loads. B faces, L landmarks, S pixels."""

import copy
import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unveil.export.deployed import deploy, input_channels, is_deployable
from unveil.export.onnx_files import MIN_FLOAT16_ELEMENTS, add_metadata, file_bytes, write_model
from unveil.inference.onnx_model import model_folder, shipped_detectors, shipped_models, shipped_restorers
from unveil.inference.restorer import in_component_order
from unveil.inference.torch_restorer import restorer_files
from unveil.models.checkpoints import NetworkSpec, load_average, read_weights, weights_bytes
from unveil.models.conv_norm import fold_norms
from unveil.models.detector import FaceDetectorNetwork
from unveil.models.generator import Generator
from unveil.models.layers import ScaledConv
from unveil.registry import NETWORKS

REGISTRATION_LOG = "torch.onnx._internal.exporter._registration"  # warns about torchvision, which is not needed
OPSET = 20
LICENCE = "the terms of the images and annotations that it was trained on"
# Largest allowed difference between ONNX and torch with the same weights: a thousandth of a crop, half a grey level.
TOLERANCES = {"points_unit": 0.002, "restored": 0.002}


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export wrote, and how much ONNX and torch differ.

    Args:
        folder: The model folder.
        bytes: The size of its files.
        difference: The largest absolute difference between ONNX and torch for each output.
        difference_px: That of the landmarks in pixels of the crop; None if the model predicts none.
    """

    folder: Path
    bytes: int
    difference: dict[str, float]
    difference_px: float | None


def fold_scales(network: nn.Module) -> nn.Module:
    """Return a network whose `ScaledConv` have their scale in their filters, so that float16 rounds the product.

    Args:
        network: The network to change.
    """
    for module in network.modules():
        if isinstance(module, ScaledConv):
            module.fold()
    return network


def to_onnx(network: nn.Module, spec: NetworkSpec, opset: int = OPSET) -> bytes:
    """Return the ONNX file of a network for any number of faces. Large weights are stored as float16.

    Args:
        network: A landmark network or a generator.
        spec: Its specification, which becomes metadata of the file.
        opset: The ONNX operator set.

    Raises:
        ValueError: The operator set lacks an operator, or the installed onnx does not support it.
    """
    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise ValueError(f"--opset {opset}: give {OPSET} to {newest}")
    size = spec.input_size
    module, outputs = deploy(network)
    example = torch.zeros(2, input_channels(network), size, size)
    model = trace_onnx(module, example, "images", outputs, opset, any_size=isinstance(network, FaceDetectorNetwork))
    return file_bytes(model, spec.to_json())


def trace_onnx(
    module: nn.Module,
    example: Tensor,
    input_name: str,
    outputs: Sequence[str],
    opset: int = OPSET,
    *,
    any_size: bool = False,
) -> Any:
    """Return a module with one input as an ONNX model whose axis 0 has any length.

    Args:
        module: The module, in evaluation mode.
        example: An example of the input.
        input_name: The name of the input in the file.
        outputs: The names of the outputs in the file.
        opset: The ONNX operator set.
        any_size: Whether height and width may be any multiples of 32.
    """
    dynamic: dict[int, Any] = {0: torch.export.Dim("faces", min=1, max=4096)}
    if any_size:
        dynamic |= {axis: 32 * torch.export.Dim(name, min=1, max=128) for axis, name in ((2, "rows"), (3, "columns"))}
    with warnings.catch_warnings(), _quiet(REGISTRATION_LOG):
        warnings.simplefilter("ignore")  # the exporter warns about its own deprecated calls
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[input_name],
            output_names=list(outputs),
            dynamic_shapes=(dynamic,),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Suppress the warnings of a logger."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def float16_weights(network: nn.Module) -> nn.Module:
    """Return a copy whose large weights and buffers are rounded to float16, as in the ONNX file.

    Args:
        network: The network to copy.
    """
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for tensor in (*copied.parameters(), *copied.buffers()):
            if tensor.is_floating_point() and tensor.numel() >= MIN_FLOAT16_ELEMENTS:
                tensor.copy_(tensor.half())
    return copied


def onnx_difference(network: nn.Module, content: bytes, size: int, faces: int = 3) -> dict[str, float]:
    """Return the largest difference of the ONNX file from torch for each output, on smooth random images.

    White noise is unsuitable: a shift of a thousandth of a pixel changes the sample, and the steps amplify it.

    Args:
        network: The network.
        content: The bytes of the ONNX file.
        size: The side of the crop in pixels.
        faces: The number of images.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(faces, input_channels(network), size // 16, size // 16, generator=generator)
    images = F.interpolate(coarse, size=size, mode="bilinear")
    module, outputs = deploy(network)
    with torch.no_grad():
        expected = module(images)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    actual = session.run(list(outputs), {"images": images.numpy()})
    return {
        name: float(np.abs(ours.numpy() - np.asarray(theirs)).max())
        for name, ours, theirs in zip(outputs, expected, actual, strict=True)
    }


def weights_path(model: Path) -> Path:
    """Return the path of a model's safetensors file.

    Args:
        model: A safetensors file of a run, the name of a shipped model, or a model folder.

    Raises:
        ValueError: No model has this name.
    """
    if model.suffix == ".safetensors":
        return model
    return model_folder(model, shipped_models() | shipped_restorers() | shipped_detectors()) / "model.safetensors"


def export_model(
    weights: Path,
    out: Path,
    name: str,
    *,
    average: Sequence[Path] = (),
    opset: int = OPSET,
    licence: str = LICENCE,
    postprocess: Callable[[bytes], bytes] | None = None,
) -> ExportResult:
    """Write `model.onnx`, `model.safetensors` (float16) and `config.json` with their SHA-256.

    Args:
        weights: A safetensors file that `unveil train` wrote, of a landmark network or a generator.
        out: The model folder.
        name: The model's name, which appears in every output.
        average: More weights of the same network; the mean of all is exported.
        opset: The ONNX operator set.
        licence: The terms of use, which the metadata contain.
        postprocess: A last change of the ONNX file, for example quantization; the difference is measured before it.

    Returns:
        What was written.

    Raises:
        ValueError: ONNX and torch disagree about the same weights, float16 cannot represent a weight, or no command
            runs a network of this kind.
    """
    network, spec = load_average(weights, average, NETWORKS)
    _check(network, spec, weights)
    fold_scales(network)
    content = weights_bytes(network, spec, half=True)
    fold_norms(network)  # after weights_bytes: the safetensors file keeps the norms that the network is built with
    files = {"model.onnx": to_onnx(network, spec, opset), "model.safetensors": content}
    same_weights = onnx_difference(float16_weights(network), files["model.onnx"], spec.input_size)
    for output, tolerance in TOLERANCES.items():
        if output in same_weights and not same_weights[output] < tolerance:
            difference_text = f"ONNX and torch differ by {same_weights[output]:.4f} in {output}"
            raise ValueError(f"{weights}: {difference_text}; not exported")
    difference = onnx_difference(network, files["model.onnx"], spec.input_size)
    difference_px = difference["points_unit"] * spec.input_size / 2 if "points_unit" in difference else None
    metadata = {
        "licence": licence,
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "outputs": list(difference),
        "difference": difference,
        "difference_px": difference_px,
    }
    files["model.onnx"] = add_metadata(files["model.onnx"], metadata)
    if postprocess is not None:
        files["model.onnx"] = postprocess(files["model.onnx"])
    return ExportResult(out, write_model(out, files, _config_fields(network, spec, name)), difference, difference_px)


def export_components(
    runs: Path, out: Path, name: str, *, opset: int = OPSET, licence: str = LICENCE
) -> list[ExportResult]:
    """Export a restorer of seven components: a folder of model folders, which `restore --restorer` loads.

    Args:
        runs: A folder with the run of each component.
        out: The folder to write; each component gets a model folder of its name in it.
        name: The restorer's name.
        opset: The ONNX operator set.
        licence: The terms of use, which the metadata contain.

    Returns:
        What was written for each component.

    Raises:
        ValueError: A component is missing or there twice, or see `export_model`.
    """
    files = restorer_files(runs)
    parts = [(read_weights(file)[1].component, file) for file in files]
    ordered = in_component_order(runs, parts, is_set=True)
    names = {file: component or "whole" for component, file in parts}
    return [
        export_model(file, out / names[file], f"{name}, {names[file]}", opset=opset, licence=licence)
        for file in ordered
    ]


def _check(network: nn.Module, spec: NetworkSpec, weights: Path) -> None:
    """Raise ValueError, naming the file, if nothing could run the exported network."""
    if not is_deployable(network):
        raise ValueError(f"{weights}: a network {spec.network!r}, which neither align nor restore runs")
    for name, weight in network.state_dict().items():
        if (torch.isinf(weight.half()) & ~torch.isinf(weight)).any():
            raise ValueError(f"{weights}: {name} has values beyond float16; train again, or for longer")


def _config_fields(network: nn.Module, spec: NetworkSpec, name: str) -> dict[str, Any]:
    """Return the fields of `config.json` except the checksums: those of `RestorerConfig` or `ModelConfig`."""
    crop = {"input_size": spec.input_size, "margin": spec.margin}
    outputs = {"outputs": list(deploy(network)[1])}
    if isinstance(network, Generator):
        part = {} if spec.component is None else {"component": spec.component}
        return {"kind": "restorer", "name": name, **crop, "guided": network.guided, **part, **outputs}
    if isinstance(network, FaceDetectorNetwork):
        return {"kind": "detector", "name": name, **outputs}
    own = {} if spec.own_scheme is None else {"own_scheme": dict(spec.own_scheme)}
    offset = {"annotation_offset": spec.annotation_offset} if spec.annotation_offset else {}
    return {"name": name, "scheme": spec.scheme, **own, **crop, **offset, **outputs}
