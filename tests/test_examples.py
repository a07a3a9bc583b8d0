"""The examples in docstrings run, and print what they state."""

import doctest
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision
import torch
from skimage.data import astronaut

import unveil
from unveil.data.datasets.registry import folder
from unveil.data.pack import write_pack
from unveil.data.synthetic import write_drawn_faces
from unveil.inference.aligner import AlignmentModel
from unveil.inference.blending import blend
from unveil.io.video_writer import write_video
from unveil.schemes.scheme import IBUG68

PACKAGE = Path(unveil.__file__).parent
TRAINING = ("training/", "registry.py")  # their examples train for hours
CONSTRUCTED = ("Pipeline", "Face", "Tracker", "Restorer", "compare", "FaceDetector")


class _Shown(doctest.OutputChecker):
    """Accept any output of a line without a stated one."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


def _modules() -> list[str]:
    """Return the modules with examples that run in seconds."""
    files = [
        path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py")) if ">>>" in path.read_text()
    ]
    return [name for name in files if not name.startswith(TRAINING)]


def _import(file: str) -> Any:
    return import_module(f"unveil.{file.removesuffix('.py').replace('/', '.')}")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    root = tmp_path_factory.mktemp("examples")
    photo = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    cv2.imwrite(str(root / "photo.jpg"), photo[..., ::-1])
    with write_video(root / "talk.mp4", 10) as add:
        for i in range(2):
            add(photo, i / 10)
    write_drawn_faces(root / "faces", 3)
    write_pack(folder(root / "faces"), root / "packs" / "300w-train.npz")
    return root


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """The variables and imports that the examples take for granted."""
    image_rgb = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    pipeline = unveil.Pipeline()
    faces = pipeline(image_rgb)
    common = {"unveil": unveil, "supervision": supervision, "np": np, "torch": torch, "Path": Path, "IBUG68": IBUG68}
    functions = {"blend": blend, "folder": folder, "AlignmentModel": AlignmentModel}
    image = {"image_rgb": image_rgb, "image": image_rgb, "points_px": faces[0].landmarks, "faces": faces}
    return {**common, **functions, **image, "pipeline": pipeline}


@pytest.mark.parametrize("file", _modules())
def test_the_examples_of_a_module_run(
    file: str, here: Path, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    module = _import(file)
    runner = doctest.DocTestRunner(_Shown(), optionflags=doctest.ELLIPSIS)
    report: list[str] = []
    for test in doctest.DocTestFinder().find(module, extraglobs=names):
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


def test_what_a_user_constructs_or_calls_first_has_an_example() -> None:
    found = {
        test.name.rpartition(".")[2]
        for file in _modules()
        for test in doctest.DocTestFinder().find(_import(file))
        if test.examples
    }
    assert found >= set(CONSTRUCTED)
