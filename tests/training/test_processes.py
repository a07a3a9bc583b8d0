"""Two processes with a batch each train like one with both batches; more than the faces allow are one line."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from tests.tiny_networks import TINY

from unveil.cli import main
from unveil.data.occlusion import OcclusionConfig
from unveil.data.pack import read_faces
from unveil.models.checkpoints import load_network
from unveil.models.glomface import GlomFaceConfig
from unveil.models.network import NetworkConfig
from unveil.training.config import LandmarkTrainConfig, ScheduleConfig
from unveil.training.landmarks import LandmarkTask

GLOMFACE = GlomFaceConfig(
    input_size=64,
    iterations=2,
    patch_channels=(4, 6, 8),
    memory_dim=24,
    mlp_dims=(24, 16, 12),
    part_dims=(16, 12, 8),
    frozen_norm=True,
)
TRAIN = """
import sys, warnings
from pathlib import Path
from unveil.data.pack import read_faces
from unveil.training.landmarks import LandmarkTask
from unveil.training.config import LandmarkTrainConfig
folder, config, out = sys.argv[1:]
LandmarkTask(read_faces(Path(folder)), LandmarkTrainConfig.model_validate_json(config)).fit(Path(out))
"""


def config(model: NetworkConfig, batch: int) -> LandmarkTrainConfig:
    return LandmarkTrainConfig.model_validate(
        {
            "model": model,
            "schedule": ScheduleConfig(steps=2, batch=batch, warmup_steps=1, decay_steps=0),
            "occlusion": OcclusionConfig(mask=0, sunglasses=0),
            "imagenet": False,
            "val_share": 0.3,
            "threads": 1,
            "precision": "float32",
        }
    )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize("model", [TINY, GLOMFACE], ids=lambda model: model.network)
def test_two_processes_train_like_one_with_a_doubled_batch(
    model: NetworkConfig, drawn_folder: Path, tmp_path: Path
) -> None:
    together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-c",
        TRAIN,
        str(drawn_folder),
        config(model, 2).model_dump_json(),
        str(tmp_path / "two"),
    ]
    processes = [
        subprocess.Popen(command, env={**os.environ, **together, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"
    ]
    try:
        LandmarkTask(read_faces(drawn_folder), config(model, 4)).fit(tmp_path / "one")
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    one, two = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("one", "two"))
    # The first moments are the gradients' mean. Weights themselves may differ where the loss does not depend on
    # them, as on a key's bias: Adam makes steps of rounding errors there.
    for index, state in one["optimiser"]["state"].items():
        torch.testing.assert_close(two["optimiser"]["state"][index]["exp_avg"], state["exp_avg"], atol=1e-5, rtol=1e-3)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    fresh, *trained = (
        LandmarkTask(read_faces(drawn_folder), config(model, 4)).model.eval()(images).shapes_unit,
        *(load_network(tmp_path / run / "last.safetensors")[0](images).shapes_unit for run in ("one", "two")),
    )
    assert not torch.allclose(fresh, trained[0], atol=1e-4)
    torch.testing.assert_close(trained[0], trained[1], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("preset", ["glomface-light", "pfld-0.25"])
def test_more_processes_than_the_faces_allow_are_one_line_and_leave_no_run(
    preset: str, drawn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    imagenet = ["--no-imagenet"] if preset == "glomface-light" else []
    arguments = ["--data", f"{drawn_folder}", "--out", f"{tmp_path / 'run'}", "--batch", "3", "--val-share", "0.3"]
    assert main(["train", preset, *arguments, *imagenet, "--threads", "1"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert last.endswith("7 faces to train for 3 batches of 3; lower --batch or start fewer processes")
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("RANK", "1")
    assert main(["train", preset, *arguments, *imagenet, "--threads", "1"]) == 2
    assert capsys.readouterr().err == ""
