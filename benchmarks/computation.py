"""Parameters and FLOPs of every preset beside the paper's, counted on tensors without content; with --time, ms a face.

One multiply-add is two FLOPs; convolutions and matrix products count, nothing else does. Time is that of the exported
network, without training, in onnxruntime on one thread: the median of runs that take turns with `glomface-light`.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from unveil.export import to_onnx
from unveil.face.schemes import COFW29, IBUG68, WFLW98, Scheme
from unveil.models.weights import build
from unveil.training.networks import Network, Paper
from unveil.training.presets import PRESETS

RUNS = 15
PAPER_GFLOPS = {("glomface", 1): "3.37", ("glomface", 4): "13.48"}  # table 6, 68 landmarks


@dataclass(frozen=True, slots=True)
class Computation:
    """What one face costs; `flops_by_part` are those of the network's direct children."""

    parameters: int
    flops: int
    flops_by_part: Mapping[str, int]


def computation(model: Network, scheme: Scheme) -> Computation:
    """Counts on tensors without content, so that 200 M parameters need no memory."""
    with torch.device("meta"):
        network = build(model.blueprint(scheme)).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.rand(1, 3, model.size, model.size))
    by_part = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items() if name.count(".") == 1}
    parameters = sum(weight.numel() for weight in network.parameters())
    return Computation(parameters, counter.get_total_flops(), {n.split(".")[1]: f for n, f in by_part.items()})


def session(model: Network, scheme: Scheme) -> ort.InferenceSession:
    """The network as it would be exported, with weights as they come."""
    blueprint = model.blueprint(scheme)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(to_onnx(build(blueprint).eval(), blueprint), options)


def milliseconds(sessions: Mapping[str, ort.InferenceSession]) -> dict[str, float]:
    """Each one's median, for one face; they take turns, so that a busy machine is busy for all."""
    spent: dict[str, list[float]] = {name: [] for name in sessions}
    rng = np.random.default_rng(0)
    for run in range(RUNS + 2):
        for name, network in sessions.items():
            side = network.get_inputs()[0].shape[-1]
            images = rng.random((1, 3, side, side), np.float32)
            start = time.perf_counter()
            network.run(None, {"images": images})
            if run >= 2:
                spent[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(runs) for name, runs in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--time", action="store_true", help="measure ms a face too, for 68 points: some minutes, 4 GB of memory"
    )
    timed = parser.parse_args().time
    logging.disable(logging.WARNING)  # the exporter's, of operators that no network here has
    heads = ("preset", "scheme", "T", "parameters", "GFLOPs", "of them", "the paper's")
    table = Table(*heads, *(("ms", "times glomface-light") if timed else ()))
    light = session(PRESETS["glomface-light"].model, IBUG68) if timed else None
    for name, scheme, model in track(list(rows()), "counting", console=Console(stderr=True)):
        counted, steps = computation(model, scheme), steps_of(model)
        shares = "  ".join(f"{part} {flops / 1e9:.2f}" for part, flops in counted.flops_by_part.items() if flops > 5e6)
        stated = PAPER_GFLOPS.get((name, steps), "") if scheme == IBUG68 else ""
        figures = (f"{counted.parameters / 1e6:.2f} M", f"{counted.flops / 1e9:.3f}")
        times: tuple[str, ...] = ()
        if light is not None and scheme == IBUG68:
            found = milliseconds({"light": light, "this": session(model, scheme)})
            times = (f"{found['this']:.1f}", f"{found['this'] / found['light']:.2f}")
        table.add_row(name, scheme.name, str(steps), *figures, shares, stated, *times)
    Console(width=220).print(table)


def rows() -> Iterator[tuple[str, Scheme, Network]]:
    """Every landmark preset for 68 points, the paper's also in one step, and the chief two for the other schemes."""
    for name, preset in PRESETS.items():
        yield name, IBUG68, preset.model
        if isinstance(preset.model, Paper):
            yield name, IBUG68, preset.model.model_copy(update={"iterations": 1})
    for name in ("glomface", "glomface-light"):
        for scheme in (WFLW98, COFW29):
            yield name, scheme, PRESETS[name].model


def steps_of(model: Network) -> int:
    sizes = model.model_dump()
    return int(sizes.get("iterations") or sizes.get("stacks") or len(sizes["spacings_unit"]))


if __name__ == "__main__":
    main()
