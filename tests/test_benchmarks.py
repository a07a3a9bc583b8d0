"""The benchmarks that train networks, small and on drawn faces: budgets, five points, the sheet."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks import ablation, equal_budget, five_points, occluder_sheet
from benchmarks.command import run
from benchmarks.equal_budget import BUDGET, Trial, trained_models
from benchmarks.five_points import (
    Models,
    conditions,
    errors,
    five_point_faces,
    five_point_pack,
    table,
    write_scheme,
)

from unveil.baselines.control_training import PlainTrainConfig
from unveil.baselines.plain import PlainConfig
from unveil.data.datasets.registry import DataSet, folder
from unveil.data.occlusion import Library, occluder
from unveil.data.pack import Pack, write_pack
from unveil.evaluation import markdown_table
from unveil.evaluation.qualitative import GAP, SIDE, TITLE
from unveil.inference.aligner import AlignResult
from unveil.inference.onnx_model import shipped_models
from unveil.io.images import read_image
from unveil.models.glomface import GlomFaceLightConfig
from unveil.schemes.scheme import Scheme
from unveil.training.config import LandmarkTrainConfig as Settings
from unveil.types import Box, Detection, Image

SMALL = {"dim": 16, "memory_dim": 24, "patch_spacings_unit": (0.1,), "channels": 8, "width_mult": 0.25}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of reduced width on batches of two."""
    light = GlomFaceLightConfig.model_validate({**SMALL, "part_dims": (16, 12, 8)})
    presets = {
        "glomface-light": Settings(model=light, imagenet=False, val_share=0.3, threads=1),
        "light-2-levels": Settings(
            model=light.model_copy(update={"levels": 2}), imagenet=False, val_share=0.3, threads=1
        ),
        "plain": PlainTrainConfig(model=PlainConfig.model_validate(SMALL), imagenet=False, val_share=0.3, threads=1),
    }
    monkeypatch.setattr(equal_budget, "PRESETS", presets)
    monkeypatch.setattr(equal_budget, "SIZE", 64)
    monkeypatch.setattr(equal_budget, "BUDGET", BUDGET.model_copy(update={"batch": 2}))


@pytest.fixture(scope="module")
def pack(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    path = tmp_path_factory.mktemp("packs") / "drawn.npz"
    write_pack(folder(drawn_folder), path, side=96)
    return Pack.read(path)


class Exact:
    """A model that answers with the truth, whatever it is shown."""

    def __init__(self, faces: DataSet) -> None:
        self.scheme: Scheme = faces.scheme
        self.answers = iter(faces.points_px)
        self.boxes: list[Box | Detection] = []

    def __call__(
        self, _image: Image, boxes: Sequence[Box | Detection], _flip_average: bool = False, /
    ) -> list[AlignResult]:
        self.boxes += boxes
        flags = np.ones(self.scheme.points, np.float32)
        return [AlignResult(next(self.answers), flags, flags) for _ in boxes]


def test_every_trial_has_the_same_budget_and_a_short_one_keeps_its_proportions() -> None:
    configs = [trial.config(None) for trial in ablation.TRIALS]
    assert {config.schedule.model_copy(update={"seed": 1}) for config in configs} == {BUDGET}
    assert {config.model.input_size for config in configs} == {equal_budget.SIZE}
    short = Trial("plain", "noise").config(None, steps=9).schedule
    assert (short.steps, short.warmup, short.decay, short.batch) == (9, BUDGET.warmup, BUDGET.decay, BUDGET.batch)
    assert Trial("plain", "noise").config(None).occlusion.weights.keys() == {"noise"}


def test_a_table_has_two_digits_and_a_dash_for_what_was_not_measured() -> None:
    rows = [("plain", 3.14159, None, "-1.0 %")]
    assert markdown_table("abcd", rows) == "| a | b | c | d |\n|---|---|---|---|\n| plain | 3.14 | – | -1.0 % |\n"  # noqa: RUF001


@pytest.mark.usefixtures("small")
def test_networks_of_five_points_train_on_a_pack_of_68_and_only_once(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [trial for trial in five_points.TRIALS if trial.seed == 2]
    monkeypatch.setattr(five_points, "TRIALS", chosen)
    arguments = ["train", "--data", str(pack.path), "--out", str(tmp_path), "--steps", "1"]
    assert run(five_points.train, five_points.report, args=arguments) == 0
    runs = [tmp_path / trial.name for trial in chosen]
    assert all("nme_pupil_clean" in json.loads((run / "best.json").read_text()) for run in runs)
    assert not any((run / "checkpoint.pt").exists() for run in runs)
    written = [(run / "last.safetensors").stat().st_mtime_ns for run in runs]
    assert run(five_points.train, five_points.report, args=arguments) == 0
    assert [(run / "last.safetensors").stat().st_mtime_ns for run in runs] == written


def test_a_run_that_is_not_trained_has_no_model(tmp_path: Path) -> None:
    assert trained_models(["glomface-light.full"], tmp_path) == {}


def test_five_points_of_a_pack_are_means_of_its_68(pack: Pack, tmp_path: Path) -> None:
    five = five_point_pack(pack, write_scheme(tmp_path))
    assert (five.scheme.name, five.scheme.five_points, len(five.scheme.hierarchy.levels)) == (
        "five",
        ((0,), (1,), (2,), (3,), (4,)),
        2,
    )
    np.testing.assert_allclose(five.points_px[3, 0], pack.points_px[3, 36:42].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(five.points_px[3, 2], pack.points_px[3, 30])
    np.testing.assert_array_equal(five.image(3), pack.image(3))


def test_faces_of_five_points_are_covered_as_their_68_points_place_it(drawn_folder: Path, tmp_path: Path) -> None:
    faces, scheme = folder(drawn_folder), write_scheme(tmp_path)
    covered = five_point_faces(faces, scheme, occluder("mask"))
    assert covered.visible is not None
    assert not covered.visible[:, 3:].any()
    assert covered.visible[:, :2].all()
    assert (covered.image(0) != faces.image(0)).any()
    assert five_point_faces(faces, scheme, None).visible is None


def test_models_of_five_and_of_68_points_are_side_by_side_each_with_its_own_box(
    drawn_folder: Path, tmp_path: Path
) -> None:
    faces, scheme = folder(drawn_folder), write_scheme(tmp_path)
    few, dense = Exact(five_point_faces(faces, scheme, None)), Exact(faces)
    models = Models({"plain.full": few}, {"plain.full": dense})
    found = errors(models, faces, scheme, occluder("noise", coverage=0.3))
    assert found.keys() == {"5 plain.full", "68 plain.full"}
    assert list(found.values()) == pytest.approx([0, 0], abs=1e-4)
    first, second = few.boxes[0], dense.boxes[0]
    assert isinstance(first, Box)
    assert isinstance(second, Box)
    assert first.y1 < second.y1
    lines = table({name: {"clean": error} for name, error in found.items()}).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == ["5", "68"]


def test_the_gain_of_the_hierarchy_is_stated_for_both_numbers_of_points() -> None:
    known = {"5 glomface-light.full": 3.0, "5 plain.full": 4.0, "68 glomface-light.full": 5.5, "68 plain.full": 5.0}
    lines = table({name: {"clean": error} for name, error in known.items()}).splitlines()
    assert lines[-2:] == [
        "| full against plain | 5 | -25.0% |",
        "| full against plain | 68 | +10.0% |",
    ]


def test_templates_are_a_condition_only_where_there_are_images_of_them() -> None:
    assert list(conditions(Library()))[:3] == ["clean", "masks", "noise 10 %"]


def test_the_sheet_has_a_tile_for_every_model_under_every_occluder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.occluders.OCCLUDERS", (("sunglasses", 8, None), ("mask", 3, "template")))
    path = tmp_path / "sheet.png"
    name = next(iter(shipped_models()))
    assert run(occluder_sheet.main, args=["--models", f"a={name}", f"b={name}", "--out", str(path)]) == 0
    assert read_image(path).shape[:2] == (TITLE + 2 * (SIDE + GAP) - GAP, 2 * (SIDE + GAP) - GAP)
    assert capsys.readouterr().out.startswith("a ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--models", "glomface-light"], "give NAME=DIR"),
        (["--models", "a=nowhere"], "unknown model 'nowhere'"),
        (["--models", "a=glomface-light", "a=glomface-light"], "the name is given twice"),
    ],
)
def test_a_sheet_that_cannot_be_drawn_is_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(occluder_sheet.main, args=arguments) == 2
    assert complaint in capsys.readouterr().err
