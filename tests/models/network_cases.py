"""Every network that can be built, at reduced width, and its input."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unveil.baselines.shape_indexed import DESCRIPTOR
from unveil.models.checkpoints import NetworkSpec
from unveil.models.network import LandmarkNetwork
from unveil.registry import build_network as build
from unveil.schemes.scheme import Scheme

INPUT = 64
LIGHT: Mapping[str, Any] = {
    "dim": 16,
    "memory_dim": 24,
    "part_dims": (16, 12, 8),
    "patch_spacings_unit": (0.1, 0.05),
    "channels": 8,
    "width_mult": 0.25,
}
PAPER: Mapping[str, Any] = {
    "iterations": 2,
    "patch_channels": (4, 6, 8),
    "memory_dim": 24,
    "mlp_dims": (24, 16, 12),
    "part_dims": (16, 12, 8),
}
HOURGLASS: Mapping[str, Any] = {"stacks": 2, "depth": 2, "channels": 8, "width_mult": 0.25}

# name of the case: name of the network, its sizes
CASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "light": ("glomface-light", LIGHT),
    "light without PHM": ("glomface-light", {**LIGHT, "phm": False}),
    "light without WHM": ("glomface-light", {**LIGHT, "whm": False}),
    "light from WHM alone": ("glomface-light", {**LIGHT, "token_head": False}),
    "light without memory": ("glomface-light", {**LIGHT, "memory": False}),
    "light with the gradient of all steps": ("glomface-light", {**LIGHT, "detach_steps": False}),
    "light with a visibility head": ("glomface-light", {**LIGHT, "visibility_dim": 12}),
    "light with a refined pyramid": ("glomface-light", {**LIGHT, "refined": 4, "passes": 2, "ellipse": True}),
    "light of two levels": ("glomface-light", {**LIGHT, "levels": 2}),
    "light of four levels": ("glomface-light", {**LIGHT, "levels": 4}),
    "glomface": ("glomface", PAPER),
    "glomface with detached steps": ("glomface", {**PAPER, "detach_steps": True}),
    "glomface with non-local patches": ("glomface", {**PAPER, "patch_non_local": True}),
    "glomface without heads": ("glomface", {**PAPER, "aux_heads": False}),
    "glomface-star": ("glomface", {**PAPER, "coord_conv": True}),
    "plain": ("plain", {key: value for key, value in LIGHT.items() if key != "part_dims"}),
    "hourglass": ("hourglass", HOURGLASS),
    "hourglass with boundaries": ("hourglass", {**HOURGLASS, "boundaries": True}),
}
OTHERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "pfld": ("pfld", {"width_mult": 0.1}),
    "drn": ("drn", {"hidden": (8,), "stages": 2}),
    "sdm": ("drn", {"hidden": (), "stages": 2}),
    "rcpr": ("rcpr", {"stages": 2, "regressors": 2, "ferns": 2, "depth": 2, "starts": 3, "rounds": 2, "early": 0.5}),
    "gan-ia": ("gan-ia", {"widths": (8, 8), "dilations": (2,), "head_channels": 8}),
    "gan-ia with a guide": (
        "gan-ia",
        {"widths": (8, 8), "dilations": (2,), "head_channels": 8, "position_size": 4, "guided": True},
    ),
    "drda": ("drda", {"hidden": (12, 8)}),
    "detector": ("detector", {"widths": (4, 4, 8, 8, 8), "depths": (1, 1, 1), "neck": 8}),
}
EVERY: Mapping[str, tuple[str, Mapping[str, Any]]] = {**CASES, **OTHERS}


def spec_of(case: str, scheme: Scheme) -> NetworkSpec:
    network, sizes = EVERY[case]
    return NetworkSpec(network, scheme.name, 112 if network == "pfld" else INPUT, 1.0, sizes)


def network_of(case: str, scheme: Scheme) -> nn.Module:
    """Fresh weights, but those that start at zero are random, and the mean shape too."""
    torch.manual_seed(0)
    network = build(spec_of(case, scheme))
    for weight in network.parameters():
        if weight.ndim > 1 and not weight.any():
            nn.init.normal_(weight, std=0.1)
    if isinstance(network, LandmarkNetwork):
        network.set_mean_shape(torch.rand(scheme.points, 2) - 0.5)
    return network


def input_of(case: str, scheme: Scheme, faces: int) -> Tensor:
    if case in ("drn", "sdm"):
        return torch.rand(2, faces, scheme.points, DESCRIPTOR)
    channels = 4 if case.endswith("guide") else 3
    return torch.rand(faces, channels, *[spec_of(case, scheme).input_size] * 2)


def tensors(output: object) -> list[Tensor]:
    """The tensors of an output of any type."""
    if isinstance(output, Tensor):
        return [output]
    assert isinstance(output, tuple)
    return [value for value in output if value is not None]


def total(output: object) -> Tensor:
    """A number that depends on every output."""
    return torch.stack([value.square().sum() + value.sum() for value in tensors(output)]).sum()
