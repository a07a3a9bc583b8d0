"""`unveil export`: convert a trained network to the model folder that `align --model` or `restore --restorer` loads."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unveil.cli.images import check_writable
from unveil.installation import install_command

if TYPE_CHECKING:
    from unveil.export.onnx_export import ExportResult


@dataclass(frozen=True)
class Options:
    """Export a trained network to model.onnx, model.safetensors (float16) and config.json with SHA-256.

    Compares ONNX with torch and prints the largest difference. model.onnx accepts any number of faces, and its
    metadata describe the model. Exit status: 0 success, 2 failure.
    """

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """best.safetensors or last.safetensors of a run, the name of a shipped model, a model folder, or a folder with a
    run for each component of a restorer."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The model folder to write."""
    name: str | None = None
    """The model's name in every output. Default: the name of the folder."""
    average: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="MODEL")] = ()
    """More weights of the same network, for example from other runs. The mean of all is exported."""
    opset: int = 20
    """ONNX operator set, 20 or later."""
    licence: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """The terms of use in the metadata. Default: those of the training data."""
    quantize: Literal["int8", "int8-static"] | None = None
    """Quantize a landmark model to eight bits: int8 the matrix products, int8-static the convolutions too."""
    calibrate: Annotated[Path | None, tyro.conf.arg(metavar="PACK|FOLDER")] = None
    """Faces on which int8-static measures ranges. Default: synthetic faces."""
    measure: Annotated[Path | None, tyro.conf.arg(metavar="PACK|FOLDER")] = None
    """Faces on which to measure the cost of quantization."""
    holdout: tyro.conf.FlagCreatePairsOff[bool] = False
    """Measure on the faces that training holds out, and calibrate on the others."""


def run(options: Options) -> int:
    """Export the network, print the differences, and return the exit status."""
    try:
        from unveil.export.onnx_export import LICENCE
    except ModuleNotFoundError as error:
        print(f"error: exporting needs {error.name}: {install_command('train')}", file=sys.stderr)
        return 2
    check_writable(options.out)
    results = _results(options, options.name or options.out.resolve().name, options.licence or LICENCE)
    for result in results:
        differences = ", ".join(f"{name} {value:.1e}" for name, value in result.difference.items())
        if result.difference_px is not None:
            differences += f"; landmarks by {result.difference_px:.1e} px of the crop"
        print(f"{result.folder}: {result.bytes / 1e6:.1f} MB; ONNX and torch differ by at most {differences}")
    return 0


def _results(options: Options, name: str, licence: str) -> "list[ExportResult]":
    """Export one network, a cascade, or the components of a restorer."""
    from unveil.baselines.drn import Drn
    from unveil.export.cascade_export import export_cascade
    from unveil.export.onnx_export import export_components, export_model, weights_path
    from unveil.registry import load_network

    one = options.average or options.quantize
    if options.model.is_dir() and not any(path.is_file() for path in options.model.iterdir()):
        if one:
            raise ValueError(f"{options.model}: several runs; leave --average and --quantize out")
        return export_components(options.model, options.out, name, opset=options.opset, licence=licence)
    weights, average = weights_path(options.model), [weights_path(model) for model in options.average]
    network, spec = (None, None) if one else load_network(weights)
    if isinstance(network, Drn) and spec is not None:
        return [export_cascade(network, spec, options.out, name, licence, options.opset)]
    postprocess = _quantizer(options)
    return [
        export_model(
            weights, options.out, name, average=average, opset=options.opset, licence=licence, postprocess=postprocess
        )
    ]


def _quantizer(options: Options) -> Callable[[bytes], bytes] | None:
    """Return the function that quantizes the ONNX file and prints the cost; ValueError for contradictory options."""
    method = options.quantize
    if method is None:
        for name, value in (("--calibrate", options.calibrate), ("--measure", options.measure)):
            if value is not None:
                raise ValueError(f"{name} {value}: needs --quantize; add it")
        return None
    if options.calibrate is not None and method != "int8-static":
        raise ValueError(f"--calibrate {options.calibrate}: {method} needs no faces; use --quantize int8-static")

    from unveil.data.pack import read_faces
    from unveil.export.onnx_files import read_metadata
    from unveil.export.quantization import (
        CALIBRATION_FACES,
        calibration_split,
        face_crops,
        measure_cost,
        quantize,
    )

    calibrate, measure = (None if path is None else read_faces(path) for path in (options.calibrate, options.measure))

    def postprocess(content: bytes) -> bytes:
        metadata = read_metadata(content)
        calibration = None
        if calibrate is not None:
            indices = calibration_split(calibrate, options.holdout).train
            spaced = indices[:: max(1, len(indices) // CALIBRATION_FACES)][:CALIBRATION_FACES]
            calibration = face_crops(calibrate, spaced, metadata["input_size"], metadata["margin"])
        quantized = quantize(content, method, calibration)
        if measure is not None:
            validation = calibration_split(measure, options.holdout).val
            print(f"{method}: {measure_cost(content, quantized, measure, validation)}")
        return quantized

    return postprocess
