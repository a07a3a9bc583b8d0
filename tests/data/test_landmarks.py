"""Data sets of landmarks, on tiny releases made here."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from unveil.data.datasets import registry as landmarks
from unveil.data.datasets.registry import (
    READERS,
    TEST_SPLITS,
    THREE_HUNDRED_W,
    DataSet,
    Sample,
    folder,
    masked_300w,
    read_data_set,
    three_hundred_w,
)
from unveil.io.annotations import write_pts
from unveil.io.files import DataError
from unveil.io.images import read_image
from unveil.schemes.scheme import IBUG68, WFLW98

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


def test_the_label_of_a_partial_set_has_its_size(release: Path) -> None:
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


def test_an_image_without_points_is_named(release: Path) -> None:
    (release / "afw/7_1.pts").unlink()
    with pytest.raises(DataError, match=r"7_1\.jpg: has no \.pts file beside it$"):
        three_hundred_w(release, "train", partial=True)


def test_points_without_an_image_are_named_and_the_rest_counted(release: Path) -> None:
    for name in ("afw/1", "afw/2"):
        add_face(release, name)
        (release / f"{name}.jpg").unlink()
    (release / "afw/7_1.pts").unlink()
    with pytest.raises(DataError, match=r"1\.pts: has no image beside it; alone in .* too: 1 \.jpg, 1 \.pts$"):
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
        ("masked300w/train", "masked300w has no split 'train': there is common"),
        ("folder/wflw89", "folder/wflw89: unknown scheme 'wflw89': did you mean 'wflw98'"),
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


def test_an_image_is_read_as_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8, 3), (255, 0, 0), np.uint8))
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    data_set = DataSet("mine", (Sample("a", tmp_path / "a.jpg", np.zeros((68, 2), np.float32)),), IBUG68)
    with pytest.raises(DataError, match=r"a\.jpg: (the file is empty|not an image that OpenCV can decode)"):
        data_set.image(0)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jpg: no such file"):
        read_image(tmp_path / "a.jpg")


def test_every_set_but_the_one_of_a_list_has_a_split_to_report_on() -> None:
    assert set(TEST_SPLITS) == set(READERS) - {"ocfw"}


def test_masked_300w_lies_in_the_folders_of_300w_under_its_own_name(release: Path) -> None:
    assert masked_300w(release, "common").label == "masked300w/common 1/1"
    assert masked_300w(release, "common").names == three_hundred_w(release, "common").names


def test_the_public_part_of_masked_300w_needs_partial(tmp_path: Path) -> None:
    for i in range(50):
        add_face(tmp_path, f"ibug/image_{i:03}")
    complaint = r"masked300w/challenging: expected 135 faces, found 50 in .* \(short: ibug 50/135\); .*--partial"
    with pytest.raises(DataError, match=complaint):
        read_data_set("masked300w/challenging", tmp_path)
    data_set = read_data_set("masked300w/challenging", tmp_path, partial=True)
    assert data_set.label == "masked300w/challenging 50/135"


def test_a_list_picks_its_faces_out_of_300w(release: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    listed = tmp_path_factory.mktemp("lists") / "occluded.txt"
    listed.write_text("# two of them\n\nlfpw/testset/image_0001.png\nhelen\\trainset\\99_2.left.jpg\n")
    data_set = read_data_set(f"ocfw/{listed}", release)
    assert data_set.label == "ocfw/occluded 2/2"
    assert data_set.names == ("helen/trainset/99_2.left", "lfpw/testset/image_0001")
    assert data_set.image(1).shape == (24, 32, 3)


def test_a_list_may_lie_beside_the_faces(release: Path) -> None:
    (release / "test.txt").write_text("afw/7_1.jpg\n")
    assert read_data_set("ocfw/test.txt", release).label == "ocfw/test 1/1"


def test_a_listed_face_that_is_not_there_is_an_error_unless_partial(release: Path) -> None:
    (release / "test.txt").write_text("afw/7_1.jpg\nibug/image_003.jpg\n")
    complaint = r"ocfw/test: expected 2 faces, found 1 in .* names 1 more, the first .*image_003\.jpg\)"
    with pytest.raises(DataError, match=complaint):
        read_data_set("ocfw/test.txt", release)
    assert read_data_set("ocfw/test.txt", release, partial=True).label == "ocfw/test 1/2"


def test_a_listed_image_without_points_is_named_even_if_partial(release: Path) -> None:
    (release / "test.txt").write_text("afw/7_1.jpg\n")
    (release / "afw/7_1.pts").unlink()
    with pytest.raises(DataError, match=r"7_1\.jpg: has no \.pts file beside it$"):
        read_data_set("ocfw/test.txt", release, partial=True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("afw/7_1.jpg\nafw/7_1.jpg\n", r"test\.txt, line 2: 'afw/7_1\.jpg' is listed twice"),
        ("../afw/7_1.jpg\n", r"test\.txt, line 1: '\.\./afw/7_1\.jpg' is not below"),
        ("/afw/7_1.jpg\n", r"test\.txt, line 1: '/afw/7_1\.jpg' is not below"),
        ("afw/7_1.pts\n", r"test\.txt, line 1: 'afw/7_1\.pts' is not the path of an image"),
        ("# none\n", r"test\.txt: names no image"),
    ],
    ids=["twice", "upwards", "absolute", "no picture", "empty"],
)
def test_a_list_that_names_no_faces_is_answered_with_the_line(release: Path, text: str, complaint: str) -> None:
    (release / "test.txt").write_text(text)
    with pytest.raises(DataError, match=complaint):
        read_data_set("ocfw/test.txt", release, partial=True)


@pytest.mark.parametrize("name", ["ocfw", "ocfw/nowhere.txt"])
def test_ocfw_without_its_list_is_refused(release: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"ocfw: no list .*name a file with one image of 300W per line"):
        read_data_set(name, release)


def test_a_folder_takes_points_with_and_without_a_header(tmp_path: Path) -> None:
    add_face(tmp_path, "a")
    add_face(tmp_path, "b")
    with_header = (tmp_path / "a.pts").read_text()
    (tmp_path / "b.pts").write_text(with_header.partition("{")[2].partition("}")[0].strip())
    first, second = read_data_set("folder", tmp_path).points_px
    np.testing.assert_array_equal(first, second)


def test_a_folder_of_another_scheme_is_named_with_it(tmp_path: Path) -> None:
    add_face(tmp_path, "a", points=98)
    assert read_data_set("folder/wflw98", tmp_path).scheme is WFLW98


def test_a_sample_reads_its_image_with_the_given_function(tmp_path: Path) -> None:
    grey = np.full((2, 3, 3), 7, np.uint8)
    sample = Sample("a", tmp_path / "many.mat", np.zeros((68, 2), np.float32), read=lambda _: grey)
    assert sample.load() is grey


def test_visibility_is_known_only_if_every_face_has_it() -> None:
    points_px, visible = np.zeros((68, 2), np.float32), np.ones(68, bool)
    known, unknown = Sample("a", Path("a"), points_px, visible), Sample("b", Path("b"), points_px)
    assert DataSet("mine", (known, unknown), IBUG68).visible is None
    both = DataSet("mine", (known, known), IBUG68).visible
    assert both is not None
    assert both.shape == (2, 68)
