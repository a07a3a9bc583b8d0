"""Models that always answer with the same face, so that every figure can be worked out by hand. L landmarks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.constant_models import save_model, save_restorer

from unveil.cli import main
from unveil.data.synthetic import frontal_shape
from unveil.schemes.scheme import IBUG68, Scheme
from unveil.types import Points

SIZE = 16
MakeModel = Callable[..., Path]
Evaluate = Callable[..., int]


def mean_face() -> Points:
    """The drawn face in units of its own crop: a model that returns it is near the ground truth of drawn faces."""
    shape = frontal_shape()
    low, high = shape.min(axis=0), shape.max(axis=0)
    points_unit: Points = (2 * (shape - (low + high) / 2) / np.linalg.norm(high - low)).astype(np.float32)
    return points_unit


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "mean", mean_face(), size=SIZE, uncertainty=None)


@pytest.fixture(scope="session")
def restorer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_restorer(tmp_path_factory.mktemp("restorers") / "green")


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Writes a model of a name, of the mean face moved in crop units, or of other points and their scheme."""

    def make(name: str, points_unit: Points | None = None, scheme: Scheme = IBUG68, moved: float = 0.0) -> Path:
        points = (mean_face() if points_unit is None else points_unit) + np.float32(moved)
        return save_model(tmp_path / name, points, scheme, SIZE, None)

    return make


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """`unveil evaluate` in `tmp_path`; gives the status."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["evaluate", *map(str, arguments)])
