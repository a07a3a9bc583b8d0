"""Parameters and FLOPs of every preset beside the paper's, counted on tensors without content; with --time, ms a face.

One multiply-add is two FLOPs. Only convolutions and matrix products count; DRN's SIFT does not, nor PFLD's pose net,
which is used in training alone. Time is processor time of the exported network with random weights in onnxruntime on
one thread: the median of runs that alternate with `glomface-light`. DRN and SDM run OpenCV's SIFT between their stages.
"""

import logging
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import cv2
import numpy as np
import onnxruntime as ort
import torch
import tyro
from benchmarks.command import run
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
from unveil.inference.onnx_session import session_options
from unveil.metrics.timing import median_milliseconds
from unveil.models.conv_norm import fold_norms
from unveil.models.glomface import GlomFaceConfig
from unveil.models.network import NetworkConfig
from unveil.registry import PRESETS, build_network, preset
from unveil.schemes.scheme import COFW29, IBUG68, WFLW98, Scheme

Once: TypeAlias = Callable[[], object]
"""Computes one face."""

RUNS = 15
NOT_EXPORTED = "pose"  # PFLD's pose net
PAPER_GFLOPS = {("glomface", 1): "3.37", ("glomface", 4): "13.48"}  # table 6, 68 landmarks


@dataclass(frozen=True, slots=True)
class Computation:
    """The cost of one face; `flops_by_part` are those of the network's direct children."""

    parameters: int
    flops: int
    flops_by_part: Mapping[str, int]


def computation(model: NetworkConfig, scheme: Scheme) -> Computation:
    """Count on tensors without content, so that 200 M parameters need no memory."""
    with torch.device("meta"):
        network = build_network(model.spec(scheme)).eval()
        inputs = torch.rand(1, input_channels(network), model.input_size, model.input_size)
        if isinstance(network, Drn):
            inputs = torch.rand(len(network.stages), 1, scheme.points, DESCRIPTOR)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(inputs)
    counts = {name: sum(found.values()) for name, found in counter.get_flop_counts().items() if name.count(".") == 1}
    by_part = {name.split(".")[1]: flops for name, flops in counts.items()}
    flops = counter.get_total_flops() - by_part.pop(NOT_EXPORTED, 0)
    weights = {name: weight for name, weight in network.named_parameters() if name.split(".")[0] != NOT_EXPORTED}
    return Computation(sum(weight.numel() for weight in weights.values()), flops, by_part)


def once(model: NetworkConfig, scheme: Scheme) -> Once:
    """Return what runs the exported network with random weights on one face."""
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
    """Return what runs all stages from the true shape of a drawn face, which random weights do not change."""
    image, points_px = drawn_face(np.random.default_rng(0))
    crop = Crop.around(tight_box(points_px))
    crops, start = crop.extract(image, size)[None], crop.to_unit(points_px)[None]
    inputs = torch.zeros(2, len(points_px), DESCRIPTOR)
    sessions = [_session(trace_onnx(stage, inputs, "features", ["offsets"])) for stage in network.stages]

    def stage_of(opened: ort.InferenceSession) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        return lambda features: np.asarray(opened.run(None, {"features": features})[0], np.float32)

    stages = [stage_of(opened) for opened in sessions]
    return lambda: cascade(crops, start, stages)


def _session(model: object) -> ort.InferenceSession:
    """Load an ONNX model, or its bytes, with one thread."""
    content = model if isinstance(model, bytes) else model.SerializeToString()  # type: ignore[attr-defined]
    return ort.InferenceSession(content, session_options(1))


def main(timed: Annotated[bool, tyro.conf.arg(name="time")] = False, only: tuple[str, ...] = tuple(PRESETS)) -> None:
    """Print the table.

    Args:
        timed: Also measure ms a face, for 68 points: some minutes, 4 GB of memory.
        only: Names of presets.
    """
    cv2.setNumThreads(1)
    logging.disable(logging.WARNING)  # the exporter's, of operators that no network here has
    heads = ("preset", "scheme", "T", "parameters", "GFLOPs", "of them", "the paper's")
    table = Table(*heads, *(("ms", "times glomface-light") if timed else ()))
    light = once(PRESETS["glomface-light"].model, IBUG68) if timed else None
    for name, scheme, model in track(list(rows(only)), "counting", console=Console(stderr=True)):
        counted, steps = computation(model, scheme), steps_of(model)
        parts = "  ".join(f"{part} {flops / 1e9:.2f}" for part, flops in counted.flops_by_part.items() if flops > 5e6)
        stated = PAPER_GFLOPS.get((name, steps), "") if scheme == IBUG68 else ""
        figures = (f"{counted.parameters / 1e6:.2f} M", f"{counted.flops / 1e9:.3f}")
        times: tuple[str, ...] = ()
        if light is not None and scheme == IBUG68:
            first, this = median_milliseconds([light, once(model, scheme)], RUNS, 2, time.thread_time)
            times = (f"{this:.1f}", f"{this / first:.2f}")
        table.add_row(name, scheme.name, str(steps), *figures, parts, stated, *times)
    Console(width=220).print(table)


def rows(names: Collection[str]) -> Iterator[tuple[str, Scheme, NetworkConfig]]:
    """Yield these presets for 68 points, the paper's also with one step, and the main two for the other schemes.

    Raises:
        ValueError: There is no such preset.
    """
    for name in names:
        preset(name)
        model = PRESETS[name].model
        yield name, IBUG68, model
        if isinstance(model, GlomFaceConfig):
            yield name, IBUG68, model.model_copy(update={"iterations": 1})
    for name in ("glomface", "glomface-light"):
        for scheme in (WFLW98, COFW29) if name in names else ():
            yield name, scheme, PRESETS[name].model


def steps_of(model: NetworkConfig) -> int:
    """Return the number of steps, stacks or stages of a network."""
    sizes = model.model_dump()
    steps = (
        sizes.get("iterations"),
        sizes.get("stacks"),
        sizes.get("stages"),
        len(sizes.get("patch_spacings_unit", ())),
    )
    return next((int(count) for count in steps if count), 1)


if __name__ == "__main__":
    sys.exit(run(main))
