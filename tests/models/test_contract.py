"""What every landmark network keeps, at reduced width."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from unveil.export import parity, to_onnx
from unveil.face.hierarchy import Hierarchy
from unveil.face.schemes import SCHEMES, Scheme
from unveil.models.glomface import GlomFaceLight, Prediction
from unveil.models.weights import Blueprint, load_network, weights_bytes

SIZES = {"dim": 16, "whole": 24, "part_widths": (16, 12, 8), "spacings_unit": (0.1, 0.05), "channels": 8, "width": 0.25}
INPUT = 64


def light(scheme: Scheme) -> GlomFaceLight:
    torch.manual_seed(0)
    network = GlomFaceLight(scheme, torch.rand(scheme.points, 2) - 0.5, **SIZES)  # type: ignore[arg-type]
    last = network.head.decide[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight, std=0.1)
    return network


def blueprint(scheme: Scheme) -> Blueprint:
    return Blueprint("glomface-light", scheme.name, INPUT, 1.0, SIZES)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("faces", [1, 3])
def test_forward_and_backward_reach_every_weight(scheme: Scheme, faces: int) -> None:
    network = light(scheme)
    prediction: Prediction = network(torch.rand(faces, 3, INPUT, INPUT))
    assert prediction.shapes_unit.shape == (faces, 2, scheme.points, 2)
    assert prediction.points_unit.shape == (faces, scheme.points, 2)
    assert prediction.visibility.shape == prediction.log_spread.shape == (faces, scheme.points)
    loss = prediction.shapes_unit.square().sum() + prediction.visibility.sum() + prediction.log_spread.sum()
    loss.backward()  # type: ignore[no-untyped-call]
    unreached = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert unreached == []


def with_levels(*names: str) -> Scheme:
    """The 29 points with these of their four levels."""
    scheme = SCHEMES["cofw29"]
    return replace(
        scheme,
        name="mine",
        hierarchy=Hierarchy(tuple(level for level in scheme.hierarchy.levels if level.name in names)),
    )


@pytest.mark.parametrize(
    "names", [("whole",), ("regions", "whole"), ("neighbourhoods", "groups", "whole")], ids="-".join
)
def test_a_scheme_of_fewer_levels_takes_part_in_every_weight(names: tuple[str, ...]) -> None:
    scheme = with_levels(*names)
    network = light(scheme)
    prediction: Prediction = network(torch.rand(3, 3, INPUT, INPUT))
    (prediction.shapes_unit.square().sum() + prediction.visibility.sum() + prediction.log_spread.sum()).backward()  # type: ignore[no-untyped-call]
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_more_levels_than_widths_are_one_clear_line() -> None:
    with pytest.raises(ValueError, match="part_widths has 1 widths, but scheme 'ibug68' has 3 levels below its whole"):
        GlomFaceLight(SCHEMES["ibug68"], torch.zeros(68, 2), **SIZES | {"part_widths": (16,)})  # type: ignore[arg-type]


def test_a_face_is_aligned_alike_alone_and_in_a_batch() -> None:
    network = light(SCHEMES["ibug68"]).eval()
    images = torch.rand(3, 3, INPUT, INPUT)
    with torch.no_grad():
        together, alone = network(images).points_unit[1], network(images[1:2]).points_unit[0]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_the_first_guess_of_a_fresh_network_is_the_mean_shape() -> None:
    scheme = SCHEMES["ibug68"]
    mean_shape = torch.rand(scheme.points, 2) - 0.5
    network = GlomFaceLight(scheme, mean_shape, **SIZES)  # type: ignore[arg-type]
    torch.testing.assert_close(network(torch.rand(1, 3, INPUT, INPUT)).points_unit[0], mean_shape)


def test_saved_weights_load_into_the_same_network(tmp_path: Path) -> None:
    scheme = SCHEMES["cofw29"]
    network, images = light(scheme).eval(), torch.rand(1, 3, INPUT, INPUT)
    path = tmp_path / "best.safetensors"
    path.write_bytes(weights_bytes(network, blueprint(scheme)))
    loaded, described = load_network(path)
    assert described == Blueprint(
        "glomface-light", "cofw29", INPUT, 1.0, SIZES | {"part_widths": [16, 12, 8], "spacings_unit": [0.1, 0.05]}
    )
    torch.testing.assert_close(loaded(images).points_unit, network(images).points_unit)


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "noise.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match=r"noise\.safetensors: not a safetensors file"):
        load_network(path)
    with pytest.raises(ValueError, match=r"absent\.safetensors: no such file"):
        load_network(tmp_path / "absent.safetensors")


def test_onnx_says_what_torch_says_for_any_number_of_faces() -> None:
    scheme = SCHEMES["ibug68"]
    network = light(scheme).eval()
    content = to_onnx(network, blueprint(scheme))
    for faces in (1, 3):
        assert max(parity(network, content, INPUT, faces).values()) < 5e-3  # its weights are float16


def test_glomface_light_keeps_its_budget() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = GlomFaceLight(SCHEMES["ibug68"], torch.zeros(68, 2)).eval()
    assert sum(weight.numel() for weight in network.parameters()) <= 5e6
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 160, 160))
    assert counter.get_total_flops() <= 1.0e9
