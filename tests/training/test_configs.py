"""Settings of runs: schedules in proportion, epochs, files, the Python form, and what a run writes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tiny_networks import tiny_config

import unveil
from unveil.cli import main
from unveil.cli.train import parse
from unveil.data.augment import Example
from unveil.data.pack import read_faces
from unveil.data.splits import split_by_name
from unveil.data.synthetic import write_drawn_faces
from unveil.registry import PRESETS, override, read_config
from unveil.training.batches import BatchSampler
from unveil.training.config import LandmarkTrainConfig, ScheduleConfig, migrate_config
from unveil.training.landmarks import LandmarkTask

FEW = ScheduleConfig(steps=4, batch=4, warmup_steps=1, decay=0.5)
CONFIG = tiny_config(schedule=FEW, validate_every=2)


def with_steps(config: LandmarkTrainConfig, steps: int) -> LandmarkTrainConfig:
    changed = override(config, {"steps": steps})
    assert isinstance(changed, LandmarkTrainConfig)
    return changed


def test_a_shorter_schedule_has_the_same_shape() -> None:
    long, short = ScheduleConfig(steps=5600), ScheduleConfig(steps=560)
    for fraction in (0.0, 0.02, 0.5, 0.8, 0.95):
        assert short.lr_factor(round(560 * fraction)) == pytest.approx(long.lr_factor(round(5600 * fraction)), abs=0.04)
    assert ScheduleConfig(steps=300).lr_factor(100) == 1


def test_steps_may_be_given_instead_of_fractions() -> None:
    schedule = ScheduleConfig(steps=100, warmup_steps=10, decay_steps=40)
    assert [schedule.lr_factor(step) for step in (0, 9, 50, 80, 100)] == pytest.approx([0.1, 1, 1, 0.5, 0])


def test_epochs_are_passes_over_the_training_faces(drawn_folder: Path) -> None:
    schedule = FEW.model_copy(update={"epochs": 3.0})
    task = LandmarkTask(read_faces(drawn_folder), CONFIG.model_copy(update={"schedule": schedule}))
    assert len(task.split.train) == 7
    assert (task.config.schedule.steps, task.config.schedule.epochs) == (6, None)  # 3 x 7 faces in batches of 4
    assert schedule.for_faces(7, processes=2).steps == 3


def test_a_run_writes_metrics_with_the_learning_rate_and_repeats_none_after_a_resume(
    drawn_folder: Path, tmp_path: Path
) -> None:
    faces = read_faces(drawn_folder)
    LandmarkTask(faces, CONFIG).fit(tmp_path)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(record["step"], record["kind"]) for record in records] == [
        (2, "validation"),
        (4, "training"),
        (4, "validation"),
    ]
    assert records[1]["lr"] == pytest.approx(8e-4 * FEW.lr_factor(3))
    assert {"loss", "nme", "faces_per_second"} <= records[1].keys()
    assert {"nme_ocular_clean", "nme_ocular_occluded", "score"} <= records[0].keys()
    longer = CONFIG.model_copy(update={"schedule": FEW.model_copy(update={"steps": 6})})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "kind": "training"}\n{"step": ')  # of an attempt that was killed
    LandmarkTask(faces, longer).fit(tmp_path, resume=True)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 4, 6, 6]


def test_log_lines_in_a_file_are_whole_and_plain(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    LandmarkTask(read_faces(drawn_folder), CONFIG).fit(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 2/4", "step 4/4", "step 4/4"]
    assert "lr " in lines[1]
    assert "faces/s" in lines[1]
    assert all(line.isascii() and "\x1b" not in line for line in lines)


def test_a_runs_settings_start_another_run(drawn_folder: Path, tmp_path: Path) -> None:
    LandmarkTask(read_faces(drawn_folder), CONFIG).fit(tmp_path)
    file = tmp_path / "config.json"
    assert read_config(file) == CONFIG
    assert parse(["glomface-light", "--data", "x", "--config", str(file)]).config == CONFIG
    changed = parse(["--data", "x", "--config", str(file), "--steps", "9"]).config
    assert changed == override(CONFIG, {"steps": 9})


def test_settings_of_another_network_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(PRESETS["pfld"].model_dump_json())
    command = ["train", "glomface-light", "--data", "x", "--config", str(tmp_path / "config.json")]
    assert main(command) == 2
    assert "config.json: it is a run of 'pfld'" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "absent.json")]) == 2
    assert "absent.json: No such file or directory; name the config.json of a run" in capsys.readouterr().err


def test_settings_of_version_0_1_0_are_converted() -> None:
    old = {
        "model": {"network": "glomface-light", "size": 112, "whole": 128, "width": 1.0, "imagenet": False},
        "schedule": {"steps": 900, "rate": 1e-3, "warmup": 100, "decay": 400, "clip": 5.0, "shrink": 0.97},
        "augmentation": {"bend": 0.2, "occlude": 0.5},
        "occlusion": {"mask": 4.0, "held_out": ["n95"]},
        "spread_weight": 0.5,
        "boundary_weight": 10.0,
        "held_out_share": 0.1,
        "memory_rate": 0.05,
        "start": None,
        "picture_every": 500,
    }
    config = LandmarkTrainConfig.model_validate(migrate_config(old), strict=False)
    assert (config.model.input_size, config.imagenet, config.val_share) == (112, False, 0.1)
    assert config.schedule == ScheduleConfig(steps=900, lr=1e-3, warmup_steps=100, decay_steps=400, lr_gamma=0.97)
    assert (config.augment.warp, config.occlusion.occluded_fraction) == (0.2, 0.5)
    assert config.occlusion.exclude_templates == ("n95",)
    again = json.loads(config.model_dump_json())
    assert LandmarkTrainConfig.model_validate(migrate_config(again)) == config


def test_the_python_form_trains_with_a_users_own_augmentation(drawn_folder: Path, tmp_path: Path) -> None:
    def darken(example: Example, rng: np.random.Generator) -> Example:
        del rng
        return Example(np.zeros_like(example.image), example.points_unit, example.visible)

    result = unveil.train(CONFIG, drawn_folder, tmp_path, transform=darken, steps=2)
    assert (result.step, result.interrupted) == (2, False)
    task = LandmarkTask(read_faces(drawn_folder), CONFIG, transform=darken)
    assert float(next(task.batches(0))["images"].max()) == 0
    assert all(example.image.max() > 0 for example in task.validation["clean"])  # validation is as ever
    with pytest.raises(ValueError, match=r"unknown setting 'stepz' of 'glomface-light'"):
        unveil.train("glomface-light", drawn_folder, tmp_path, stepz=2)
    with pytest.raises(ValueError, match=r"batch 0: Input should be greater than or equal to 1"):
        unveil.train("glomface-light", drawn_folder, tmp_path, batch=0)
    with pytest.raises(ValueError, match=r"holds a run; give resume=True to continue it"):
        unveil.train(CONFIG, drawn_folder, tmp_path, steps=2)
    assert (
        unveil.train("glomface-light", drawn_folder, tmp_path, resume=True, steps=3).step == 3
    )  # with its own settings
    with pytest.raises(ValueError, match=r"no run to resume"):
        unveil.train("glomface-light", drawn_folder, tmp_path / "none", resume=True)


def test_a_set_smaller_than_the_validation_split_is_one_clear_line(tmp_path: Path) -> None:
    write_drawn_faces(tmp_path / "few", 2)
    faces = read_faces(tmp_path / "few")
    with pytest.raises(
        ValueError, match=r"few 2: 2 faces to train, but the validation split is empty; raise --val-s"
    ) as e:
        LandmarkTask(faces, CONFIG.model_copy(update={"val_share": 0.001}))
    fraction = float(re.findall(r"--val-share to (\S+)", str(e.value))[0])
    assert len(split_by_name(faces.names, fraction).val) >= 1
    with pytest.raises(ValueError, match=r"faces to train and . to validate, for a batch of 4; lower --batch to 1 or"):
        LandmarkTask(faces, CONFIG.model_copy(update={"val_share": 0.99}))


def test_a_compact_checkpoint_is_smaller_and_goes_on_nearly_alike(drawn_folder: Path, tmp_path: Path) -> None:
    faces, runs = read_faces(drawn_folder), {}
    for compact in (False, True):
        config = CONFIG.model_copy(update={"compact_checkpoint": compact, "precision": "float32"})
        run = tmp_path / str(compact)
        LandmarkTask(faces, with_steps(config, 3)).fit(run)
        runs[compact] = (run / "checkpoint.pt").stat().st_size
        LandmarkTask(faces, with_steps(config, 4)).fit(run, resume=True)
    assert runs[True] < 0.75 * runs[False]
    full, compact_run = (
        torch.load(tmp_path / run / "checkpoint.pt", weights_only=True)["model"] for run in ("False", "True")
    )
    for name, tensor in full.items():
        torch.testing.assert_close(compact_run[name], tensor, atol=2e-4, rtol=1e-2, msg=name)


def test_an_interrupted_run_has_weights_to_export(drawn_folder: Path, tmp_path: Path) -> None:
    import os
    import signal

    task = LandmarkTask(read_faces(drawn_folder), CONFIG)
    losses = task.losses

    def interrupt(*arguments: object) -> dict[str, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGINT)
        return losses(*arguments)  # type: ignore[arg-type]

    task.losses = interrupt  # type: ignore[method-assign, assignment]
    assert task.fit(tmp_path).interrupted
    assert (tmp_path / "best.safetensors").is_file()
    assert not (tmp_path / "best.json").exists()  # nobody has validated it


def test_a_tracker_that_is_not_installed_is_one_line(drawn_folder: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"tracker": ("mlflow",)})
    with pytest.raises(ValueError, match=r"--tracker mlflow: .*not installed"):
        LandmarkTask(read_faces(drawn_folder), config).fit(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_papers_batches_come_from_50_of_60_clusters_drawn_uniformly() -> None:
    rng = np.random.default_rng(0)
    clusters = np.concatenate([np.arange(60), np.zeros(540, np.int64)])  # one cluster holds nine tenths of the faces
    rng.shuffle(clusters)
    weights = np.full(600, 1 / 600)
    schedule = ScheduleConfig(batch=64)
    order = iter(BatchSampler(np.arange(600), schedule, 0, weights=weights, clusters=clusters, per_batch=50))
    counts = np.zeros(60)
    for _ in range(50):
        drawn = clusters[[index for _, index in next(order)]]
        assert len(np.unique(drawn)) == 50
        counts += np.bincount(drawn, minlength=60)
    assert counts.max() / counts.min() < 1.6
    preset = PRESETS["glomface"]
    assert isinstance(preset, LandmarkTrainConfig)
    assert (preset.clusters, preset.clusters_per_batch, preset.augment.scale) == (60, 50, (0.778, 1.130))
    assert (preset.shape_loss, preset.augment.shift > 0) == ("l2", True)
