"""JSON, CSV and the other files of aligned faces."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import unveil
from unveil.cli.outputs import align_writers
from unveil.io.annotations import read_pts
from unveil.io.files import atomic_write_all
from unveil.io.images import read_image
from unveil.io.results import csv_table, image_json
from unveil.schemes.scheme import IBUG68
from unveil.types import Box, Face, Pose

GREY = np.full((100, 120, 3), 128, np.uint8)
FIVE = np.array([[15, 20], [35, 20], [25, 30], [18, 40], [32, 40]], np.float32)


def face(x: float, seed: int) -> Face:
    rng = np.random.default_rng(seed)
    landmarks = (rng.random((68, 2)) * 40 + [x, 10]).astype(np.float32)
    visibility = rng.random(68, np.float32)
    box = Box(x, 10, x + 40, 60)
    return Face(
        box, 0.9, landmarks, visibility, visibility * 3, Pose(1, 2, 3), (FIVE + np.array([x, 0])).astype(np.float32)
    )


@pytest.fixture
def faces() -> list[Face]:
    return [face(10, 0), face(60, 1)]


def text(faces: list[Face]) -> str:
    return image_json("in/a.jpg", GREY, "constant", "ibug68", faces)


def test_the_json_has_the_documented_keys_and_no_others(faces: list[Face]) -> None:
    record = json.loads(text(faces))
    assert list(record) == ["image", "width", "height", "model", "scheme", "faces"]
    assert (record["image"], record["width"], record["height"]) == ("in/a.jpg", 120, 100)
    face = record["faces"][0]
    assert list(face) == ["box", "score", "landmarks", "visibility", "uncertainty", "pose"]
    assert face["box"] == [10, 10, 50, 60]
    assert np.shape(face["landmarks"]) == (68, 2)
    assert np.shape(face["visibility"]) == np.shape(face["uncertainty"]) == (68,)
    assert list(face["pose"]) == ["yaw", "pitch", "roll"]
    np.testing.assert_allclose(face["landmarks"], faces[0].landmarks, atol=0.006)


def test_every_kind_is_written_for_every_face(faces: list[Face], tmp_path: Path) -> None:
    base = tmp_path / "deep" / "a.b"
    atomic_write_all(align_writers(base, GREY, text(faces), faces, IBUG68, ("json", "pts", "overlay", "aligned")))
    per_face = [f"a.b.{i}.{end}" for i in (0, 1) for end in ("aligned-112.png", "aligned-256.png", "pts")]
    assert sorted(path.name for path in base.parent.iterdir()) == sorted(["a.b.json", "a.b.overlay.png", *per_face])
    np.testing.assert_allclose(read_pts(base.parent / "a.b.1.pts"), faces[1].landmarks, atol=1e-3)
    assert read_image(base.parent / "a.b.overlay.png").shape == GREY.shape
    for size in (112, 256):
        assert read_image(base.parent / f"a.b.0.aligned-{size}.png").shape == (size, size, 3)


def test_pts_count_from_one(faces: list[Face], tmp_path: Path) -> None:
    atomic_write_all(align_writers(tmp_path / "a", GREY, "", faces, IBUG68, ["pts"]))
    first = (tmp_path / "a.0.pts").read_text().splitlines()[3].split()
    np.testing.assert_allclose(np.array(first, float), faces[0].landmarks[0] + 1, atol=1e-3)


@pytest.mark.parametrize("trouble", [OSError("disk full"), KeyboardInterrupt()])
def test_if_one_file_fails_none_appears_and_old_ones_stay(tmp_path: Path, trouble: BaseException) -> None:
    (tmp_path / "a.json").write_text("old")

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise trouble

    def succeed(path: Path) -> None:
        path.write_text("new")

    with pytest.raises(type(trouble)):
        atomic_write_all({tmp_path / "a.json": succeed, tmp_path / "a.png": fail})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_the_csv_has_one_row_a_face(faces: list[Face], tmp_path: Path) -> None:
    with csv_table(tmp_path / "faces.csv", 68) as add_rows:
        add_rows("a, b.jpg", faces)
        add_rows("none.jpg", [])
        add_rows("=1+1.jpg", faces[:1])
        assert not (tmp_path / "faces.csv").exists()
    with (tmp_path / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["face"]) for row in rows] == [("a, b.jpg", "0"), ("a, b.jpg", "1"), ("'=1+1.jpg", "0")]
    assert float(rows[1]["x67"]) == pytest.approx(faces[1].landmarks[67, 0], abs=1e-3)
    assert faces[0].visibility is not None
    assert float(rows[0]["visibility0"]) == pytest.approx(faces[0].visibility[0], abs=1e-3)


def test_an_interrupted_csv_leaves_nothing(faces: list[Face], tmp_path: Path) -> None:
    def interrupted() -> None:
        with csv_table(tmp_path / "faces.csv", 68) as add_rows:
            add_rows("a.jpg", faces)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_faces_become_key_points_of_supervision(faces: list[Face]) -> None:
    supervision = pytest.importorskip("supervision")
    key_points = unveil.to_supervision(faces)
    assert isinstance(key_points, supervision.KeyPoints)
    np.testing.assert_array_equal(key_points.xy, [face.landmarks for face in faces])
    np.testing.assert_array_equal(key_points.keypoint_confidence, [face.visibility for face in faces])
    np.testing.assert_allclose(key_points.detection_confidence, [0.9, 0.9])
    np.testing.assert_array_equal(key_points.data["uncertainty"], [face.uncertainty for face in faces])
    assert len(unveil.to_supervision(faces[:1])) == 1
    assert unveil.to_supervision([]).is_empty()
    bare = [replace(face, visibility=None, uncertainty=None) for face in faces]
    assert "uncertainty" not in unveil.to_supervision(bare).data


def test_faces_become_a_frame_with_the_columns_of_the_csv(faces: list[Face], tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = unveil.to_pandas({"a.jpg": faces, "none.jpg": [], "b.jpg": [replace(faces[0], visibility=None, pose=None)]})
    with csv_table(tmp_path / "faces.csv", 68) as add_rows:
        add_rows("a.jpg", faces)
    read = pandas.read_csv(tmp_path / "faces.csv")
    pandas.testing.assert_frame_equal(frame[:2], read, check_dtype=False)
    assert frame["image"].tolist() == ["a.jpg", "a.jpg", "b.jpg"]
    assert np.isnan(frame.loc[2, ["yaw", "visibility0"]].astype(float)).all()
    assert frame["x0"].dtype == float
    assert len(unveil.to_pandas(faces)) == 2
    assert unveil.to_pandas([]).empty


@pytest.mark.parametrize("name", ["pandas", "supervision"])
def test_a_library_that_is_not_installed_is_named(
    faces: list[Face], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f"this needs {name}; install it with: pip install {name}"):
        getattr(unveil, f"to_{name}")(faces)
