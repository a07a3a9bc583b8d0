"""Saving and loading networks: safetensors whose header says which network it is, so that a file is enough."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from unveil.baselines.drda import DecorruptAutoencoder
from unveil.baselines.drn import Drn
from unveil.baselines.hourglass import StackedHourglass
from unveil.baselines.pfld import Pfld
from unveil.baselines.plain import PlainRegressor
from unveil.models.generator import Generator
from unveil.models.glomface import GlomFace, GlomFaceLight
from unveil.schemes.scheme import Scheme
from unveil.schemes.serialization import carried_scheme


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What it takes to build a network again: its name here, its sizes, its scheme, and the crop it looks at.

    `own_scheme` describes a scheme that is not built in, with the keys of a scheme file. `component` names the part of
    the face that a restorer looks at, None the whole; `margin` then counts in diagonals of the part's box.
    `annotation_offset` is how far right of what they mark its landmarks lie, in diagonals of the tight box.
    """

    network: str
    scheme: str
    input_size: int
    margin: float
    sizes: Mapping[str, Any]
    own_scheme: Mapping[str, Any] | None = None
    component: str | None = None
    annotation_offset: float = 0.0

    def to_json(self) -> str:
        fields = {"network": self.network, "scheme": self.scheme, "input_size": self.input_size, "margin": self.margin}
        own = {} if self.own_scheme is None else {"own_scheme": dict(self.own_scheme)}
        part = {} if self.component is None else {"component": self.component}
        offset = {"annotation_offset": self.annotation_offset} if self.annotation_offset else {}
        return json.dumps(fields | {"sizes": dict(self.sizes)} | own | part | offset)


def _unplaced(scheme: Scheme) -> Tensor:
    """In place of a mean shape, which comes with the weights."""
    return torch.zeros(scheme.points, 2)


NETWORKS: Mapping[str, Callable[[Scheme, Mapping[str, Any]], nn.Module]] = MappingProxyType(
    {
        "glomface-light": lambda scheme, sizes: GlomFaceLight(scheme, _unplaced(scheme), **sizes),
        "glomface": lambda scheme, sizes: GlomFace(scheme, _unplaced(scheme), **sizes),
        "plain": lambda scheme, sizes: PlainRegressor(scheme, _unplaced(scheme), **sizes),
        "hourglass": lambda scheme, sizes: StackedHourglass(scheme, **sizes),
        "pfld": lambda scheme, sizes: Pfld(_unplaced(scheme), **sizes),
        "drn": lambda scheme, sizes: Drn(_unplaced(scheme), **sizes),
        "gan-ia": lambda _, sizes: Generator(**sizes),
        "drda": lambda _, sizes: DecorruptAutoencoder(**sizes),
    }
)


def build(blueprint: Blueprint) -> nn.Module:
    """The network, with fresh weights. ValueError if its name or its scheme is not known."""
    if blueprint.network not in NETWORKS:
        raise ValueError(f"unknown network {blueprint.network!r}: there are {', '.join(NETWORKS)}")
    return NETWORKS[blueprint.network](carried_scheme(blueprint.scheme, blueprint.own_scheme), blueprint.sizes)


def weights_bytes(model: nn.Module, blueprint: Blueprint, *, half: bool = False) -> bytes:
    """A safetensors file of the network's weights, in float16 if `half`."""
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    return save(tensors, metadata={"unveil": blueprint.to_json()})


def start_from(model: nn.Module, path: Path) -> str:
    """Takes over a file's weights where names and shapes agree; says so, and which ones stay as they are.

    ValueError, naming file and mend, if it is no file of ours or nothing in it agrees.
    """
    tensors, _ = _read(path)
    own = model.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        raise ValueError(f"{path}: none of its weights fits this network; give weights of the same network")
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in fitting.items()}, strict=False)
    fresh = [name for name in own if name not in fitting]
    return f"starts from {path}" + (f", but for {', '.join(fresh)}" if fresh else "")


def load_network(path: Path) -> tuple[nn.Module, Blueprint]:
    """The network of a file in float32, ready to evaluate. ValueError, naming file and mend, if it is no such file."""
    tensors, blueprint = _read(path)
    try:
        model = build(blueprint)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: its weights are not of this version's {blueprint.network!r} ({reason})") from error
    return model.eval(), blueprint


def load_mean(path: Path, others: Sequence[Path]) -> tuple[nn.Module, Blueprint]:
    """The network whose weights are the mean of all the files'. ValueError names one that is of another network."""
    network, blueprint = load_network(path)
    found = [load_network(other) for other in others]
    for other, (_, theirs) in zip(others, found, strict=True):
        if theirs != blueprint:
            raise ValueError(f"{other}: of another network, size or scheme than {path}; average weights of one alone")
    states = [network.state_dict(), *(model.state_dict() for model, _ in found)]
    for name, tensor in states[0].items():
        if tensor.is_floating_point():
            tensor.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
    return network, blueprint


def _read(path: Path) -> tuple[dict[str, Tensor], Blueprint]:
    """A file's weights, and which network's they are."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; `unveil train` writes best.safetensors into its run") from error
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error}); copy it again") from error
    if "unveil" not in metadata:
        raise ValueError(f"{path}: safetensors, but not of a network of ours; name one that `unveil train` wrote")
    return tensors, Blueprint(**json.loads(metadata["unveil"]))
