"""The restorers' benchmark: which faces, under what, and figures that can be worked out by hand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmarks.restoring import BOUNDS, WAYS, Measured, chosen_faces, coverings, main, rows_of, within

from unveil.data.occlusion import Library
from unveil.data.occlusion.library import Sprite, Template
from unveil.data.pack import read_faces
from unveil.metrics.restoration import HoleFigures, hole_figures, overlap
from unveil.models.checkpoints import Blueprint, weights_bytes
from unveil.models.generator import Generator
from unveil.training.gan import RestorationTask
from unveil.training.presets import RESTORERS
from unveil.types import Image

SIZES = {"widths": (8, 8), "dilations": (2,), "last": 8, "attention": False}
FEW = RESTORERS["gan-ia-light"].model_copy(update={"held_out_faces": 4})


@pytest.fixture(scope="module")
def restorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generator with random weights, exported."""
    from unveil.export.onnx_export import export_model

    folder = tmp_path_factory.mktemp("restorer")
    blueprint = Blueprint("gan-ia", "ibug68", 32, 1.15, SIZES)
    (folder / "last.safetensors").write_bytes(weights_bytes(Generator(**SIZES).eval(), blueprint))  # type: ignore[arg-type]
    return export_model(folder / "last.safetensors", folder / "small", "small").folder


def flat(level: float) -> Image:
    return np.full((24, 24, 3), level, np.uint8)


def test_figures_look_into_the_hole_alone() -> None:
    hole = np.zeros((24, 24), np.bool_)
    hole[4:20, 4:20] = True
    picture = flat(100)
    picture[~hole] = 7
    found = hole_figures(flat(100), picture, hole)
    assert found.psnr == pytest.approx(100)
    assert found.error == 0
    assert found.ssim < 1  # its windows reach over the rim
    assert hole_figures(flat(100), flat(100), hole).ssim == pytest.approx(1)
    off = hole_figures(flat(100), flat(100 + 51), hole)
    assert [off.psnr, off.error] == pytest.approx([-20 * np.log10(0.2), 0.2])
    with pytest.raises(ValueError, match="nothing is covered"):
        hole_figures(flat(0), flat(0), np.zeros((24, 24), np.bool_))


def test_overlap_is_of_both_holes() -> None:
    left, lower = np.zeros((4, 4), np.bool_), np.zeros((4, 4), np.bool_)
    left[:, :2], lower[2:] = True, True
    assert overlap(left, lower) == pytest.approx(1 / 3)
    assert overlap(left & False, lower & False) == 1


def test_the_faces_never_meet_training(drawn_folder: Path) -> None:
    faces = read_faces(drawn_folder)
    schedule = FEW.schedule.model_copy(update={"batch": 2})
    task = RestorationTask(faces, FEW.model_copy(update={"schedule": schedule}))
    chosen = chosen_faces(faces, FEW, 500)
    assert sorted(chosen) == task.slices.validation.tolist()
    assert not set(chosen) & set(task.slices.training.tolist())
    assert set(chosen_faces(faces, FEW, 2)) < set(chosen)
    with pytest.raises(ValueError, match="0 faces to restore; give 1 or more"):
        chosen_faces(faces, FEW, 0)


def test_masks_are_of_templates_that_training_never_met_and_hands_of_hands() -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    templates = tuple(Template(name, pixels, np.zeros((6, 2), np.float32)) for name in ("own", "surgical_blue"))
    library = Library(templates, tuple(Sprite(name, name, pixels) for name in ("hands", "objects")))
    kinds = coverings(library, FEW)
    assert {kind: sampler.kinds for kind, sampler in kinds.items()} == {
        "mask": ("template",),
        "hand": ("sprite",),
        "polygon": ("polygon",),
    }
    assert [template.name for template in kinds["mask"].library.templates] == ["surgical_blue"]
    assert [sprite.name for sprite in kinds["hand"].library.sprites] == ["hands"]
    bare = coverings(Library(), FEW)
    assert {kind: sampler.kinds for kind, sampler in bare.items()} == {"mask": ("mask",), "polygon": ("polygon",)}


def test_rows_are_means_within_bounds_and_over_all() -> None:
    def measured(share: float, psnr: float) -> Measured:
        return Measured("hand", share, dict.fromkeys(WAYS, HoleFigures(psnr, psnr / 100, 0.1)), share)

    rows = list(rows_of([measured(0.45, 10), measured(0.12, 20), measured(0.18, 30)], ["hand"]))
    assert [(row.covered, row.faces) for row in rows] == [("10-20 %", 2), ("40-50 %", 1), ("all", 3)]
    assert [row.ways["restored"].psnr for row in rows] == pytest.approx([25, 10, 20])
    assert rows[2].ways["blended"].ssim == pytest.approx(0.2)
    assert rows[0].iou == pytest.approx(0.15)
    assert (within(0.05), within(BOUNDS[-1])) == ("below 10 %", "50 % and more")


def test_table_figures_and_sheet_are_the_same_in_every_run(restorer: Path, drawn_folder: Path, tmp_path: Path) -> None:
    hands = tmp_path / "library" / "hands"
    hands.mkdir(parents=True)
    cv2.imwrite(str(hands / "a.png"), np.full((40, 30, 4), 255, np.uint8))
    asked = [str(drawn_folder), "--restorer", str(restorer), "--library", str(hands.parent), "--held-out-faces", "2"]
    assert main([*asked, "--out", str(tmp_path / "one")]) == 0
    assert main([*asked, "--out", str(tmp_path / "two")]) == 0
    one, two = (json.loads((tmp_path / out / "figures.json").read_text()) for out in ("one", "two"))
    assert one["rows"] == two["rows"]
    whole = {row["kind"]: row for row in one["rows"] if row["covered"] == "all"}
    assert {kind: row["faces"] for kind, row in whole.items()} == {"mask": 2, "hand": 2, "polygon": 2}
    for row in whole.values():
        assert row["ways"]["occluded"]["psnr"] < row["ways"]["inpainted"]["psnr"] < 60
        assert 0 <= row["iou"] <= 1
    table = (tmp_path / "one" / "table.md").read_text().splitlines()
    assert len(table) == 2 + len(one["rows"]) + 2
    assert table[-1] == f"Of 2 bare faces {one['bare_left_alone']} stay as they are to the byte."
    sheet = cv2.imread(str(tmp_path / "one" / "sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] == 5 * 256 + 4 * 8


def test_too_few_faces_are_one_clear_line(
    restorer: Path, drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(drawn_folder), "--restorer", str(restorer), "--out", str(tmp_path / "out")]) == 2
    assert "error: 500 faces to hold out, but" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
