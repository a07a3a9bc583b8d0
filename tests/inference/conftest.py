"""A model of constants and a restorer of one colour, so that nothing here needs weights."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.constant_models import SKIN, save_model, save_restorer
from tests.inference.command_output import Align, square

from unveil.cli import main
from unveil.inference import pipeline
from unveil.types import Image


def drawn_face() -> NDArray[np.float32]:
    """A drawn face of 68 landmarks in crop units, (68, 2), the same as its mirror image."""

    def arc(centre: tuple[float, float], radii: tuple[float, float], angles: list[float]) -> list[tuple[float, float]]:
        turned = np.radians(angles)
        return [(centre[0] + radii[0] * float(np.cos(a)), centre[1] + radii[1] * float(np.sin(a))) for a in turned]

    points = arc((0, -0.1), (0.6, 0.7), list(np.linspace(180, 0, 17)))  # jaw
    for side in (-1, 1):  # brows
        points += [(side * 0.3 + 0.05 * i, -0.42) for i in range(-2, 3)]
    points += [(0, -0.3 + 0.12 * i) for i in range(4)]  # nose bridge
    points += [(0.07 * i, 0.14) for i in range(-2, 3)]  # nostrils
    for x in (-0.27, 0.27):  # eyes
        points += arc((x, -0.25), (0.1, 0.05), [180, 240, 300, 0, 60, 120])
    points += arc((0, 0.32), (0.22, 0.09), [180 + 30 * i for i in range(12)])  # outer lips
    points += arc((0, 0.32), (0.15, 0.04), [180 + 45 * i for i in range(8)])  # inner lips
    return np.array(points, np.float32)


@pytest.fixture(scope="session")
def restorer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_restorer(tmp_path_factory.mktemp("restorers") / "green")


@pytest.fixture
def skin() -> tuple[int, int, int]:
    """What the restorer of `restorer_dir` paints."""
    return SKIN


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "constant", drawn_face())


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[[NDArray[np.float32]], Path]:
    """Writes a model that answers with the given landmarks in crop units."""
    return lambda points_unit: save_model(tmp_path / "made", points_unit)


@pytest.fixture
def face_unit() -> NDArray[np.float32]:
    """What the model of `model_dir` answers, (68, 2) in crop units."""
    return drawn_face()


@pytest.fixture(scope="session")
def portrait() -> Image:
    """NASA's public-domain portrait of Eileen Collins, 512 x 512, one face."""
    from skimage import data

    return np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]


@pytest.fixture
def write_image(tmp_path: Path) -> Callable[..., Path]:
    """Writes an image of one colour, or the given one, and gives its path."""

    def write(name: str, image_rgb: Image | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image_rgb = np.full((64, 96, 3), 90, np.uint8) if image_rgb is None else image_rgb
        encoded, data = cv2.imencode(path.suffix, image_rgb[..., ::-1])
        assert encoded
        path.write_bytes(data.tobytes())
        return path

    return write


@pytest.fixture
def align(tmp_path: Path, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Align:
    """`unveil align` with the model of constants, a detector of squares and `tmp_path/out`; gives the status."""
    monkeypatch.setattr(pipeline, "load_detector", lambda *_: square)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, out: str = "out") -> int:
        extra = [] if "--model" in arguments else ["--model", str(model_dir)]
        return main(["align", *map(str, arguments), "--out", out, *extra])

    return run
