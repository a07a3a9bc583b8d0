"""Training to restore, on drawn faces: its phases, its turns, its going on, its figures."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from unveil.cli import main
from unveil.cli.train import parse
from unveil.data.datasets.samples import DataSet, Sample
from unveil.data.occlusion import OcclusionConfig, OcclusionSampler
from unveil.data.pack import read_faces
from unveil.data.restoration_pairs import Holes, component_pair
from unveil.data.synthetic import drawn_face
from unveil.models.checkpoints import load_network
from unveil.models.generator import Generator, Restoration
from unveil.schemes.ibug68 import COMPONENTS
from unveil.schemes.scheme import IBUG68
from unveil.training.adversarial import DISCRIMINATORS, GENERATOR, Adversaries
from unveil.training.config import Judges, Restoring, Schedule
from unveil.training.gan import RestorationTask, make_pair, mean_figures
from unveil.training.network_configs import ComponentName, Drda, GanIa
from unveil.training.presets import RESTORERS
from unveil.training.trainer import fit, let_learn

TINY = GanIa(size=32, widths=(8, 8), dilations=(2,), last=8)
OCCLUSION = OcclusionConfig.of_kinds(polygon=1, sprite=1, coverage=(0.1, 0.5))


def config(steps: int = 6, **changes: Any) -> Restoring:
    fields = {
        "model": TINY,
        "schedule": Schedule(steps=steps, batch=2, rate=1e-2, warmup=1, decay=0, weight_decay=0.0, ema=0.5),
        "generator_steps": 2,
        "discriminator_steps": 2,
        "judges": Judges(patch=16, judge_width=1 / 16),
        "occlusion": OCCLUSION,
        "held_out_faces": 4,
        "validated_faces": 3,
        "threads": 1,
        "precision": "float32",
        "checkpoint_every": 1,
    }
    return Restoring.model_validate(fields | changes)


@pytest.fixture
def task(drawn_folder: Path) -> RestorationTask:
    return RestorationTask(read_faces(drawn_folder), config())


def test_the_generator_learns_first_then_the_judges_then_both(task: RestorationTask) -> None:
    assert [task.turns(step) for step in range(5)] == [
        (GENERATOR,),
        (GENERATOR,),
        (DISCRIMINATORS,),
        (DISCRIMINATORS,),
        (GENERATOR, DISCRIMINATORS),
    ]


@pytest.fixture(scope="module")
def stopped_after_every_step(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The checkpoints of a run that was stopped and resumed after each of its six steps."""
    run, faces = tmp_path_factory.mktemp("stopped"), read_faces(drawn_folder)
    states = []
    for steps in range(1, 7):
        fit(RestorationTask(faces, config(steps)), run, resume=steps > 1)
        states.append(torch.load(run / "checkpoint.pt", weights_only=True))
    return states


def test_a_run_stopped_in_every_phase_ends_like_one_that_was_never_stopped(
    stopped_after_every_step: list[dict[str, Any]], drawn_folder: Path, tmp_path: Path
) -> None:
    fit(RestorationTask(read_faces(drawn_folder), config()), tmp_path)
    whole = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    parts = stopped_after_every_step[-1]
    for kind in ("model", "average"):
        for name, weight in whole[kind].items():
            torch.testing.assert_close(parts[kind][name], weight, atol=1e-6, rtol=1e-5, msg=f"{kind} {name}")


def test_a_phase_changes_only_what_takes_turns_in_it(
    stopped_after_every_step: list[dict[str, Any]], task: RestorationTask
) -> None:
    weights = {name for name, _ in task.model.named_parameters()}
    learned = [
        {name.split(".")[0] for name in weights if not torch.equal(before["model"][name], after["model"][name])}
        for before, after in pairwise(stopped_after_every_step)
    ]
    assert learned == [{GENERATOR}, {DISCRIMINATORS}, {DISCRIMINATORS}, *[{GENERATOR, DISCRIMINATORS}] * 2]


def test_norms_count_only_in_their_own_turn(task: RestorationTask) -> None:
    norm = next(module for module in task.model.modules() if isinstance(module, nn.BatchNorm2d))
    batch = task.prepare(next(task.batches(0)), torch.device("cpu"))
    let_learn(task.model, DISCRIMINATORS)
    task.losses(task.model, dict(batch), DISCRIMINATORS, 2)
    assert int(norm.num_batches_tracked or 0) == 0
    let_learn(task.model, GENERATOR)
    task.losses(task.model, dict(batch), GENERATOR, 0)
    assert int(norm.num_batches_tracked or 0) == 1


def test_judges_see_the_photograph_outside_the_hole_and_all_of_a_bare_face(task: RestorationTask) -> None:
    assert isinstance(task.model, Adversaries)
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, 4:12, 8:16] = 1
    batch = {"clean": torch.zeros(2, 3, 32, 32), "mask": mask}
    filled, patches = task.model.filled(batch, torch.ones(2, 3, 32, 32))
    torch.testing.assert_close(filled[0], mask[0].expand(3, -1, -1))
    assert bool((filled[1] == 1).all())
    assert patches[0].sum() == mask[0].sum() * 3


def test_a_run_writes_a_generator_that_loads_with_its_crop(drawn_folder: Path, tmp_path: Path) -> None:
    fit(RestorationTask(read_faces(drawn_folder), config()), tmp_path)
    network, blueprint = load_network(tmp_path / "best.safetensors")
    assert isinstance(network, Generator)
    assert (blueprint.network, blueprint.input_size, blueprint.margin, blueprint.component) == (
        "gan-ia",
        32,
        1.15,
        None,
    )
    found: Restoration = network(torch.rand(1, 3, 32, 32))
    assert found.composed(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    assert json.loads((tmp_path / "best.json").read_text()).keys() == {"psnr", "ssim", "error", "iou", "score", "step"}


def test_the_first_steps_may_see_half_the_side(drawn_folder: Path) -> None:
    task = RestorationTask(read_faces(drawn_folder), config(coarse_steps=1))
    batches = task.batches(0)
    assert [next(batches)["clean"].shape for _ in range(2)] == [(2, 16, 16, 3), (2, 32, 32, 3)]


def test_a_batch_depends_on_the_step_and_not_on_where_the_run_began(task: RestorationTask) -> None:
    whole, resumed = task.batches(0), task.batches(2)
    expected = [next(whole) for _ in range(3)][2]
    for name, tensor in next(resumed).items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("network", ["gan-ia", "drda"])
@pytest.mark.parametrize("component", [None, "mouth"])
def test_whole_faces_and_components_are_restored_by_either_network(
    network: str, component: str | None, drawn_folder: Path, tmp_path: Path
) -> None:
    sizes: dict[str, Any] = {**TINY.model_dump(), "component": component}
    if network == "drda":
        sizes = {"network": "drda", "size": 16, "hidden": (12, 6), "component": component}
    task = RestorationTask(read_faces(drawn_folder), config(2, model=sizes, generator_steps=2))
    outcome = fit(task, tmp_path)
    assert np.isfinite(outcome.best["psnr"])
    assert ("iou" in outcome.best) == (network == "gan-ia")
    restored, blueprint = load_network(tmp_path / "last.safetensors")
    assert blueprint.component == component
    assert blueprint.margin == (1.4 if component else 1.15)
    picture = task.picture(restored, task.prepare(next(task.batches(0)), torch.device("cpu")))
    side = sizes["size"]
    assert (picture.shape, picture.dtype) == ((3, 4 * side, 2 * side), torch.uint8)


@pytest.mark.parametrize("component", [None, "mouth"])
def test_a_guided_generator_is_told_the_landmarks_in_every_phase(
    drawn_folder: Path, tmp_path: Path, component: ComponentName | None
) -> None:
    model = TINY.model_copy(update={"guided": True, "component": component})
    task = RestorationTask(read_faces(drawn_folder), config(5, model=model))
    fit(task, tmp_path / "run")
    assert load_network(tmp_path / "run" / "last.safetensors")[0].guided
    batch = task.prepare(next(iter(task.batches(0))), torch.device("cpu"))
    assert batch["occluded"].shape == (2, 4, 32, 32)
    assert batch["clean"].shape == (2, 3, 32, 32)
    assert all(pair.guide is not None and pair.guide.any() for pair in task.validation)
    untold = config(model=model, holes=Holes(unguided=1.0))
    pairs = RestorationTask(read_faces(drawn_folder), untold).batches(0)
    assert not next(iter(pairs))["occluded"][..., 3].any()


def test_components_have_the_names_that_settings_take() -> None:
    assert tuple(part.name for part in COMPONENTS) == get_args(ComponentName)
    assert GanIa(component="nose").part == COMPONENTS[3]


def test_a_components_window_is_cut_from_both_pictures_and_the_mask(task: RestorationTask) -> None:
    pair = task.validation[0]
    mouth = COMPONENTS[-1]
    window = component_pair(pair, mouth, 16)
    assert window.clean.shape == window.occluded.shape == (16, 16, 3)
    assert window.mask.shape == (16, 16)
    assert np.abs(window.points_unit[list(mouth.points)]).max() < 1
    whole = component_pair(pair, COMPONENTS[0], 32)
    assert abs(float(whole.mask.mean()) - float(pair.mask.mean())) < 0.35


def test_a_component_that_was_missed_is_covered_again(drawn_folder: Path) -> None:
    eye = TINY.model_copy(update={"component": "left eye"})
    small = OcclusionConfig.of_kinds(polygon=1, coverage=(0.1, 0.12))
    task = RestorationTask(read_faces(drawn_folder), config(model=eye, occlusion=small, validated_faces=4))
    assert all(pair.mask.any() for pair in task.validation)


def test_held_out_faces_neither_train_nor_change(task: RestorationTask, drawn_folder: Path) -> None:
    assert not set(task.slices.training) & set(task.slices.validation)
    assert (len(task.slices.training), len(task.slices.validation), len(task.validation)) == (8, 4, 3)
    again = RestorationTask(read_faces(drawn_folder), config(generator_steps=1))
    for pair, same in zip(task.validation, again.validation, strict=True):
        assert pair.mask.any()
        np.testing.assert_array_equal(pair.occluded, same.occluded)


def test_a_kind_without_pictures_is_left_out_and_named(task: RestorationTask, drawn_folder: Path) -> None:
    assert task.config.occlusion.weights == {"polygon": 1.0}
    assert task.notes == ("without sprite: no library has pictures of it",)
    with pytest.raises(ValueError, match="no occluder is left of template; give a --library"):
        RestorationTask(read_faces(drawn_folder), config(occlusion=OcclusionConfig.of_kinds(template=1)))


def test_templates_that_are_held_out_never_train(drawn_folder: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    anchors = dict(zip("abcdef", ([2, 20], [32, 2], [62, 20], [10, 50], [32, 62], [54, 50]), strict=True))
    names = ("surgical_blue", "N95", "own")
    for name in names:
        cv2.imwrite(str(masks / f"{name}.png"), np.full((64, 64, 4), 255, np.uint8))
    (masks / "anchors.json").write_text(json.dumps(dict.fromkeys(names, anchors)))
    task = RestorationTask(
        read_faces(drawn_folder), config(occlusion=OcclusionConfig.of_kinds(template=1, library=tmp_path))
    )
    assert [template.name for template in task.sampler.library.templates] == ["own"]


def test_sizes_that_no_phase_can_train_are_refused_before_the_first(drawn_folder: Path) -> None:
    faces = read_faces(drawn_folder)
    with pytest.raises(ValueError, match="--patch 64: larger than the face of --size 32; give 32 or less"):
        RestorationTask(faces, config(judges=Judges(patch=64)))
    with pytest.raises(ValueError, match="--coarse-steps 1: an autoencoder has one size; leave it out"):
        RestorationTask(faces, config(model=Drda(size=16, hidden=(12, 6)), coarse_steps=1))


def test_a_jaws_window_has_no_black_band_where_the_photograph_goes_on() -> None:
    _, points_px = drawn_face(np.random.default_rng(0), 160)
    white = np.full((480, 480, 3), 255, np.uint8)
    faces = DataSet("white", (Sample("white", Path("white.png"), points_px + 160, None, read=lambda _: white),), IBUG68)
    jaw = config(model=Drda(size=16, hidden=(12, 6), component="jaw"))
    pair = make_pair(faces, 0, jaw, OcclusionSampler.of_kind("polygon"), 16, np.random.default_rng(0), still=True)
    assert (pair.clean == 255).all()


def test_too_few_faces_are_one_clear_line(drawn_folder: Path) -> None:
    many = config(held_out_faces=9, schedule=Schedule(steps=2, batch=4))
    with pytest.raises(ValueError, match="3 faces to train and 9 held out, for a batch of 4; lower --batch"):
        RestorationTask(read_faces(drawn_folder), many)


def test_a_perfect_picture_has_no_error_and_doing_nothing_is_a_baseline(task: RestorationTask) -> None:
    perfect = mean_figures(task.validation, [pair.clean for pair in task.validation])
    assert perfect == {"psnr": pytest.approx(100), "ssim": pytest.approx(1), "error": 0}
    before = task.baselines()
    assert before["occluded"]["psnr"] < before["inpainted"]["psnr"] < 100


@pytest.mark.parametrize("name", RESTORERS)
def test_a_presets_settings_come_back_from_json_and_from_the_command_line(name: str) -> None:
    preset = RESTORERS[name]
    assert Restoring.model_validate_json(preset.model_dump_json()) == preset
    assert parse([name, "--data", "x"]).config == preset
    changed = parse([name, "--data", "x", "--component", "left eye", "--mask", "1", "--steps", "9"]).config
    assert isinstance(changed, Restoring)
    assert changed.model == preset.model.model_copy(update={"component": "left eye"})
    assert (changed.occlusion.mask, changed.occlusion.sprite, changed.schedule.steps) == (1.0, 3.0, 9)
    assert isinstance(changed.model, GanIa | Drda)


def test_a_restorer_is_trained_and_resumed_from_the_command_line(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    sizes = "--size 32 --widths 8 8 --dilations 2 --last 8 --patch 16 --judge-width 0.1 --kinds polygon 1 sprite 1"
    few = "--batch 2 --held-out-faces 4 --validated-faces 2 --threads 1 --generator-steps 1 --discriminator-steps 1"
    train = ["train", "gan-ia-light", "--data", str(drawn_folder), "--out", str(run)]
    assert main([*train, *sizes.split(), *few.split(), "--steps", "2"]) == 0
    heard = capsys.readouterr()
    assert "best psnr" in heard.out
    assert "without sprite: no library has pictures of it" in heard.err
    assert "held-out faces as they are inpainted: psnr" in heard.err
    assert main([*train, "--resume", "--steps", "3"]) == 0
    assert f"{run}: step 3" in capsys.readouterr().out
