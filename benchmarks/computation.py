"""Parameters and FLOPs of every preset beside the paper's, counted on tensors without content; with --time, ms a face.

One multiply-add is two FLOPs; convolutions and matrix products count, nothing else does: neither DRN's SIFT nor PFLD's
pose net, which only teaches. Time is the processor's, that of the exported network, without training, in onnxruntime on
one thread: the median of runs that take turns with `glomface-light`. DRN and SDM run their stages so, and OpenCV's SIFT
between them.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unveil.baselines.drda import DecorruptAutoencoder
from unveil.baselines.drn import Drn
from unveil.baselines.shape_indexed import DESCRIPTOR, cascade
from unveil.data.synthetic import drawn_face
from unveil.export.deployed import input_channels
from unveil.export.onnx_export import fold_scales, to_onnx, trace_onnx
from unveil.geometry import Crop, tight_box
from unveil.models.conv_norm import fold_norms
from unveil.models.glomface import GlomFaceConfig
from unveil.models.network import NetworkConfig
from unveil.registry import PRESETS, build_network
from unveil.schemes.scheme import COFW29, IBUG68, WFLW98, Scheme

Once: TypeAlias = Callable[[], object]
"""One face, start to end."""

RUNS = 15
LEFT_BEHIND = "pose"  # PFLD's pose net is not exported
PAPER_GFLOPS = {("glomface", 1): "3.37", ("glomface", 4): "13.48"}  # table 6, 68 landmarks


@dataclass(frozen=True, slots=True)
class Computation:
    """What one face costs; `flops_by_part` are those of the network's direct children."""

    parameters: int
    flops: int
    flops_by_part: Mapping[str, int]


def computation(model: NetworkConfig, scheme: Scheme) -> Computation:
    """Counts on tensors without content, so that 200 M parameters need no memory."""
    with torch.device("meta"):
        network = build_network(model.spec(scheme)).eval()
        seen = torch.rand(1, input_channels(network), model.input_size, model.input_size)
        if isinstance(network, Drn):
            seen = torch.rand(len(network.stages), 1, scheme.points, DESCRIPTOR)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(seen)
    counts = {name: sum(found.values()) for name, found in counter.get_flop_counts().items() if name.count(".") == 1}
    by_part = {name.split(".")[1]: flops for name, flops in counts.items()}
    flops = counter.get_total_flops() - by_part.pop(LEFT_BEHIND, 0)
    weights = {name: weight for name, weight in network.named_parameters() if name.split(".")[0] != LEFT_BEHIND}
    return Computation(sum(weight.numel() for weight in weights.values()), flops, by_part)


def once(model: NetworkConfig, scheme: Scheme) -> Once:
    """The network as it would be exported, with weights as they come, at work on one face."""
    spec = model.spec(scheme)
    network = fold_norms(fold_scales(build_network(spec).eval()))
    if isinstance(network, Drn):
        return _cascade_once(network, model.input_size)
    if isinstance(network, DecorruptAutoencoder):  # its child `code` has a name that torch.fx takes for itself
        opened = _session(
            trace_onnx(
                nn.Sequential(network), torch.zeros(2, 3, model.input_size, model.input_size), "images", ["restored"]
            )
        )
    else:
        opened = _session(to_onnx(network, spec))
    images = np.random.default_rng(0).random(
        (1, input_channels(network), model.input_size, model.input_size), np.float32
    )
    return lambda: opened.run(None, {"images": images})


def _cascade_once(network: Drn, size: int) -> Once:
    """All stages from the true shape of a drawn face, which fresh ones do not leave."""
    image, points_px = drawn_face(np.random.default_rng(0))
    crop = Crop.around(tight_box(points_px))
    crops, start = crop.extract(image, size)[None], crop.to_unit(points_px)[None]
    seen = torch.zeros(2, len(points_px), DESCRIPTOR)
    sessions = [_session(trace_onnx(stage, seen, "features", ["offsets"])) for stage in network.stages]

    def stage_of(opened: ort.InferenceSession) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        return lambda features: np.asarray(opened.run(None, {"features": features})[0], np.float32)

    stages = [stage_of(opened) for opened in sessions]
    return lambda: cascade(crops, start, stages)


def _session(model: object) -> ort.InferenceSession:
    """An ONNX model, or its bytes, on one thread."""
    content = model if isinstance(model, bytes) else model.SerializeToString()  # type: ignore[attr-defined]
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(content, options)


def milliseconds(faces: Mapping[str, Once]) -> dict[str, float]:
    """Each one's median, for one face; they take turns, so that a busy machine is busy for all."""
    spent: dict[str, list[float]] = {name: [] for name in faces}
    for run in range(RUNS + 2):
        for name, one in faces.items():
            start = time.thread_time()  # what else a busy machine does in the meantime does not count
            one()
            if run >= 2:
                spent[name].append(1e3 * (time.thread_time() - start))
    return {name: statistics.median(runs) for name, runs in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--time", action="store_true", help="measure ms a face too, for 68 points: some minutes, 4 GB of memory"
    )
    parser.add_argument(
        "--only", nargs="+", choices=PRESETS, metavar="PRESET", default=tuple(PRESETS), help="all, unless given"
    )
    options = parser.parse_args()
    timed = options.time
    cv2.setNumThreads(1)
    logging.disable(logging.WARNING)  # the exporter's, of operators that no network here has
    heads = ("preset", "scheme", "T", "parameters", "GFLOPs", "of them", "the paper's")
    table = Table(*heads, *(("ms", "times glomface-light") if timed else ()))
    light = once(PRESETS["glomface-light"].model, IBUG68) if timed else None
    for name, scheme, model in track(list(rows(options.only)), "counting", console=Console(stderr=True)):
        counted, steps = computation(model, scheme), steps_of(model)
        shares = "  ".join(f"{part} {flops / 1e9:.2f}" for part, flops in counted.flops_by_part.items() if flops > 5e6)
        stated = PAPER_GFLOPS.get((name, steps), "") if scheme == IBUG68 else ""
        figures = (f"{counted.parameters / 1e6:.2f} M", f"{counted.flops / 1e9:.3f}")
        times: tuple[str, ...] = ()
        if light is not None and scheme == IBUG68:
            found = milliseconds({"light": light, "this": once(model, scheme)})
            times = (f"{found['this']:.1f}", f"{found['this'] / found['light']:.2f}")
        table.add_row(name, scheme.name, str(steps), *figures, shares, stated, *times)
    Console(width=220).print(table)


def rows(names: Collection[str]) -> Iterator[tuple[str, Scheme, NetworkConfig]]:
    """These presets for 68 points, the paper's also in one step, and the chief two for the other schemes."""
    for name in names:
        model = PRESETS[name].model
        yield name, IBUG68, model
        if isinstance(model, GlomFaceConfig):
            yield name, IBUG68, model.model_copy(update={"iterations": 1})
    for name in ("glomface", "glomface-light"):
        for scheme in (WFLW98, COFW29) if name in names else ():
            yield name, scheme, PRESETS[name].model


def steps_of(model: NetworkConfig) -> int:
    sizes = model.model_dump()
    steps = (
        sizes.get("iterations"),
        sizes.get("stacks"),
        sizes.get("stages"),
        len(sizes.get("patch_spacings_unit", ())),
    )
    return next((int(count) for count in steps if count), 1)


if __name__ == "__main__":
    main()
