"""PFLD and GlomFace trained on restored faces, and a restorer for each stage of a cascade."""

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
from unveil.models.checkpoints import NetworkSpec, weights_bytes
from unveil.registry import build_network, build_task, preset
from unveil.training.config import TrainConfig
from unveil.training.restored_views import ROOM, load_stage_restorers, of_stage

SIZES = {"widths": (8, 8), "dilations": (2,), "head_channels": 8, "attention": False}
LIGHT = {"input_size": 64, "dim": 16, "memory_dim": 24, "part_dims": (16, 12, 8), "channels": 8, "width_mult": 0.25}
MODELS: dict[str, dict[str, Any]] = {"glomface-light": LIGHT, "pfld": {"width_mult": 0.1}}


def save_restorer(path: Path, colour: float, masked: float) -> Path:
    """A generator that paints one grey and takes everything, or nothing, for an occluder."""
    spec = NetworkSpec("gan-ia", "ibug68", 32, 1.15, SIZES)
    network = build_network(spec)
    nn.init.zeros_(network.get_parameter("head.weight"))
    with torch.no_grad():
        network.get_parameter("head.bias").copy_(torch.tensor([colour, colour, colour, masked]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights_bytes(network, spec))
    return path


def config(name: str, restorer: Path | None) -> TrainConfig:
    chosen = preset(name)
    update: dict[str, Any] = {
        "model": chosen.model.model_copy(update=MODELS[name]),
        "schedule": chosen.schedule.model_copy(update={"batch": 4, "steps": 2}),
        "val_share": 0.3,
        "restorer": restorer,
    }
    return chosen.model_copy(update=update | ({"imagenet": False} if name == "glomface-light" else {}))


@pytest.mark.parametrize("name", MODELS)
def test_a_network_without_stages_trains_and_validates_on_restored_crops(
    name: str, drawn_folder: Path, tmp_path: Path
) -> None:
    faces = read_faces(drawn_folder)
    grey = save_restorer(tmp_path / "grey.safetensors", 0.0, 30.0)
    plain, task = (build_task(faces, config(name, restorer)) for restorer in (None, grey))
    size = task.config.model.input_size
    for condition, examples in task.validation.items():  # type: ignore[union-attr]
        for bare, seen in zip(plain.validation[condition], examples, strict=True):  # type: ignore[union-attr]
            assert seen.image.shape == (size, size, 3)
            assert (seen.image[size // 4 : -size // 4, size // 4 : -size // 4] == 128).all()
            np.testing.assert_allclose(seen.points_unit, bare.points_unit, atol=1e-5)
            if condition == "clean":  # an occluder depends on the size of the image
                np.testing.assert_array_equal(seen.visible, bare.visible)
    raw = next(task.batches(0))  # type: ignore[union-attr]
    assert raw["images"].shape[1] == round(ROOM * size)
    batch = task.prepare(raw, torch.device("cpu"))  # type: ignore[union-attr]
    assert batch["images"].shape[1:] == (3, size, size)
    assert (batch["images"][:, :, size * 3 // 8 : size * 5 // 8, size * 3 // 8 : size * 5 // 8] == 128 / 255).all()
    torch.testing.assert_close(batch["points_unit"], ROOM * raw["points_unit"])
    again = task.prepare(raw, torch.device("cpu"))  # type: ignore[union-attr]
    torch.testing.assert_close(again["images"], batch["images"])
    task.losses(task.model, batch)["loss"].backward()  # type: ignore[union-attr]


def test_views_without_an_occluder_keep_face_and_landmarks_together(drawn_folder: Path, tmp_path: Path) -> None:
    clear = save_restorer(tmp_path / "clear.safetensors", 0.0, -30.0)
    faces = read_faces(drawn_folder)
    plain, task = (build_task(faces, config("glomface-light", restorer)) for restorer in (None, clear))
    for bare, seen in zip(plain.validation["clean"], task.validation["clean"], strict=True):  # type: ignore[union-attr]
        assert np.abs(seen.image.astype(int) - bare.image).mean() < 4  # resampled twice


def test_every_stage_has_its_own_restorer(drawn_folder: Path, tmp_path: Path) -> None:
    for number, colour in ((1, -30.0), (2, 30.0)):
        save_restorer(tmp_path / f"stages/stage-{number}/last.safetensors", colour, 30.0)
    restorers = load_stage_restorers(tmp_path / "stages")
    assert [one.name for one in restorers] == ["stage-1", "stage-2"]
    assert [of_stage("ab", stage) for stage in range(3)] == ["a", "b", "b"]
    fields = {"model": {"input_size": 64, "hidden": (), "stages": 3}, "views": 1, "closed_form": True, "threads": 1}
    fields |= {"val_share": 0.3, "schedule": {"batch": 4}, "restorer": tmp_path / "stages"}
    task = CascadeTask(read_faces(drawn_folder), CascadeTrainConfig.model_validate(fields))
    views = task.val_views()["clean"]
    seen: list[int] = []

    def move(features: np.ndarray) -> np.ndarray:
        return np.zeros((len(features), 68, 2), np.float32)

    for stage in range(3):
        seen.append(int(views.crops[0, 32, 32, 0]))
        views = views.after(move, last=stage == 2)
    assert seen == [0, 255, 255]
    restored = [lambda crops, _, level=level: np.full_like(crops, level) for level in (10, 90)]
    levels: list[int] = []
    cascade(views.images[:1], views.shapes[:1], [move] * 3, [_noting(one, levels) for one in restored])
    assert levels == [10, 90, 90]
    (tmp_path / "stages/stage-1").rename(tmp_path / "stages/stage-3")
    with pytest.raises(ValueError, match="stage-1: no such folder; number the restorers"):
        load_stage_restorers(tmp_path / "stages")


def _noting(restore: Any, levels: list[int]) -> Any:
    def noting(crops: Any, shapes: Any) -> Any:
        found = restore(crops, shapes)
        levels.append(int(found.max()))
        return found

    return noting


@pytest.mark.parametrize("name", ["pfld", "glomface", "glomface-light", "drn"])
def test_the_restorer_is_an_option_of_every_regressor(name: str) -> None:
    given = parse([name, "--data", "x", "--restorer", "runs/gan-ia"]).config
    assert getattr(given, "restorer") == Path("runs/gan-ia")  # noqa: B009
