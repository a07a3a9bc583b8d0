"""Starting from weights that are there: what fits is taken over, what does not is named."""

import re
from pathlib import Path

import pytest
import torch
from tests.tiny_networks import TINY, tiny_config

from unveil.baselines.control_training import PlainTrainConfig
from unveil.baselines.pfld import PfldConfig
from unveil.baselines.pfld_training import PfldTask, PfldTrainConfig
from unveil.baselines.plain import PlainConfig
from unveil.data.pack import read_faces
from unveil.models.checkpoints import load_matching
from unveil.models.generator import GeneratorConfig
from unveil.registry import load_network
from unveil.schemes.scheme import IBUG68
from unveil.training.config import ScheduleConfig
from unveil.training.gan import GanTask
from unveil.training.gan_config import DiscriminatorConfig, GanTrainConfig
from unveil.training.landmarks import LandmarkTask
from unveil.training.state import save_weights

CONFIG = tiny_config()


@pytest.fixture
def trained(drawn_folder: Path, tmp_path: Path) -> tuple[LandmarkTask, Path]:
    task = LandmarkTask(read_faces(drawn_folder), CONFIG)
    with torch.no_grad():
        for weight in task.model.parameters():
            weight.add_(0.1)
    save_weights(task.model, task.spec, tmp_path / "trained.safetensors")
    return task, tmp_path / "trained.safetensors"


def test_the_same_network_starts_as_it_was_saved(drawn_folder: Path, trained: tuple[LandmarkTask, Path]) -> None:
    task, path = trained
    started = LandmarkTask(read_faces(drawn_folder), CONFIG.model_copy(update={"init_from": path}))
    for name, value in task.model.state_dict().items():
        assert torch.equal(started.model.state_dict()[name], value), name
    assert started.notes == (f"weights from {path}",)


def test_a_wider_network_takes_over_what_fits_and_names_the_rest(
    drawn_folder: Path, trained: tuple[LandmarkTask, Path]
) -> None:
    task, path = trained
    config = CONFIG.model_copy(
        update={"init_from": path, "model": TINY.model_copy(update={"memory_dim": 32, "dim": 24})}
    )
    started = LandmarkTask(read_faces(drawn_folder), config)
    name = "backbone.trunk.stem.weight"
    assert torch.equal(started.model.state_dict()[name], task.model.state_dict()[name])
    note = started.notes[0].removeprefix(f"weights from {path}")
    assert re.fullmatch(r"; \d+ new: (\S+ \(\d+\), ){6}…", note)
    assert "memory.cell (4)" in note


def test_new_weights_are_summed_up_by_the_largest_modules_that_are_new(tmp_path: Path) -> None:
    path, larger = tmp_path / "trained.safetensors", TINY.model_copy(update={"refined": 4, "passes": 2})
    save_weights(TINY.build(IBUG68), TINY.spec(IBUG68), path)
    note = load_matching(larger.build(IBUG68), path)
    modules = (
        "second_pass (48), backbone.trunk.stages.5 (36), backbone.pyramid.blocks (18), backbone.pyramid.deepest (3)"
    )
    assert note == f"weights from {path}; 105 new: {modules}"


def test_a_restorer_starts_from_one_without_a_map_of_places(drawn_folder: Path, tmp_path: Path) -> None:
    sizes = GeneratorConfig(input_size=32, widths=(8, 8), dilations=(2,), head_channels=8)
    config = GanTrainConfig(
        model=sizes,
        schedule=ScheduleConfig(steps=1, batch=2),
        val_share=0.3,
        discriminator=DiscriminatorConfig(patch=16),
    )
    faces, path = read_faces(drawn_folder), tmp_path / "trained.safetensors"
    before = GanTask(faces, config)
    save_weights(before.model.get_submodule("generator"), before.spec, path)
    changes = {
        "init_from": path,
        "model": sizes.model_copy(update={"position_size": 4}),
        "schedule": ScheduleConfig(batch=2, seed=2),
    }
    after = GanTask(faces, config.model_copy(update=changes))
    name = "generator.head.weight"
    assert torch.equal(after.model.state_dict()[name], before.model.state_dict()[name])
    assert after.notes[-1] == f"weights from {path}; 1 new: position (1)"


def test_pfld_starts_from_a_run_of_its_own_and_not_from_the_mean_shape(drawn_folder: Path, tmp_path: Path) -> None:
    config = PfldTrainConfig(model=PfldConfig(width_mult=0.1), schedule=ScheduleConfig(batch=2), val_share=0.3)
    before, path = PfldTask(read_faces(drawn_folder), config), tmp_path / "trained.safetensors"
    torch.nn.init.ones_(before.model.get_parameter("points.bias"))
    save_weights(before.model, before.spec, path)
    after = PfldTask(read_faces(drawn_folder), config.model_copy(update={"init_from": path}))
    assert torch.equal(after.model.get_parameter("points.bias"), before.model.get_parameter("points.bias"))
    assert after.notes == (f"weights from {path}",)


def test_weights_of_which_nothing_fits_are_refused_by_name(trained: tuple[LandmarkTask, Path]) -> None:
    with pytest.raises(ValueError, match=r"trained\.safetensors: none of its weights fits"):
        load_matching(torch.nn.Linear(2, 2), trained[1])


def test_weights_of_another_version_are_one_line(drawn_folder: Path, tmp_path: Path) -> None:
    model = PlainConfig(input_size=64, dim=16, memory_dim=24, patch_spacings_unit=(0.1,), channels=8, width_mult=0.25)
    task = LandmarkTask(read_faces(drawn_folder), PlainTrainConfig(**dict(CONFIG) | {"model": model}))
    path = tmp_path / "old.safetensors"
    torch.nn.Module.__delattr__(task.model, "head")
    save_weights(task.model, task.spec, path)
    with pytest.raises(ValueError, match=r"old\.safetensors: its weights do not fit this version's 'plain'"):
        load_network(path)


def test_a_larger_network_starts_as_the_light_one_computes(
    drawn_folder: Path, trained: tuple[LandmarkTask, Path]
) -> None:
    task, path = trained
    larger = TINY.model_copy(update={"refined": 4, "passes": 2, "ellipse": True})
    started = LandmarkTask(read_faces(drawn_folder), CONFIG.model_copy(update={"model": larger, "init_from": path}))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before, after = (model.eval()(images).points_unit for model in (task.model, started.model))
    torch.testing.assert_close(after, before, rtol=0.02, atol=0.02)
