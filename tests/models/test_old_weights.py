"""Weights of version 0.1.0 load into the networks of today."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from tests.models.network_cases import input_of, network_of, spec_of, tensors

from unveil.models.checkpoints import convert_state, read_weights
from unveil.registry import load_network
from unveil.schemes.scheme import SCHEMES

# Names of tensors and sizes as files of version 0.1.0 have them.
OLD_SIZES: Mapping[str, Mapping[str, Any]] = {
    "light": {
        "dim": 16,
        "whole": 24,
        "part_widths": (16, 12, 8),
        "spacings_unit": (0.1, 0.05),
        "channels": 8,
        "width": 0.25,
    },
    "glomface with non-local patches": {
        "iterations": 2,
        "patch_widths": (4, 6, 8),
        "whole": 24,
        "hidden_widths": (24, 16, 12),
        "part_widths": (16, 12, 8),
    },
    "hourglass with boundaries": {"stacks": 2, "depth": 2, "channels": 8, "width": 0.25, "boundaries": True},
    "gan-ia with a guide": {"widths": (8, 8), "dilations": (2,), "last": 8, "places": 4, "guided": True},
    "drda": {"size": 64, "hidden": (12, 8)},
    "pfld": {"width": 0.1},
}
OLD_NAMES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "light": (
        ("backbone.trunk.", "features."),
        ("backbone.pyramid.laterals.0.", "features.lateral4."),
        ("backbone.pyramid.laterals.1.", "features.lateral8."),
        ("backbone.pyramid.laterals.2.", "features.lateral16."),
        ("backbone.pyramid.output.", "features.smooth."),
        ("memory_init.", "context."),
        ("memory.token_proj.", "recall.note."),
        ("memory.input_proj.", "recall.digest."),
        ("memory.cell.", "recall.cell."),
        ("patches.position_embed.", "patches.place."),
        ("patches.landmark_embed", "patches.identity"),
        ("encoder.", "part_whole."),
        (".qkv.", ".query_key_value."),
        (".proj.", ".merge."),
        (".mlp.", ".think."),
        ("decoder.", "disentangle."),
        (".fc1.", ".widen."),
        (".fc2.", ".decide."),
        ("head.mlp.", "head.decide."),
        ("head.think.", "head.decide."),
    ),
    "glomface with non-local patches": (
        ("patches.cnn.", "patches.convolve."),
        ("encoder.", "part_whole."),
        (".qkv.", ".embed."),
        (".proj.", ".merge."),
        ("memory.fc.", "memory.remember."),
        ("decoder.", "disentangle."),
        (".fc1.", ".widen."),
        (".fc2.", ".decide."),
        ("shape_head.fc.", "shapes.decide."),
        ("aux_head.", "tell."),
    ),
    "hourglass with boundaries": (
        ("backbone.trunk.", "features."),
        ("backbone.pyramid.laterals.0.", "features.lateral4."),
        ("backbone.pyramid.laterals.1.", "features.lateral8."),
        ("backbone.pyramid.laterals.2.", "features.lateral16."),
        ("backbone.pyramid.output.", "features.smooth."),
        ("heatmap_heads.", "draw."),
        ("feedback.", "show."),
        ("projections.", "norm."),
        ("skip.", "across."),
        (".conv1.", ".look."),
        (".conv2.", ".add."),
        ("aux_head.", "tell."),
    ),
    "gan-ia with a guide": (
        ("pre_bottleneck.", "before."),
        ("position.", "places."),
        ("decoder.bottleneck.", "decoder.meet."),
        ("decoder.upsample.", "decoder.grow."),
        ("decoder.fuse.", "decoder.join."),
        ("head.", "to_picture."),
    ),
    "drda": (("encoder.", "code."), ("decoder.", "picture.")),
    "pfld": (),
}


@pytest.mark.parametrize("case", OLD_SIZES)
def test_weights_of_version_0_1_0_load(case: str, tmp_path: Path) -> None:
    scheme = SCHEMES["ibug68"]
    network, images = network_of(case, scheme).eval(), input_of(case, scheme, 1)
    state = {}
    for name, tensor in network.state_dict().items():
        for new, old in OLD_NAMES[case]:
            name = name.replace(new, old)
        state[name] = tensor.contiguous()
    spec = replace(spec_of(case, scheme), sizes=OLD_SIZES[case])
    path = tmp_path / "old.safetensors"
    path.write_bytes(save(state, metadata={"unveil": spec.to_json()}))
    loaded, _ = load_network(path)
    for one, other in zip(tensors(loaded(images)), tensors(network(images)), strict=True):
        assert torch.equal(one, other)
    converted, _ = read_weights(path)
    assert convert_state(spec.network, converted).keys() == converted.keys()  # new names stay
