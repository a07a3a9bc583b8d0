"""WFLW, on a tiny release made here: five faces on four photographs, of which one shows two faces."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from unveil.data.datasets import wflw as module
from unveil.data.datasets.registry import read_data_set
from unveil.data.datasets.wflw import FACES, FLAGS, IMAGES, LISTS, wflw
from unveil.io.files import DataError
from unveil.schemes.scheme import WFLW98
from unveil.types import Box

TINY = {"train": 1, "test": 5, "pose": 2, "expression": 0, "illumination": 1, "makeup": 0, "occlusion": 1, "blur": 3}
NAMES = ("0--Parade/0_Parade_a_0_1", "0--Parade/0_Parade_a_0_1", "1--Match/b_2", "1--Match/c_3", "2--Class/d_4")
TEST_FLAGS = ("100000", "100001", "001000", "000011", "000001")


def line(points: np.ndarray, box: Sequence[int], flags: str, name: str) -> str:
    coordinates = " ".join(f"{value:.6f}" for value in points.ravel())
    return f"{coordinates} {' '.join(map(str, box))} {' '.join(flags)} {name}.jpg"


def points(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 24, (98, 2)).round(6)


def list_of(root: Path, split: str = "test") -> Path:
    return root / LISTS / f"list_98pt_rect_attr_{split}.txt"


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "FACES", TINY)
    (tmp_path / LISTS).mkdir()
    rows = [
        line(points(i), (1, 2, 30, 20 + i), flags, name)
        for i, (name, flags) in enumerate(zip(NAMES, TEST_FLAGS, strict=True))
    ]
    list_of(tmp_path).write_text("\n".join(rows) + "\n")
    list_of(tmp_path, "train").write_text(line(points(9), (0, 0, 9, 9), "110000", "3--Riot/e_5") + "\n")
    for name in (*NAMES, "3--Riot/e_5"):
        path = tmp_path / IMAGES / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((24, 32, 3), 128, np.uint8))
    return tmp_path


def test_wflw_has_the_official_counts() -> None:
    assert dict(FACES) == {
        **{"train": 7500, "test": 2500},
        **{"pose": 326, "expression": 314, "illumination": 698, "makeup": 206, "occlusion": 736, "blur": 773},
    }
    assert tuple(FACES)[2:] == FLAGS


def test_a_line_becomes_a_face_with_its_points_box_and_image(release: Path) -> None:
    data_set = read_data_set("wflw/test", release)
    assert data_set.label == "wflw/test 5/5"
    assert data_set.scheme is WFLW98
    np.testing.assert_allclose(data_set.points_px, np.stack([points(i) for i in range(5)]), atol=1e-5)
    assert data_set.samples[3].box == Box(1, 2, 30, 23)
    assert data_set.image(3).shape == (24, 32, 3)
    assert data_set.visible is None


def test_two_faces_on_one_photograph_have_two_names(release: Path) -> None:
    data_set = wflw(release, "test")
    assert len(set(data_set.names)) == 5
    assert data_set.names[:2] == ("0--Parade/0_Parade_a_0_1_1", "0--Parade/0_Parade_a_0_1_2")
    assert data_set.samples[0].image == data_set.samples[1].image


@pytest.mark.parametrize(("subset", "lines"), [("pose", (1, 2)), ("illumination", (3,)), ("blur", (2, 4, 5))])
def test_a_flag_makes_a_subset_of_the_test_faces_under_the_same_names(
    release: Path, subset: str, lines: tuple[int, ...]
) -> None:
    whole, part = wflw(release, "test"), wflw(release, subset)
    assert part.label == f"wflw/{subset} {len(lines)}/{len(lines)}"
    assert part.names == tuple(whole.names[number - 1] for number in lines)


def test_the_training_list_is_read_too_and_its_flags_make_no_subset(release: Path) -> None:
    assert wflw(release, "train").names == ("3--Riot/e_5_1",)
    assert "3--Riot/e_5_1" not in wflw(release, "pose").names


def test_the_lists_may_lie_in_the_folder_that_their_archive_makes(release: Path) -> None:
    (release / "WFLW_annotations").mkdir()
    (release / LISTS).rename(release / "WFLW_annotations" / LISTS)
    assert len(wflw(release, "test")) == 5


def test_a_missing_image_is_an_error_unless_partial(release: Path) -> None:
    (release / IMAGES / "1--Match/c_3.jpg").unlink()
    with pytest.raises(DataError) as caught:
        wflw(release, "test")
    assert f"wflw/test: expected 5 faces, found 4 in {release}" in str(caught.value)
    assert "(short: WFLW_images 4/5, the first missing one is WFLW_images/1--Match/c_3.jpg)" in str(caught.value)
    assert "--partial" in str(caught.value)
    assert wflw(release, "test", partial=True).label == "wflw/test 4/5"
    assert wflw(release, "pose").label == "wflw/pose 2/2"


def test_a_short_list_is_an_error_unless_partial(release: Path) -> None:
    list_of(release).write_text("".join(list_of(release).read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(DataError, match=r"found 2 in .* \(short: list_98pt_rect_attr_test.txt 2/5\)"):
        wflw(release, "test")
    assert wflw(release, "test", partial=True).label == "wflw/test 2/5"


def test_a_missing_list_is_an_error_even_if_partial(release: Path) -> None:
    list_of(release).unlink()
    with pytest.raises(DataError, match=r"expected 5 faces, found 0 in .*test.txt 0/5\); complete it$"):
        wflw(release, "test", partial=True)


def test_more_faces_than_released_are_an_error(release: Path) -> None:
    list_of(release).write_text(list_of(release).read_text() * 2)
    with pytest.raises(DataError, match=r"wflw/test: 10 faces in .* but the release has 5"):
        wflw(release, "test", partial=True)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (line(points(0)[:68], (0, 0, 9, 9), "000000", "a"), "line 6: 147 fields, but 206 numbers .* and a path"),
        (line(points(0), (0, 0, 9, 9), "000000", "a").replace(" ", " x", 1), "line 6: a field .* not a number"),
        (line(points(0) * np.nan, (0, 0, 9, 9), "000000", "a"), "line 6: a coordinate is not finite"),
        (line(points(0), (0, 0, 9, 9), "000002", "a"), "line 6: the flags are 0 0 0 0 0 2, but each is 0 or 1"),
        (line(points(0), (0, 0, 9, 9), "000000", "../a"), r"line 6: '../a.jpg' is not below"),
        (line(points(0), (0, 0, 9, 9), "000000", "a") + ".txt", "line 6: .* is not the path of an image"),
    ],
    ids=["68 points", "a word", "not finite", "a flag of 2", "a path upwards", "no picture"],
)
def test_a_broken_line_is_named(release: Path, broken: str, complaint: str) -> None:
    with list_of(release).open("a") as file:
        file.write(broken + "\n")
    with pytest.raises(DataError, match=complaint):
        wflw(release, "test", partial=True)


def test_a_list_that_is_not_text_is_named(release: Path) -> None:
    list_of(release).write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match=r"test\.txt: not UTF-8 text"):
        wflw(release, "test")


def test_an_unknown_subset_is_answered_with_those_there_are(release: Path) -> None:
    with pytest.raises(DataError, match="wflw has no split 'largepose': there are train, test, pose, expression"):
        wflw(release, "largepose")
