import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from unveil.geometry import Crop
from unveil.inference import aligner as runtime
from unveil.inference.aligner import AlignmentModel
from unveil.inference.onnx_model import ModelError
from unveil.schemes.scheme import IBUG68
from unveil.types import Box, Image, Points

BOX = Box(20.0, 10.0, 80.0, 90.0)


@pytest.fixture
def grey() -> Image:
    return np.full((100, 120, 3), 51, np.uint8)  # a fifth of white


def test_landmarks_come_back_in_pixels_of_the_image(model_dir: Path, face_unit: Points, grey: Image) -> None:
    (aligned,) = AlignmentModel.load(model_dir)(grey, [BOX])
    crop = Crop.around(BOX, 1.0)
    np.testing.assert_allclose(aligned.points_px, crop.to_px(face_unit), atol=1e-3)
    assert aligned.visibility is not None
    assert aligned.uncertainty_px is not None
    np.testing.assert_allclose(aligned.uncertainty_px, 0.1 * crop.side / 2, rtol=1e-5)
    assert aligned.points_px.dtype == aligned.visibility.dtype == aligned.uncertainty_px.dtype == np.float32


def test_the_model_sees_rgb_between_0_and_1(model_dir: Path) -> None:
    image = np.full((200, 200, 3), (255, 51, 0), np.uint8)
    (aligned,) = AlignmentModel.load(model_dir)(image, [Box(80, 80, 120, 120)])
    assert aligned.visibility is not None
    np.testing.assert_allclose(aligned.visibility, 0.4, atol=1e-3)  # the fixture's visibility is the mean of the crop


@pytest.mark.parametrize("count", [0, 1, 3, 16, 37])
def test_any_number_of_faces_comes_back_in_order(model_dir: Path, grey: Image, count: int) -> None:
    boxes = [Box(i, 10, i + 40, 60) for i in range(count)]
    aligned = AlignmentModel.load(model_dir)(grey, boxes)
    assert len(aligned) == count
    lefts = [face.points_px[:, 0].min() for face in aligned]
    assert np.array(lefts) == pytest.approx(np.array(lefts[:1] or [0.0]) + np.arange(count), abs=1e-3)


def test_the_mirror_average_is_the_mean_with_the_unmirrored_landmarks(
    make_model: Callable[[Points], Path], face_unit: Points, grey: Image
) -> None:
    crooked = face_unit + np.array([[0.1, 0.02]], np.float32)
    crooked[0] += 0.2
    (aligned,) = AlignmentModel.load(make_model(crooked))(grey, [BOX], flip_average=True)
    expected = (crooked + crooked[list(IBUG68.flip_order)] * np.array([-1, 1], np.float32)) / np.float32(2)
    np.testing.assert_allclose(aligned.points_px, Crop.around(BOX).to_px(expected), atol=1e-3)


def test_a_symmetric_answer_is_its_own_mirror_average(model_dir: Path, grey: Image) -> None:
    model = AlignmentModel.load(model_dir)
    (plain,), (averaged,) = model(grey, [BOX]), model(grey, [BOX], flip_average=True)
    np.testing.assert_allclose(averaged.points_px, plain.points_px, atol=1e-3)


def test_landmarks_right_of_what_they_mark_stay_there_in_a_mirror_average(
    make_model: Callable[[Points], Path], face_unit: Points, grey: Image, tmp_path: Path
) -> None:
    offset = 0.01  # diagonals of the box, so 0.02 of half the crop's side
    beside = face_unit + np.array([[0.02, 0]], np.float32)
    model = AlignmentModel.load(edited(make_model(beside), tmp_path, annotation_offset=offset))
    (plain,), (averaged,) = model(grey, [BOX]), model(grey, [BOX], flip_average=True)
    np.testing.assert_allclose(averaged.points_px, plain.points_px, atol=1e-3)


def test_the_message_for_an_unknown_model_has_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, model_dir: Path
) -> None:
    monkeypatch.setattr(runtime, "shipped_models", lambda: {"glomface-light": model_dir})
    assert AlignmentModel.load("glomface-light").config.name == "constant"
    with pytest.raises(ModelError, match="unknown model 'glomface-lite': did you mean 'glomface-light'"):
        AlignmentModel.load("glomface-lite")


def edited(model_dir: Path, tmp_path: Path, **changes: object) -> Path:
    folder = copytree(model_dir, tmp_path / "edited")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sha256": {"model.onnx": "0" * 64}}, r"model\.onnx: SHA-256 .* but config\.json says 000000000000"),
        ({"sha256": {}}, "gives no SHA-256"),
        ({"margin": -1}, r"config\.json: margin: "),
        ({"colour": "red"}, r"config\.json: colour: "),
        ({"format": 2}, r"config\.json: format: "),
        ({"scheme": "ibug86"}, r"unknown scheme 'ibug86': did you mean 'ibug68'"),
    ],
)
def test_an_unfit_model_folder_is_one_line(
    model_dir: Path, tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ModelError, match=complaint) as caught:
        AlignmentModel.load(edited(model_dir, tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_given_in_the_folders_place_are_named(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: No such file"):
        AlignmentModel.load(tmp_path)
    with pytest.raises(ModelError, match="is a file; give its folder"):
        AlignmentModel.load(model_dir / "model.onnx")
    folder = copytree(model_dir, tmp_path / "weightless")
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: No such file"):
        AlignmentModel.load(folder)


def test_a_provider_that_is_not_there_is_one_line(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="install onnxruntime-gpu or use --provider cpu"):
        AlignmentModel.load(model_dir, provider="cuda")
