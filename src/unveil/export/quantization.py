"""Weights of eight bits: an ONNX landmark model made smaller, and what that costs. N faces, S pixels.

Matrix products are quantised as they run, each by the range of what it gets. Convolutions need ranges that are measured
before, on calibration faces. Sampling, attention's softmax, norms and the coordinates themselves stay in float32.
"""

import contextlib
import io
import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from unveil.data.datasets.registry import Faces
from unveil.data.synthetic import drawn_face
from unveil.export.onnx_export import forget_where, narrow_weights
from unveil.export.onnx_metadata import read_notes, with_notes
from unveil.geometry import Crop, tight_box
from unveil.inference.aligner import OUTPUTS, AlignmentModel, ModelConfig
from unveil.metrics import nme, point_errors
from unveil.schemes.serialization import carried_scheme
from unveil.training.batches import Slices, split_by_name
from unveil.training.config import Alignment
from unveil.training.normaliser import training_normaliser
from unveil.types import Image, Points

Method: TypeAlias = Literal["int8", "int8-static"]
Crops: TypeAlias = NDArray[np.float32]
"""RGB in [0, 1], (N, 3, S, S)."""

PRODUCTS = ("MatMul", "Gemm")
CALIBRATION = 64  # faces
RUNS = 30
HELD_OUT_SHARE = Alignment.model_fields["held_out_share"].default


@dataclass(frozen=True, slots=True)
class Cost:
    """What quantising costs and gains: float32 first, then eight bits. NME in per cent, time of one face and thread."""

    faces: int
    normaliser: str
    nme: tuple[float, float]
    milliseconds: tuple[float, float]
    bytes: tuple[int, int]

    def __str__(self) -> str:
        error, spent, size = self.nme, self.milliseconds, self.bytes
        return (
            f"NME ({self.normaliser}) {error[0]:.3f} -> {error[1]:.3f} % on {self.faces} faces, "
            f"{spent[0]:.1f} -> {spent[1]:.1f} ms a face, {size[0] / 1e6:.1f} -> {size[1] / 1e6:.1f} MB"
        )


def quantized(content: bytes, method: Method, calibration: Crops | None = None) -> bytes:
    """The model with weights of eight bits: `int8` matrix products only, `int8-static` convolutions too.

    `int8-static` measures ranges on `calibration`, drawn faces unless given. ValueError if the model is no landmark
    model of ours.
    """
    notes = read_notes(content)
    if "scheme" not in notes or "restored" in notes.get("outputs", ()):
        raise ValueError("only landmark models are quantised; leave --quantize out")
    with TemporaryDirectory() as folder, _quiet():
        given, ready, static, done = (Path(folder) / f"{name}.onnx" for name in ("given", "ready", "static", "done"))
        given.write_bytes(content)
        quant_pre_process(given, ready, skip_symbolic_shape=True)
        _forget_shapes(ready)
        if method == "int8-static":
            faces = drawn_crops(notes["input_size"], notes["margin"]) if calibration is None else calibration
            quantize_static(
                ready,
                static,
                _Reader(faces),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                per_channel=True,
                reduce_range=True,  # without VNNI the sums of 8 by 8 bits overflow
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,  # the whole range costs twice as much accuracy
            )
            ready = static
            _forget_shapes(ready)
        quantize_dynamic(ready, done, op_types_to_quantize=list(PRODUCTS), weight_type=QuantType.QUInt8)
        model = onnx.load(done)
    narrow_weights(model)
    forget_where(model)
    used = {node.domain for node in model.graph.node}
    needed = [opset for opset in model.opset_import if opset.domain in used]  # onnxruntime lists all that it knows
    del model.opset_import[:]
    model.opset_import.extend(needed)
    model.producer_name = "unveil"
    onnx.helper.set_model_props(
        model, {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    )
    return with_notes(model.SerializeToString(), {"quantization": method})


def slices(faces: Faces, held_out: bool) -> Slices:
    """Which faces calibrate and which measure: those that training uses and holds out, or all of them for both.

    ValueError if none is held out.
    """
    everyone = np.arange(len(faces))
    if not held_out:
        return Slices(everyone, everyone)
    found = split_by_name(faces.names, HELD_OUT_SHARE)
    if not len(found.validation):
        raise ValueError(f"{faces.label}: none of its {len(faces)} faces is held out; leave --held-out out")
    return found


def drawn_crops(size: int, margin: float, count: int = CALIBRATION) -> Crops:
    """Drawn faces as a model sees them."""
    drawn = [drawn_face(np.random.default_rng((0, index)), size) for index in range(count)]
    return _stacked([_crop(image, points_px, size, margin) for image, points_px in drawn])


def crops(faces: Faces, chosen: NDArray[np.int64], size: int, margin: float) -> Crops:
    """These faces as a model sees them, in the tight boxes of their true landmarks."""
    return _stacked([_crop(faces.image(index), faces.points_px[index], size, margin) for index in map(int, chosen)])


def cost(before: bytes, after: bytes, faces: Faces, chosen: NDArray[np.int64]) -> Cost:
    """Error, time and size of two models on these faces, in the tight boxes of their true landmarks.

    ValueError if the models' scheme is not the faces'.
    """
    models = (_model(before), _model(after))
    if models[0].scheme.name != faces.scheme.name:
        raise ValueError(f"{faces.label}: scheme {faces.scheme.name!r}, but the model's is {models[0].scheme.name!r}")
    normaliser = training_normaliser(faces.scheme)
    found: list[list[Points]] = [[], []]
    for index in map(int, chosen):
        image, box = faces.image(index), tight_box(faces.points_px[index])
        for model, points in zip(models, found, strict=True):
            points.append(model(image, [box])[0].points_px)
    truth = faces.points_px[chosen]
    errors = [100 * float(nme(point_errors(np.stack(p), truth, faces.scheme, normaliser)).mean()) for p in found]
    spent = _milliseconds(models)
    sizes = (len(before), len(after))
    return Cost(len(truth), normaliser, (errors[0], errors[1]), spent, sizes)


def _forget_shapes(path: Path) -> None:
    """Takes the shapes of values out of a file: the quantiser transposes weights and leaves their old shapes behind."""
    model = onnx.load(path)
    del model.graph.value_info[:]
    onnx.save(model, path)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Gives calibration faces one by one, as onnxruntime wants them."""

    def __init__(self, faces: Crops) -> None:
        self._faces = iter(faces)

    def get_next(self) -> dict[str, Crops] | None:
        face = next(self._faces, None)
        return None if face is None else {"images": face[None]}


def _model(content: bytes) -> AlignmentModel:
    """A model from the bytes of its file, one thread."""
    notes = read_notes(content)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    scheme = carried_scheme(notes["scheme"], notes.get("own_scheme"))
    crop: dict[str, Any] = {"input_size": notes["input_size"], "margin": notes["margin"]}
    outputs = notes.get("outputs", OUTPUTS)
    config = ModelConfig(format=1, name="", scheme=scheme.name, **crop, outputs=outputs, sha256={})
    return AlignmentModel(config, scheme, session)


def _milliseconds(models: tuple[AlignmentModel, AlignmentModel]) -> tuple[float, float]:
    """Medians of one face each, taken in turns, so that other work on the machine slows both."""
    size = models[0].config.input_size
    face = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        for model, spent in zip(models, times, strict=True):
            start = time.perf_counter()
            model.session.run(list(model.config.outputs), {"images": face})
            spent.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[0][3:]), statistics.median(times[1][3:])


def _crop(image: Image, points_px: Points, size: int, margin: float) -> Image:
    return Crop.around(tight_box(points_px), margin).extract(image, size)


def _stacked(pictures: Sequence[Image]) -> Crops:
    stacked = np.stack(pictures).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked, np.float32) / np.float32(255)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantiser prints its steps and warns of what is done here already."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)
