"""Predictions and ground truth from every kind of file, and the messages about other files."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from unveil.io.annotations import write_pts
from unveil.io.files import DataError
from unveil.io.predictions import read_pairs
from unveil.io.results import csv_table, image_json
from unveil.schemes.scheme import IBUG68
from unveil.types import Box, Face, Image, Points, Pose

Set = Mapping[str, Points]
Write = Callable[[Path, Set], Path | str]
IMAGE: Image = np.zeros((9, 9, 3), np.uint8)


def shape(seed: int, points: int = 68) -> Points:
    """Landmarks to the hundredth of a pixel, as every kind of file keeps them."""
    return np.round(np.random.default_rng(seed).uniform(0, 200, (points, 2)), 2).astype(np.float32)


GROUND_TRUTH = {"a": shape(0), "b": shape(1), "image.003": shape(2)}
PREDICTED = {name: points_px + np.float32(1) for name, points_px in GROUND_TRUTH.items()}


def aligned(points_px: Points) -> Face:
    box, each = Box(0, 0, 9, 9), np.full(len(points_px), 0.25, np.float32)
    return Face(box, 0.9, points_px, each, each, Pose(0, 0, 0), points_px[:5])


def as_pts(folder: Path, faces: Set) -> Path:
    for name, points_px in faces.items():
        path = folder / "pts" / f"{name}.pts"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pts(path, points_px)
    return folder / "pts"


def as_json(folder: Path, faces: Set) -> Path:
    path = folder / "faces.json"
    path.write_text(json.dumps({f"{name}.jpg": points_px.tolist() for name, points_px in faces.items()}), "utf-8")
    return path


def as_csv(folder: Path, faces: Set, header: bool = True) -> Path:
    path = folder / "faces.csv"
    rows = [[f"{name}.png", *map(float, points_px.ravel())] for name, points_px in faces.items()]
    titles = ["name", *(f"{axis}{i}" for i in range(len(rows[0]) // 2) for axis in "xy")]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([titles, *rows] if header else rows)
    return path


def as_npz(folder: Path, faces: Set, **more: object) -> Path:
    np.savez(folder / "faces.npz", names=list(faces), points=np.stack(list(faces.values())), **more)  # type: ignore[arg-type]
    return folder / "faces.npz"


def as_align_json(folder: Path, faces: Set) -> Path:
    for name, points_px in faces.items():
        path = folder / "out" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = image_json(f"photos/{name}.jpg", IMAGE, "glomface-light", "ibug68", [aligned(points_px)])
        path.write_text(text, "utf-8")
    return folder / "out"


def as_align_csv(folder: Path, faces: Set) -> Path:
    with csv_table(folder / "aligned.csv", 68) as add:
        for name, points_px in faces.items():
            add(f"photos/{name}.jpg", [aligned(points_px)])
    return folder / "aligned.csv"


KINDS: dict[str, Write] = {
    "pts": as_pts,
    "align's pts": lambda folder, faces: as_pts(folder, {f"{name}.0": points for name, points in faces.items()}),
    "json": as_json,
    "csv": as_csv,
    "csv without header": lambda folder, faces: as_csv(folder, faces, header=False),
    "npz": as_npz,
    "npz array": lambda folder, faces: f"{as_npz(folder, faces, truth=np.zeros((3, 68, 2)))}:points",
    "align's json": as_align_json,
    "align's csv": as_align_csv,
}


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_come_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    pairs = read_pairs(KINDS[kind](tmp_path, PREDICTED), as_pts(tmp_path / "truth", GROUND_TRUTH))
    assert pairs.names == ("a", "b", "image.003")
    assert pairs.problems == ()
    assert pairs.scheme is IBUG68
    np.testing.assert_allclose(pairs.predicted_px - pairs.ground_truth_px, 1, atol=2e-3)
    assert (pairs.visibility is not None) == (kind in {"align's json", "align's csv"})


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"align's pts"}))
def test_the_ground_truth_comes_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "predicted").mkdir()
    pairs = read_pairs(as_json(tmp_path / "predicted", PREDICTED), KINDS[kind](tmp_path, GROUND_TRUTH), strict=True)
    np.testing.assert_allclose(pairs.predicted_px - pairs.ground_truth_px, 1, atol=2e-3)


def test_one_npz_can_hold_both_and_which_landmarks_are_visible(tmp_path: Path) -> None:
    path, ground_truth_px = tmp_path / "oracle.npz", np.stack([shape(0), shape(1)])
    visible = np.random.default_rng(0).random((2, 68)) < 0.5
    np.savez(
        path,
        names=["a.jpg", "b.jpg"],
        ground_truth=ground_truth_px,
        one=ground_truth_px + 1,
        two=ground_truth_px + 2,
        visible=visible,
    )
    pairs = read_pairs(f"{path}:two", path)
    np.testing.assert_allclose(pairs.predicted_px - pairs.ground_truth_px, 2, atol=1e-4)
    np.testing.assert_array_equal(pairs.visible, visible)
    with pytest.raises(DataError, match=r"which array is the predictions\? One of .*npz:one, .*npz:two"):
        read_pairs(path, path)
    with pytest.raises(DataError, match="no array 'three' in it; it has ground_truth, names, one, two, visible"):
        read_pairs(f"{path}:three", path)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.json", "{", r"a\.json: not JSON, or cut short"),
        ("a.json", "[1]", r"a\.json: not an object; give"),
        ("a.json", '{"a": null}', r"a\.json: 'a': landmarks of shape \(\)"),
        ("a.json", '{"a": [[1, 2], [3]]}', r"a\.json: 'a': its landmarks are not numbers of equal rows"),
        ("a.json", '{"faces": 3}', r"a\.json: its faces are not a list"),
        ("a.json", '{"image": "a.jpg", "faces": []}', r"a\.json: no face was found in a\.jpg; align it again"),
        ("a.csv", "", r"a\.csv: no faces in it"),
        ("a.csv", "name,left,right\na,b,c\n", r"a\.csv: its header has no columns x0, y0"),
        ("a.csv", "name,x0,y0\na,1\n", r"a\.csv, line 2: 2 cells, but the header has 3"),
        ("a.csv", "a,1,2,3\n", r"a\.csv, line 1: its landmarks are not numbers of equal rows"),
        ("a.csv", "name,x0,y0\na,1,\n", r"a\.csv, line 2: its landmarks are not numbers"),
        ("a.npz", "PK\x03\x04", r"a\.npz: not an \.npz of plain arrays, or cut short"),
        ("a.txt", "1 2", r"a\.txt: not a \.json, \.csv, \.xml, \.npz or \.pts file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True)
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=complaint):
        read_pairs(path, as_pts(tmp_path, GROUND_TRUTH))


def test_a_folder_without_landmarks_and_a_path_to_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no faces in it; give a \.json"):
        read_pairs(tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"none\.npz: no such file or folder"):
        read_pairs(f"{tmp_path}/none.npz:spiga", tmp_path)
