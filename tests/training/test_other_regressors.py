"""Training PFLD, DRN and SDM on drawn faces."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unveil.baselines.cascade_training import CASCADE_PRESETS, CascadeTask, CascadeTrainConfig, StageTask
from unveil.baselines.drn import Drn, RegressionStage
from unveil.baselines.pfld_loss import CLASSES
from unveil.baselines.pfld_training import PFLD_PRESETS, PfldTask, PfldTrainConfig
from unveil.baselines.sdm import LinearStage
from unveil.baselines.shape_indexed import cascade, sift_at
from unveil.cli import main
from unveil.cli.train import parse
from unveil.data.pack import read_faces
from unveil.registry import PRESETS, load_network
from unveil.training.config import ScheduleConfig

FEW: dict[str, Any] = {"val_share": 0.3, "threads": 1, "precision": "float32"}


def posed(**changes: Any) -> PfldTrainConfig:
    schedule = ScheduleConfig(steps=2, batch=2, warmup_steps=1, decay_steps=0, ema=0.5)
    return PfldTrainConfig.model_validate({"model": {"width_mult": 0.1}, "schedule": schedule, **FEW, **changes})


def cascaded(**changes: Any) -> CascadeTrainConfig:
    schedule = ScheduleConfig(steps=3, batch=4, lr=1e-3, warmup_steps=1, decay_steps=0, ema=0.5)
    sizes = {"input_size": 64, "hidden": (12, 8), "stages": 2}
    return CascadeTrainConfig.model_validate({"model": sizes, "schedule": schedule, "views": 1, **FEW, **changes})


@pytest.mark.parametrize("name", [*CASCADE_PRESETS, *PFLD_PRESETS])
def test_a_presets_settings_come_back_from_json_and_from_the_command_line(name: str) -> None:
    preset = PRESETS[name]
    assert type(preset).model_validate_json(preset.model_dump_json()) == preset
    assert parse([name, "--data", "x"]).config == preset
    changed = parse([name, "--data", "x", "--steps", "7", "--mask", "0"]).config
    assert changed.schedule.steps == 7


def test_pfld_learns_landmarks_and_loads(drawn_folder: Path, tmp_path: Path) -> None:
    task = PfldTask(read_faces(drawn_folder), posed())
    outcome = task.fit(tmp_path)
    assert {"nme_ocular_clean", "nme_ocular_occluded", "score"} < outcome.best.keys()
    network, spec = load_network(tmp_path / "last.safetensors")
    assert (spec.network, spec.input_size, dict(spec.sizes)) == ("pfld", 112, {"width_mult": 0.1})
    assert network(torch.zeros(1, 3, 112, 112)).points_unit.shape == (1, 68, 2)
    image = task.sample_image(network, task.prepare(next(task.batches(0)), torch.device("cpu")))
    assert image.shape == (3, 112, 224)


def test_pflds_faces_come_with_angles_and_classes_and_rare_ones_weigh_more(drawn_folder: Path) -> None:
    task = PfldTask(read_faces(drawn_folder), posed())
    batch = next(task.batches(0))
    assert (batch["angles"].shape, batch["classes"].shape) == ((2, 3), (2, len(CLASSES)))
    assert float(batch["angles"].abs().max()) < np.pi
    assert task.class_shares.shape == (len(CLASSES),)
    assert 0 < float(task.class_shares[CLASSES.index("occluded")]) < 1
    bare = PfldTask(read_faces(drawn_folder), posed(occlusion={"occluded_fraction": 0.0}))
    assert float(bare.class_shares[CLASSES.index("occluded")]) == 0


def test_every_stage_of_a_cascade_is_trained_where_the_last_one_left_off(drawn_folder: Path, tmp_path: Path) -> None:
    task = CascadeTask(read_faces(drawn_folder), cascaded())
    outcome = task.fit(tmp_path)
    network, spec = load_network(tmp_path / "best.safetensors")
    assert isinstance(network, Drn)
    assert (outcome.step, len(network.stages), spec.sizes["stages"]) == (6, 2, 2)
    held = task.val_views()["clean"]
    shapes = cascade(held.crops, held.shapes, network.as_stages())
    walked = held
    for number, stage in enumerate(network.as_stages(), start=1):
        walked = walked.after(stage, last=number == 2)
        np.testing.assert_allclose(walked.shapes, shapes[number], atol=1e-5)
    assert outcome.best["nme_ocular_clean"] == pytest.approx(task.metrics({"clean": walked})["nme_ocular_clean"])


def test_a_cascade_resumed_in_its_second_stage_ends_like_one_that_was_never_stopped(
    drawn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = read_faces(drawn_folder)
    CascadeTask(faces, cascaded()).fit(tmp_path / "whole")
    losses = StageTask.losses
    calls: list[None] = []

    def interrupt(*arguments: Any) -> dict[str, torch.Tensor]:
        calls.append(None)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return losses(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(StageTask, "losses", interrupt)
        outcome = CascadeTask(faces, cascaded()).fit(tmp_path / "parts")
    assert (outcome.interrupted, outcome.step) == (True, 4)
    assert not CascadeTask(faces, cascaded()).fit(tmp_path / "parts", resume=True).interrupted
    whole, parts = (load_network(tmp_path / run / "best.safetensors")[0] for run in ("whole", "parts"))
    for (name, one), other in zip(whole.named_parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5, msg=name)


def test_descriptors_lose_nothing_in_half_precision(drawn_folder: Path) -> None:
    task = CascadeTask(read_faces(drawn_folder), cascaded())
    held = task.val_views()["clean"]
    np.testing.assert_array_equal(held.features, sift_at(held.crops, held.shapes))


def test_a_linear_stage_equals_its_closed_form() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((6, 68, 128)).astype(np.float32)
    linear = LinearStage.fit(features, rng.normal(size=(6, 68, 2)).astype(np.float32))
    stage = RegressionStage(68, ())
    stage.set_linear(linear)
    with torch.no_grad():
        np.testing.assert_allclose(stage(torch.from_numpy(features)).numpy(), linear(features), atol=1e-4)
    with pytest.raises(ValueError, match="hidden layers has no closed form"):
        RegressionStage(68, (8,)).set_linear(linear)


def test_sdm_is_solved_from_the_command_line_and_brings_shapes_nearer(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = "--val-share 0.3 --views 4 --input-size 64 --stages 2 --ridge 1 --batch 4"
    assert main(["train", "sdm", "--data", str(drawn_folder), "--out", str(tmp_path), *few.split()]) == 0
    assert "best nme_ocular_clean" in capsys.readouterr().out
    network, _ = load_network(tmp_path / "best.safetensors")
    assert isinstance(network, Drn)
    task = CascadeTask(read_faces(drawn_folder), cascaded(views=4))
    views = task.training_views()
    errors = [
        np.abs(shape - views.ground_truth).mean() for shape in cascade(views.crops, views.shapes, network.as_stages())
    ]
    assert errors[2] < errors[1] < 0.8 * errors[0]


def test_a_cascade_that_cannot_be_solved_is_one_clear_line(drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = read_faces(drawn_folder)
    with pytest.raises(ValueError, match="--closed-form solves linear stages"):
        CascadeTask(faces, cascaded(closed_form=True))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="a cascade is trained in one process"):
        CascadeTask(faces, cascaded())
