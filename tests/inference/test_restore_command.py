import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from unveil import Pipeline, read_image
from unveil.cli import main
from unveil.cli.restore import Options
from unveil.inference import pipeline as pipelines
from unveil.inference.drawing import PANEL_SIDES
from unveil.types import Box, Detection, Image

WriteImage = Callable[..., Path]
Restore = Callable[..., int]
ROOT = Path(__file__).parents[2]
GREEN = (20, 200, 30)


def square(image_rgb: Image) -> list[Detection]:
    """Finds one face, the middle of the image, unless it is black."""
    height, width = image_rgb.shape[:2]
    box = Box(width / 4, height / 4, width * 3 / 4, height * 3 / 4)
    return [Detection(box, 0.9)] if image_rgb.any() else []


@pytest.fixture
def restore(tmp_path: Path, model_dir: Path, restorer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Restore:
    """`unveil restore` with a model and a restorer of constants and a detector of squares; gives the status."""
    monkeypatch.setattr(pipelines, "load_detector", lambda *_: square)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, out: str = "out") -> int:
        extra = [] if "--restorer" in arguments else ["--restorer", str(restorer_dir)]
        return main(["restore", *map(str, arguments), "--out", out, "--model", str(model_dir), *extra])

    return run


@pytest.fixture
def masked(skin: tuple[int, int, int]) -> Image:
    """A face of one colour under a green square."""
    image_rgb = np.full((96, 120, 3), skin, np.uint8)
    image_rgb[44:60, 50:70] = GREEN
    return image_rgb


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_an_image_gives_all_requested_files(
    restore: Restore,
    write_image: WriteImage,
    masked: Image,
    tmp_path: Path,
    capsys: Any,
    model_dir: Path,
    restorer_dir: Path,
) -> None:
    write_image("a.png", masked)
    assert restore("a.png", "--save", "restored", "mask", "overlay", "comparison") == 0
    kinds = ["comparison", "mask", "overlay", "restored"]
    assert written(tmp_path / "out") == [f"a.{kind}.png" for kind in kinds]
    captured = capsys.readouterr()
    assert captured.out == "1 image, 1 face: restored, mask, overlay, comparison in out\n"
    assert captured.err == ""
    expected = Pipeline(model_dir, square, restorer=restorer_dir).restore(masked)
    np.testing.assert_array_equal(read_image(tmp_path / "out/a.restored.png"), expected.image)
    for kind in kinds:
        noted = b"tEXtComment\0Faces restored by unveil" in (tmp_path / f"out/a.{kind}.png").read_bytes()
        assert noted == (kind != "mask")
    mask = cv2.imread(str(tmp_path / "out/a.mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    np.testing.assert_array_equal(mask, np.where(expected.mask, 255, 0))
    assert read_image(tmp_path / "out/a.overlay.png").shape == masked.shape
    assert read_image(tmp_path / "out/a.comparison.png").shape[1] > 3 * PANEL_SIDES[0]


def test_a_folder_gives_its_tree_and_a_second_run_leaves_the_first_ones_files_alone(
    restore: Restore, write_image: WriteImage, masked: Image, tmp_path: Path
) -> None:
    write_image("in/a.png", masked)
    write_image("in/deep/b.jpg", masked)
    assert restore("in", "--save", "restored", "mask", out="in") == 0
    first = written(tmp_path / "in")
    assert first == ["a.mask.png", "a.png", "a.restored.png", "deep/b.jpg", "deep/b.mask.png", "deep/b.restored.png"]
    assert restore("in/*.png", "in/deep", "--save", "restored", "mask", out="again") == 0
    assert written(tmp_path / "again") == ["a.mask.png", "a.restored.png", "b.mask.png", "b.restored.png"]


def test_an_image_without_a_face_comes_out_as_it_went_in(
    restore: Restore, write_image: WriteImage, tmp_path: Path, capsys: Any
) -> None:
    write_image("black.png", np.zeros((50, 50, 3), np.uint8))
    assert restore("black.png") == 0
    assert not read_image(tmp_path / "out/black.restored.png").any()
    (line,) = errors(capsys)
    assert line.startswith("warning: black.png: no face found")


def test_boxes_skip_detection(restore: Restore, write_image: WriteImage, masked: Image, tmp_path: Path) -> None:
    write_image("a.png", masked)
    (tmp_path / "boxes.json").write_text('{"a.png": [[30, 20, 90, 80]]}')
    assert restore("a.png", "--boxes", "boxes.json", "--save", "mask") == 0
    assert read_image(tmp_path / "out/a.mask.png")[50, 60].all()


@pytest.mark.parametrize("kind", ["grey", "rgba", "16-bit"])
def test_images_of_other_kinds_are_restored(
    restore: Restore, masked: Image, tmp_path: Path, kind: str, skin: tuple[int, int, int]
) -> None:
    bgr = cv2.cvtColor(masked, cv2.COLOR_RGB2BGR)
    pixels: Any = {
        "grey": cv2.cvtColor(masked, cv2.COLOR_RGB2GRAY),
        "rgba": np.dstack([bgr, np.full(bgr.shape[:2], 99, np.uint8)]),
        "16-bit": bgr.astype(np.uint16) * 257,
    }[kind]
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    assert restore("a.png") == 0
    restored = read_image(tmp_path / "out/a.restored.png")
    if kind != "grey":  # where nothing is green
        assert np.abs(restored.astype(int) - np.array(skin)).max() <= 2


def test_a_file_that_is_no_image_is_one_line_and_the_others_go_on(
    restore: Restore, write_image: WriteImage, masked: Image, tmp_path: Path, capsys: Any
) -> None:
    write_image("good.png", masked)
    (tmp_path / "text.jpg").write_bytes(b"some text")
    assert restore("text.jpg", "good.png") == 1
    (line,) = errors(capsys)
    assert line.startswith("error: text.jpg: not an image")
    assert written(tmp_path / "out") == ["good.comparison.png", "good.restored.png"]
    assert restore("text.jpg") == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--restorer", "gan-ai"), "error: unknown restorer 'gan-ai'"),
        (("--restorer", "."), "error: config.json: No such file"),
        (("--save",), "error: --save: name at least one kind of file"),
        (("--threads", "0"), "error: --threads 0"),
    ],
)
def test_what_concerns_all_images_is_one_line_and_nothing_is_written(
    restore: Restore, write_image: WriteImage, tmp_path: Path, capsys: Any, arguments: tuple[str, ...], complaint: str
) -> None:
    write_image("a.png")
    assert restore("a.png", *arguments) == 2
    (line,) = errors(capsys)
    assert line.startswith(complaint)
    assert not (tmp_path / "out").exists()


def test_an_image_turned_by_exif_comes_out_upright(restore: Restore, masked: Image, tmp_path: Path) -> None:
    encoded, data = cv2.imencode(".jpg", np.rot90(masked)[..., ::-1])
    assert encoded
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # turn it clockwise
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "a.jpg").write_bytes(data.tobytes()[:2] + segment + data.tobytes()[2:])
    assert restore("a.jpg") == 0
    assert read_image(tmp_path / "out/a.restored.png").shape == masked.shape


def test_the_example_draws_a_sheet(
    tmp_path: Path, restorer_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    sheet = tmp_path / "deep" / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["occluders.py", "--restorer", str(restorer_dir), "--out", str(sheet)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "examples/occluders.py"), run_name="__main__")
    assert stop.value.code == 0
    assert read_image(sheet).shape[1] > 1000
    monkeypatch.setattr(sys, "argv", ["occluders.py", "--restorer", str(tmp_path), "--out", str(sheet)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "examples/occluders.py"), run_name="__main__")
    assert stop.value.code == 2
    assert "config.json: No such file" in capsys.readouterr().err


def test_help_states_that_what_is_painted_is_a_guess(capsys: Any) -> None:
    assert main(["restore", "--help"]) == 0
    assert "a guess" in capsys.readouterr().out
    assert Options(source=("a.jpg",)).restorer == "gan-ia-light"
