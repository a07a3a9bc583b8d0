"""DRN trained on faces that a restorer has restored: what its stages see, and where landmarks lie in it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from unveil.baselines.cascade_training import CascadeTask, CascadeTrainConfig
from unveil.baselines.shape_indexed import cascade
from unveil.cli.train import parse
from unveil.data.pack import read_faces
from unveil.models.checkpoints import NetworkSpec, build, weights_bytes
from unveil.registry import load_network
from unveil.training.config import ScheduleConfig
from unveil.training.restored_views import ROOM

SIZES = {"widths": (8, 8), "dilations": (2,), "head_channels": 8, "attention": False}


def config(**changes: Any) -> CascadeTrainConfig:
    schedule = ScheduleConfig(steps=2, batch=4, lr=1e-3, warmup_steps=1, decay_steps=0, ema=0.5)
    fields = {"model": {"input_size": 64, "hidden": (8,), "stages": 2}, "schedule": schedule, "views": 1}
    fields |= {"val_share": 0.3, "threads": 1, "precision": "float32"}
    return CascadeTrainConfig.model_validate(fields | changes)


def save_restorer(path: Path, covered: float) -> Path:
    """A generator that paints grey and takes everything, or nothing, for an occluder."""
    spec = NetworkSpec("gan-ia", "ibug68", 32, 1.15, SIZES)
    network = build(spec)
    nn.init.zeros_(network.get_parameter("head.weight"))
    with torch.no_grad():
        network.get_parameter("head.bias").copy_(torch.tensor([0.0, 0.0, 0.0, covered]))
    path.write_bytes(weights_bytes(network, spec))
    return path


@pytest.fixture
def sees_nothing(tmp_path: Path) -> Path:
    return save_restorer(tmp_path / "nothing.safetensors", -30.0)


@pytest.fixture
def sees_everything(tmp_path: Path) -> Path:
    return save_restorer(tmp_path / "everything.safetensors", 30.0)


def test_a_restorer_that_sees_no_occluder_changes_no_view(drawn_folder: Path, sees_nothing: Path) -> None:
    faces = read_faces(drawn_folder)
    plain, restored = CascadeTask(faces, config()), CascadeTask(faces, config(restorer=sees_nothing))
    for bare, seen in (
        (plain.val_views()["clean"], restored.val_views()["clean"]),
        (plain.val_views()["occluded"], restored.val_views()["occluded"]),
    ):
        assert (seen.images.shape[1], seen.crops.shape) == (round(64 * ROOM), bare.crops.shape)
        np.testing.assert_allclose(seen.ground_truth, bare.ground_truth, atol=1e-5)
    bare, seen = plain.val_views()["clean"], restored.val_views()["clean"]
    assert np.abs(seen.crops.astype(int) - bare.crops).mean() < 4  # resampled twice


def test_training_views_are_those_of_a_run_without_a_restorer_but_wider(drawn_folder: Path, sees_nothing: Path) -> None:
    faces, bare = (
        read_faces(drawn_folder),
        {
            "augment": {"colour": 0.0, "blur": 0.0, "shade": 0.0},
            "occlusion": {"occluded_fraction": 0.0},
        },
    )
    plain = CascadeTask(faces, config(**bare)).training_views()
    wide = CascadeTask(faces, config(**bare, restorer=sees_nothing)).training_views()
    np.testing.assert_allclose(wide.ground_truth, plain.ground_truth, atol=1e-4)
    assert np.abs(wide.crops.astype(int) - plain.crops).mean() < 4


def test_every_stage_sees_the_faces_restored_round_its_own_shape(
    drawn_folder: Path, sees_everything: Path, tmp_path: Path
) -> None:
    task = CascadeTask(read_faces(drawn_folder), config(restorer=sees_everything))
    views = task.val_views()["occluded"]
    assert (views.crops[:, 16:48, 16:48] == 128).all()
    assert not (views.crops == views.images[:, 13:77, 13:77]).all()
    task.fit(tmp_path / "run")
    network, _ = load_network(tmp_path / "run/best.safetensors")
    moved = views.after(lambda features: np.full((len(features), 68, 2), 5, np.float32), last=False)
    assert (moved.crops != views.crops).any()  # the window has gone with the shape
    found = cascade(views.images, views.shapes, network.as_stages(), task.restored.restorers)  # type: ignore[operator, union-attr]
    walked = views
    for number, stage in enumerate(network.as_stages(), start=1):  # type: ignore[operator]
        walked = walked.after(stage, last=number == 2)
        np.testing.assert_allclose(walked.shapes, found[number], atol=1e-4)


def test_the_restorer_is_a_setting_of_the_run(drawn_folder: Path, sees_nothing: Path) -> None:
    given = parse(["drn", "--data", "x", "--restorer", str(sees_nothing)]).config
    assert isinstance(given, CascadeTrainConfig)
    assert given.restorer == sees_nothing
    with pytest.raises(ValueError, match=r"gone\.safetensors: no such file"):
        CascadeTask(read_faces(drawn_folder), config(restorer=sees_nothing.with_name("gone.safetensors")))
