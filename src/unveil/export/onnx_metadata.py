"""What an ONNX file says of itself: JSON under the key `unveil` of its metadata, so that the file alone is enough.

`network`, `scheme`, `own_scheme`, `input_size`, `margin` (the crop's side in diagonals of the tight landmark box) and
`sizes` come from the network; `outputs`, `licence`, `weights_sha256` (of the safetensors file beside it), `difference`
from torch per output, `difference_px` and `quantization` from the export.
"""

import json
from collections.abc import Mapping
from typing import Any

import onnx

KEY = "unveil"


def read_notes(content: bytes) -> dict[str, Any]:
    """The notes of an ONNX file's bytes; ValueError if it has none."""
    found = [entry.value for entry in onnx.load_from_string(content).metadata_props if entry.key == KEY]
    if not found:
        raise ValueError("an ONNX file without notes of ours; name one that `unveil export` wrote")
    notes: dict[str, Any] = json.loads(found[0])
    return notes


def with_notes(content: bytes, notes: Mapping[str, Any]) -> bytes:
    """The same file, with these notes beside those that it has; a new one takes the place of an old one."""
    model = onnx.load_from_string(content)
    written = json.dumps({**read_notes(content), **notes}, allow_nan=False)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**kept, KEY: written})
    changed: bytes = model.SerializeToString()
    return changed
