"""Training on drawn faces: it learns, it saves, it goes on where it stopped."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tiny_networks import TINY, tiny_config

from unveil.cli import main
from unveil.data.occlusion import OcclusionConfig, OcclusionSampler
from unveil.data.pack import read_faces
from unveil.data.splits import split_by_name
from unveil.models.checkpoints import load_network
from unveil.training.batches import BatchSampler
from unveil.training.config import LandmarkTrainConfig, ScheduleConfig
from unveil.training.landmarks import LandmarkTask
from unveil.training.presets import LANDMARK_PRESETS
from unveil.training.state import LaunchError
from unveil.training.task import Batch, Losses, Updater

FEW = ScheduleConfig(steps=6, batch=4, warmup_steps=1, decay_steps=2)


def config(**changes: object) -> LandmarkTrainConfig:
    base = tiny_config(schedule=FEW, validate_every=3, checkpoint_every=3, image_every=3)
    return base.model_copy(update=changes)


@pytest.fixture
def task(drawn_folder: Path) -> LandmarkTask:
    return LandmarkTask(read_faces(drawn_folder), config())


def test_a_face_trains_or_validates_and_never_both(task: LandmarkTask) -> None:
    training, validation = set(task.split.train), set(task.split.val)
    assert not training & validation
    assert training | validation == set(range(12))


def test_the_held_out_slice_does_not_depend_on_the_other_faces() -> None:
    names = [f"face {i}" for i in range(200)]
    held = {names[i] for i in split_by_name(names, 0.2).val}
    half = names[::2]
    assert {half[i] for i in split_by_name(half, 0.2).val} == held & set(half)


def test_draws_go_on_where_they_stopped() -> None:
    whole, resumed = (iter(BatchSampler(np.arange(10), ScheduleConfig(batch=4), start)) for start in (0, 3))
    expected = [next(whole) for _ in range(6)][3:]
    assert [next(resumed) for _ in range(3)] == expected


def test_the_rate_rises_stays_and_falls() -> None:
    schedule = ScheduleConfig(steps=100, warmup_steps=10, decay_steps=40)
    assert [schedule.lr_factor(step) for step in (0, 9, 50, 80, 100)] == pytest.approx([0.1, 1, 1, 0.5, 0])


def test_a_run_writes_weights_that_load(task: LandmarkTask, tmp_path: Path) -> None:
    outcome = task.fit(tmp_path)
    assert outcome.step == 6
    network, spec = load_network(tmp_path / "last.safetensors")
    assert spec.scheme == "ibug68"
    assert network(torch.zeros(1, 3, 64, 64)).points_unit.shape == (1, 68, 2)
    assert {"best.safetensors", "best.json", "checkpoint.pt", "config.json"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_a_run_may_have_another_precision_than_the_one_before(drawn_folder: Path, tmp_path: Path) -> None:
    faces = read_faces(drawn_folder)
    one = FEW.model_copy(update={"steps": 1, "warmup_steps": 0, "decay_steps": 0})
    for precision in ("float32", "bfloat16"):
        outcome = LandmarkTask(faces, config(schedule=one, precision=precision)).fit(tmp_path / precision)
        assert outcome.step == 1


def test_a_resumed_run_ends_like_one_that_was_never_stopped(drawn_folder: Path, tmp_path: Path) -> None:
    faces = read_faces(drawn_folder)
    LandmarkTask(faces, config()).fit(tmp_path / "whole")
    short = FEW.model_copy(update={"steps": 3, "decay_steps": 0})
    assert [FEW.lr_factor(step) for step in range(3)] == [short.lr_factor(step) for step in range(3)]
    LandmarkTask(faces, config(schedule=short)).fit(tmp_path / "parts")
    LandmarkTask(faces, config()).fit(tmp_path / "parts", resume=True)
    whole, parts = (load_network(tmp_path / run / "last.safetensors")[0] for run in ("whole", "parts"))
    for (name, a), b in zip(whole.named_parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4, msg=name)


def test_a_resumed_run_takes_a_new_weight_decay(drawn_folder: Path, tmp_path: Path) -> None:
    faces = read_faces(drawn_folder)
    LandmarkTask(faces, config(schedule=FEW.model_copy(update={"steps": 1}))).fit(tmp_path)
    seen: list[float] = []

    class Watching(LandmarkTask):
        def step(self, update: Updater, batch: Batch, step: int) -> Losses:
            seen.append(max(group["weight_decay"] for group in update.optimiser.param_groups))
            return super().step(update, batch, step)

    changed = FEW.model_copy(update={"steps": 2, "weight_decay": 0.5})
    Watching(faces, config(schedule=changed)).fit(tmp_path, resume=True)
    assert seen == [0.5]


def test_weights_that_are_no_numbers_do_not_replace_the_best_ones(
    task: LandmarkTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, calls = task.losses, list[int]()

    def diverging(*arguments: object) -> dict[str, torch.Tensor]:
        calls.append(1)
        found = losses(*arguments)  # type: ignore[arg-type]
        return found if len(calls) == 1 else {name: value * float("nan") for name, value in found.items()}

    monkeypatch.setattr(task, "losses", diverging)
    task.config = task.config.model_copy(update={"validate_every": 1, "checkpoint_every": 1})
    with pytest.raises(LaunchError, match=r"the loss of step 2 is not finite; lower --lr and --resume"):
        task.fit(tmp_path)
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 1


def test_ctrl_c_saves(task: LandmarkTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = task.losses

    def interrupt(*arguments: object) -> dict[str, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGINT)
        return losses(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(task, "losses", interrupt)
    outcome = task.fit(tmp_path)
    assert outcome.interrupted
    assert outcome.step == 1
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 1


def test_occluders_that_need_images_need_a_library() -> None:
    with pytest.raises(ValueError, match="template"):
        OcclusionSampler(OcclusionConfig(template=1.0))


def test_train_and_export_from_the_command_line(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack, run, model = tmp_path / "faces.npz", tmp_path / "run", tmp_path / "tiny"
    assert main(["prepare", "folder", "--root", str(drawn_folder), "--out", str(pack), "--side", "96"]) == 0
    sizes = "--input-size 64 --dim 16 --memory-dim 24 --part-dims 16 12 8 --patch-spacings-unit 0.1 --channels 8"
    few = "--width-mult 0.25 --no-imagenet --steps 2 --batch 2 --val-share 0.3 --threads 1"
    assert main(["train", "glomface-light", "--data", str(pack), "--out", str(run), *sizes.split(), *few.split()]) == 0
    assert "12 faces" in capsys.readouterr().out
    assert main(["export", str(run / "last.safetensors"), "--out", str(model)]) == 0
    assert capsys.readouterr().err == ""  # the exporter's warnings about torchvision are not for the user
    assert {path.name for path in model.iterdir()} == {"model.onnx", "model.safetensors", "config.json"}


def test_resuming_nothing_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["train", "glomface-light", "--data", str(tmp_path), "--out", str(tmp_path / "absent"), "--resume"]) == 2
    )
    assert "absent: no checkpoint to resume" in capsys.readouterr().err


def test_a_run_that_is_there_is_not_started_over(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint.pt").touch()
    train = ["train", "glomface-light", "--data", str(drawn_folder), "--out"]
    assert main([*train, str(tmp_path)]) == 2
    assert "holds a run; add --resume to continue it, or name another --out" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main([*train, str(tmp_path / "file/run")]) == 2
    assert "is a file, not a folder" in capsys.readouterr().err


def test_a_checkpoint_that_was_cut_short_is_one_line(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config().model_dump_json()
    (tmp_path / "config.json").write_text(settings)
    (tmp_path / "checkpoint.pt").write_bytes(b"PK")
    assert main(["train", "glomface-light", "--data", str(drawn_folder), "--out", str(tmp_path), "--resume"]) == 2
    assert "checkpoint.pt: not of this network or version" in capsys.readouterr().err


def test_settings_out_of_range_and_torn_ones_are_one_line(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "glomface-light", "--data", str(drawn_folder), "--out", str(tmp_path)]
    assert main([*train, "--clusters", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: --clusters 0: ")
    (tmp_path / "checkpoint.pt").touch()
    (tmp_path / "config.json").write_text("[]")
    assert main([*train, "--resume"]) == 2
    assert "config.json: not the settings of a run" in capsys.readouterr().err


def test_another_presets_run_is_not_resumed_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(LANDMARK_PRESETS["glomface-light"].model_dump_json())
    (tmp_path / "checkpoint.pt").touch()
    assert main(["train", "gan-ia", "--data", str(tmp_path), "--out", str(tmp_path), "--resume"]) == 2
    message = capsys.readouterr().err
    assert message.endswith("it is a run of 'glomface-light'; resume or copy it with a preset of that network\n")
    assert message.count("\n") == 1


def test_a_checkpoint_of_another_network_is_one_line_and_stays(drawn_folder: Path, tmp_path: Path) -> None:
    faces = read_faces(drawn_folder)
    LandmarkTask(faces, config()).fit(tmp_path)
    saved = (tmp_path / "checkpoint.pt").read_bytes()
    wider = LandmarkTask(faces, config(model=TINY.model_copy(update={"memory_dim": 32})))
    with pytest.raises(LaunchError, match=r"checkpoint\.pt: not of this network or version"):
        wider.fit(tmp_path, resume=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == saved
