"""`unveil export`: a trained network to the folder that `align --model` or `restore --restorer` loads."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unveil.cli.pictures import check_writable
from unveil.cli.progress import reason


@dataclass(frozen=True)
class Options:
    """Writes model.onnx, model.safetensors (float16) and config.json with SHA-256, and compares ONNX with torch.

    model.onnx takes any number of faces, and its metadata say what it is.
    """

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run's best.safetensors or last.safetensors, the name of a model that ships, or a model folder."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The model folder to write."""
    name: str | None = None
    """The model's name in every output; the folder's name unless given."""
    average: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="MODEL")] = ()
    """More weights of the same network, from other runs say: the mean of all is exported."""
    to: Literal["onnx"] = "onnx"
    """The format."""
    opset: int = 20
    """ONNX operator set, 20 or later (bilinear sampling needs it)."""
    licence: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """What the file says of its terms; unless given, those of what it was trained on."""
    quantize: Literal["int8", "int8-static"] | None = None
    """Weights of eight bits, for landmark models: of the matrix products, or with static of the convolutions too."""
    calibrate: Annotated[Path | None, tyro.conf.arg(metavar="PACK|FOLDER")] = None
    """Faces whose ranges int8-static measures; drawn ones unless given."""
    measure: Annotated[Path | None, tyro.conf.arg(metavar="PACK|FOLDER")] = None
    """Faces on which to measure what quantising costs."""
    held_out: tyro.conf.FlagCreatePairsOff[bool] = False
    """Measure on the faces that training holds out, and calibrate on the others."""


def run(options: Options) -> int:
    try:
        from unveil.export.onnx_export import LICENCE, export_model, weights_of
    except ModuleNotFoundError as error:
        print(f"error: exporting needs {error.name}: pip install 'unveil[train]'", file=sys.stderr)
        return 2
    try:
        check_writable(options.out)
        exported = export_model(
            weights_of(options.model),
            options.out,
            options.name or options.out.resolve().name,
            average=[weights_of(model) for model in options.average],
            opset=options.opset,
            licence=options.licence or LICENCE,
            finish=_quantizer(options),
        )
    except (ValueError, OSError) as error:
        print(f"error: {reason(error)}", file=sys.stderr)
        return 2
    differences = ", ".join(f"{name} {value:.1e}" for name, value in exported.difference.items())
    if exported.difference_px is not None:
        differences += f"; landmarks by {exported.difference_px:.1e} px of the crop"
    print(f"{exported.folder}: {exported.bytes / 1e6:.1f} MB; ONNX and torch differ by at most {differences}")
    return 0


def _quantizer(options: Options) -> Callable[[bytes], bytes] | None:
    """What makes eight bits of the ONNX file and prints what it costs; ValueError if the options do not go together."""
    method = options.quantize
    if method is None:
        for name, given in (("--calibrate", options.calibrate), ("--measure", options.measure)):
            if given is not None:
                raise ValueError(f"{name} {given}: goes with --quantize; add it")
        return None
    if options.calibrate is not None and method != "int8-static":
        raise ValueError(f"--calibrate {options.calibrate}: {method} needs no faces; use --quantize int8-static")

    from unveil.data.pack import read_faces
    from unveil.export.onnx_metadata import read_notes
    from unveil.export.quantization import CALIBRATION, cost, crops, quantized, slices

    calibrate, measure = (None if path is None else read_faces(path) for path in (options.calibrate, options.measure))

    def finish(content: bytes) -> bytes:
        notes = read_notes(content)
        seen = None
        if calibrate is not None:
            chosen = slices(calibrate, options.held_out).training
            spread = chosen[:: max(1, len(chosen) // CALIBRATION)][:CALIBRATION]
            seen = crops(calibrate, spread, notes["input_size"], notes["margin"])
        smaller = quantized(content, method, seen)
        if measure is not None:
            print(f"{method}: {cost(content, smaller, measure, slices(measure, options.held_out).validation)}")
        return smaller

    return finish
