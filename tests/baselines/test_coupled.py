"""Restorers before landmark networks: what each sees, and the benchmarks that measure it, with tiny networks."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import ocfw, restoration_sweep
from benchmarks.command import run
from benchmarks.ocfw import ROWS, Row, aligners
from torch import nn

from unveil.baselines.coupled import alternating, coupled, mean_face, restore_fn
from unveil.data.datasets.ocfw import Coverage, Entry, write_list
from unveil.data.datasets.registry import folder
from unveil.data.synthetic import drawn_face, write_drawn_faces
from unveil.geometry import Crop, tight_box
from unveil.inference.aligner import AlignResult
from unveil.inference.blending import RestoredCrop, composite
from unveil.inference.restorer import Restorer
from unveil.inference.torch_restorer import crop_network, load_torch_restorer
from unveil.models.checkpoints import NetworkSpec, weights_bytes
from unveil.registry import NETWORKS
from unveil.registry import build_network as build
from unveil.schemes.ibug68 import COMPONENT_MARGIN, COMPONENTS, component_crop
from unveil.schemes.scheme import IBUG68
from unveil.types import Box, Image, Points

SIZES: dict[str, dict[str, Any]] = {
    "gan-ia": {"widths": (8, 8), "dilations": (2,), "head_channels": 8, "attention": False},
    "drda": {"hidden": (12, 6)},
    "drn": {"hidden": (), "stages": 2},
    "pfld": {"width_mult": 0.1},
}
INPUTS = {"gan-ia": (32, 1.15), "drda": (16, 1.15), "drn": (64, 1.0), "pfld": (112, 1.0)}


def save_run(run: Path, network: str, component: str | None = None) -> nn.Module:
    """A run of a fresh network, which moves its landmarks a little so that it is not taken for the mean shape."""
    torch.manual_seed(0)
    size, margin = INPUTS[network] if component is None else (INPUTS[network][0], COMPONENT_MARGIN)
    spec = NetworkSpec(network, "ibug68", size, margin, SIZES[network], component=component)
    model = build(spec).eval()
    if network == "drn":
        model.get_buffer("mean_shape").copy_(torch.from_numpy(mean_face()))
        for stage in model.get_submodule("stages").children():
            nn.init.normal_(stage.get_parameter("layers.0.weight"), std=1e-3)
            nn.init.normal_(stage.get_parameter("layers.0.bias"), std=1e-2)
    run.mkdir(parents=True)
    (run / "best.safetensors").write_bytes(weights_bytes(model, spec))
    return model


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DRN, PFLD, GAN-IA, and DRDA's autoencoders of the components."""
    runs = tmp_path_factory.mktemp("runs")
    for network in ("drn", "pfld", "gan-ia"):
        save_run(runs / network, network)
    for part in COMPONENTS:
        save_run(runs / "drda" / part.name, "drda", part.name)
    return runs


@pytest.fixture(scope="module")
def drawn() -> tuple[Image, Points, Box]:
    image, points_px = drawn_face(np.random.default_rng(3), 160)
    return image, points_px, tight_box(points_px)


def painted(image_rgb: Image, _: Points) -> Image:
    return np.full_like(image_rgb, 128)


# Restorers


def test_components_are_loaded_from_a_folder_of_runs_in_their_own_order(
    runs: Path, drawn: tuple[Image, Points, Box]
) -> None:
    image, points_px, _ = drawn
    restorer = load_torch_restorer(runs / "drda", NETWORKS)
    assert [network.component for network in restorer.networks] == list(COMPONENTS)
    found = restorer.restore_each([image, image], [points_px, points_px + 4])
    assert [len(windows) for windows in found] == [7, 7]
    assert found[1][6].crop == component_crop(points_px + 4, COMPONENTS[-1])
    assert all((window.mask == 1).all() for windows in found for window in windows)  # it has no mask


def test_what_makes_no_restorer_is_one_clear_line(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"best\.safetensors: network 'drn' is no restorer"):
        load_torch_restorer(runs / "drn", NETWORKS)
    with pytest.raises(ValueError, match=r"none of last\.safetensors"):
        load_torch_restorer(tmp_path, NETWORKS)
    copytree(runs / "gan-ia", tmp_path / "both/whole")
    copytree(runs / "drda/mouth", tmp_path / "both/mouth")
    with pytest.raises(ValueError, match="restores the whole face, mouth; a folder of several"):
        load_torch_restorer(tmp_path / "both", NETWORKS)
    copytree(runs / "drda", tmp_path / "few", ignore=ignore_patterns("nose", "jaw"))
    with pytest.raises(ValueError, match="few: has no jaw, no nose; train the rest"):
        load_torch_restorer(tmp_path / "few", NETWORKS)
    assert len(load_torch_restorer(runs / "drda" / "nose", NETWORKS).networks) == 1


def test_the_last_weights_of_a_restorer_go_before_its_best(runs: Path, tmp_path: Path) -> None:
    save_run(tmp_path / "run", "drn")
    (tmp_path / "run/last.safetensors").write_bytes((runs / "gan-ia/best.safetensors").read_bytes())
    assert load_torch_restorer(tmp_path / "run").networks[0].component is None


def test_a_restored_image_is_the_windows_under_their_masks_and_the_image_elsewhere() -> None:
    image = np.full((60, 80, 3), 200, np.uint8)
    mask = np.zeros((40, 40), np.float32)
    mask[10:30, 10:30] = 1
    window = RestoredCrop(Crop((39.5, 29.5), 40.0), np.full((40, 40, 3), 50, np.uint8), mask)
    result = composite(image, [window])
    expected = image.copy()
    expected[20:40, 30:50] = 50
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(composite(image, [replace(window, crop=Crop((5.0, 5.0), 0.0))]), image)


def test_later_windows_lie_over_earlier_ones() -> None:
    ones, crop = np.ones((8, 8), np.float32), Crop((19.5, 19.5), 40.0)
    windows = [RestoredCrop(crop, np.full((8, 8, 3), level, np.uint8), ones) for level in (10, 90)]
    result = composite(np.zeros((40, 40, 3), np.uint8), windows)
    assert (result[5:-5, 5:-5] == 90).all()  # the rim of a window of eight pixels is soft


def test_shapes_outside_the_image_are_moved_near_it(runs: Path, drawn: tuple[Image, Points, Box]) -> None:
    image, points_px, _ = drawn
    uncovered = restore_fn(load_torch_restorer(runs / "gan-ia"))(image, points_px * 1e6)
    assert uncovered.shape == image.shape


# Taking turns


def test_drn_gets_the_image_restored_around_each_shape(runs: Path, drawn: tuple[Image, Points, Box]) -> None:
    image, _, box = drawn
    shapes: list[Points] = []

    def uncover(image_rgb: Image, points_px: Points) -> Image:
        assert image_rgb is image
        shapes.append(points_px)
        return painted(image_rgb, points_px)

    (bare,) = coupled(runs / "drn")(image, [box])
    (found,) = coupled(runs / "drn", uncover)(image, [box])
    assert len(shapes) == 2
    np.testing.assert_allclose(shapes[0], Crop.around(box).to_px(mean_face()), atol=1e-3)
    assert np.abs(shapes[1] - shapes[0]).max() > 0
    assert np.abs(found.points_px - bare.points_px).max() > 0.01
    assert found.points_px.shape == (68, 2)
    assert found.visibility is None
    assert found.uncertainty_px is None


def test_a_network_without_stages_runs_again_on_the_image_restored_around_its_prediction(
    drawn: tuple[Image, Points, Box],
) -> None:
    image, _, box = drawn
    boxes: list[Box] = []
    shapes: list[Points] = []

    def uncover(image_rgb: Image, points_px: Points) -> Image:
        shapes.append(points_px)
        return painted(image_rgb, points_px)

    def model(image_rgb: Image, given: Any, flip_average: bool = False, /) -> list[AlignResult]:
        assert flip_average == (len(boxes) < 3)
        assert (image_rgb == 128).all()
        boxes.extend(given)
        shape = Crop.around(given[0]).to_px(mean_face()) + np.float32(2 * len(boxes))
        return [AlignResult(shape, np.ones(68, np.float32), np.zeros(68, np.float32))]

    (found,) = alternating(model, uncover, 3)(image, [box], True)
    assert boxes == [box] * 3
    start = Crop.around(box).to_px(mean_face())
    for turn in range(3):
        np.testing.assert_allclose(shapes[turn], start + 2 * turn, atol=1e-3)
    np.testing.assert_allclose(found.points_px, start + 6, atol=1e-3)
    alternating(model, uncover, 1)(image, [box])
    with pytest.raises(ValueError, match="0 iterations"):
        alternating(model, uncover, 0)


def test_an_identity_before_a_network_changes_nothing(runs: Path, drawn: tuple[Image, Points, Box]) -> None:
    image, _, box = drawn
    for model in (runs / "drn", runs / "pfld", "glomface-light"):
        (bare,), (same,) = coupled(model)(image, [box]), coupled(model, lambda image, _: image)(image, [box])
        np.testing.assert_array_equal(same.points_px, bare.points_px)


def test_pfld_and_the_model_that_ships_go_behind_a_restorer(runs: Path, drawn: tuple[Image, Points, Box]) -> None:
    image, _, box = drawn
    for model in (runs / "pfld", "glomface-light"):
        (bare,), (other,) = coupled(model)(image, [box]), coupled(model, painted)(image, [box])
        assert np.abs(other.points_px - bare.points_px).max() > 0.1


def test_what_cannot_be_coupled_is_refused_with_the_fix(runs: Path, drawn: tuple[Image, Points, Box]) -> None:
    with pytest.raises(ValueError, match="a network 'gan-ia'; export it"):
        coupled(runs / "gan-ia")
    with pytest.raises(ValueError, match="has no mirror averaging; leave it out"):
        coupled(runs / "drn")(drawn[0], [drawn[2]], True)


def test_blending_leaves_a_face_alone_that_nothing_covers(drawn: tuple[Image, Points, Box]) -> None:
    image, points_px, _ = drawn
    spec = NetworkSpec("gan-ia", "ibug68", 32, 1.15, SIZES["gan-ia"])
    network = build(spec).eval()
    nn.init.zeros_(network.get_parameter("head.weight"))
    nn.init.constant_(network.get_parameter("head.bias"), -30.0)
    restorer = Restorer((crop_network(network, spec),), "bare")
    np.testing.assert_array_equal(restore_fn(restorer)(image, points_px), image)


# Benchmarks


BARE = tuple(row for row in ROWS if row.name in ("GAN-IA + DRN", "DRDA (autoencoders + DRN)", "DRN", "SDM"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """300W's folders with drawn faces; few rows and few resamples, since each costs seconds."""
    monkeypatch.setattr("unveil.evaluation.results.RESAMPLES", 20)
    monkeypatch.setattr(ocfw, "ROWS", BARE)
    monkeypatch.setattr(
        restoration_sweep, "ROWS", tuple(row for row in restoration_sweep.ROWS if row.regressor == "drn")
    )
    for place, count in (("helen/testset", 3), ("lfpw/testset", 2), ("lfpw/trainset", 1)):
        write_drawn_faces(tmp_path / "300w" / place, count, seed=count)
    return tmp_path / "300w"


@pytest.fixture
def listed(root: Path) -> Path:
    """A list that calls two of Common's faces and the training face occluded and three clean."""
    names = folder(root, IBUG68).names
    occluded = {name for i, name in enumerate(names) if i < 2 or "trainset" in name}
    entries = [Entry(name, "occluded" if name in occluded else "clean", Coverage(0.5)) for name in names]
    write_list(root / "list.csv", entries)
    return root / "list.csv"


def test_the_table_has_a_row_for_each_run_that_is_there(
    runs: Path, root: Path, listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["--root", str(root), "--list", str(listed), "--runs", str(runs), "--out", str(out), "--partial"]
    assert run(ocfw.main, args=arguments) == 0
    output = capsys.readouterr()
    assert "left out: SDM: no " in output.err
    rows = [line.split("|")[1].strip() for line in output.out.splitlines() if line.startswith("| ")][1:]
    assert set(rows) == {row.name for row in BARE} - {"SDM"}
    found = json.loads((out / "table.json").read_text())
    errors = [found["figures"]["occluded"][row]["nrmse_ocular"] for row in rows]
    assert errors == sorted(errors)
    assert "6.96" in output.out
    assert found["faces"]["occluded"] == "300w/train and common 6/3702, occluded 3"
    assert found["faces"]["occluded, of Common"] == "300w/common 5/554, occluded 2"
    assert {path.name for path in out.iterdir()} == {
        *("table.md", "table.json", "ced-occluded.png", "ced-occluded-of-Common.png"),
        *("ced-clean.png", "ced-clean-drawn-masks.png"),
    }


def test_a_regressor_trained_on_restored_faces_goes_first(runs: Path, tmp_path: Path) -> None:
    row = Row("GAN-IA + DRN", "drn", "gan-ia")
    assert row.place(runs) == runs / "drn"
    (tmp_path / "drn-on-gan-ia").mkdir()
    assert row.place(tmp_path) == tmp_path / "drn-on-gan-ia"
    assert Row("DRN", "drn").place(tmp_path) is None
    assert aligners([row], tmp_path) == {}
    light = Row("light", "glomface-light")
    assert "With the model that ships" in ocfw.notes([light], tmp_path, {"light": coupled(runs / "drn")}, 2)


def test_the_sweep_has_the_gain_of_restoration(
    runs: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoration_sweep, "COVERAGES", (0.0, 0.4))
    arguments = ["--root", str(root), "--runs", str(runs), "--out", str(tmp_path / "out"), "--partial"]
    assert run(restoration_sweep.main, args=[*arguments, "--kinds", "noise", "mask", "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["0 %", "40 %", "–"]  # noqa: RUF001
    assert lines[0].count("gain (95 %)") == 1
    figures = json.loads((tmp_path / "out/sweep.json").read_text())["figures"]
    assert set(figures["noise"]["GAN-IA + DRN"]) >= {"nme_ocular_at_coverage0", "nme_ocular_at_coverage40"}
    assert (tmp_path / "out/sweep-noise.png").is_file()
    assert not (tmp_path / "out/sweep-mask.png").exists()


def test_benchmarks_refuse_in_one_line(
    root: Path, listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--root", str(root), "--runs", str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--partial"]
    assert run(restoration_sweep.main, args=arguments) == 2
    assert "no networks to measure" in capsys.readouterr().err
    assert run(restoration_sweep.main, args=[*arguments, "--group", "hands"]) == 2
    assert "no such folder of sprites" in capsys.readouterr().err
    assert run(ocfw.main, args=[*arguments, "--list", str(listed.with_name("gone.csv"))]) == 2
    assert "make a list with `unveil prepare ocfw-list`" in capsys.readouterr().err


def test_a_gain_is_what_the_error_falls_by_face_by_face(make_figures: Callable[[float], Any]) -> None:
    saved, (low, high) = restoration_sweep.gain(make_figures(0.08), make_figures(0.05))
    assert saved == pytest.approx(3, abs=1e-4)
    assert low == pytest.approx(high, abs=1e-4)


@pytest.fixture
def make_figures() -> Callable[[float], Any]:
    """ModelResult of ten faces that are all off by as much."""
    from unveil.evaluation import ModelResult
    from unveil.metrics import Summary

    return lambda error: ModelResult("model", Summary(10, {}, {}), "ocular", np.full(10, error))
