"""What the presets of the first paper and of its ablation promise about their networks."""

import pytest
import torch
from torch import Tensor

from unveil.baselines.hourglass import HourglassConfig
from unveil.models.glomface import GlomFaceConfig, GlomFaceLightConfig
from unveil.models.heads import LandmarkHead
from unveil.models.network import Prediction
from unveil.registry import PRESETS
from unveil.schemes.scheme import IBUG68

SMALL = {"input_size": 64, "iterations": 2, "patch_channels": (4, 6, 8), "memory_dim": 24, "mlp_dims": (24, 16, 12)}


def test_glomface_trains_on_equation_3_alone_by_default() -> None:
    for name in ("glomface", "glomface-star"):
        model = PRESETS[name].model
        assert isinstance(model, GlomFaceConfig)
        assert (model.detach_steps, model.aux_heads, model.patch_non_local) == (False, False, False)
        network = model.model_copy(update={**SMALL, "part_dims": (16, 12, 8)}).build(IBUG68)
        prediction: Prediction = network(torch.rand(2, 3, 64, 64))
        assert (prediction.visibility_logit, prediction.log_scale) == (None, None)


def test_step_2s_loss_reaches_step_1s_offsets_in_the_preset() -> None:
    model = PRESETS["glomface"].model.model_copy(update={**SMALL, "part_dims": (16, 12, 8)})
    torch.manual_seed(0)
    network = model.build(IBUG68)
    offsets: list[Tensor] = []
    network.get_submodule("shape_head").register_forward_hook(lambda _module, _inputs, output: offsets.append(output))
    prediction: Prediction = network(torch.rand(1, 3, 64, 64))
    loss = (prediction.shapes_unit[:, 1] - 0.3).square().sum()  # L_2 of equation 3
    (gradient,) = torch.autograd.grad(loss, offsets[0])
    torch.testing.assert_close(gradient, 2 * (prediction.shapes_unit[:, 1] - 0.3))
    assert gradient.abs().min() > 0


def test_offsets_of_light_whm_only_do_not_depend_on_the_tokens() -> None:
    for name, reads in (("light-whm-only", False), ("glomface-light", True)):
        model = PRESETS[name].model
        assert isinstance(model, GlomFaceLightConfig)
        assert model.token_head == reads
        torch.manual_seed(0)
        head = LandmarkHead(IBUG68.hierarchy, 16, 8, read_tokens=model.token_head)
        for weight in head.parameters():
            torch.nn.init.normal_(weight, std=0.1)
        parts = torch.rand(len(IBUG68.hierarchy.levels[0].parts), 1, 8)
        one, other = (head(torch.rand(1, 68, 16), parts)[0] for _ in range(2))
        assert bool((one == other).all()) != reads


@pytest.mark.parametrize("name", ["hourglass-large", "hourglass-large-boundaries"])
def test_the_large_hourglasses_have_six_million_parameters(name: str) -> None:
    model = PRESETS[name].model
    assert isinstance(model, HourglassConfig)
    with torch.device("meta"):
        network = model.build(IBUG68)
    assert sum(weight.numel() for weight in network.parameters()) >= 6e6
