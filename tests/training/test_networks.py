"""Every preset builds, is trained by the one loop and comes out of a file again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unveil.baselines.control_training import CONTROL_PRESETS, boundary_maps
from unveil.cli.train import parse
from unveil.data.pack import read_faces
from unveil.models.checkpoints import build
from unveil.models.layers import Norm
from unveil.registry import NETWORKS, build_task, load_network, read_config
from unveil.schemes.scheme import IBUG68, SCHEMES, Contour
from unveil.training.config import ScheduleConfig
from unveil.training.presets import LANDMARK_PRESETS
from unveil.training.state import EMA

PRESETS = {**LANDMARK_PRESETS, **CONTROL_PRESETS}
SMALL: dict[str, dict[str, Any]] = {
    "glomface-light": {"dim": 16, "memory_dim": 24, "part_dims": (16, 12, 8), "channels": 8, "width_mult": 0.25},
    "glomface": {"patch_channels": (4, 6, 8), "memory_dim": 24, "mlp_dims": (24, 16, 12), "part_dims": (16, 12, 8)},
    "plain": {"dim": 16, "memory_dim": 24, "channels": 8, "width_mult": 0.25},
    "hourglass": {"channels": 8, "width_mult": 0.25, "depth": 2},
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_for_every_scheme_and_its_settings_come_back_from_json(name: str) -> None:
    preset = PRESETS[name]
    assert type(preset).model_validate_json(preset.model_dump_json()) == preset
    assert parse([name, "--data", "x"]).config == preset
    for scheme in SCHEMES.values():
        with torch.device("meta"):
            build(preset.model.spec(scheme), NETWORKS)


@pytest.mark.parametrize("name", ["glomface-star", "plain", "hourglass-boundaries"])
def test_a_preset_at_reduced_width_is_trained_and_loads(name: str, drawn_folder: Path, tmp_path: Path) -> None:
    few = {
        "schedule": ScheduleConfig(steps=2, batch=2, warmup_steps=1, decay_steps=0),
        "val_share": 0.3,
        "threads": 1,
        "imagenet": False,
    }
    model = PRESETS[name].model
    sizes = {"network": model.network, "input_size": 64, **SMALL[model.network]}
    changed = model.model_dump() | sizes
    config = type(PRESETS[name]).model_validate(
        PRESETS[name].model_dump() | few | {"model": changed, "precision": "float32"}
    )
    build_task(read_faces(drawn_folder), config).fit(tmp_path)
    network, _ = load_network(tmp_path / "last.safetensors")
    assert network(torch.zeros(1, 3, 64, 64)).points_unit.isfinite().all()
    assert json.loads((tmp_path / "config.json").read_text())["model"]["network"] == model.network


def test_settings_of_every_network_are_flat_on_the_command_line() -> None:
    light = parse(["glomface-light", "--data", "x", "--dim", "64", "--no-phm", "--levels", "3"]).config.model
    assert light.model_dump() | {"dim": 64, "phm": False, "levels": 3} == light.model_dump()
    paper = parse(["glomface", "--data", "x", "--iterations", "1", "--steps", "7"]).config
    assert (paper.model.model_dump()["iterations"], paper.schedule.steps) == (1, 7)


def test_the_settings_of_runs_before_there_were_other_networks_still_count(tmp_path: Path) -> None:
    old = {"model": {"network": "glomface-light", "size": 160, "dim": 64, "imagenet": True}}
    (tmp_path / "config.json").write_text(json.dumps(old))
    found = read_config(tmp_path / "config.json")
    assert found.model == PRESETS["glomface-light"].model.model_copy(update={"dim": 64})


def test_the_papers_learning_rate_falls_every_3000_steps() -> None:
    schedule = PRESETS["glomface"].schedule
    assert [schedule.lr_factor(step) for step in (0, 2999, 3000, 6000)] == pytest.approx([1, 1, 0.97, 0.97**2])


def test_batch_norms_statistics_are_averaged_with_the_weights_and_frozen_ones_stay() -> None:
    for frozen in (False, True):
        model = nn.Sequential(Norm(3, frozen=frozen)).train()
        average = EMA(model, 0.5)
        model(torch.randn(8, 3, 4, 4) + 5)
        average.update(model, 100)
        mean = average.model.get_buffer("0.running_mean")
        torch.testing.assert_close(mean, model.get_buffer("0.running_mean") / 2)
        assert bool((mean == 0).all()) == frozen


def test_a_boundary_is_brightest_on_its_line_and_closes_if_it_is_closed() -> None:
    corners = torch.tensor([[[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]])
    opened, closed = boundary_maps(corners, (Contour((0, 1, 2, 3)), Contour((0, 1, 2, 3), closed=True)), 16, 16)[0]
    assert closed[8, 3:5].min() > 0.8  # the left side, which only the closed one has
    assert opened[8, 3:5].max() < 0.1
    assert opened[3:5, 8].min() > 0.8
    assert closed[8, 8] < 0.01
    assert boundary_maps(torch.zeros(2, 68, 2), IBUG68.contours, 8, 8).isfinite().all()


def test_the_length_of_a_run_is_given_once() -> None:
    with pytest.raises(ValueError, match="--steps and --epochs: both set the length of the run; give one"):
        parse(["glomface-light", "--data", "a", "--steps", "5", "--epochs=2"])
