"""Data sets of landmarks, on tiny releases made here."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from unveil.data import landmarks
from unveil.data.annotations import DataError, write_pts
from unveil.data.landmarks import THREE_HUNDRED_W, DataSet, Sample, folder, read_data_set, read_image, three_hundred_w
from unveil.face.schemes import IBUG68

TINY = {"train": {"afw": 1, "helen/trainset": 3}, "common": {"lfpw/testset": 1}}


def add_face(root: Path, name: str, points: int = 68, suffix: str = ".jpg") -> None:
    stem = root / name
    stem.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(f"{stem}{suffix}", np.full((24, 32, 3), 128, np.uint8))
    spots_px = np.random.default_rng(len(name)).uniform(4, 20, (points, 2)).astype(np.float32)
    write_pts(Path(f"{stem}.pts"), spots_px)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release of which one face is missing from helen/trainset."""
    monkeypatch.setattr(landmarks, "THREE_HUNDRED_W", TINY)
    for name in ("helen/trainset/123_1", "helen/trainset/99_2.left", "afw/7_1", "lfpw/testset/image_0001"):
        add_face(tmp_path, name, suffix=".png" if name.startswith("lfpw") else ".jpg")
    return tmp_path


def test_300w_has_the_official_counts() -> None:
    counts = {split: sum(folders.values()) for split, folders in THREE_HUNDRED_W.items()}
    assert counts == {"train": 3148, "common": 554, "challenging": 135, "full": 689}


def test_a_complete_split_is_read_with_relative_names(release: Path) -> None:
    data_set = three_hundred_w(release, "common")
    assert data_set.names == ("lfpw/testset/image_0001",)
    assert data_set.samples[0].image == release / "lfpw/testset/image_0001.png"
    assert data_set.label == "300w/common 1/1"
    assert data_set.scheme is IBUG68


def test_a_short_set_is_an_error_that_names_expected_found_and_folder(release: Path) -> None:
    with pytest.raises(DataError) as caught:
        three_hundred_w(release, "train")
    assert "300w/train: expected 4 faces, found 3 in " in str(caught.value)
    assert f"{release} (short: helen/trainset 2/3)" in str(caught.value)
    assert "--partial" in str(caught.value)


def test_a_partial_set_says_how_much_of_it_is_there(release: Path) -> None:
    data_set = read_data_set("300w/train", release, partial=True)
    assert (len(data_set), data_set.found, data_set.expected) == (3, 3, 4)
    assert data_set.label == "300w/train 3/4"
    assert data_set.names == ("afw/7_1", "helen/trainset/123_1", "helen/trainset/99_2.left")
    assert data_set.points_px.shape == (3, 68, 2)
    assert data_set.image(0).shape == (24, 32, 3)


def test_nothing_at_all_is_an_error_even_if_partial(release: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert release.is_dir()
    with pytest.raises(DataError, match=r"expected 4 faces, found 0 in .*; complete it$"):
        three_hundred_w(tmp_path_factory.mktemp("empty"), "train", partial=True)


def test_more_faces_than_released_are_an_error(release: Path) -> None:
    add_face(release, "afw/7_1_mirror")
    with pytest.raises(DataError, match="afw: 2 faces, but 300w has 1"):
        three_hundred_w(release, "train", partial=True)


def test_a_picture_without_points_is_named(release: Path) -> None:
    (release / "afw/7_1.pts").unlink()
    with pytest.raises(DataError, match=r"7_1\.jpg: has no \.pts file beside it$"):
        three_hundred_w(release, "train", partial=True)


def test_points_without_a_picture_are_named_and_the_rest_counted(release: Path) -> None:
    for name in ("afw/1", "afw/2"):
        add_face(release, name)
        (release / f"{name}.jpg").unlink()
    (release / "afw/7_1.pts").unlink()
    with pytest.raises(DataError, match=r"1\.pts: has no picture beside it; alone in .* too: 1 \.jpg, 1 \.pts$"):
        folder(release)


def test_points_of_another_scheme_are_refused(release: Path) -> None:
    add_face(release, "afw/7_1", points=66)
    with pytest.raises(DataError, match=r"7_1\.pts: 66 points, but scheme 'ibug68' has 68"):
        folder(release)


def test_any_folder_is_read_however_deep(release: Path) -> None:
    data_set = folder(release)
    assert len(data_set) == 4
    assert data_set.expected is None
    assert data_set.label == f"{release.name} 4"


def test_hidden_files_and_other_files_are_passed_over(release: Path) -> None:
    (release / "afw/._7_1.jpg").write_bytes(b"")
    (release / "afw/readme.txt").write_text("hello")
    assert len(folder(release)) == 4


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("300v/train", "unknown data set '300v': did you mean '300w'"),
        ("zebra/train", "unknown data set 'zebra': there are 300w"),
        ("300w/trian", "300w has no split 'trian': there are train, common"),
        ("300w", "300w has no split ''"),
    ],
)
def test_a_mistyped_name_is_answered_with_those_there_are(release: Path, name: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_data_set(name, release)


def test_a_folder_that_is_not_there_or_is_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no \.pts files"):
        folder(tmp_path)


def test_a_picture_is_read_as_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((2, 2, 3), (255, 0, 0), np.uint8))
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    data_set = DataSet("mine", (Sample("a", tmp_path / "a.jpg", np.zeros((68, 2), np.float32)),), IBUG68)
    with pytest.raises(DataError, match=r"a\.jpg: not a picture, or cut short"):
        data_set.image(0)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jpg: No such file"):
        read_image(tmp_path / "a.jpg")
