"""Landmarks from an exported `model.onnx` with onnxruntime and numpy alone: its metadata describes the input."""

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

    Visibility is NaN if the model predicts points alone.
    """
    notes = json.loads(model.get_modelmeta().custom_metadata_map["unveil"])
    x0, y0, x1, y1 = box
    centre, side = np.array([x0 + x1, y0 + y1]) / 2, notes["margin"] * np.hypot(x1 - x0, y1 - y0)
    pixel = side / notes["input_size"]
    fine = int(np.ceil(pixel / 2))  # of a large face, several samples make a pixel
    ticks = (np.arange(notes["input_size"])[:, None] + 0.5) * pixel - side / 2
    ticks = (ticks + ((np.arange(fine) + 0.5) / fine - 0.5) * pixel / 2).ravel()
    rows = bilinear(image_rgb / 255, ticks + centre[1])  # S W 3
    crop = bilinear(rows.swapaxes(0, 1), ticks + centre[0]).swapaxes(0, 1)  # S S 3
    crop = crop.reshape(len(ticks) // fine, fine, len(ticks) // fine, fine, 3).mean(axis=(1, 3))
    found = model.run(None, {"images": crop.transpose(2, 0, 1)[None].astype(np.float32)})
    outputs = {name: output[0] for name, output in zip(notes["outputs"], found, strict=True)}
    points = outputs["points_unit"] * side / 2 + centre
    return points, outputs.get("visibility", np.full(len(points), np.nan))


def bilinear(lines: Floats, where: Floats) -> Floats:
    """Return lines of an array (N, ...) at places between them, black outside."""
    padded = np.pad(lines, [(1, 1), *[(0, 0)] * (lines.ndim - 1)])
    at = np.clip(where + 1, 0, len(padded) - 1.001)
    below, part = np.floor(at).astype(int), (at % 1)[:, None, None]
    between: Floats = padded[below] * (1 - part) + padded[below + 1] * part
    return between


if __name__ == "__main__":  # python examples/onnx_only.py model.onnx photo.npy X0 Y0 X1 Y1
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    x0, y0, x1, y1 = map(float, sys.argv[3:])
    for (x, y), visible in zip(*align(session, np.load(sys.argv[2]), (x0, y0, x1, y1)), strict=True):
        print(f"{x:8.2f} {y:8.2f} {visible:5.2f}")
