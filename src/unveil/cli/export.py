"""`unveil export`: a trained network to the folder that `unveil align --model` loads."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Options:
    """Writes model.onnx, model.safetensors (float16) and config.json with SHA-256, and compares ONNX with torch."""

    weights: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
    """A run's best.safetensors or last.safetensors."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The model folder to write."""
    name: str | None = None
    """The model's name in every output; the folder's name unless given."""
    opset: int = 20
    """ONNX operator set, 20 or later (bilinear sampling needs it)."""


def run(options: Options) -> int:
    try:
        from unveil.export import export_alignment
    except ModuleNotFoundError as error:
        print(f"error: exporting needs {error.name}: pip install 'unveil[train]'", file=sys.stderr)
        return 2
    try:
        exported = export_alignment(options.weights, options.out, options.name or options.out.name, opset=options.opset)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    differences = ", ".join(f"{name} {value:.1e}" for name, value in exported.difference.items())
    print(f"{exported.folder}: {exported.bytes / 1e6:.1f} MB; ONNX and torch differ by at most {differences}")
    return 0
