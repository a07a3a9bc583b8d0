"""What the benchmark counts of networks that are not GlomFace's."""

import numpy as np
import pytest
from benchmarks.computation import computation, once, rows, steps_of

from unveil.baselines.drn import DrnConfig
from unveil.registry import PRESETS, build_network
from unveil.schemes.scheme import IBUG68


def test_pfld_counts_without_the_pose_net_that_only_teaches() -> None:
    model = PRESETS["pfld-0.25"].model
    counted = computation(model, IBUG68)
    network = build_network(model.spec(IBUG68))
    kept = sum(weight.numel() for name, weight in network.named_parameters() if not name.startswith("pose."))
    assert counted.parameters == kept
    assert "pose" not in counted.flops_by_part
    assert counted.flops == sum(counted.flops_by_part.values())


def test_a_cascade_counts_the_products_of_every_stage() -> None:
    counted = computation(DrnConfig(hidden=(10,), stages=2), IBUG68)
    assert counted.flops == 2 * 2 * (68 * 128 * 10 + 10 * 68 * 2)
    assert steps_of(DrnConfig(stages=2)) == 2


@pytest.mark.parametrize("name", ["gan-ia-light", "drda", "pfld"])
def test_every_preset_has_a_row(name: str) -> None:
    ((row, _, model),) = rows([name])
    assert (row, steps_of(model)) == (name, 1)
    assert computation(model, IBUG68).flops > 1e7


def test_a_cascade_is_timed_with_its_sift() -> None:
    shapes = once(DrnConfig(input_size=64, hidden=(4,), stages=1), IBUG68)()
    assert np.asarray(shapes).shape == (2, 1, 68, 2)
