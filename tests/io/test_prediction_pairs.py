"""Predictions paired with their ground truth, and the messages about faces without a partner."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from unveil.io.annotations import write_pts
from unveil.io.files import DataError
from unveil.io.predictions import Pairs, read_pairs
from unveil.schemes.scheme import IBUG68, Scheme
from unveil.types import Points

Set = Mapping[str, Points]


def shape(seed: int, points: int = 68) -> Points:
    """Landmarks to the hundredth of a pixel, as every kind of file keeps them."""
    return np.round(np.random.default_rng(seed).uniform(0, 200, (points, 2)), 2).astype(np.float32)


GROUND_TRUTH = {"a": shape(0), "b": shape(1), "image.003": shape(2)}
PREDICTED = {name: points_px + np.float32(1) for name, points_px in GROUND_TRUTH.items()}


def as_pts(folder: Path, faces: Set) -> Path:
    for name, points_px in faces.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_pts(folder / f"{name}.pts", points_px)
    return folder


def as_json(folder: Path, faces: Set) -> Path:
    path = folder / "faces.json"
    path.write_text(json.dumps({f"{name}.jpg": points_px.tolist() for name, points_px in faces.items()}), "utf-8")
    return path


def found(points_px: Points) -> dict[str, object]:
    """A face as `unveil align` writes it."""
    return {"landmarks": points_px.tolist(), "visibility": [0.5] * len(points_px)}


def pairs_of(folder: Path, predicted: Set, true: Set = GROUND_TRUTH, *, strict: bool = False) -> Pairs:
    return read_pairs(as_json(folder, predicted), as_pts(folder / "truth", true), strict=strict)


def test_of_several_faces_in_an_image_the_one_nearest_to_the_ground_truth_is_taken(tmp_path: Path) -> None:
    faces = [found(points_px) for points_px in (shape(0) + 300, shape(0) + 2, shape(0) * 2)]
    (tmp_path / "a.json").write_text(json.dumps({"image": "a.jpg", "scheme": "ibug68", "faces": faces}), "utf-8")
    pairs = read_pairs(tmp_path / "a.json", as_pts(tmp_path / "truth", {"a": shape(0)}), strict=True)
    np.testing.assert_allclose(pairs.predicted_px - pairs.ground_truth_px, 2, atol=2e-3)


def test_where_a_stem_is_there_twice_the_folders_decide(tmp_path: Path) -> None:
    ground_truth = {"helen/1": shape(0), "lfpw/1": shape(1)}
    pairs = pairs_of(
        tmp_path, {"/data/300w/lfpw/1": shape(1), "/data/300w/helen/1": shape(0)}, ground_truth, strict=True
    )
    np.testing.assert_allclose(pairs.predicted_px, pairs.ground_truth_px, atol=2e-3)
    with pytest.raises(DataError, match=r"'1\.jpg': two ground truths, in .*helen/1\.pts and .*lfpw/1\.pts"):
        pairs_of(tmp_path, {"1": shape(0)}, ground_truth)
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"'x/1\.jpg' and .*'y/1\.jpg': two predictions for .*a/1\.pts; take one out"):
        pairs_of(tmp_path / "other", {"x/1": shape(0), "y/1": shape(0)}, {"a/1": shape(0)})


def test_equal_names_belong_together_though_a_folder_has_the_same_stem(tmp_path: Path) -> None:
    faces = {"1": shape(0), "x/1": shape(1)}
    pairs = pairs_of(tmp_path, faces, faces, strict=True)
    np.testing.assert_allclose(pairs.predicted_px, pairs.ground_truth_px, atol=2e-3)


NAN = shape(1)
NAN[7] = np.nan


@pytest.mark.parametrize(
    ("predicted", "problem"),
    [
        ({"a": shape(0)}, r"faces\.json: no prediction for .*b\.pts; add one named 'b'"),
        ({"a": shape(0), "b": shape(1, 98)}, r"'b\.jpg': 98 points, but scheme 'ibug68' has 68; fix it or evaluate"),
        ({"a": shape(0), "b": NAN}, r"'b\.jpg': landmark 7 is not a finite number; fix it or take the face out"),
        ({"a": shape(0), "b": shape(1)[:, :1]}, r"'b\.jpg': landmarks of shape \(68, 1\); give \[\[x, y\], …\]"),
        ({"a": shape(0), "b": shape(1), "c": NAN + 1}, r"'c\.jpg': landmark 7"),
        ({"a": shape(0), "b": shape(1), "c": shape(2)}, r"'c\.jpg' has no ground truth in .*truth; add it or take"),
    ],
    ids=["missing", "wrong count", "NaN", "wrong shape", "broken and extra", "extra"],
)
def test_one_broken_pair_is_named_and_does_not_lose_the_rest(tmp_path: Path, predicted: Set, problem: str) -> None:
    ground_truth = {"a": shape(0), "b": shape(1)}
    pairs = pairs_of(tmp_path, predicted, ground_truth)
    assert len(pairs.problems) == 1
    assert re.search(problem, pairs.problems[0])
    assert pairs.names == ("a", "b")[: len(pairs)]
    with pytest.raises(DataError, match=problem):
        pairs_of(tmp_path, predicted, ground_truth, strict=True)


def test_broken_ground_truth_is_reported_once_and_the_rest_goes_on(tmp_path: Path) -> None:
    ground_truth = as_pts(tmp_path / "truth", GROUND_TRUTH)
    (ground_truth / "b.pts").write_text("1 2\n3 nan\n", "ascii")
    pairs = read_pairs(as_json(tmp_path, PREDICTED), ground_truth)
    assert pairs.names == ("a", "image.003")
    assert pairs.problems == (f"{ground_truth / 'b.pts'}, line 2: '3 nan' is not finite",)


def test_predictions_of_another_scheme_are_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"scheme": "ibug68", "faces": [found(shape(0))]}), "utf-8")
    own = Scheme("own", IBUG68.point_names, IBUG68.flip_order, IBUG68.hierarchy)
    with pytest.raises(DataError, match=r"a\.json: face 0: scheme 'ibug68', but the ground truth has 'own'; evaluate"):
        read_pairs(tmp_path / "a.json", as_pts(tmp_path / "truth", {"a": shape(0)}), own)
    with pytest.raises(DataError, match="faces of 5 points, which no built-in scheme has; name its scheme file"):
        read_pairs(tmp_path / "a.json", as_pts(tmp_path / "five", {"a": shape(0, 5)}))


def test_faces_can_be_left_out_for_a_reason(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, PREDICTED).without({1: "its length is zero"})
    assert pairs.names == ("a", "image.003")
    assert len(pairs.ground_truth_px) == len(pairs.predicted_px) == 2
    assert pairs.problems == (f"{tmp_path / 'truth' / 'b.pts'}: its length is zero",)
    with pytest.raises(DataError, match="no pair is left: "):
        pairs.without({0: "x", 1: "x"})
