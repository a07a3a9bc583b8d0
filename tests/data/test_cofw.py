"""COFW with 29 and with 68 landmarks, on tiny releases made here as MATLAB makes them: HDF5 with object references."""

import pickle
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from unveil.data.datasets import cofw as module
from unveil.data.datasets.cofw import FACES, cofw29, cofw68
from unveil.data.datasets.registry import read_data_set
from unveil.data.pack import Pack, write_pack
from unveil.io.files import DataError
from unveil.schemes.scheme import COFW29, IBUG68
from unveil.types import Box

TINY = {"train": 2, "test": 3}
SHAPES = ((40, 60, 3), (30, 50), (44, 66, 3))  # the second one is grey, as some of COFW's are
BOXES = np.array([[5, 3, 30, 32], [1, 1, 20, 21], [11, 6, 40, 30]], np.float64)
HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(512, b" ")


def image_of(row: int) -> np.ndarray:
    """Red rises along x, green along y."""
    height, width = SHAPES[row][:2]
    rows, columns = np.mgrid[:height, :width]
    rgb = np.stack([columns + row, 2 * rows, 0 * rows], axis=-1).astype(np.uint8)
    return rgb if len(SHAPES[row]) == 3 else np.asarray(rgb[..., 0])


def phis(count: int) -> np.ndarray:
    """29 x, 29 y and 29 flags for each face, counted from 1."""
    rng = np.random.default_rng(count)
    return np.hstack([rng.uniform(5, 40, (count, 29)), rng.uniform(5, 28, (count, 29)), rng.random((count, 29)) < 0.3])


def write_colour_file(path: Path, key: str, count: int, **changed: Any) -> None:
    """As MATLAB writes a cell array of images and two matrices: references into `#refs#`, everything transposed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"phis{key}": phis(count).T, f"bboxes{key}": BOXES[:count].T} | changed
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = file.create_dataset(f"Is{key}", (1, count), dtype=h5py.ref_dtype)
        for row in range(count):
            cells[0, row] = file.create_dataset(f"#refs#/{row:x}", data=image_of(row).T).ref
        for name, array in arrays.items():
            if array is not None:
                file[name] = array
    with path.open("r+b") as raw:
        raw.write(HEADER)


def points_68(number: int) -> np.ndarray:
    return np.random.default_rng(number).uniform(5, 28, (68, 2))


def write_68(folder: Path, number: int, **changed: Any) -> None:
    """MATLAB 5, with Points counted from 1 and Occ a column of flags."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"Points": points_68(number), "Occ": (np.arange(68) % 4 == 0)[:, None].astype(np.uint8)} | changed
    scipy.io.savemat(
        folder / f"{number}_points.mat", {key: array for key, array in arrays.items() if array is not None}
    )


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "FACES", TINY)
    write_colour_file(tmp_path / "COFW_color/COFW_train_color.mat", "Tr", 2)
    write_colour_file(tmp_path / "COFW_color/COFW_test_color.mat", "T", 3)
    for number in (1, 2, 3):
        write_68(tmp_path / "COFW68_Data/test_annotations", number)
    scipy.io.savemat(tmp_path / "COFW68_Data/cofw68_test_bboxes.mat", {"bboxes": BOXES})
    return tmp_path


def test_cofw_has_the_official_counts() -> None:
    assert dict(FACES) == {"train": 1345, "test": 507}


@pytest.mark.parametrize(("split", "count"), [("train", 2), ("test", 3)])
def test_points_are_counted_from_0_and_flags_become_visibility(release: Path, split: str, count: int) -> None:
    data_set = read_data_set(f"cofw29/{split}", release)
    written = phis(count)
    assert data_set.label == f"cofw29/{split} {count}/{count}"
    assert data_set.scheme is COFW29
    assert data_set.names[-1] == f"{split}/000{count}"
    np.testing.assert_allclose(data_set.points_px[..., 0], written[:, :29] - 1, atol=1e-5)
    np.testing.assert_allclose(data_set.points_px[..., 1], written[:, 29:58] - 1, atol=1e-5)
    assert data_set.visible is not None
    np.testing.assert_array_equal(data_set.visible, written[:, 58:] == 0)


def test_an_image_is_upright_rgb_and_a_grey_one_is_made_so(release: Path) -> None:
    data_set = cofw29(release, "test")
    np.testing.assert_array_equal(data_set.image(0), image_of(0))
    np.testing.assert_array_equal(data_set.image(2), image_of(2))
    assert data_set.image(1).shape == (30, 50, 3)
    np.testing.assert_array_equal(data_set.image(1)[..., 2], image_of(1))


def test_a_box_counts_from_0_and_ends_after_its_width(release: Path) -> None:
    assert cofw29(release, "test").samples[0].box == Box(4, 2, 34, 34)


def test_a_face_can_be_sent_to_another_process(release: Path) -> None:
    sample = pickle.loads(pickle.dumps(cofw29(release, "test").samples[2]))
    np.testing.assert_array_equal(sample.load(), image_of(2))


def test_a_pack_can_be_made_of_it(release: Path, tmp_path: Path) -> None:
    pack = Pack.read(write_pack(cofw29(release, "test"), tmp_path / "cofw.npz", side=32).path)
    assert (pack.label, pack.points_px.shape) == ("cofw29/test 3/3", (3, 29, 2))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_short_file_is_an_error_unless_partial(release: Path, split: str) -> None:
    key, expected = ("Tr", 2) if split == "train" else ("T", 3)
    path = release / f"COFW_color/COFW_{split}_color.mat"
    write_colour_file(path, key, 1)
    complaint = rf"cofw29/{split}: expected {expected} faces, found 1 in .* \(short: {path.name} 1/{expected}\)"
    with pytest.raises(DataError, match=complaint):
        cofw29(release, split)
    assert cofw29(release, split, partial=True).label == f"cofw29/{split} 1/{expected}"


@pytest.mark.parametrize("name", ["cofw29", "cofw68"])
def test_a_missing_file_is_an_error_even_if_partial(release: Path, name: str) -> None:
    (release / "COFW_color/COFW_test_color.mat").unlink()
    complaint = rf"{name}/test: expected 3 faces, found 0 in .* \(short: no COFW_test_color\.mat in it or below\)"
    with pytest.raises(DataError, match=complaint):
        read_data_set(f"{name}/test", release, partial=True)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"phisT": phis(3)[:, :58].T}, r"phisT is \(3, 58\), but 3 images need \(3, 87\)"),
        ({"phisT": phis(2).T}, r"phisT is \(2, 87\), but 3 images need"),
        ({"phisT": np.full((87, 3), np.nan)}, "phisT, number 1, has a value that is not finite"),
        ({"bboxesT": None}, "has no 'bboxesT', but #refs#, IsT, phisT; is it COFW's colour file"),
    ],
    ids=["no flags", "a face too few", "not finite", "no boxes"],
)
def test_a_file_of_another_make_is_named(release: Path, changed: dict[str, Any], complaint: str) -> None:
    write_colour_file(release / "COFW_color/COFW_test_color.mat", "T", 3, **changed)
    with pytest.raises(DataError, match=r"COFW_test_color\.mat: " + complaint):
        cofw29(release, "test")


@pytest.mark.parametrize("keep", [0, 300, 2000])
def test_a_file_cut_short_is_named(release: Path, keep: int) -> None:
    path = release / "COFW_color/COFW_test_color.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"COFW_test_color\.mat: not a MATLAB 7\.3 file, or cut short"):
        cofw29(release, "test")


def test_a_cell_that_holds_no_image_is_named(release: Path) -> None:
    data_set = cofw29(release, "test")
    with h5py.File(data_set.samples[0].image, "r+") as file:
        file["wide"] = np.zeros((3, 4), np.float64)
        file["IsT"][0, 1] = file["wide"].ref
        file["IsT"][0, 2] = h5py.Reference()
    with pytest.raises(DataError, match=r"IsT, number 2, is float64 of shape \(4, 3\), not an image"):
        data_set.image(1)
    with pytest.raises(DataError, match="IsT, number 3, refers to no image"):
        data_set.image(2)


def test_the_68_landmarks_are_matched_to_their_images_by_number(release: Path) -> None:
    data_set = read_data_set("cofw68/test", release)
    assert data_set.label == "cofw68/test 3/3"
    assert data_set.scheme is IBUG68
    assert data_set.names == ("test/0001", "test/0002", "test/0003")
    np.testing.assert_allclose(data_set.points_px[1], points_68(2) - 1, atol=1e-5)
    np.testing.assert_array_equal(data_set.image(2), image_of(2))
    assert data_set.samples[2].box == Box(10, 5, 50, 35)
    assert data_set.visible is not None
    np.testing.assert_array_equal(data_set.visible[0], np.arange(68) % 4 != 0)


def test_the_tenth_face_follows_the_ninth(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FACES", {"train": 2, "test": 10})
    monkeypatch.setattr(sys.modules[__name__], "SHAPES", SHAPES[:1] * 10)
    monkeypatch.setattr(sys.modules[__name__], "BOXES", np.tile(BOXES[:1], (10, 1)))
    write_colour_file(release / "COFW_color/COFW_test_color.mat", "T", 10)
    (release / "COFW68_Data/cofw68_test_bboxes.mat").unlink()
    for number in range(4, 11):
        write_68(release / "COFW68_Data/test_annotations", number)
    assert cofw68(release, "test").names[-2:] == ("test/0009", "test/0010")


def test_without_the_file_of_boxes_the_68_come_without_a_box(release: Path) -> None:
    (release / "COFW68_Data/cofw68_test_bboxes.mat").unlink()
    assert cofw68(release, "test").samples[0].box is None


def test_a_missing_annotation_is_an_error_unless_partial(release: Path) -> None:
    (release / "COFW68_Data/test_annotations/2_points.mat").unlink()
    with pytest.raises(DataError, match=r"expected 3 faces, found 2 in .* \(short: \*_points\.mat 2/3\)"):
        cofw68(release, "test")
    assert cofw68(release, "test", partial=True).names == ("test/0001", "test/0003")


def test_annotations_in_two_folders_are_refused(release: Path) -> None:
    write_68(release / "copy", 1)
    with pytest.raises(DataError, match=r"annotations in .*test_annotations and .*copy; keep those of one folder"):
        cofw68(release, "test")


@pytest.mark.parametrize(
    ("number", "changed", "complaint"),
    [
        (4, {}, r"4_points\.mat: has no image; .*COFW_test_color\.mat has the numbers 1 to 3"),
        (2, {"Points": np.ones((66, 2))}, r"2_points\.mat: Points are \(66, 2\) and Occ \(68,\), not \(68, 2\) and 68"),
        (2, {"Occ": None}, r"2_points\.mat: has no 'Occ'"),
        (2, {"Points": np.full((68, 2), np.inf)}, r"2_points\.mat: a landmark is not finite"),
    ],
    ids=["no picture", "66 points", "no flags", "not finite"],
)
def test_a_broken_annotation_is_named(release: Path, number: int, changed: dict[str, Any], complaint: str) -> None:
    write_68(release / "COFW68_Data/test_annotations", number, **changed)
    with pytest.raises(DataError, match=complaint):
        cofw68(release, "test")


@pytest.mark.parametrize("content", [b"", b"not a mat file, but longer than any header of one is" * 9])
def test_an_annotation_that_is_no_mat_file_is_named(release: Path, content: bytes) -> None:
    (release / "COFW68_Data/test_annotations/2_points.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"2_points\.mat: not a MATLAB 5 file, or cut short"):
        cofw68(release, "test")


def test_boxes_for_other_faces_are_refused(release: Path) -> None:
    scipy.io.savemat(release / "COFW68_Data/cofw68_test_bboxes.mat", {"bboxes": BOXES[:2]})
    with pytest.raises(DataError, match=r"bboxes\.mat: bboxes is \(2, 4\), but 3 images need \(3, 4\)"):
        cofw68(release, "test")


@pytest.mark.parametrize(("missing", "name"), [("h5py", "cofw29"), ("h5py", "cofw68"), ("scipy.io", "cofw68")])
def test_a_missing_library_is_one_sentence_with_the_fix(
    release: Path, monkeypatch: pytest.MonkeyPatch, missing: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    library = missing.partition(".")[0]
    with pytest.raises(DataError, match=rf"mat files need {library}: pip install .*\[evaluate\]'$"):
        read_data_set(f"{name}/test", release)


def test_an_unknown_split_is_answered_with_those_there_are(release: Path) -> None:
    with pytest.raises(DataError, match="cofw29 has no split 'full': there are train, test"):
        cofw29(release, "full")
    with pytest.raises(DataError, match="cofw68 has no split 'train': there is test"):
        cofw68(release, "train")
