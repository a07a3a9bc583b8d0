"""What every landmark network keeps, at reduced width."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unveil.baselines.hourglass import StackedHourglass
from unveil.export.onnx_export import narrowed, parity, to_onnx
from unveil.models.checkpoints import Blueprint, build, load_mean, load_network, weights_bytes
from unveil.models.glomface import GlomFaceLight, Prediction
from unveil.schemes.hierarchy import Hierarchy
from unveil.schemes.scheme import SCHEMES, Scheme
from unveil.schemes.serialization import own_scheme

INPUT = 64
LIGHT: Mapping[str, Any] = {
    "dim": 16,
    "whole": 24,
    "part_widths": (16, 12, 8),
    "spacings_unit": (0.1, 0.05),
    "channels": 8,
    "width": 0.25,
}
PAPER: Mapping[str, Any] = {
    "iterations": 2,
    "patch_widths": (4, 6, 8),
    "whole": 24,
    "hidden_widths": (24, 16, 12),
    "part_widths": (16, 12, 8),
}
HOURGLASS: Mapping[str, Any] = {"stacks": 2, "depth": 2, "channels": 8, "width": 0.25}

# name of the case: name of the network, its sizes
CASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "light": ("glomface-light", LIGHT),
    "light without PHM": ("glomface-light", {**LIGHT, "phm": False}),
    "light without WHM": ("glomface-light", {**LIGHT, "whm": False}),
    "light without memory": ("glomface-light", {**LIGHT, "memory": False}),
    "light of two levels": ("glomface-light", {**LIGHT, "levels": 2}),
    "light of four levels": ("glomface-light", {**LIGHT, "levels": 4}),
    "glomface": ("glomface", PAPER),
    "glomface-star": ("glomface", {**PAPER, "coordinates": True}),
    "plain": ("plain", {key: value for key, value in LIGHT.items() if key != "part_widths"}),
    "hourglass": ("hourglass", HOURGLASS),
    "hourglass with boundaries": ("hourglass", {**HOURGLASS, "boundaries": True}),
}


def blueprint(case: str, scheme: Scheme) -> Blueprint:
    network, sizes = CASES[case]
    return Blueprint(network, scheme.name, INPUT, 1.0, sizes)


def network_of(case: str, scheme: Scheme) -> nn.Module:
    """Fresh weights, but those that start at zero are random, and the mean shape too."""
    torch.manual_seed(0)
    network = build(blueprint(case, scheme))
    for weight in network.parameters():
        if weight.ndim > 1 and not weight.any():
            nn.init.normal_(weight, std=0.1)
    for start in (buffer for name, buffer in network.named_buffers() if name == "mean_shape"):
        start.copy_(torch.rand(scheme.points, 2) - 0.5)
    return network


every_case = pytest.mark.parametrize("case", CASES)


def total(prediction: Prediction) -> torch.Tensor:
    """Something to which every output adds."""
    outputs = (prediction.shapes_unit.square(), prediction.visibility, prediction.log_spread, prediction.boundaries)
    return torch.stack([output.sum() for output in outputs if output is not None]).sum()


@every_case
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("faces", [1, 3])
def test_forward_and_backward_reach_every_weight(case: str, scheme: Scheme, faces: int) -> None:
    network = network_of(case, scheme)
    prediction: Prediction = network(torch.rand(faces, 3, INPUT, INPUT))
    assert prediction.shapes_unit.shape == (faces, 2, scheme.points, 2)
    assert prediction.points_unit.shape == (faces, scheme.points, 2)
    assert prediction.visibility.shape == prediction.log_spread.shape == (faces, scheme.points)
    if prediction.boundaries is not None:
        assert prediction.boundaries.shape == (faces, 2, len(scheme.contours), INPUT // 4, INPUT // 4)
    total(prediction).backward()  # type: ignore[no-untyped-call]
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def with_levels(*names: str) -> Scheme:
    """The 29 points with these of their four levels."""
    scheme = SCHEMES["cofw29"]
    return replace(
        scheme,
        name="mine",
        hierarchy=Hierarchy(tuple(level for level in scheme.hierarchy.levels if level.name in names)),
    )


@pytest.mark.parametrize("case", ["light", "light without WHM", "glomface"])
@pytest.mark.parametrize(
    "names", [("whole",), ("regions", "whole"), ("neighbourhoods", "groups", "whole")], ids="-".join
)
def test_a_scheme_of_fewer_levels_takes_part_in_every_weight(case: str, names: tuple[str, ...]) -> None:
    scheme = with_levels(*names)
    described = replace(blueprint(case, scheme), own_scheme=own_scheme(scheme))
    network = build(described)
    total(network(torch.rand(3, 3, INPUT, INPUT))).backward()  # type: ignore[no-untyped-call]
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_more_levels_than_widths_are_one_clear_line() -> None:
    with pytest.raises(ValueError, match="part_widths has 1 widths, but scheme 'ibug68' has 3 levels below its whole"):
        GlomFaceLight(SCHEMES["ibug68"], torch.zeros(68, 2), **{**LIGHT, "part_widths": (16,)})


@pytest.mark.parametrize("size", [64, 80, 112])
def test_an_hourglass_takes_maps_that_do_not_halve_evenly(size: int) -> None:
    network = network_of("hourglass", SCHEMES["ibug68"]).eval()
    assert network(torch.rand(1, 3, size, size)).points_unit.shape == (1, 68, 2)


def test_boundaries_need_contours() -> None:
    scheme = replace(SCHEMES["cofw29"], name="mine", contours=())
    with pytest.raises(ValueError, match="scheme 'mine' has no contours to draw boundaries from"):
        StackedHourglass(scheme, boundaries=True)


@every_case
def test_a_face_is_aligned_alike_alone_and_in_a_batch(case: str) -> None:
    network = network_of(case, SCHEMES["ibug68"]).eval()
    images = torch.rand(3, 3, INPUT, INPUT)
    with torch.no_grad():
        together, alone = network(images).points_unit[1], network(images[1:2]).points_unit[0]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("case", [case for case in CASES if "hourglass" not in case])
def test_the_first_guess_of_a_fresh_network_is_the_mean_shape(case: str) -> None:
    network = build(blueprint(case, SCHEMES["ibug68"]))
    mean_shape = network.get_buffer("mean_shape").uniform_(-0.5, 0.5)
    torch.testing.assert_close(network(torch.rand(1, 3, INPUT, INPUT)).points_unit[0], mean_shape)


@every_case
def test_saved_weights_load_into_the_same_network(case: str, tmp_path: Path) -> None:
    scheme = SCHEMES["cofw29"]
    network, images = network_of(case, scheme).eval(), torch.rand(1, 3, INPUT, INPUT)
    path = tmp_path / "best.safetensors"
    path.write_bytes(weights_bytes(network, blueprint(case, scheme)))
    loaded, described = load_network(path)
    assert json.loads(described.to_json()) == json.loads(blueprint(case, scheme).to_json())
    torch.testing.assert_close(loaded(images).points_unit, network(images).points_unit)


def test_the_mean_of_weights_is_that_of_one_network_alone(tmp_path: Path) -> None:
    scheme = SCHEMES["ibug68"]
    paths = [tmp_path / f"{seed}.safetensors" for seed in range(3)]
    states = []
    for path in paths:
        network = network_of("light", scheme)
        path.write_bytes(weights_bytes(network, blueprint("light", scheme)))
        states.append(network.state_dict())
    mean = load_mean(paths[0], paths[1:])[0].state_dict()
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor.float(), sum(state[name].float() for state in states) / 3)
    other = tmp_path / "plain.safetensors"
    other.write_bytes(weights_bytes(network_of("plain", scheme), blueprint("plain", scheme)))
    with pytest.raises(ValueError, match=r"plain\.safetensors: of another network, size or scheme than .*0\.safet"):
        load_mean(paths[0], [other])


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "noise.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match=r"noise\.safetensors: not a safetensors file"):
        load_network(path)
    with pytest.raises(ValueError, match=r"absent\.safetensors: no such file"):
        load_network(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    "case", ["light", "light without WHM", "glomface", "glomface-star", "plain", "hourglass with boundaries"]
)
def test_onnx_says_what_torch_says_for_any_number_of_faces(case: str) -> None:
    scheme = SCHEMES["ibug68"]
    network = network_of(case, scheme).eval()
    content = to_onnx(network, blueprint(case, scheme))
    for faces in (1, 3):
        assert max(parity(narrowed(network), content, INPUT, faces).values()) < 1e-4
        assert max(parity(network, content, INPUT, faces).values()) < 5e-3  # its weights are float16
    assert b".py" not in content  # the exporter notes stack traces, with the paths of the machine


def test_glomface_light_keeps_its_budget() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = GlomFaceLight(SCHEMES["ibug68"], torch.zeros(68, 2)).eval()
    assert sum(weight.numel() for weight in network.parameters()) <= 5e6
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 160, 160))
    assert counter.get_total_flops() <= 1.0e9
