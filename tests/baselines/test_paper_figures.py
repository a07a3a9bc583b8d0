"""The commands of the GAN-IA paper's figures and of its table over several seeds, with tiny networks."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from benchmarks import gan_ia_figures, ocfw
from benchmarks.command import run
from torch import nn

from unveil.baselines.coupled import mean_face
from unveil.data.synthetic import drawn_face
from unveil.evaluation.qualitative import GAP, SIDE, TITLE
from unveil.io.images import read_image
from unveil.models.checkpoints import NetworkSpec, weights_bytes
from unveil.registry import build_network

SIZES: dict[str, dict[str, Any]] = {
    "gan-ia": {"widths": (8, 8), "dilations": (2,), "head_channels": 8, "attention": False},
    "drn": {"hidden": (), "stages": 2},
}
ROWS = tuple(row for row in ocfw.ROWS if row.name in ("DRN", "GAN-IA + DRN", "RCPR"))


def save_run(run: Path, network: str, seed: int = 0) -> None:
    torch.manual_seed(seed)
    spec = NetworkSpec(network, "ibug68", 64 if network == "drn" else 32, 1.0, SIZES[network])
    model = build_network(spec)
    if network == "drn":
        model.get_buffer("mean_shape").copy_(torch.from_numpy(mean_face()))
        for stage in model.get_submodule("stages").children():
            nn.init.normal_(stage.get_parameter("layers.0.bias"), std=1e-2)
    run.mkdir(parents=True)
    (run / "best.safetensors").write_bytes(weights_bytes(model, spec))


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = [tmp_path_factory.mktemp(f"seed-{seed}") for seed in range(2)]
    for seed, folder in enumerate(folders):
        save_run(folder / "drn", "drn", seed)
        for name in ("gan-ia", "gan-ia-no-attention"):
            save_run(folder / name, "gan-ia", seed)
    return folders


@pytest.fixture
def cofw68(tmp_path: Path) -> Path:
    """Three faces in COFW's formats: MATLAB 7.3 with references for the images, MATLAB 5 for the 68 landmarks."""
    root = tmp_path / "cofw"
    root.mkdir()
    with h5py.File(root / "COFW_test_color.mat", "w", userblock_size=512) as file:
        cells = file.create_dataset("IsT", (1, 3), dtype=h5py.ref_dtype)
        for row in range(3):
            image, points_px = drawn_face(np.random.default_rng(row), 160)
            cells[0, row] = file.create_dataset(f"#refs#/{row:x}", data=image.T).ref
            points = {"Points": points_px + 1.0, "Occ": np.zeros((68, 1), np.uint8)}
            scipy.io.savemat(root / f"{row + 1}_points.mat", points)
    return root


def test_the_table_reads_cofw68_and_has_the_mean_of_the_seeds(
    seeds: list[Path], cofw68: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unveil.evaluation.results.RESAMPLES", 20)
    monkeypatch.setattr(ocfw, "RESAMPLES", 20)
    monkeypatch.setattr(ocfw, "ROWS", ROWS)
    out = tmp_path / "out"
    arguments = ["--cofw68", str(cofw68), "--partial", "--out", str(out), "--runs", *map(str, seeds)]
    assert run(ocfw.main, args=arguments) == 0
    said = capsys.readouterr()
    assert "left out: RCPR: no " in said.err
    found = json.loads((out / "table.json").read_text())
    assert found["faces"] == {"COFW68": "cofw68/test 3/507"}
    drn = found["figures"]["COFW68"]["DRN"]
    values = drn["nrmse_ocular_by_seed"]
    assert len(set(values)) == 2
    assert drn["nrmse_ocular"] == pytest.approx(np.mean(values))
    assert drn["nrmse_ocular_ci95_low"] <= drn["nrmse_ocular"] <= drn["nrmse_ocular_ci95_high"]
    assert f"; seeds {values[0]:.2f}, {values[1]:.2f})" in said.out
    assert (out / "ced-COFW68.png").is_file()
    assert run(ocfw.main, args=["--out", str(out), "--runs", str(seeds[0]), "--root", "x"]) == 2
    assert "give --root and --list, or --cofw68" in capsys.readouterr().err


def test_figures_3_7_and_9_are_sheets_of_the_portrait_and_of_a_folder(
    seeds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, runs = (gan_ia_figures.attention, gan_ia_figures.landmarks), ["--runs", str(seeds[0])]
    out = tmp_path / "figure.png"
    assert run(*figures, args=["attention", *runs, "--out", str(out), "--limit", "2"]) == 0
    sheet = read_image(out)
    assert sheet.shape == (TITLE + 2 * (SIDE + GAP) - GAP, 4 * (SIDE + GAP) - GAP, 3)
    tiles = [sheet[TITLE : TITLE + SIDE, x : x + SIDE].astype(int) for x in range(0, sheet.shape[1], SIDE + GAP)]
    assert np.abs(tiles[0] - tiles[1]).max() > 50  # the occluder
    both = ["--rows", "DRN", "GAN-IA + DRN"]
    assert run(*figures, args=["landmarks", *runs, *both, "--out", str(out), "--limit", "1"]) == 0
    assert read_image(out).shape[1] == 2 * (SIDE + GAP) - GAP
    (tmp_path / "faces").mkdir()
    portrait = ["--images", str(tmp_path / "faces"), "--rows", "DRN", "--out", str(out)]
    assert run(*figures, args=["landmarks", *runs, *portrait]) == 2
    assert run(*figures, args=["landmarks", *runs, "--rows", "RCPR", "--out", str(out)]) == 2
    assert "lacks its runs" in capsys.readouterr().err
