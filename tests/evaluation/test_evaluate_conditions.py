"""Turned faces, hand-made occlusion labels, published means and the sheet of images without ground truth."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from unveil.data.datasets.registry import DataSet, folder
from unveil.data.occlusion_labels import label_regions, read_occlusion_labels, with_occlusion_labels
from unveil.data.pack import Pack, write_pack
from unveil.data.synthetic import write_drawn_faces
from unveil.evaluation.plots import ced_png
from unveil.evaluation.published import PUBLISHED
from unveil.evaluation.results import ModelResult
from unveil.evaluation.turned import turned_faces
from unveil.io.files import DataError
from unveil.metrics import Summary
from unveil.schemes.pose import five_points, head_pose
from unveil.schemes.scheme import IBUG68, WFLW98
from unveil.types import Box, Detection, Image

Evaluate = Callable[..., int]


def test_an_image_that_cannot_be_read_costs_only_itself_when_faces_are_turned(
    drawn_folder: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "faces"
    shutil.copytree(drawn_folder, copied)
    broken = min(path for path in copied.rglob("*") if path.suffix in (".png", ".jpg"))
    broken.write_bytes(b"x")
    turned = turned_faces(folder(copied), 90)
    assert len(turned.samples) == len(folder(drawn_folder).samples)
    with pytest.raises(DataError):
        next(sample for sample in turned.samples if sample.image == broken).load()


@pytest.mark.parametrize("degrees", [90, -35, 180])
def test_a_turned_face_has_its_landmarks_where_its_pixels_are(drawn_folder: Path, degrees: float) -> None:
    faces = folder(drawn_folder)
    turned = turned_faces(faces, degrees)
    before, after = faces.image(0), turned.image(0)
    height, width = after.shape[:2]
    points_px = turned.points_px[0]
    assert (points_px >= 0).all()
    assert (points_px < (width, height)).all()
    (x0, y0), (x1, y1) = faces.points_px[0].round().astype(int).T, points_px.round().astype(int).T
    differences = np.abs(after[y1, x1].astype(int) - before[y0, x0])
    assert np.median(differences) < 20
    rolls = [head_pose(five_points(IBUG68, p)).roll for p in (faces.points_px[0], points_px)]
    assert (rolls[1] - rolls[0] - degrees + 180) % 360 - 180 == pytest.approx(0, abs=3)
    assert turned_faces(faces, 360) is faces


def test_several_turns_make_a_sweep_with_a_plot(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", drawn_folder)
    assert evaluate(*arguments, "--turn", "90", "0", "--json", "a.json", "--save", "out") == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["nme_ocular_at_turn0"] < 20 < found["nme_ocular_at_turn90"]  # the model answers with an upright face
    assert "turn, degrees" in capsys.readouterr().out
    assert (tmp_path / "out" / "sweep.png").is_file()
    assert evaluate(*arguments, "--turn", "90", "--json", "b.json") == 0
    alone = json.loads((tmp_path / "b.json").read_text())
    assert alone["nme_ocular"] == pytest.approx(found["nme_ocular_at_turn90"])
    assert "turned by 90 degrees" in capsys.readouterr().out


def write_labels(path: Path, text: str) -> Path:
    path.write_text(f"name,regions\n{text}")
    return path


def test_labels_name_regions_and_an_empty_cell_means_that_all_is_visible(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "a.csv", "set/one.png,left brow; Mouth\ntwo,\n")
    labels = read_occlusion_labels(path, IBUG68)
    assert list(labels) == ["set/one", "two"]
    assert np.flatnonzero(~labels["set/one"]).tolist() == [*range(17, 22), *range(48, 68)]
    assert labels["two"].all()
    assert {"left temple", "chin", "brows", "cheeks"} <= label_regions(IBUG68).keys()
    assert "left temple" not in label_regions(WFLW98)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name,regions\na,left bow\n", "line 2: unknown region 'left bow': did you mean 'left brow'"),
        ("name,regions\na,\na,mouth\n", "line 3: 'a' is given twice"),
        ("name,regions\n ,mouth\n", "line 2: no name"),
        ("name,parts\na,mouth\n", "no column 'regions'"),
        ("name,regions\n", "no faces in it"),
    ],
)
def test_a_mistake_in_labels_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=problem):
        read_occlusion_labels(tmp_path / "a.csv", IBUG68)


def test_labels_are_the_ground_truth_of_visibility_for_training_and_evaluation(
    drawn_folder: Path, tmp_path: Path
) -> None:
    faces = folder(drawn_folder)
    path = write_labels(tmp_path / "a.csv", "face_003,mouth\nface_001,\n")
    labelled = with_occlusion_labels(faces, path, only_labelled=True)
    assert labelled.names == ("face_001", "face_003")
    assert labelled.visible is not None
    assert labelled.visible.mean(axis=1).tolist() == [1, 48 / 68]
    write_pack(faces, tmp_path / "a.npz", side=96)
    pack = with_occlusion_labels(Pack.read(tmp_path / "a.npz"), path)
    assert len(pack) == len(faces)
    assert pack.visible is not None
    assert (~pack.visible).sum() == 20
    with pytest.raises(DataError, match="none of its 1 names is in"):
        with_occlusion_labels(faces, write_labels(tmp_path / "b.csv", "other,mouth\n"))


def test_evaluation_with_labels_is_over_the_labelled_faces(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    path = write_labels(tmp_path / "labels.csv", "face_003,mouth\nface_001,left brow\n")
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", drawn_folder)
    assert evaluate(*arguments, "--occlusion-labels", path, "--json", "a.json") == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["n"] == 2
    assert found["occluded_fraction"] == pytest.approx(100 * 25 / 136)
    assert {"occlusion_auroc", "occlusion_auroc_without_outline", "occlusion_auroc_region_mouth"} <= found.keys()
    assert f"the ground truth of visibility comes from the labels in {path}" in capsys.readouterr().out


def test_faces_are_restored_before_they_are_aligned(
    evaluate: Evaluate, model_dir: Path, restorer_dir: Path, tmp_path: Path, capsys: Any
) -> None:
    write_drawn_faces(tmp_path / "faces", 2)
    for path in (tmp_path / "faces").glob("*.png"):
        image = cv2.imread(str(path))
        assert image is not None
        cv2.rectangle(image, (60, 60), (100, 100), (0, 255, 0), -1)
        cv2.imwrite(str(path), image)
    arguments = ("--models", model_dir, "--dataset", "folder", "--root", tmp_path / "faces", "--json")
    assert evaluate(*arguments, "plain.json") == 0
    assert evaluate(*arguments, "restored.json", "--restorer", restorer_dir, "--save", "report") == 0
    plain, restored = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "restored"))
    # The model predicts constants: only its uncertainty, the crop's brightness, can differ.
    assert restored["nme_ocular"] == plain["nme_ocular"]
    assert restored["uncertainty_deviation"] != plain["uncertainty_deviation"]
    assert f"restored by {restorer_dir}, gt boxes" in capsys.readouterr().out
    assert str(restorer_dir) in (tmp_path / "report" / "report.html").read_text()


def test_published_means_are_in_the_plot_of_a_complete_set() -> None:
    assert PUBLISHED["300w/common"]["GlomFace (2022)"] == 2.79
    result = ModelResult("a", Summary(3, {}, {}), "ocular", np.array([0.02, 0.03, 0.05]))
    plain, beside = ced_png([result], "a"), ced_png([result], "a", PUBLISHED["300w/common"])
    assert plain != beside
    image = cv2.imdecode(np.frombuffer(beside, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None


def test_models_are_side_by_side_on_images_without_ground_truth(
    evaluate: Evaluate,
    model_dir: Path,
    drawn_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    def detect(image_rgb: Image) -> list[Detection]:
        return [Detection(Box(40, 40, 120, 120), 0.9)] if image_rgb[0, 0].mean() > 128 else []

    monkeypatch.setattr("unveil.inference.detector.load_detector", lambda *_: detect)
    arguments = ("--models", model_dir, model_dir.parent / "mean", "--root", drawn_folder, "--sheet", "sheet.png")
    assert evaluate(*arguments[:2], *arguments[3:]) == 0
    faces = folder(drawn_folder)
    found = sum(bool(detect(faces.image(i))) for i in range(len(faces)))
    assert f"{found} of 12 images with a face" in capsys.readouterr().out
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (24 + found * 228 - 4, 224, 3)
    assert evaluate(*arguments[:2], "--sheet", "sheet.png") == 2
    assert "--sheet needs --models and --root" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (("--turn", "0", "90", "--occlude", "noise", "--coverage", "0.1", "0.2"), "give several of one of them alone"),
        (("--turn", "400"), "--turn 400: give degrees from -360 to 360"),
        (("--turn", "90", "--boxes", "boxes.json"), "its boxes are not turned"),
        (("--restorer", "nowhere"), "unknown restorer 'nowhere'"),
        (("--occlusion-labels", "none.csv"), "none.csv: No such file"),
    ],
)
def test_what_cannot_go_together_is_refused(
    evaluate: Evaluate, model_dir: Path, drawn_folder: Path, more: tuple[str, ...], problem: str, capsys: Any
) -> None:
    assert evaluate("--models", model_dir, "--dataset", "folder", "--root", drawn_folder, *more) == 2
    assert problem in capsys.readouterr().err


def test_the_name_of_a_turned_set_has_the_turn(drawn_folder: Path) -> None:
    turned = turned_faces(folder(drawn_folder), 90)
    assert isinstance(turned, DataSet)
    assert turned.name.endswith("turned by 90°")
