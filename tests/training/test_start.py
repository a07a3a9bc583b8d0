"""Starting from weights that are there: what fits is taken over, what does not is named."""

from pathlib import Path

import pytest
import torch

from unveil.baselines.pfld_training import PfldTask
from unveil.data.pack import read_faces
from unveil.models.checkpoints import load_network, start_from
from unveil.training.config import Alignment, Judges, PoseGuided, Restoring, Schedule
from unveil.training.gan import RestorationTask
from unveil.training.landmarks import AlignmentTask
from unveil.training.network_configs import GanIa, Light, Pfld, Plain
from unveil.training.trainer import save_weights

TINY = Light(
    size=64, dim=16, whole=24, part_widths=(16, 12, 8), spacings_unit=(0.1,), channels=8, width=0.25, imagenet=False
)
CONFIG = Alignment(model=TINY, schedule=Schedule(steps=1, batch=4), held_out_share=0.3, threads=1)


@pytest.fixture
def trained(drawn_folder: Path, tmp_path: Path) -> tuple[AlignmentTask, Path]:
    task = AlignmentTask(read_faces(drawn_folder), CONFIG)
    with torch.no_grad():
        for weight in task.model.parameters():
            weight.add_(0.1)
    save_weights(task.model, task.blueprint, tmp_path / "trained.safetensors")
    return task, tmp_path / "trained.safetensors"


def test_the_same_network_starts_as_it_was_saved(drawn_folder: Path, trained: tuple[AlignmentTask, Path]) -> None:
    task, path = trained
    started = AlignmentTask(read_faces(drawn_folder), CONFIG.model_copy(update={"start": path}))
    for name, value in task.model.state_dict().items():
        assert torch.equal(started.model.state_dict()[name], value), name
    assert started.notes == (f"starts from {path}",)


def test_a_wider_network_takes_over_what_fits_and_names_the_rest(
    drawn_folder: Path, trained: tuple[AlignmentTask, Path]
) -> None:
    task, path = trained
    config = CONFIG.model_copy(update={"start": path, "model": TINY.model_copy(update={"whole": 32})})
    started = AlignmentTask(read_faces(drawn_folder), config)
    name = "features.stem.weight"
    assert torch.equal(started.model.state_dict()[name], task.model.state_dict()[name])
    assert "but for" in started.notes[0]
    assert "recall.cell.weight_ih" in started.notes[0]


def test_a_restorer_starts_from_one_without_a_map_of_places(drawn_folder: Path, tmp_path: Path) -> None:
    sizes = GanIa(size=32, widths=(8, 8), dilations=(2,), last=8)
    config = Restoring(model=sizes, schedule=Schedule(steps=1, batch=2), held_out_faces=2, judges=Judges(patch=16))
    faces, path = read_faces(drawn_folder), tmp_path / "trained.safetensors"
    before = RestorationTask(faces, config)
    save_weights(before.model.get_submodule("generator"), before.blueprint, path)
    changes = {"start": path, "model": sizes.model_copy(update={"places": 4}), "schedule": Schedule(batch=2, seed=2)}
    after = RestorationTask(faces, config.model_copy(update=changes))
    name = "generator.to_picture.weight"
    assert torch.equal(after.model.state_dict()[name], before.model.state_dict()[name])
    assert after.notes[-1] == f"starts from {path}, but for places.map"


def test_pfld_starts_from_a_run_of_its_own_and_not_from_the_mean_shape(drawn_folder: Path, tmp_path: Path) -> None:
    config = PoseGuided(model=Pfld(width=0.1), schedule=Schedule(batch=2), held_out_share=0.3)
    before, path = PfldTask(read_faces(drawn_folder), config), tmp_path / "trained.safetensors"
    torch.nn.init.ones_(before.model.get_parameter("points.bias"))
    save_weights(before.model, before.blueprint, path)
    after = PfldTask(read_faces(drawn_folder), config.model_copy(update={"start": path}))
    assert torch.equal(after.model.get_parameter("points.bias"), before.model.get_parameter("points.bias"))
    assert after.notes == (f"starts from {path}",)


def test_weights_of_which_nothing_fits_are_refused_by_name(trained: tuple[AlignmentTask, Path]) -> None:
    with pytest.raises(ValueError, match=r"trained\.safetensors: none of its weights fits"):
        start_from(torch.nn.Linear(2, 2), trained[1])


def test_weights_of_another_version_are_one_line(drawn_folder: Path, tmp_path: Path) -> None:
    model = Plain(size=64, dim=16, whole=24, spacings_unit=(0.1,), channels=8, width=0.25, imagenet=False)
    task = AlignmentTask(read_faces(drawn_folder), CONFIG.model_copy(update={"model": model}))
    path = tmp_path / "old.safetensors"
    torch.nn.Module.__delattr__(task.model, "decide")
    save_weights(task.model, task.blueprint, path)
    with pytest.raises(ValueError, match=r"old\.safetensors: its weights are not of this version's 'plain'"):
        load_network(path)
