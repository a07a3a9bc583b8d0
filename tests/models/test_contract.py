"""The contract of every network that can be built, at reduced width."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.models.network_cases import CASES, EVERY, INPUT, LIGHT, PAPER, input_of, network_of, spec_of, tensors, total
from torch import Tensor, nn

from unveil.baselines.hourglass import HourglassConfig, StackedHourglass
from unveil.export.deployed import is_deployable
from unveil.export.onnx_export import float16_weights, onnx_difference, to_onnx, trace_onnx
from unveil.models.checkpoints import NetworkSpec, load_average, weights_bytes
from unveil.models.conv_norm import fold_norms
from unveil.models.glomface import GlomFaceConfig, GlomFaceLightConfig
from unveil.models.network import LandmarkNetwork, Prediction
from unveil.registry import NETWORKS, load_network
from unveil.registry import build_network as build
from unveil.schemes.hierarchy import Hierarchy
from unveil.schemes.scheme import SCHEMES, Scheme
from unveil.schemes.scheme_file import scheme_record

UNUSED = {"detector": ["scales"]}  # trained checkpoints have it

every_case = pytest.mark.parametrize("case", CASES)
every_network = pytest.mark.parametrize("case", EVERY)


def test_every_network_that_can_be_built_is_in_the_contract() -> None:
    assert {network for network, _ in EVERY.values()} == set(NETWORKS)


@every_network
@pytest.mark.parametrize("faces", [1, 3])
def test_forward_and_backward_reach_every_weight_of_every_network(case: str, faces: int) -> None:
    scheme = SCHEMES["ibug68"]
    network = network_of(case, scheme)
    output = network(input_of(case, scheme, faces))
    axis = 1 if case in ("drn", "sdm") else 0
    assert all(value.isfinite().all() and value.shape[axis] == faces for value in tensors(output))
    total(output).backward()  # type: ignore[no-untyped-call]
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == UNUSED.get(case, [])


@every_network
def test_a_face_has_the_same_output_alone_and_in_a_batch(case: str) -> None:
    scheme, axis = SCHEMES["ibug68"], 1 if case in ("drn", "sdm") else 0
    network, images = network_of(case, scheme).eval(), input_of(case, scheme, 3)
    with torch.no_grad():
        together, alone = network(images), network(images.narrow(axis, 1, 1))
    for one, other in zip(tensors(together), tensors(alone), strict=True):
        torch.testing.assert_close(one.narrow(axis, 1, 1), other, atol=1e-5, rtol=1e-4)


@every_network
def test_saved_weights_load_into_the_same_network(case: str, tmp_path: Path) -> None:
    scheme = SCHEMES["cofw29"] if case in CASES else SCHEMES["ibug68"]
    network, images = network_of(case, scheme).eval(), input_of(case, scheme, 1)
    path = tmp_path / "best.safetensors"
    path.write_bytes(weights_bytes(network, spec_of(case, scheme)))
    loaded, spec = load_network(path)
    assert json.loads(spec.to_json()) == json.loads(spec_of(case, scheme).to_json())
    for one, other in zip(tensors(loaded(images)), tensors(network(images)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "case",
    [
        "light",
        "light without WHM",
        "glomface",
        "glomface without heads",
        "glomface-star",
        "plain",
        "hourglass with boundaries",
        "pfld",
        "rcpr",
        "gan-ia with a guide",
        "detector",
    ],
)
def test_onnx_and_torch_agree_for_any_number_of_faces(case: str) -> None:
    scheme = SCHEMES["ibug68"]
    network, spec = fold_norms(network_of(case, scheme).eval()), spec_of(case, scheme)
    assert is_deployable(network)
    content = to_onnx(network, spec)
    for faces in (1, 3):
        assert max(onnx_difference(float16_weights(network), content, spec.input_size, faces).values()) < 1e-4
        assert max(onnx_difference(network, content, spec.input_size, faces).values()) < 5e-3  # float16 weights
    assert b".py" not in content  # the exporter notes stack traces, with the paths of the machine


@pytest.mark.parametrize("case", ["drn", "drda"])
def test_onnx_and_torch_agree_for_networks_that_are_used_from_their_runs(case: str) -> None:
    scheme = SCHEMES["ibug68"]
    network = network_of(case, scheme).eval()
    module = network.get_submodule("stages.0") if case == "drn" else nn.Sequential(network)
    images = input_of(case, scheme, 3)[0] if case == "drn" else input_of(case, scheme, 3)
    content = trace_onnx(module.eval(), images, "inputs", ["outputs"]).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for faces in (1, 3):
        with torch.no_grad():
            expected = module(images[:faces]).numpy()
        (found,) = session.run(None, {"inputs": images[:faces].numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-4)


@every_case
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_a_landmark_network_has_the_outputs_of_its_scheme(case: str, scheme: Scheme) -> None:
    network = network_of(case, scheme).eval()
    with torch.no_grad():
        prediction: Prediction = network(torch.rand(2, 3, INPUT, INPUT))
    assert prediction.shapes_unit.shape == (2, 2, scheme.points, 2)
    assert prediction.points_unit.shape == (2, scheme.points, 2)
    if prediction.visibility_logit is not None and prediction.log_scale is not None:
        assert prediction.visibility_logit.shape == prediction.log_scale.shape == (2, scheme.points)
    assert (prediction.visibility_logit is None) == (case == "glomface without heads")
    if prediction.boundary_logits is not None:
        assert prediction.boundary_logits.shape == (2, 2, len(scheme.contours), INPUT // 4, INPUT // 4)


@every_case
def test_the_parameter_groups_hold_every_weight_once(case: str) -> None:
    network = network_of(case, SCHEMES["ibug68"])
    assert isinstance(network, LandmarkNetwork)
    groups = network.param_groups(backbone_lr_scale=0.5, memory_lr_scale=0.05)
    grouped = [id(parameter) for group in groups for parameter in group.params]
    assert sorted(grouped) == sorted(map(id, network.parameters()))
    scales = {group.lr_scale for group in groups}
    assert scales == {1.0, *(() if "hourglass" in case else (0.05,)), *(() if "glomface" in case else (0.5,))}


@pytest.mark.parametrize("network", ["glomface-light", "glomface"])
@pytest.mark.parametrize("detach", [False, True])
def test_equation_3s_gradient_flows_from_a_step_to_the_offsets_before_unless_detached(
    network: str, detach: bool
) -> None:
    sizes = {**(LIGHT if network == "glomface-light" else PAPER), "detach_steps": detach}
    torch.manual_seed(0)
    built = build(NetworkSpec(network, "ibug68", INPUT, 1.0, sizes))
    outputs: list[Tensor] = []
    head = built.get_submodule("head" if network == "glomface-light" else "shape_head")
    head.register_forward_hook(lambda _module, _inputs, output: outputs.append(tensors(output)[0]))
    prediction: Prediction = built(torch.rand(1, 3, INPUT, INPUT))
    (gradient,) = torch.autograd.grad(prediction.shapes_unit[:, 1].sum(), outputs[0], allow_unused=True)
    expected = torch.zeros_like(outputs[0]) if detach else torch.ones_like(outputs[0])
    torch.testing.assert_close(torch.zeros_like(outputs[0]) if gradient is None else gradient, expected)


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
    described = replace(spec_of(case, scheme), own_scheme=scheme_record(scheme))
    network = build(described)
    total(network(torch.rand(3, 3, INPUT, INPUT))).backward()  # type: ignore[no-untyped-call]
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_more_levels_than_dims_are_one_clear_line() -> None:
    with pytest.raises(ValueError, match="part_dims has 1 values, but scheme 'ibug68' has 3 levels below its whole"):
        GlomFaceLightConfig.model_validate({**LIGHT, "part_dims": (16,)}).build(SCHEMES["ibug68"])


@pytest.mark.parametrize("size", [64, 80, 112])
def test_an_hourglass_takes_maps_that_do_not_halve_evenly(size: int) -> None:
    network = network_of("hourglass", SCHEMES["ibug68"]).eval()
    assert network(torch.rand(1, 3, size, size)).points_unit.shape == (1, 68, 2)


def test_boundaries_need_contours() -> None:
    scheme = replace(SCHEMES["cofw29"], name="mine", contours=())
    with pytest.raises(ValueError, match="scheme 'mine' has no contours for boundary maps"):
        StackedHourglass(scheme, HourglassConfig(boundaries=True))


@pytest.mark.parametrize("case", [case for case in CASES if "hourglass" not in case])
def test_the_first_prediction_of_a_fresh_network_is_the_mean_shape(case: str) -> None:
    network = build(spec_of(case, SCHEMES["ibug68"]))
    mean_shape = network.get_buffer("mean_shape").uniform_(-0.5, 0.5)
    torch.testing.assert_close(network(torch.rand(1, 3, INPUT, INPUT)).points_unit[0], mean_shape)


def test_the_mean_of_weights_is_that_of_one_network_alone(tmp_path: Path) -> None:
    scheme = SCHEMES["ibug68"]
    paths = [tmp_path / f"{seed}.safetensors" for seed in range(3)]
    states = []
    for path in paths:
        network = network_of("light", scheme)
        path.write_bytes(weights_bytes(network, spec_of("light", scheme)))
        states.append(network.state_dict())
    mean = load_average(paths[0], paths[1:], NETWORKS)[0].state_dict()
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor.float(), sum(state[name].float() for state in states) / 3)
    other = tmp_path / "plain.safetensors"
    other.write_bytes(weights_bytes(network_of("plain", scheme), spec_of("plain", scheme)))
    with pytest.raises(ValueError, match=r"plain\.safetensors: of another network, size or scheme than .*0\.safet"):
        load_average(paths[0], [other], NETWORKS)


def test_a_file_whose_record_lacks_a_newer_size_is_averaged(tmp_path: Path) -> None:
    """Files of earlier versions lack the sizes that were added since; their networks have the defaults."""
    scheme = SCHEMES["ibug68"]
    network, spec = network_of("light", scheme), spec_of("light", scheme)
    new, old = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    new.write_bytes(weights_bytes(network, replace(spec, sizes={**spec.sizes, "refined": None})))
    old.write_bytes(weights_bytes(network, replace(spec, sizes={**spec.sizes, "ellipse": False})))
    mean = load_average(new, [old], NETWORKS)[0].state_dict()
    torch.testing.assert_close(mean["mean_shape"], network.get_buffer("mean_shape"))


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "noise.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match=r"noise\.safetensors: not a safetensors file"):
        load_network(path)
    with pytest.raises(ValueError, match=r"absent\.safetensors: no such file"):
        load_network(tmp_path / "absent.safetensors")


def test_glomface_light_keeps_its_budget() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = GlomFaceLightConfig().build(SCHEMES["ibug68"]).eval()
    assert sum(weight.numel() for weight in network.parameters()) <= 5e6
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 160, 160))
    assert counter.get_total_flops() <= 1.0e9


def test_glomface_counts_the_flops_of_its_convolutions_and_products_layer_by_layer() -> None:
    """Table 6 has 3.37 G for one step; decision 0010 lists what the difference is made of."""
    from torch.utils.flop_counter import FlopCounterMode

    def gflops(**sizes: Any) -> dict[str, float]:
        with torch.device("meta"):
            network = GlomFaceConfig(iterations=1, aux_heads=False, **sizes).build(SCHEMES["ibug68"]).eval()
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                network(torch.rand(1, 3, 224, 224))
        counts = {name: sum(found.values()) / 1e9 for name, found in counter.get_flop_counts().items()}
        return {name.split(".")[-1]: flops for name, flops in counts.items() if name.count(".") <= 1}

    printed, extended = gflops(), gflops(patch_non_local=True)
    assert printed["patches"] == pytest.approx(2.08, abs=0.01)
    assert extended["encoder"] - printed["encoder"] == pytest.approx(0.04, abs=0.02)
    assert gflops(coord_conv=True)["patches"] == pytest.approx(2.65, abs=0.02)
