"""Saving and loading networks: safetensors whose header holds the `NetworkSpec`, so that one file is enough.

Names of tensors and sizes in files of earlier versions are converted by `RENAMED_KEYS` and `RENAMED_SIZES` on reading.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from unveil.models.detector import DetectorNetworkConfig
from unveil.models.generator import GeneratorConfig
from unveil.models.glomface import GlomFaceConfig, GlomFaceLightConfig
from unveil.models.network import NetworkConfig, NetworkSpec
from unveil.schemes.scheme import Scheme
from unveil.schemes.scheme_file import resolve_scheme

__all__ = [
    "NETWORKS",
    "NetworkSpec",
    "Networks",
    "build",
    "convert_state",
    "from_config",
    "load_average",
    "load_matching",
    "load_network",
    "read_weights",
    "weights_bytes",
]

Networks: TypeAlias = Mapping[str, Callable[[Scheme, NetworkSpec], nn.Module]]
"""Name of a network to the function that builds it from a scheme and a spec."""


def from_config(config: type[NetworkConfig]) -> Callable[[Scheme, NetworkSpec], nn.Module]:
    """Return a builder that validates the spec's sizes with a network's config class.

    Args:
        config: The config class beside the network.
    """

    def build(scheme: Scheme, spec: NetworkSpec) -> nn.Module:
        fields = {"network": spec.network, "input_size": spec.input_size, **spec.sizes}
        return config.model_validate(fields).build(scheme)

    return build


NETWORKS: Networks = MappingProxyType(
    {
        "glomface-light": from_config(GlomFaceLightConfig),
        "glomface": from_config(GlomFaceConfig),
        "gan-ia": from_config(GeneratorConfig),
        "detector": from_config(DetectorNetworkConfig),
    }
)
"""The networks of the package's core; `unveil.registry.NETWORKS` adds the baselines."""

_SHARED = (
    (r"\bfeatures\.(stem|stages)\.", r"backbone.trunk.\1."),
    (r"\bfeatures\.lateral4\.", "backbone.pyramid.laterals.0."),
    (r"\bfeatures\.lateral8\.", "backbone.pyramid.laterals.1."),
    (r"\bfeatures\.lateral16\.", "backbone.pyramid.laterals.2."),
    (r"\bfeatures\.smooth\.", "backbone.pyramid.output."),
    (r"\bcontext\.", "memory_init."),
    (r"\brecall\.note\.", "memory.token_proj."),
    (r"\brecall\.digest\.", "memory.input_proj."),
    (r"\brecall\.", "memory."),
    (r"\bpatches\.place\.", "patches.position_embed."),
    (r"\bpatches\.identity\b", "patches.landmark_embed"),
    (r"\btell\.", "aux_head."),
)
_GLOMFACE = (
    *_SHARED,
    (r"\bpatches\.convolve\.", "patches.cnn."),
    (r"\bpart_whole\.", "encoder."),
    (r"\bquery_key_value\.", "qkv."),
    (r"(mixers\.\d+)\.embed\.", r"\1.qkv."),
    (r"(mixers\.\d+)\.merge\.", r"\1.proj."),
    (r"(mixers\.\d+)\.think\.", r"\1.mlp."),
    (r"\bmemory\.remember\.", "memory.fc."),
    (r"\bdisentangle\.", "decoder."),
    (r"(levels\.\d+)\.widen\.", r"\1.fc1."),
    (r"(levels\.\d+)\.decide\.", r"\1.fc2."),
    (r"\bhead\.decide\.", "head.mlp."),
    (r"\bshapes\.decide\.", "shape_head.fc."),
)

RENAMED_KEYS: Mapping[str, Sequence[tuple[str, str]]] = MappingProxyType(
    {
        "glomface-light": _GLOMFACE,
        "glomface": _GLOMFACE,
        "plain": (*_SHARED, (r"\bdecide\.", "head.")),
        "hourglass": (
            *_SHARED,
            (r"\bdraw\.", "heatmap_heads."),
            (r"\bshow\.", "feedback."),
            (r"\bnorm\.(\d+)\.(conv|norm)\.", r"projections.\1.\2."),
            (r"\bacross\.", "skip."),
            (r"\.look\.", ".conv1."),
            (r"\.add\.", ".conv2."),
        ),
        "gan-ia": (
            (r"\bbefore\.", "pre_bottleneck."),
            (r"\bplaces\.", "position."),
            (r"\bdecoder\.meet\.", "decoder.bottleneck."),
            (r"\bdecoder\.grow\.", "decoder.upsample."),
            (r"\bdecoder\.join\.", "decoder.fuse."),
            (r"\bto_picture\.", "head."),
        ),
        "drda": ((r"^code\.", "encoder."), (r"^picture\.", "decoder.")),
    }
)
"""Network to (pattern, replacement) of tensor names in files of earlier versions, applied in this order."""

MOST_GROUPS = 6  # modules that a note on new tensors names

_LIGHT_SIZES = {"whole": "memory_dim", "part_widths": "part_dims", "spacings_unit": "patch_spacings_unit"}

RENAMED_SIZES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "glomface-light": {**_LIGHT_SIZES, "width": "width_mult"},
        "glomface": {
            **_LIGHT_SIZES,
            "hidden_widths": "mlp_dims",
            "patch": "patch_size",
            "spacing_unit": "patch_spacing_unit",
            "patch_widths": "patch_channels",
            "coordinates": "coord_conv",
        },
        "plain": {**_LIGHT_SIZES, "width": "width_mult"},
        "hourglass": {"width": "width_mult"},
        "pfld": {"width": "width_mult"},
        "gan-ia": {"last": "head_channels", "places": "position_size"},
        "drda": {"size": ""},
    }
)
"""Network to old and new name of a size; an empty name drops it."""

OLD_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"glomface": {"patch_non_local": True, "aux_heads": True, "detach_steps": True}}
)
"""Sizes that a file with old names has, because its version had no switch for them."""


def convert_sizes(network: str, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of a file with the names of this version.

    Args:
        network: Name of the network.
        sizes: The sizes as the file has them.
    """
    renamed = RENAMED_SIZES.get(network, {})
    converted = {renamed.get(name, name): value for name, value in sizes.items()}
    converted.pop("", None)
    is_old = any(name in sizes for name in renamed)
    return {**(OLD_DEFAULTS.get(network, {}) if is_old else {}), **converted}


def convert_state(network: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with the names of this version; names that are current stay as they are.

    Args:
        network: Name of the network.
        state: The tensors by their names in the file.
    """

    def convert(name: str) -> str:
        for pattern, replacement in RENAMED_KEYS.get(network, ()):
            name = re.sub(pattern, replacement, name)
        return name

    return {convert(name): tensor for name, tensor in state.items()}


def build(spec: NetworkSpec, networks: Networks = NETWORKS) -> nn.Module:
    """Return the network of a spec with fresh weights.

    Args:
        spec: The record of the network.
        networks: The builders to choose from.

    Raises:
        ValueError: The name of the network or of the scheme is unknown, or a size is not valid.
    """
    if spec.network not in networks:
        raise ValueError(f"unknown network {spec.network!r}: there are {', '.join(networks)}")
    return networks[spec.network](resolve_scheme(spec.scheme, spec.own_scheme), spec)


def weights_bytes(model: nn.Module, spec: NetworkSpec, *, half: bool = False) -> bytes:
    """Return a safetensors file of a network's weights.

    Args:
        model: The network.
        spec: Its record, which becomes the file's metadata.
        half: Store floating-point tensors as float16.
    """
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    return save(tensors, metadata={"unveil": spec.to_json()})


def load_matching(model: nn.Module, path: Path) -> str:
    """Load the tensors of a file whose names and shapes match the model's.

    Args:
        model: The model, changed in place.
        path: A `.safetensors` file that training or export wrote.

    Returns:
        One line that names the file, and the modules of the model whose tensors the file lacks, with their number.

    Raises:
        ValueError: The file is not a weights file of unveil, or none of its tensors matches.
    """
    tensors, _ = read_weights(path)
    own = model.state_dict()
    matching = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    if not matching:
        raise ValueError(f"{path}: none of its weights fits this network; pass weights of the same network")
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in matching.items()}, strict=False)
    return f"weights from {path}{_new_tensors(own, own.keys() - matching)}"


def _new_tensors(own: Mapping[str, Tensor], new: Set[str]) -> str:
    """Return `; 5 new: head (4), position (1)`: the largest modules of which all tensors are new; "" for none."""
    loaded = {name[:end] for name in own if name not in new for end in _prefix_ends(name)}
    counts = Counter(next(name[:end] for end in _prefix_ends(name) if name[:end] not in loaded) for name in new)
    groups = [f"{module} ({count})" for module, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    rest = ", …" if len(groups) > MOST_GROUPS else ""
    return f"; {len(new)} new: {', '.join(groups[:MOST_GROUPS])}{rest}" if new else ""


def _prefix_ends(name: str) -> list[int]:
    return [*(index for index, letter in enumerate(name) if letter == "."), len(name)]


def load_network(path: Path, networks: Networks = NETWORKS) -> tuple[nn.Module, NetworkSpec]:
    """Load the network of a weights file in float32, in evaluation mode.

    Args:
        path: A `.safetensors` file that training or export wrote.
        networks: The builders to choose from.

    Returns:
        The network and its record.

    Raises:
        ValueError: The file is missing, damaged, not a weights file of unveil, or of another version.
    """
    tensors, spec = read_weights(path)
    try:
        model = build(spec, networks)
    except ValueError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())[:200]}") from error
    try:
        model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: its weights do not fit this version's {spec.network!r} ({reason})") from error
    return model.eval(), spec


def load_average(path: Path, others: Sequence[Path], networks: Networks = NETWORKS) -> tuple[nn.Module, NetworkSpec]:
    """Load the network whose weights are the mean of the weights of several files.

    Args:
        path: A `.safetensors` file.
        others: More files of the same network.
        networks: The builders to choose from.

    Returns:
        The network in evaluation mode, and its record.

    Raises:
        ValueError: One of the files is of another network, size or scheme.
    """
    network, spec = load_network(path, networks)
    found = [load_network(other, networks) for other in others]
    for other, (model, their_spec) in zip(others, found, strict=True):
        if not _same_network(spec, their_spec) or _shapes(model) != _shapes(network):
            raise ValueError(f"{other}: of another network, size or scheme than {path}; average one network's weights")
    states = [network.state_dict(), *(model.state_dict() for model, _ in found)]
    for name, tensor in states[0].items():
        if tensor.is_floating_point():
            tensor.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
    return network, spec


def _same_network(spec: NetworkSpec, other: NetworkSpec) -> bool:
    """Return whether two records are of one network; a size that an older file lacks is not compared."""
    shared = spec.sizes.keys() & other.sizes.keys()
    same_sizes = all(spec.sizes[name] == other.sizes[name] for name in shared)
    return same_sizes and replace(spec, sizes={}) == replace(other, sizes={})


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def read_weights(path: Path) -> tuple[dict[str, Tensor], NetworkSpec]:
    """Read a file's tensors and record, with the names of this version.

    Args:
        path: A `.safetensors` file that training or export wrote.

    Returns:
        The tensors by name, and the record of the network.

    Raises:
        ValueError: The file is missing, damaged or not a weights file of unveil.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; `unveil train` writes best.safetensors into its run") from error
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error}); copy it again") from error
    if "unveil" not in metadata:
        raise ValueError(f"{path}: safetensors, but not of a network of unveil; name a file that `unveil train` wrote")
    record = json.loads(metadata["unveil"])
    record["sizes"] = convert_sizes(record["network"], record["sizes"])
    return convert_state(record["network"], tensors), NetworkSpec(**record)
