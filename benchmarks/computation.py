"""Parameters and FLOPs of every preset beside the paper's, counted on tensors without content.

One multiply-add is two FLOPs; convolutions and matrix products count, nothing else does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from unveil.face.schemes import SCHEMES, Scheme
from unveil.models.weights import build
from unveil.training.networks import Network, Paper
from unveil.training.presets import PRESETS

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


def main() -> None:
    table = Table("preset", "scheme", "T", "parameters", "GFLOPs", "of them", "the paper's")
    models: dict[str, Network] = {name: preset.model for name, preset in PRESETS.items()}
    rows: list[tuple[str, str, Network]] = [(name, "ibug68", model) for name, model in models.items()]
    for name, model in models.items():
        if isinstance(model, Paper):
            rows += [(name, "ibug68", model.model_copy(update={"iterations": 1}))]
    rows += [(name, scheme, models[name]) for name in ("glomface", "glomface-light") for scheme in ("wflw98", "cofw29")]
    for name, scheme, model in rows:
        counted = computation(model, SCHEMES[scheme])
        steps = steps_of(model)
        shares = "  ".join(f"{part} {flops / 1e9:.2f}" for part, flops in counted.flops_by_part.items() if flops > 5e6)
        stated = PAPER_GFLOPS.get((name, steps), "") if scheme == "ibug68" else ""
        figures = (f"{counted.parameters / 1e6:.2f} M", f"{counted.flops / 1e9:.3f}")
        table.add_row(name, scheme, str(steps), *figures, shares, stated)
    Console(width=160).print(table)


def steps_of(model: Network) -> int:
    sizes = model.model_dump()
    return int(sizes.get("iterations") or sizes.get("stacks") or len(sizes["spacings_unit"]))


if __name__ == "__main__":
    main()
