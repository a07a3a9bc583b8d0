"""`.pts` files: read as they come, written as iBUG writes them, whole or not at all."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unveil.io.annotations import implausible, read_pts, write_pts
from unveil.io.files import DataError, atomic_write
from unveil.schemes.scheme import IBUG68
from unveil.types import Points

PLAIN = "version: 1\nn_points: 2\n{\n1.0 2.5\n30.25 4\n}\n"
EXPECTED = [[0, 1.5], [29.25, 3]]


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "a.pts"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        "1.0 2.5\n30.25 4",
        "version: 1\nn_points:  2\n{ 1.0 2.5\n\n  30.25\t4 }",
        "# by hand\n" + PLAIN.replace("2.5", "2.5  // the chin"),
        "1.0, 2.5\n30.25, 4\n",
        "\ufeff" + PLAIN,
    ],
    ids=["iBUG's", "CRLF", "bare", "loose", "comments", "commas", "byte order mark"],
)
def test_a_pts_file_is_read_however_it_was_written(tmp_path: Path, text: str) -> None:
    points_px = read_pts(written(tmp_path, text))
    assert points_px.dtype == np.float32
    np.testing.assert_array_equal(points_px, EXPECTED)


@given(arrays(np.float32, st.tuples(st.integers(1, 98), st.just(2)), elements=st.floats(-500, 9000, width=32)))
def test_points_come_back_from_a_pts_file(tmp_path_factory: pytest.TempPathFactory, points_px: Points) -> None:
    path = tmp_path_factory.mktemp("round") / "a.pts"
    write_pts(path, points_px)
    np.testing.assert_allclose(read_pts(path), points_px, atol=1.1e-3)


def test_points_are_written_as_ibug_does_counted_from_1(tmp_path: Path) -> None:
    write_pts(tmp_path / "a.pts", np.array(EXPECTED, np.float32))
    assert (tmp_path / "a.pts").read_bytes() == b"version: 1\nn_points: 2\n{\n1.000 2.500\n30.250 4.000\n}\n"


def test_a_file_of_another_scheme_is_refused_with_both_counts(tmp_path: Path) -> None:
    path = written(tmp_path, "1 1\n" * 66)
    with pytest.raises(ValueError, match=r"a\.pts: 66 points, but scheme 'ibug68' has 68$"):
        read_pts(path, IBUG68)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (PLAIN.replace("2.5", "two"), r"a\.pts, line 4: '1\.0 two' is not two numbers"),
        (PLAIN.replace("2.5", ""), r"a\.pts, line 4: '1\.0' is not two numbers"),
        (PLAIN.replace("2.5", "2.5 3"), r"a\.pts, line 4: '1\.0 2\.5 3' is not two numbers"),
        (PLAIN.replace("4", "nan"), r"a\.pts, line 5: '30\.25 nan' is not finite"),
        (PLAIN.replace("4", "inf"), r"a\.pts, line 5: '30\.25 inf' is not finite"),
        (PLAIN.replace("n_points: 2", "n_points: 3"), r"a\.pts: 2 points, but its header states 3"),
        (PLAIN.replace("n_points: 2", "n_points: two"), r"a\.pts, line 2: n_points is 'two', not a whole number"),
        ("version: 1\n{\n}\n", r"a\.pts: no points"),
        ("\x89PNG\r\n", r"a\.pts, line 1: .* is not two numbers"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = written(tmp_path, text, "latin-1")
    with pytest.raises(DataError, match=complaint):
        read_pts(path)


def test_a_missing_pts_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.pts: No such file"):
        read_pts(tmp_path / "gone.pts")


@pytest.mark.parametrize(
    ("points_px", "complaint"),
    [
        (np.array([[1, 2], [np.nan, 3]], np.float32), "landmark 1 is not a finite number"),
        (np.zeros((4, 3), np.float32), r"points of shape \(4, 3\)"),
    ],
)
def test_points_that_cannot_be_written_leave_the_old_file(tmp_path: Path, points_px: Points, complaint: str) -> None:
    path = written(tmp_path, PLAIN)
    with pytest.raises(ValueError, match=complaint):
        write_pts(path, points_px)
    assert path.read_text() == PLAIN


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN)

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == PLAIN
    assert list(tmp_path.iterdir()) == [path]


def face_at(x: float, y: float) -> Points:
    """68 points of a face of 100 pixels whose corner is at (x, y)."""
    points_px: Points = (np.random.default_rng(0).uniform(0, 100, (68, 2)) + np.array([x, y])).astype(np.float32)
    return points_px


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ((np.nan, 3), "landmark 7 is not a finite number"),
        ((3, np.inf), "landmark 7 is not a finite number"),
        ((0, 0), r"landmark 7 is at \(0, 0\), which marks a missing one"),
        ((-1, -1), r"landmark 7 is at \(-1, -1\), which marks a missing one"),
        ((900, 100), r"landmark 7 is at \(900, 100\), far outside the image of 400x300 pixels"),
        ((100, -200), r"landmark 7 is at \(100, -200\), far outside the image of 400x300 pixels"),
        ((-9999, -9999), r"landmark 7 is at \(-9999, -9999\), far"),
    ],
)
def test_landmarks_that_cannot_be_true_are_named(place: tuple[float, float], problem: str) -> None:
    points_px = face_at(150, 100)
    assert implausible(points_px, (400, 300)) is None
    points_px[7] = place
    found = implausible(points_px, (400, 300))
    assert found is not None
    assert re.match(problem, found)


def test_a_landmark_far_from_all_others_is_named_without_the_size_of_the_image() -> None:
    points_px = face_at(150, 100)
    points_px[3] = 9e5
    assert implausible(points_px) == "landmark 3 is at (900000, 900000), far from all others"
    assert implausible(np.full((68, 2), 5, np.float32)) == "all 68 landmarks are at (5, 5)"


def test_a_face_that_is_cut_off_by_the_image_is_plausible() -> None:
    assert implausible(face_at(-40, 230), (400, 300)) is None
    assert implausible(face_at(340, -30), (400, 300)) is None
