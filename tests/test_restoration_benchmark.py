"""The evaluation of restorers and its benchmark: which faces, which occluders, and metrics worked out by hand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmarks.command import run
from benchmarks.restoration import main

from unveil.data.occlusion import TEST_TEMPLATES, Library
from unveil.data.occlusion.library import Sprite, Template
from unveil.data.pack import read_faces
from unveil.data.splits import split_by_name
from unveil.evaluation.restoration import (
    COVERAGE_BOUNDS,
    FaceResult,
    evaluation_samplers,
    validation_indices,
)
from unveil.evaluation.restoration_tables import coverage_range, summarise
from unveil.metrics.restoration import frechet_distance, gradient_energy, hole_metrics, mask_iou
from unveil.models.checkpoints import weights_bytes
from unveil.models.generator import Generator, GeneratorConfig
from unveil.schemes.scheme import IBUG68
from unveil.types import Image

SIZES = GeneratorConfig(input_size=32, widths=(8, 8), dilations=(2,), head_channels=8, attention=False)
VAL_SHARE = 0.22


@pytest.fixture(scope="module")
def restorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generator with random weights, exported."""
    from unveil.export.onnx_export import export_model

    folder = tmp_path_factory.mktemp("restorer")
    weights = weights_bytes(Generator(SIZES).eval(), SIZES.spec(IBUG68))
    (folder / "last.safetensors").write_bytes(weights)
    return export_model(folder / "last.safetensors", folder / "small", "small").folder


def flat(level: float) -> Image:
    return np.full((24, 24, 3), level, np.uint8)


def test_metrics_are_those_of_the_hole_alone() -> None:
    hole = np.zeros((24, 24), np.bool_)
    hole[4:20, 4:20] = True
    image = flat(100)
    image[~hole] = 7
    found = hole_metrics(flat(100), image, hole)
    assert found.psnr == pytest.approx(100)
    assert found.error == 0
    assert found.ssim < 1  # its windows reach over the rim
    assert hole_metrics(flat(100), flat(100), hole).ssim == pytest.approx(1)
    off = hole_metrics(flat(100), flat(100 + 51), hole)
    assert [off.psnr, off.error] == pytest.approx([-20 * np.log10(0.2), 0.2])
    with pytest.raises(ValueError, match="the hole is empty"):
        hole_metrics(flat(0), flat(0), np.zeros((24, 24), np.bool_))


def test_gradient_energy_is_the_mean_squared_step_inside_the_hole() -> None:
    image, hole = flat(0), np.zeros((24, 24), np.bool_)
    image[:, ::2] = 10
    image[:, 12:] = 200
    hole[4:8, 2:10] = True
    horizontal, vertical = 4 * 7, 3 * 8
    assert gradient_energy(image, hole) == pytest.approx(100 * horizontal / (horizontal + vertical))
    assert gradient_energy(flat(3), hole) == 0


def test_the_frechet_distance_of_gaussians_is_that_of_means_and_deviations() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(0, 1, (4000, 3))
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(one, one + 2) == pytest.approx(12, rel=1e-6)
    assert frechet_distance(one, 3 * one) == pytest.approx(12, rel=0.1)


def test_the_iou_is_that_of_both_masks() -> None:
    left, lower = np.zeros((4, 4), np.bool_), np.zeros((4, 4), np.bool_)
    left[:, :2], lower[2:] = True, True
    assert mask_iou(left, lower) == pytest.approx(1 / 3)
    assert mask_iou(left & False, lower & False) == 1


def test_the_faces_are_those_of_the_validation_split(drawn_folder: Path) -> None:
    faces = read_faces(drawn_folder)
    chosen = validation_indices(faces, VAL_SHARE, 500)
    assert chosen == split_by_name(faces.names, VAL_SHARE).val.tolist()
    assert set(validation_indices(faces, VAL_SHARE, 2)) < set(chosen)
    with pytest.raises(ValueError, match="0 faces to restore; raise --faces or --val-share"):
        validation_indices(faces, VAL_SHARE, 0)


def test_masks_are_of_templates_that_no_training_uses_and_hands_of_hands() -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    templates = tuple(Template(name, pixels, np.zeros((6, 2), np.float32)) for name in ("own", "surgical_blue"))
    library = Library(templates, tuple(Sprite(name, pixels, name) for name in ("hands", "objects")))
    samplers = evaluation_samplers(library, TEST_TEMPLATES)
    assert {name: sampler.kinds for name, sampler in samplers.items()} == {
        "mask": ("template",),
        "hand": ("sprite",),
        "polygon": ("polygon",),
    }
    assert [template.name for template in samplers["mask"].library.templates] == ["surgical_blue"]
    assert [sprite.name for sprite in samplers["hand"].library.sprites] == ["hands"]
    assert evaluation_samplers(Library(), TEST_TEMPLATES)["mask"].kinds == ("mask",)


def test_rows_are_means_within_ranges_and_over_all() -> None:
    def result(way: str, coverage: float, psnr: float) -> FaceResult:
        features = np.array([psnr, 2 * psnr], np.float32)
        return FaceResult(way, "hand", coverage, psnr, psnr / 100, psnr / 50, coverage, features)

    faces = [(0.45, 10.0), (0.12, 20.0), (0.18, 30.0)]
    results = [result(way, *face) for face in faces for way in ("clean", "new")]
    rows = {row.coverage: row for row in summarise(results, by_coverage=True)}
    assert {coverage: row.faces for coverage, row in rows.items()} == {"10-20 %": 2, "40-50 %": 1, "all": 3}
    assert [rows[name].psnr for name in ("10-20 %", "40-50 %", "all")] == pytest.approx([25, 10, 20])
    assert rows["10-20 %"].iou == pytest.approx(0.15)
    assert rows["all"].frechet == pytest.approx(0, abs=1e-3)
    assert (coverage_range(0.05), coverage_range(COVERAGE_BOUNDS[-1])) == ("below 10 %", "50 % and more")


def test_the_benchmark_writes_table_figures_and_sheet(restorer: Path, drawn_folder: Path, tmp_path: Path) -> None:
    hands = tmp_path / "library" / "hands"
    hands.mkdir(parents=True)
    cv2.imwrite(str(hands / "a.png"), np.full((40, 30, 4), 255, np.uint8))
    library = ["--library", str(hands.parent), "--val-share", str(VAL_SHARE)]
    arguments = [str(drawn_folder), "--restorers", str(restorer), *library, "--count", "2", "--out"]
    assert run(main, args=[*arguments, str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out" / "figures.json").read_text())
    found = {(row["kind"], row["way"]): row for row in record["rows"]}
    assert {kind for kind, _ in found} == {"mask", "hand", "polygon"}
    for kind in ("mask", "hand", "polygon"):
        assert found[kind, "occluded"]["psnr"] < found[kind, "inpainted"]["psnr"] < 60
        assert 0 <= found[kind, "small"]["iou"] <= 1
    assert record["bare"][0]["way"] == "small"
    assert "| bare faces, restored by |" in (tmp_path / "out" / "table.md").read_text()
    sheet = cv2.imread(str(tmp_path / "out" / "sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] == 4 * 256 + 3 * 8


def test_too_few_faces_are_one_clear_line(
    restorer: Path, drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(drawn_folder), "--restorers", str(restorer), "--count", "0", "--out", str(tmp_path / "out")]
    assert run(main, args=arguments) == 2
    assert "error: drawn" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
