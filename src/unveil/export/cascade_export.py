"""Export DRN or SDM: an ONNX file for each stage; `unveil.baselines.coupled` runs OpenCV's SIFT between them."""

import json
from pathlib import Path

import numpy as np
import torch

from unveil.baselines.drn import Drn
from unveil.baselines.exported_cascade import KIND, load_cascade
from unveil.baselines.shape_indexed import DESCRIPTOR
from unveil.export.onnx_export import OPSET, ExportResult, trace_onnx
from unveil.export.onnx_files import file_bytes, write_model
from unveil.models.checkpoints import weights_bytes
from unveil.models.network import NetworkSpec

TOLERANCE = 0.01  # crop units between float16 and float32 weights


def export_cascade(
    network: Drn, spec: NetworkSpec, out: Path, name: str, licence: str, opset: int = OPSET
) -> ExportResult:
    """Write `stage-1.onnx` and so on, `model.safetensors` (float16) and `config.json` with their SHA-256.

    Args:
        network: The trained cascade.
        spec: Its specification.
        out: The folder.
        name: The cascade's name.
        licence: The terms of use, which the metadata contain.
        opset: The ONNX operator set.

    Returns:
        What was written.

    Raises:
        ValueError: ONNX and torch disagree.
    """
    network = network.eval()
    example = torch.rand(2, network.mean_shape.shape[0], DESCRIPTOR, generator=torch.Generator().manual_seed(0))
    files = {"model.safetensors": weights_bytes(network, spec, half=True)}
    for number, stage in enumerate(network.stages, start=1):
        metadata = {**json.loads(spec.to_json()), "licence": licence, "stage": number}
        model = trace_onnx(stage, example, "features", ["offsets"], opset)
        files[f"stage-{number}.onnx"] = file_bytes(model, json.dumps(metadata))
    config = {
        "kind": KIND,
        "name": name,
        "scheme": spec.scheme,
        "input_size": spec.input_size,
        "margin": spec.margin,
        "mean_shape": network.mean_shape.tolist(),
        "stages": len(network.stages),
    }
    size = write_model(out, files, config)
    stages = zip(load_cascade(out).stages, network.as_stages(), strict=True)
    features = example.numpy()
    difference = max(float(np.abs(exported(features) - own(features)).max()) for exported, own in stages)
    if not difference < TOLERANCE:
        raise ValueError(f"{out}: ONNX and torch differ by {difference:.4f} in offsets; train for longer")
    return ExportResult(out, size, {"offsets": difference}, difference * spec.input_size / 2)
