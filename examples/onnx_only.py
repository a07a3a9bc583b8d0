"""Predict landmarks with an exported `model.onnx`, onnxruntime and numpy alone. Its metadata describes the input."""

import json
import sys

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def align(
    model: onnxruntime.InferenceSession, image_rgb: NDArray[np.uint8], box: tuple[float, float, float, float]
) -> tuple[Floats, Floats]:
    """Return landmarks (L, 2) in pixels and visibility (L,) of the face in a tight landmark box (x0, y0, x1, y1).

    Visibility is NaN if the model does not predict it.
    """
    metadata = json.loads(model.get_modelmeta().custom_metadata_map["unveil"])
    x0, y0, x1, y1 = box
    centre, side = np.array([x0 + x1, y0 + y1]) / 2, metadata["margin"] * np.hypot(x1 - x0, y1 - y0)
    pixel = side / metadata["input_size"]
    samples = int(np.ceil(pixel / 2))  # for a large face, each crop pixel is the mean of several samples
    offsets = (np.arange(metadata["input_size"])[:, None] + 0.5) * pixel - side / 2
    offsets = (offsets + ((np.arange(samples) + 0.5) / samples - 0.5) * pixel / 2).ravel()
    rows = interpolate(image_rgb / 255, offsets + centre[1])  # S W 3
    crop = interpolate(rows.swapaxes(0, 1), offsets + centre[0]).swapaxes(0, 1)  # S S 3
    crop = crop.reshape(len(offsets) // samples, samples, len(offsets) // samples, samples, 3).mean(axis=(1, 3))
    results = model.run(None, {"images": crop.transpose(2, 0, 1)[None].astype(np.float32)})
    outputs = {name: output[0] for name, output in zip(metadata["outputs"], results, strict=True)}
    points = outputs["points_unit"] * side / 2 + centre
    return points, outputs.get("visibility", np.full(len(points), np.nan))


def interpolate(values: Floats, positions: Floats) -> Floats:
    """Interpolate an array (N, ...) linearly along its first axis at positions (M,); zero outside."""
    padded = np.pad(values, [(1, 1), *[(0, 0)] * (values.ndim - 1)])
    index = np.clip(positions + 1, 0, len(padded) - 1.001)
    below, fraction = np.floor(index).astype(int), (index % 1)[:, None, None]
    interpolated: Floats = padded[below] * (1 - fraction) + padded[below + 1] * fraction
    return interpolated


if __name__ == "__main__":  # python examples/onnx_only.py model.onnx photo.npy X0 Y0 X1 Y1
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    x0, y0, x1, y1 = map(float, sys.argv[3:])
    for (x, y), visible in zip(*align(session, np.load(sys.argv[2]), (x0, y0, x1, y1)), strict=True):
        print(f"{x:8.2f} {y:8.2f} {visible:5.2f}")
