"""Quantize an ONNX landmark model to eight bits, and measure what that costs. N faces, S pixels.

Matrix products are quantized dynamically: the range of their input is measured at run time. Convolutions need ranges
that are measured before, on calibration faces. Sampling, the softmax of attention, norms and the coordinates stay in
float32.
"""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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

from unveil.data.datasets.samples import Faces
from unveil.data.splits import Split, split_by_name
from unveil.data.synthetic import drawn_face
from unveil.export.onnx_files import add_metadata, read_metadata, store_as_float16, strip_debug_info
from unveil.geometry import Crop, tight_box
from unveil.inference.aligner import AlignmentModel
from unveil.inference.onnx_model import OUTPUTS, ModelConfig
from unveil.inference.onnx_session import session_options
from unveil.metrics import nme, point_errors
from unveil.metrics.timing import median_milliseconds
from unveil.schemes.scheme_file import resolve_scheme
from unveil.training.config import LandmarkTrainConfig
from unveil.training.validation import training_normaliser
from unveil.types import Image, Points

Method: TypeAlias = Literal["int8", "int8-static"]
Crops: TypeAlias = NDArray[np.float32]
"""RGB in [0, 1], (N, 3, S, S)."""

DYNAMIC_OPERATORS = ("MatMul", "Gemm")
CALIBRATION_FACES = 64
HOLDOUT_SHARE = LandmarkTrainConfig.model_fields["val_share"].default


@dataclass(frozen=True, slots=True)
class QuantizationCost:
    """Error, time and size before (float32) and after quantization.

    Args:
        faces: The number of faces that were measured.
        normaliser: The normaliser of the NME.
        nme_percent: Normalised mean error in per cent.
        milliseconds: Time of one face on one thread.
        bytes: Size of the ONNX file.
    """

    faces: int
    normaliser: str
    nme_percent: tuple[float, float]
    milliseconds: tuple[float, float]
    bytes: tuple[int, int]

    def __str__(self) -> str:
        error, time_ms, size = self.nme_percent, self.milliseconds, self.bytes
        return (
            f"NME ({self.normaliser}) {error[0]:.3f} -> {error[1]:.3f} % on {self.faces} faces, "
            f"{time_ms[0]:.1f} -> {time_ms[1]:.1f} ms a face, {size[0] / 1e6:.1f} -> {size[1] / 1e6:.1f} MB"
        )


def quantize(content: bytes, method: Method, calibration: Crops | None = None) -> bytes:
    """Return the bytes of a quantized landmark model.

    Args:
        content: The bytes of an ONNX file that `unveil export` wrote.
        method: `int8` quantizes matrix products, `int8-static` convolutions too.
        calibration: Faces on which `int8-static` measures ranges; synthetic faces if None.

    Raises:
        ValueError: The file is not a landmark model.
    """
    metadata = read_metadata(content)
    if "scheme" not in metadata or "restored" in metadata.get("outputs", ()):
        raise ValueError("only landmark models can be quantized; omit --quantize")
    with TemporaryDirectory() as folder, _without_log():
        source, current, static, result = (
            Path(folder) / f"{name}.onnx" for name in ("source", "current", "static", "result")
        )
        source.write_bytes(content)
        quant_pre_process(source, current, skip_symbolic_shape=True)
        _remove_value_shapes(current)
        if method == "int8-static":
            faces = synthetic_crops(metadata["input_size"], metadata["margin"]) if calibration is None else calibration
            quantize_static(
                current,
                static,
                _CalibrationReader(faces),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                per_channel=True,
                reduce_range=True,  # without VNNI the sums of 8-bit products overflow
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,  # the full range costs twice as much accuracy
            )
            current = static
            _remove_value_shapes(current)
        quantize_dynamic(current, result, op_types_to_quantize=list(DYNAMIC_OPERATORS), weight_type=QuantType.QUInt8)
        model = onnx.load(result)
    store_as_float16(model)
    strip_debug_info(model)
    used = {node.domain for node in model.graph.node}
    needed = [opset for opset in model.opset_import if opset.domain in used]  # onnxruntime lists all that it knows
    del model.opset_import[:]
    model.opset_import.extend(needed)
    model.producer_name = "unveil"
    onnx.helper.set_model_props(
        model, {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    )
    return add_metadata(model.SerializeToString(), {"quantization": method})


def calibration_split(faces: Faces, holdout: bool) -> Split:
    """Split faces into those that calibrate and those that measure.

    Args:
        faces: Annotated faces.
        holdout: Measure on the faces that training holds out and calibrate on the others; otherwise use all for both.

    Returns:
        The split: `training` calibrates, `validation` measures.

    Raises:
        ValueError: No face is held out.
    """
    everyone = np.arange(len(faces))
    if not holdout:
        return Split(everyone, everyone)
    split = split_by_name(faces.names, HOLDOUT_SHARE)
    if not len(split.val):
        raise ValueError(f"{faces.label}: none of its {len(faces)} faces is held out; omit --holdout")
    return split


def synthetic_crops(size: int, margin: float) -> Crops:
    """Return crops of synthetic faces.

    Args:
        size: The side of the crop in pixels.
        margin: The side of the crop in diagonals of the tight landmark box.
    """
    faces = [drawn_face(np.random.default_rng((0, index)), size) for index in range(CALIBRATION_FACES)]
    return _stack([_crop(image, points_px, size, margin) for image, points_px in faces])


def face_crops(faces: Faces, indices: NDArray[np.int64], size: int, margin: float) -> Crops:
    """Return crops of annotated faces by the tight boxes of their ground-truth landmarks.

    Args:
        faces: Annotated faces.
        indices: Which of them, (N,).
        size: The side of the crop in pixels.
        margin: The side of the crop in diagonals of the tight landmark box.
    """
    return _stack([_crop(faces.image(index), faces.points_px[index], size, margin) for index in map(int, indices)])


def measure_cost(before: bytes, after: bytes, faces: Faces, indices: NDArray[np.int64]) -> QuantizationCost:
    """Return error, time and size of two models on faces, cropped by their ground-truth landmarks.

    Args:
        before: The bytes of the float32 file.
        after: The bytes of the quantized file.
        faces: Annotated faces.
        indices: Which of them, (N,).

    Raises:
        ValueError: The models' scheme is not that of the faces.
    """
    models = (_load_model(before), _load_model(after))
    if models[0].scheme.name != faces.scheme.name:
        raise ValueError(f"{faces.label}: scheme {faces.scheme.name!r}, but the model's is {models[0].scheme.name!r}")
    normaliser = training_normaliser(faces.scheme)
    predictions: list[list[Points]] = [[], []]
    for index in map(int, indices):
        image, box = faces.image(index), tight_box(faces.points_px[index])
        for model, points in zip(models, predictions, strict=True):
            points.append(model(image, [box])[0].points_px)
    ground_truth = faces.points_px[indices]
    errors = [
        100 * float(nme(point_errors(np.stack(points), ground_truth, faces.scheme, normaliser)).mean())
        for points in predictions
    ]
    sizes = (len(before), len(after))
    return QuantizationCost(len(ground_truth), normaliser, (errors[0], errors[1]), _milliseconds(models), sizes)


class _CalibrationReader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Pass calibration faces to onnxruntime one by one."""

    def __init__(self, faces: Crops) -> None:
        self._faces = iter(faces)

    def get_next(self) -> dict[str, Crops] | None:
        face = next(self._faces, None)
        return None if face is None else {"images": face[None]}


def _remove_value_shapes(path: Path) -> None:
    """Remove the shapes of values from a file: the quantizer transposes weights and leaves their old shapes behind."""
    model = onnx.load(path)
    del model.graph.value_info[:]
    onnx.save(model, path)


def _load_model(content: bytes) -> AlignmentModel:
    """Load a model from the bytes of its file, with one thread."""
    metadata = read_metadata(content)
    session = ort.InferenceSession(content, session_options(1), providers=["CPUExecutionProvider"])
    scheme = resolve_scheme(metadata["scheme"], metadata.get("own_scheme"))
    crop: dict[str, Any] = {"input_size": metadata["input_size"], "margin": metadata["margin"]}
    outputs = metadata.get("outputs", OUTPUTS)
    config = ModelConfig(format=1, name="", scheme=scheme.name, **crop, outputs=outputs, sha256={})
    return AlignmentModel(config, scheme, session)


def _milliseconds(models: tuple[AlignmentModel, AlignmentModel]) -> tuple[float, float]:
    """Return the median time of one face for each model."""
    size = models[0].config.input_size
    face = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    before, after = median_milliseconds(
        [partial(model.session.run, list(model.config.outputs), {"images": face}) for model in models]
    )
    return before, after


def _crop(image: Image, points_px: Points, size: int, margin: float) -> Image:
    return Crop.around(tight_box(points_px), margin).extract(image, size)


def _stack(images: Sequence[Image]) -> Crops:
    stacked = np.stack(images).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked, np.float32) / np.float32(255)


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Silence the quantizer of onnxruntime, which prints its steps and warns about steps that are done here."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)
