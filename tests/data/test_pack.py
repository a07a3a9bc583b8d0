"""Packs: what goes in comes out, and a file that is no whole pack is refused with its name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from unveil.data.datasets import registry as landmarks
from unveil.data.datasets.registry import DataSet, Sample, folder, read_data_set
from unveil.data.pack import Pack, cut_out, read_faces, write_pack
from unveil.io.annotations import write_pts
from unveil.io.files import DataError
from unveil.schemes.hierarchy import Hierarchy, Level, Part
from unveil.schemes.scheme import IBUG68, Scheme

ONE_PART = Hierarchy((Level("whole", (Part("face", (0, 1, 2)),)),))
MINE = Scheme("mine", ("left", "right", "middle"), (1, 0, 2), ONE_PART)


def add_face(root: Path, name: str, box: tuple[float, float, float, float]) -> None:
    """90 x 60 px, red rising by 2 a pixel along x and green by 3 along y, with landmarks that fill the box."""
    rows, columns = np.mgrid[:60, :90]
    image = np.stack([0 * rows, 3 * rows, 2 * columns], axis=-1).astype(np.uint8)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / f"{name}.png"), image)
    spots = np.random.default_rng(len(name)).uniform(box[:2], box[2:], (68, 2))
    spots[0], spots[1] = box[:2], box[2:]
    write_pts(root / f"{name}.pts", spots.astype(np.float32))


@pytest.fixture
def faces(tmp_path: Path) -> DataSet:
    root = tmp_path / "faces"
    add_face(root, "afw/inside", (30, 20, 50, 36))
    add_face(root, "afw/at the edge", (-2, 30, 38, 58))
    return folder(root)


@pytest.fixture
def pack(faces: DataSet, tmp_path: Path) -> Path:
    return write_pack(faces, tmp_path / "made/faces.npz", side=32).path


def test_a_pack_gives_back_what_went_in(faces: DataSet, pack: Path) -> None:
    read = Pack.read(pack)
    assert len(read) == 2
    assert read.names == faces.names
    assert (read.label, read.scheme, read.found, read.expected) == ("faces 2", IBUG68, 2, None)
    for i, sample in enumerate(faces.samples):
        image, points_px = cut_out(sample, 32)
        np.testing.assert_array_equal(read.points_px[i], points_px)
        assert read.image(i).shape == (32, 32, 3)
        assert np.abs(read.image(i).astype(int) - image).mean() < 6


def test_a_pack_stores_visibility_if_every_face_has_it(faces: DataSet, tmp_path: Path) -> None:
    visible = np.arange(68) % 3 > 0
    known = replace(faces, samples=tuple(replace(sample, visible=visible) for sample in faces.samples))
    write_pack(known, tmp_path / "known.npz", 48)
    read = Pack.read(tmp_path / "known.npz").visible
    assert read is not None
    np.testing.assert_array_equal(read, np.tile(visible, (len(faces), 1)))
    with pytest.raises(DataError, match="damaged, its visibility does not fit its faces"):
        Pack.read(rewritten(tmp_path / "known.npz", visible=read[:, 1:]))


@pytest.mark.parametrize("side", [20, 32, 40, 64, 80], ids=lambda side: f"{side} px")
def test_a_landmark_lies_on_the_same_colour_before_and_after_the_cut(faces: DataSet, side: int) -> None:
    before = faces.samples[1]
    image, points_px = cut_out(before, side)
    for (x, y), (x_cut, y_cut) in zip(before.points_px, points_px, strict=True):
        assert 4 <= x_cut < side - 4
        red, green, _ = cv2.getRectSubPix(image, (1, 1), (float(x_cut), float(y_cut)))[0, 0]
        assert abs(red - 2 * x) <= 3
        assert abs(green - 3 * y) <= 3


def test_the_window_is_twice_the_longer_side_of_the_tight_box(faces: DataSet) -> None:
    _, points_px = cut_out(faces.samples[1], 80)
    assert np.ptp(points_px, axis=0).max() == pytest.approx(40)
    centre = (points_px.min(axis=0) + points_px.max(axis=0)) / 2
    np.testing.assert_allclose(centre, 39.5, atol=1)


def test_the_window_is_black_outside_the_image(faces: DataSet) -> None:
    image, points_px = cut_out(faces.samples[0], 80)
    assert points_px[0, 0] == pytest.approx(20)  # the landmark at -2, so the image begins at 22
    assert (image[:, :22] == 0).all()
    assert image[40, 22:].any(axis=1).all()


def test_progress_is_reported_for_every_face(faces: DataSet, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    packed = write_pack(faces, tmp_path / "a.npz", 16, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    assert (packed.label, packed.faces, packed.bytes) == ("faces 2", 2, (tmp_path / "a.npz").stat().st_size)


def test_a_write_that_fails_leaves_the_old_pack(faces: DataSet, pack: Path) -> None:
    before = pack.read_bytes()
    faces.samples[1].image.write_bytes(b"")
    with pytest.raises(DataError, match=r"inside\.png: the file is empty"):
        write_pack(faces, pack)
    assert pack.read_bytes() == before
    assert list(pack.parent.iterdir()) == [pack]


@pytest.mark.parametrize("spread", [0, 1e6], ids=["a point", "a continent"])
def test_landmarks_that_are_no_face_are_named(faces: DataSet, spread: float) -> None:
    points_px = np.linspace(0, spread, 136, dtype=np.float32).reshape(68, 2)
    with pytest.raises(
        DataError,
        match=r"inside\.png: (all 68 landmarks are at|landmark 0 is at .* far outside the image of 90x60 pixels)",
    ):
        cut_out(Sample("odd", faces.samples[1].image, points_px), 32)


def test_a_folder_and_a_pack_are_opened_alike(faces: DataSet, pack: Path, tmp_path: Path) -> None:
    from_folder, from_pack = read_faces(tmp_path / "faces"), read_faces(pack)
    assert from_folder.names == from_pack.names == faces.names
    assert from_folder.label == from_pack.label
    assert from_folder.points_px.shape == from_pack.points_px.shape == (2, 68, 2)
    assert from_folder.image(0).shape == (60, 90, 3)


def test_a_pack_of_ones_own_scheme_is_read_with_that_scheme(faces: DataSet, tmp_path: Path) -> None:
    samples = tuple(Sample(s.name, s.image, s.points_px[:3]) for s in faces.samples)
    path = write_pack(DataSet("mine", samples, MINE), tmp_path / "mine.npz", 32).path
    assert read_faces(path, MINE).scheme is MINE
    assert read_faces(path).scheme == MINE
    with pytest.raises(DataError, match="faces of 3 points of scheme 'mine', but scheme 'ibug68' has 68"):
        read_faces(path, IBUG68)


def test_an_old_pack_that_only_names_its_own_scheme_needs_the_file(faces: DataSet, tmp_path: Path) -> None:
    samples = tuple(Sample(s.name, s.image, s.points_px[:3]) for s in faces.samples)
    path = write_pack(DataSet("mine", samples, MINE), tmp_path / "mine.npz", 32).path
    rewritten(path, header={"own_scheme": None})
    assert read_faces(path, MINE).scheme is MINE
    with pytest.raises(DataError, match=r"mine\.npz: its scheme 'mine' is not built in; name its scheme file with --s"):
        read_faces(path)


def test_a_pack_whose_carried_scheme_is_damaged_is_named(faces: DataSet, tmp_path: Path) -> None:
    samples = tuple(Sample(s.name, s.image, s.points_px[:3]) for s in faces.samples)
    path = write_pack(DataSet("mine", samples, MINE), tmp_path / "mine.npz", 32).path
    rewritten(path, header={"own_scheme": {"name": "mine"}})
    with pytest.raises(DataError, match=r"mine\.npz: its own_scheme: points is missing; add it"):
        read_faces(path)


def test_a_split_of_300w_is_prepared_with_its_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "THREE_HUNDRED_W", {"train": {"afw": 2}})
    add_face(tmp_path / "300w", "afw/1_1", (30, 20, 50, 36))
    with pytest.raises(DataError, match="expected 2 faces, found 1"):
        read_data_set("300w/train", tmp_path / "300w")
    found = read_data_set("300w/train", tmp_path / "300w", partial=True)
    assert write_pack(found, tmp_path / "train.npz").label == "300w/train 1/2"
    read = Pack.read(tmp_path / "train.npz")
    assert (read.label, read.found, read.expected) == ("300w/train 1/2", 1, 2)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_a_truncated_pack_is_named(pack: Path, kept: float) -> None:
    whole = pack.read_bytes()
    pack.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DataError, match=r"faces\.npz: cut short or damaged; copy it again"):
        Pack.read(pack)


def test_a_pack_with_a_flipped_bit_is_named(pack: Path) -> None:
    damaged = bytearray(pack.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    pack.write_bytes(damaged)
    with pytest.raises(DataError, match=r"faces\.npz: cut short or damaged"):
        Pack.read(pack)


def test_a_file_that_is_no_pack_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    np.savez(tmp_path / "b.npz", header=np.array("{}"))
    np.savez(tmp_path / "c.npz", weights=np.zeros(3))
    for name in ("a.txt", "b.npz", "c.npz"):
        with pytest.raises(DataError, match=f"{name}: not a pack; make one with `unveil prepare`"):
            read_faces(tmp_path / name)
    with pytest.raises(DataError, match="gone: no such file or folder; make a pack with `unveil prepare`"):
        read_faces(tmp_path / "gone")


def rewritten(pack: Path, **changes: Any) -> Path:
    with np.load(pack) as archive:
        arrays = {**archive}
    header = json.loads(str(arrays["header"])) | changes.pop("header", {})
    np.savez(pack, **(arrays | changes | {"header": np.array(json.dumps(header))}))
    return pack


def test_a_pack_of_another_version_is_named(pack: Path) -> None:
    with pytest.raises(DataError, match="a pack of version 9, but this unveil reads version 1; write it again"):
        Pack.read(rewritten(pack, header={"version": 9}))


def test_a_pack_whose_images_do_not_fill_it_is_named(pack: Path) -> None:
    with pytest.raises(DataError, match="damaged, its images do not fill it"):
        Pack.read(rewritten(pack, jpeg=np.zeros(5, np.uint8)))


def test_a_release_with_its_test_faces_is_never_trained_on(tmp_path: Path) -> None:
    (tmp_path / "helen" / "testset").mkdir(parents=True)
    with pytest.raises(DataError, match="test faces and all; pack its training faces with `unveil prepare 300w`"):
        read_faces(tmp_path)
