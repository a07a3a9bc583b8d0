"""Operations on ONNX files: their metadata, float16 storage, and removal of debug information. Needs no torch.

The metadata of a file that `unveil export` wrote have one key, `unveil`, with JSON. `network`, `sizes`, `scheme`,
`own_scheme`, `input_size` and `margin` come from the network specification; `outputs`, `licence`, `weights_sha256`,
`difference`, `difference_px` and `quantization` from the export. The deployment guide describes each.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from unveil.io.files import atomic_write

METADATA_KEY = "unveil"
MIN_FLOAT16_ELEMENTS = 256  # smaller initializers stay in float32


def read_metadata(content: bytes) -> dict[str, Any]:
    """Return the metadata of an ONNX file under the key `unveil`.

    Args:
        content: The bytes of the file.

    Raises:
        ValueError: The file has no such metadata.
    """
    entries = [entry.value for entry in onnx.load_from_string(content).metadata_props if entry.key == METADATA_KEY]
    if not entries:
        raise ValueError("an ONNX file without metadata of unveil; give a file that `unveil export` wrote")
    metadata: dict[str, Any] = json.loads(entries[0])
    return metadata


def add_metadata(content: bytes, metadata: Mapping[str, Any]) -> bytes:
    """Return an ONNX file with more entries in its metadata; an existing entry of the same name is replaced.

    Args:
        content: The bytes of a file that has metadata of unveil.
        metadata: The entries, which JSON can represent. NaN is not allowed.
    """
    model = onnx.load_from_string(content)
    text = json.dumps({**read_metadata(content), **metadata}, allow_nan=False)
    others = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**others, METADATA_KEY: text})
    changed: bytes = model.SerializeToString()
    return changed


def store_as_float16(model: onnx.ModelProto) -> None:
    """Store large float32 weights as float16 behind a cast, in place. onnxruntime evaluates the casts while it loads.

    Args:
        model: The model to change.
    """
    graph, casts = model.graph, []
    for initializer in graph.initializer:
        if initializer.data_type != onnx.TensorProto.FLOAT or np.prod(initializer.dims) < MIN_FLOAT16_ELEMENTS:
            continue
        name = initializer.name
        half = numpy_helper.to_array(initializer).astype(np.float16)
        initializer.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    cast_names = {cast.output[0] for cast in casts}
    for value in [value for value in graph.value_info if value.name in cast_names]:
        graph.value_info.remove(value)


def file_bytes(model: onnx.ModelProto, metadata: str) -> bytes:
    """Return the file of a traced model: large weights as float16, no debug information.

    Args:
        model: The model, changed in place.
        metadata: The metadata under the key `unveil`, as JSON.

    Raises:
        onnx.checker.ValidationError: The model is not valid.
    """
    store_as_float16(model)
    strip_debug_info(model)
    model.producer_name = "unveil"
    onnx.helper.set_model_props(model, {METADATA_KEY: metadata})
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def write_model(out: Path, files: Mapping[str, bytes], config: Mapping[str, Any]) -> int:
    """Write a model folder: its files and `config.json`.

    Args:
        out: The folder.
        files: The content of each file.
        config: Fields of `config.json` beside `format` and the files' SHA-256.

    Returns:
        The size of all files in bytes.
    """
    sha256 = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    text = json.dumps({"format": 1, **config, "sha256": sha256}, indent=2) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    everything = {**files, "config.json": text.encode()}
    for file, content in everything.items():
        with atomic_write(out / file) as temporary:
            temporary.write_bytes(content)
    return sum(map(len, everything.values()))


def strip_debug_info(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes on nodes and values, in place: they contain stack traces with paths.

    Args:
        model: The model to change.
    """
    graph = model.graph
    for item in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.ClearField("doc_string")
