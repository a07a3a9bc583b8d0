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

from unveil import registry
from unveil.baselines.drda import DRDA_PRESETS, DrdaConfig, DrdaTrainConfig
from unveil.cli import main
from unveil.cli.train import parse
from unveil.data.datasets.samples import DataSet, Sample
from unveil.data.occlusion import OcclusionConfig, OcclusionSampler
from unveil.data.pack import read_faces
from unveil.data.restoration_pairs import PairAugmentConfig, component_pair
from unveil.data.synthetic import drawn_face
from unveil.models.checkpoints import load_network
from unveil.models.generator import ComponentName, Generator, GeneratorConfig, GeneratorOutput
from unveil.schemes.ibug68 import COMPONENTS
from unveil.schemes.scheme import IBUG68
from unveil.training.adversarial import DISCRIMINATORS, GENERATOR, REFINER, AdversarialModel
from unveil.training.config import ScheduleConfig
from unveil.training.gan import GanTask
from unveil.training.gan_config import GAN_PRESETS, DiscriminatorConfig, GanTrainConfig, RestorationTrainConfig
from unveil.training.restoration import RestorationTask, make_pair, mean_metrics
from unveil.training.task import set_trainable

TINY = GeneratorConfig(input_size=32, widths=(8, 8), dilations=(2,), head_channels=8)
RESTORERS: dict[str, RestorationTrainConfig] = {**GAN_PRESETS, **DRDA_PRESETS}
VAL_SHARE = 0.22  # four of the twelve drawn faces
OCCLUSION = OcclusionConfig.of_kinds(polygon=1, sprite=1, coverage=(0.1, 0.5))


def config(steps: int = 6, **changes: Any) -> GanTrainConfig:
    fields = {
        "model": TINY,
        "schedule": ScheduleConfig(
            steps=steps, batch=2, lr=1e-2, warmup_steps=1, decay_steps=0, weight_decay=0.0, ema=0.5
        ),
        "generator_steps": 2,
        "discriminator_steps": 2,
        "discriminator": DiscriminatorConfig(patch=16, discriminator_width=1 / 16),
        "occlusion": OCCLUSION,
        "val_share": VAL_SHARE,
        "val_faces": 3,
        "threads": 1,
        "precision": "float32",
        "checkpoint_every": 1,
    }
    return GanTrainConfig.model_validate(fields | changes)


@pytest.fixture
def task(drawn_folder: Path) -> GanTask:
    return GanTask(read_faces(drawn_folder), config())


def test_the_generator_trains_first_then_the_discriminators_then_both(task: GanTask) -> None:
    assert [task.phases(step) for step in range(5)] == [
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
        GanTask(faces, config(steps)).fit(run, resume=steps > 1)
        states.append(torch.load(run / "checkpoint.pt", weights_only=True))
    return states


def test_a_run_stopped_in_every_phase_ends_like_one_that_was_never_stopped(
    stopped_after_every_step: list[dict[str, Any]], drawn_folder: Path, tmp_path: Path
) -> None:
    GanTask(read_faces(drawn_folder), config()).fit(tmp_path)
    whole = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    parts = stopped_after_every_step[-1]
    for kind in ("model", "average"):
        for name, weight in whole[kind].items():
            torch.testing.assert_close(parts[kind][name], weight, atol=1e-6, rtol=1e-5, msg=f"{kind} {name}")


def test_a_phase_changes_only_the_modules_that_train_in_it(
    stopped_after_every_step: list[dict[str, Any]], task: GanTask
) -> None:
    weights = {name for name, _ in task.model.named_parameters()}
    learned = [
        {name.split(".")[0] for name in weights if not torch.equal(before["model"][name], after["model"][name])}
        for before, after in pairwise(stopped_after_every_step)
    ]
    assert learned == [{GENERATOR}, {DISCRIMINATORS}, {DISCRIMINATORS}, *[{GENERATOR, DISCRIMINATORS}] * 2]


def test_norms_collect_statistics_only_in_their_own_phase(task: GanTask) -> None:
    norm = next(module for module in task.model.modules() if isinstance(module, nn.BatchNorm2d))
    batch = task.prepare(next(task.batches(0)), torch.device("cpu"))
    set_trainable(task.model, DISCRIMINATORS)
    task.phase_losses(task.model, dict(batch), DISCRIMINATORS, 2)
    assert int(norm.num_batches_tracked or 0) == 0
    set_trainable(task.model, GENERATOR)
    task.phase_losses(task.model, dict(batch), GENERATOR, 0)
    assert int(norm.num_batches_tracked or 0) == 1


def test_the_local_discriminator_gets_the_hole_and_all_of_a_bare_face(task: GanTask) -> None:
    assert isinstance(task.model, AdversarialModel)
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, 4:12, 8:16] = 1
    batch = {"clean": torch.zeros(2, 3, 32, 32), "mask": mask}
    patches = task.model.restored_patches(batch, torch.ones(2, 3, 32, 32))
    assert patches.shape == (2, 3, 16, 16)
    assert patches[0].sum() == mask[0].sum() * 3
    assert bool((patches[1] == 1).all())


def test_the_global_discriminator_gets_the_whole_image(task: GanTask) -> None:
    batch = task.prepare(next(task.batches(0)), torch.device("cpu"))
    restored = batch["clean"].clone().requires_grad_()
    assert isinstance(task.model, AdversarialModel)
    output = task.model.discriminators(restored, task.model.restored_patches(batch, batch["clean"]))
    output.global_logits.sum().backward()
    assert restored.grad is not None
    assert bool((restored.grad.abs().amax(dim=1) > 0).float().mean() > 0.99)


def test_a_run_writes_a_generator_that_loads_with_its_crop(drawn_folder: Path, tmp_path: Path) -> None:
    GanTask(read_faces(drawn_folder), config()).fit(tmp_path)
    network, spec = load_network(tmp_path / "best.safetensors")
    assert isinstance(network, Generator)
    assert (spec.network, spec.input_size, spec.margin, spec.component) == (
        "gan-ia",
        32,
        1.15,
        None,
    )
    found: GeneratorOutput = network(torch.rand(1, 3, 32, 32))
    assert found.composite(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    assert json.loads((tmp_path / "best.json").read_text()).keys() == {"psnr", "ssim", "error", "iou", "score", "step"}


def test_the_first_steps_may_see_half_the_side(drawn_folder: Path) -> None:
    task = GanTask(read_faces(drawn_folder), config(coarse_steps=1))
    batches = task.batches(0)
    assert [next(batches)["clean"].shape for _ in range(2)] == [(2, 16, 16, 3), (2, 32, 32, 3)]


def test_a_batch_depends_on_the_step_and_not_on_where_the_run_began(task: GanTask) -> None:
    whole, resumed = task.batches(0), task.batches(2)
    expected = [next(whole) for _ in range(3)][2]
    for name, tensor in next(resumed).items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("network", ["gan-ia", "drda"])
@pytest.mark.parametrize("component", [None, "mouth"])
def test_whole_faces_and_components_are_restored_by_either_network(
    network: str, component: str | None, drawn_folder: Path, tmp_path: Path
) -> None:
    faces, update = read_faces(drawn_folder), {"component": component}
    task: RestorationTask[Any]
    if network == "drda":
        fields = config(2).model_dump(include=set(RestorationTrainConfig.model_fields) - {"model"})
        model = DrdaConfig(input_size=16, hidden=(12, 6)).model_copy(update=update)
        task = RestorationTask(faces, DrdaTrainConfig(model=model, **fields))
    else:
        task = GanTask(faces, config(2, model=TINY.model_copy(update=update)))
    outcome = task.fit(tmp_path)
    assert np.isfinite(outcome.best["psnr"])
    assert ("iou" in outcome.best) == (network == "gan-ia")
    restored, spec = registry.load_network(tmp_path / "last.safetensors")
    assert spec.component == component
    assert spec.margin == (1.4 if component else 1.15)
    image = task.sample_image(restored, task.prepare(next(task.batches(0)), torch.device("cpu")))
    side = task.config.model.input_size
    assert (image.shape, image.dtype) == ((3, 4 * side, 2 * side), torch.uint8)


@pytest.mark.parametrize("component", [None, "mouth"])
def test_a_guided_generator_gets_the_landmark_map_in_every_phase(
    drawn_folder: Path, tmp_path: Path, component: ComponentName | None
) -> None:
    model = TINY.model_copy(update={"guided": True, "component": component})
    task = GanTask(read_faces(drawn_folder), config(5, model=model))
    task.fit(tmp_path / "run")
    assert load_network(tmp_path / "run" / "last.safetensors")[0].guided
    batch = task.prepare(next(iter(task.batches(0))), torch.device("cpu"))
    assert batch["occluded"].shape == (2, 4, 32, 32)
    assert batch["clean"].shape == (2, 3, 32, 32)
    assert all(pair.landmark_map is not None and pair.landmark_map.any() for pair in task.validation)
    untold = config(model=model, augment=PairAugmentConfig(unguided=1.0))
    pairs = GanTask(read_faces(drawn_folder), untold).batches(0)
    assert not next(iter(pairs))["occluded"][..., 3].any()


def test_a_two_stage_generator_trains_the_first_stage_alone_and_may_then_freeze_it(
    drawn_folder: Path, tmp_path: Path
) -> None:
    model = TINY.model_copy(update={"refine_channels": 8, "refine_blocks": 1, "mirror": True, "input_size": 64})
    settings = config(3, model=model, coarse_steps=2, generator_steps=3, freeze_first_stage=True)
    task = GanTask(read_faces(drawn_folder), settings)
    assert [task.phases(step) for step in (1, 2, 5)] == [(GENERATOR,), (REFINER,), (REFINER, DISCRIMINATORS)]
    GanTask(read_faces(drawn_folder), config(2, **settings.model_dump(include={"model", "coarse_steps"}))).fit(tmp_path)
    before = load_network(tmp_path / "last.safetensors")[0].state_dict()
    task.fit(tmp_path, resume=True)
    after = load_network(tmp_path / "last.safetensors")[0].state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "refiner" in moved
    batch = task.prepare(next(task.batches(2)), torch.device("cpu"))
    assert batch["occluded"].shape == (2, 3, 64, 64)


def test_feature_losses_hinge_and_r1_train_every_part(drawn_folder: Path, tmp_path: Path) -> None:
    extras = {"adversarial_loss": "hinge", "feature_weight": 0.1, "r1_weight": 1.0, "r1_every": 1}
    settings = DiscriminatorConfig(patch=16, discriminator_width=1 / 16, **extras)  # type: ignore[arg-type]
    phases = {"generator_steps": 0, "discriminator_steps": 0, "perceptual_weight": 0.1, "style_weight": 0.1}
    task = GanTask(read_faces(drawn_folder), config(1, discriminator=settings, **phases))
    before = {name: weight.clone() for name, weight in task.model.named_parameters()}
    task.fit(tmp_path)
    changed = {
        name.split(".")[0] for name, weight in task.model.named_parameters() if not torch.equal(weight, before[name])
    }
    assert changed == {GENERATOR, DISCRIMINATORS}
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"perceptual", "features", "d_global", "g_local"} <= {key for line in logged for key in line}


def test_components_have_the_names_that_settings_take() -> None:
    assert tuple(part.name for part in COMPONENTS) == get_args(ComponentName)
    assert GeneratorConfig(component="nose").part == COMPONENTS[3]


def test_a_components_window_is_cut_from_both_images_and_the_mask(task: GanTask) -> None:
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
    task = GanTask(read_faces(drawn_folder), config(model=eye, occlusion=small, val_faces=4))
    assert all(pair.mask.any() for pair in task.validation)


def test_held_out_faces_neither_train_nor_change(task: GanTask, drawn_folder: Path) -> None:
    assert not set(task.split.train) & set(task.split.val)
    assert (len(task.split.train), len(task.split.val), len(task.validation)) == (8, 4, 3)
    again = GanTask(read_faces(drawn_folder), config(generator_steps=1))
    for pair, same in zip(task.validation, again.validation, strict=True):
        assert pair.mask.any()
        np.testing.assert_array_equal(pair.occluded, same.occluded)


def test_a_kind_without_images_is_left_out_and_named(task: GanTask, drawn_folder: Path) -> None:
    assert task.config.occlusion.weights == {"polygon": 1.0}
    assert task.notes == ("without sprite: the library has no pictures of it",)
    with pytest.raises(ValueError, match="no occluder is left of template; give a --library"):
        GanTask(read_faces(drawn_folder), config(occlusion=OcclusionConfig.of_kinds(template=1)))


def test_templates_that_are_held_out_never_train(drawn_folder: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    anchors = dict(zip("abcdef", ([2, 20], [32, 2], [62, 20], [10, 50], [32, 62], [54, 50]), strict=True))
    names = ("surgical_blue", "N95", "own")
    for name in names:
        cv2.imwrite(str(masks / f"{name}.png"), np.full((64, 64, 4), 255, np.uint8))
    (masks / "anchors.json").write_text(json.dumps(dict.fromkeys(names, anchors)))
    task = GanTask(read_faces(drawn_folder), config(occlusion=OcclusionConfig.of_kinds(template=1, library=tmp_path)))
    assert [template.name for template in task.sampler.library.templates] == ["own"]


def test_sizes_that_no_phase_can_train_are_refused_before_the_first(drawn_folder: Path) -> None:
    faces = read_faces(drawn_folder)
    with pytest.raises(ValueError, match="--patch 64: larger than the face of --input-size 32; give 32 or less"):
        GanTask(faces, config(discriminator=DiscriminatorConfig(patch=64)))


def test_a_jaws_window_has_no_black_band_where_the_photograph_goes_on() -> None:
    _, points_px = drawn_face(np.random.default_rng(0), 160)
    white = np.full((480, 480, 3), 255, np.uint8)
    faces = DataSet("white", (Sample("white", Path("white.png"), points_px + 160, None, read=lambda _: white),), IBUG68)
    jaw = DrdaTrainConfig(model=DrdaConfig(input_size=16, hidden=(12, 6), component="jaw"))
    sampler = OcclusionSampler.of_kind("polygon")
    pair = make_pair(faces, 0, jaw, sampler, 16, np.random.default_rng(0), validation=True)
    assert (pair.clean == 255).all()


def test_too_few_faces_are_one_clear_line(drawn_folder: Path) -> None:
    many = config(val_share=0.95, schedule=ScheduleConfig(steps=2, batch=4))
    with pytest.raises(ValueError, match="for a batch of 4; lower --batch"):
        GanTask(read_faces(drawn_folder), many)


def test_a_perfect_image_has_no_error_and_doing_nothing_is_a_baseline(task: GanTask) -> None:
    perfect = mean_metrics(task.validation, [pair.clean for pair in task.validation])
    assert perfect == {"psnr": pytest.approx(100), "ssim": pytest.approx(1), "error": 0}
    before = task.baselines()
    assert before["occluded"]["psnr"] < before["inpainted"]["psnr"] < 100


@pytest.mark.parametrize("name", RESTORERS)
def test_a_presets_settings_come_back_from_json_and_from_the_command_line(name: str) -> None:
    preset = RESTORERS[name]
    assert type(preset).model_validate_json(preset.model_dump_json()) == preset
    assert parse([name, "--data", "x"]).config == preset
    changed = parse([name, "--data", "x", "--component", "left eye", "--mask", "1", "--steps", "9"]).config
    assert isinstance(changed, RestorationTrainConfig)
    assert changed.model == preset.model.model_copy(update={"component": "left eye"})
    assert (changed.occlusion.mask, changed.occlusion.sprite, changed.schedule.steps) == (1.0, 3.0, 9)


def test_a_restorer_is_trained_and_resumed_from_the_command_line(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    sizes = "--input-size 32 --widths 8 8 --dilations 2 --head-channels 8 --patch 16 --discriminator-width 0.1"
    sizes += " --mask 0 --template 0 --sunglasses 0"
    few = "--batch 2 --val-share 0.3 --val-faces 2 --threads 1 --generator-steps 1 --discriminator-steps 1"
    train = ["train", "gan-ia-light", "--data", str(drawn_folder), "--out", str(run)]
    assert main([*train, *sizes.split(), *few.split(), "--steps", "2"]) == 0
    captured = capsys.readouterr()
    assert "best psnr" in captured.out
    assert "without sprite: the library has no pictures of it" in captured.err
    assert "validation faces, inpainted: psnr" in captured.err
    assert main([*train, "--resume", "--steps", "3"]) == 0
    assert f"{run}: step 3" in capsys.readouterr().out
