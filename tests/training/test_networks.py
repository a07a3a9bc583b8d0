"""Every preset builds, is trained by the one loop and comes out of a file again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unveil.cli.train import parse
from unveil.data.pack import read_faces
from unveil.models.checkpoints import build, load_network
from unveil.models.layers import Norm
from unveil.schemes.scheme import IBUG68, SCHEMES, Contour
from unveil.training.boundaries import boundary_maps
from unveil.training.config import Alignment, Schedule
from unveil.training.landmarks import AlignmentTask
from unveil.training.presets import PRESETS
from unveil.training.trainer import Average, fit, rate_at

SMALL: dict[str, dict[str, Any]] = {
    "glomface-light": {"dim": 16, "whole": 24, "part_widths": (16, 12, 8), "channels": 8, "width": 0.25},
    "glomface": {"patch_widths": (4, 6, 8), "whole": 24, "hidden_widths": (24, 16, 12), "part_widths": (16, 12, 8)},
    "plain": {"dim": 16, "whole": 24, "channels": 8, "width": 0.25},
    "hourglass": {"channels": 8, "width": 0.25, "depth": 2},
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_for_every_scheme_and_its_settings_come_back_from_json(name: str) -> None:
    preset = PRESETS[name]
    assert Alignment.model_validate_json(preset.model_dump_json()) == preset
    assert parse([name, "--data", "x"]).config == preset
    for scheme in SCHEMES.values():
        with torch.device("meta"):
            build(preset.model.blueprint(scheme))


@pytest.mark.parametrize("name", ["glomface-star", "plain", "hourglass-boundaries"])
def test_a_preset_at_reduced_width_is_trained_and_loads(name: str, drawn_folder: Path, tmp_path: Path) -> None:
    few = {"schedule": Schedule(steps=2, batch=2, warmup=1, decay=0), "held_out_share": 0.3, "threads": 1}
    model = PRESETS[name].model
    sizes = {"network": model.network, "size": 64, "imagenet": False, **SMALL[model.network]}
    changed = model.model_dump() | sizes
    config = Alignment.model_validate(PRESETS[name].model_dump() | few | {"model": changed, "precision": "float32"})
    fit(AlignmentTask(read_faces(drawn_folder), config), tmp_path)
    network, _ = load_network(tmp_path / "last.safetensors")
    assert network(torch.zeros(1, 3, 64, 64)).points_unit.isfinite().all()
    assert json.loads((tmp_path / "config.json").read_text())["model"]["network"] == model.network


def test_settings_of_every_network_are_flat_on_the_command_line() -> None:
    light = parse(["glomface-light", "--data", "x", "--dim", "64", "--no-phm", "--levels", "3"]).config.model
    assert light.model_dump() | {"dim": 64, "phm": False, "levels": 3} == light.model_dump()
    paper = parse(["glomface", "--data", "x", "--iterations", "1", "--steps", "7"]).config
    assert (paper.model.model_dump()["iterations"], paper.schedule.steps) == (1, 7)


def test_the_settings_of_runs_before_there_were_other_networks_still_count() -> None:
    old = {"model": {"network": "glomface-light", "size": 160, "dim": 64, "imagenet": True}}
    assert Alignment.model_validate(old).model == PRESETS["glomface-light"].model.model_copy(update={"dim": 64})


def test_the_papers_rate_shrinks_every_3000_steps() -> None:
    schedule = PRESETS["glomface"].schedule
    assert [rate_at(step, schedule) for step in (0, 2999, 3000, 6000)] == pytest.approx([1, 1, 0.97, 0.97**2])


def test_batch_norms_statistics_are_averaged_with_the_weights_and_frozen_ones_stay() -> None:
    for frozen in (False, True):
        model = nn.Sequential(Norm(3, frozen=frozen)).train()
        average = Average(model, 0.5)
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
