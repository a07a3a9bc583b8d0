"""Pairs for restoration, and faces without landmarks made ready for it."""

from functools import cache
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from unveil.baselines.pfld_loss import CLASSES, attributes_of
from unveil.cli import main
from unveil.data.datasets.portraits import prepare_celebamask_hq, prepare_portraits
from unveil.data.occlusion import OcclusionConfig, OcclusionSampler, coverage_of
from unveil.data.occlusion.compose import SHADOW_REACH
from unveil.data.pack import Pack
from unveil.data.restoration_pairs import PairAugmentConfig, RestorationPair, restoration_pair
from unveil.data.synthetic import drawn_face, frontal_shape
from unveil.geometry import tight_box
from unveil.io.files import DataError
from unveil.io.images import read_image
from unveil.schemes.scheme import IBUG68
from unveil.types import Face, Image

SIZE = 64


@cache
def pair(kind: str, seed: int = 0, *, clean: float = 0.0, same: bool = False) -> RestorationPair:
    image, points_px = drawn_face(np.random.default_rng((9, seed)), 160)
    still = {"colour": 0.0, "shade": 0.0, "blur": 0.0} if same else {}
    fraction = {"occluded_fraction": 1 - clean, "second_fraction": 0, "coverage": (0.1, 0.5)}
    occlude = OcclusionSampler(OcclusionConfig.of_kinds(**{kind: 1}, **fraction))
    rng = np.random.default_rng((1, seed))
    return restoration_pair(
        image,
        points_px,
        scheme=IBUG68,
        size=SIZE,
        augment=PairAugmentConfig.model_validate(still),
        occlude=occlude,
        rng=rng,
    )


@pytest.mark.parametrize("kind", ["mask", "polygon", "noise", "sunglasses"])
def test_images_differ_under_the_mask_and_only_near_it(kind: str) -> None:
    made = pair(kind, same=True)
    assert made.clean.shape == made.occluded.shape == (SIZE, SIZE, 3)
    assert made.kind == kind
    changed = (made.clean != made.occluded).any(axis=2)
    assert changed[made.mask].mean() > 0.9
    kernel = np.ones((2 * SHADOW_REACH + 3,) * 2, np.uint8)
    near = cv2.dilate(made.mask.astype(np.uint8), kernel).astype(bool)
    assert not changed[~near].any()


def test_light_and_lens_are_those_of_both_images() -> None:
    for seed in range(8):
        made = pair("polygon", seed)
        kernel = np.ones((2 * SHADOW_REACH + 13,) * 2, np.uint8)
        far = ~cv2.dilate(made.mask.astype(np.uint8), kernel).astype(bool)
        np.testing.assert_array_equal(made.clean[far], made.occluded[far])


def test_the_coverage_is_recorded_and_within_the_requested_range() -> None:
    coverages = [pair("polygon", seed).coverage for seed in range(8)]
    assert all(0.05 < coverage < 0.55 for coverage in coverages)
    assert max(coverages) - min(coverages) > 0.05
    made = pair("polygon")
    assert made.coverage == coverage_of(made.mask, (made.points_unit + 1) * (SIZE / 2) - 0.5)


def test_some_faces_stay_as_they_are() -> None:
    made = pair("mask", clean=1.0)
    assert (made.kind, made.coverage, bool(made.mask.any())) == ("none", 0.0, False)
    np.testing.assert_array_equal(made.clean, made.occluded)


def test_the_same_generator_state_gives_the_same_pair() -> None:
    pair.cache_clear()
    first = pair("polygon", 3)
    pair.cache_clear()
    again, other = pair("polygon", 3), pair("polygon", 4)
    np.testing.assert_array_equal(first.occluded, again.occluded)
    assert (first.occluded != other.occluded).any()


@pytest.mark.parametrize("change", ["shadow", "worn", "motion"])
def test_what_is_no_occluder_changes_both_images_alike_outside_the_mask(change: str) -> None:
    image, points_px = drawn_face(np.random.default_rng((9, 1)), 160)
    off = {"colour": 0.0, "shade": 0.0, "blur": 0.0}
    occlude = OcclusionSampler.of_kind("polygon", coverage=0.2)

    def made(**settings: float) -> RestorationPair:
        augment, rng = PairAugmentConfig(**{**off, **settings}), np.random.default_rng(5)  # type: ignore[arg-type]
        return restoration_pair(image, points_px, scheme=IBUG68, size=SIZE, augment=augment, occlude=occlude, rng=rng)

    changed = made(**{change: 1.0})
    kernel = np.ones((2 * SHADOW_REACH + 13,) * 2, np.uint8)
    far = ~cv2.dilate(changed.mask.astype(np.uint8), kernel).astype(bool)
    np.testing.assert_array_equal(changed.clean[far], changed.occluded[far])
    assert (changed.clean != made().clean).any()


def portraits(root: Path) -> dict[bytes, Face]:
    """Four drawn faces, the third so far down that its chin is cut off, and an image of nothing; faces by image.

    The fourth is predicted as half occluded.
    """
    root.mkdir()
    known: dict[bytes, Face] = {}
    for index, down in enumerate((0, 0, 75, 0)):
        image, points_px = drawn_face(np.random.default_rng(index), 160)
        moved = np.roll(image, down, axis=0)
        cv2.imwrite(str(root / f"face {index}.png"), moved[..., ::-1])
        points_px = (points_px + np.array([0, down])).astype(np.float32)
        visibility = np.where(np.arange(68) < 34, 1, index != 3).astype(np.float32)
        known[moved.tobytes()] = Face(tight_box(points_px), 1.0, points_px, visibility, visibility, None, None)
    cv2.imwrite(str(root / "nothing.png"), np.zeros((160, 160, 3), np.uint8))
    (root / "torn.jpg").write_bytes(b"no picture")
    return known


def test_any_folder_becomes_a_pack_with_predicted_landmarks(tmp_path: Path) -> None:
    known = portraits(tmp_path / "portraits")

    def face_of(image: Image) -> Face | None:
        return known.get(image.tobytes())

    done: list[tuple[int, int]] = []
    prepared = prepare_portraits(
        tmp_path / "portraits", tmp_path / "faces.npz", face_of, size=96, progress=lambda *step: done.append(step)
    )
    assert (prepared.no_face, prepared.cut_off, prepared.occluded) == (("nothing",), ("face 2",), ("face 3",))
    assert prepared.unreadable == ("torn",)
    assert done[-1] == (6, 6)
    pack = Pack.read(tmp_path / "faces.npz")
    assert pack.names == ("face 0", "face 1")
    assert pack.image(0).shape == (96, 96, 3)
    assert pack.points_px.shape == (2, 68, 2)
    with pytest.raises(DataError, match="6 images, but none has a whole face without occlusion"):
        prepare_portraits(tmp_path / "portraits", tmp_path / "none.npz", lambda _: None)


def test_parts_that_are_occluded_in_every_image_are_packed_as_occluded_whatever_the_model_predicts(
    tmp_path: Path,
) -> None:
    image, points_px = drawn_face(np.random.default_rng(3), 160)
    cv2.imwrite(str(tmp_path / "face.png"), image[..., ::-1])
    eyes = np.isin(np.arange(68), range(36, 48))

    def packed(seen: float, hidden: tuple[str, ...]) -> NDArray[np.bool_] | None:
        visibility = np.where(eyes, seen, 0.9).astype(np.float32)
        face = Face(tight_box(points_px), 1.0, points_px, visibility, np.zeros(68, np.float32), None, None)
        prepare_portraits(tmp_path, tmp_path / "faces.npz", lambda _: face, occluded_parts=hidden)
        return Pack.read(tmp_path / "faces.npz").visible

    for seen in (0.1, 0.9):
        visible = packed(seen, ("left eye", "right eye"))
        assert visible is not None
        np.testing.assert_array_equal(visible[0], ~eyes)
    assert packed(0.9, ()) is None
    with pytest.raises(DataError, match=r"no part 'monocle' ?; there are left jaw"):
        packed(0.9, ("monocle",))


def test_portraits_are_packed_from_the_command_line_and_left_out_ones_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    astronaut = skimage.data.astronaut()[:300, 80:380]  # type: ignore[no-untyped-call]
    (tmp_path / "portraits").mkdir()
    cv2.imwrite(str(tmp_path / "portraits/astronaut.png"), astronaut[..., ::-1])
    cv2.imwrite(str(tmp_path / "portraits/nothing.png"), np.zeros((96, 96, 3), np.uint8))
    prepare = ["prepare", "portraits", "--root", str(tmp_path / "portraits"), "--out", str(tmp_path / "faces.npz")]
    assert main(prepare) == 0
    left_out = "left out: 0 unreadable, 1 no face, 0 face cut off, 0 occluded"
    assert f"portraits 1: 1 faces, 0.0 MiB in {tmp_path / 'faces.npz'}; {left_out}" in capsys.readouterr().out
    pack = Pack.read(tmp_path / "faces.npz")
    assert (pack.names, pack.image(0).shape) == (("astronaut",), (160, 160, 3))
    assert np.ptp(pack.points_px[0], axis=0).max() == pytest.approx(80, abs=1)
    assert main([*prepare, "--inside", "1.1"]) == 2
    assert (
        "2 images, but none has a whole face without occlusion; give a folder of portraits" in capsys.readouterr().err
    )


def stripes(count: int, side: int) -> NDArray[np.uint8]:
    """RGB images (count, side, side, 3): red across, green down, blue the number."""
    rows, columns = np.mgrid[:side, :side] * (255 / side)
    return np.stack([np.stack([columns, rows, 0 * rows + 40 * i], axis=-1) for i in range(count)]).astype(np.uint8)


@pytest.mark.parametrize("channels_first", [True, False], ids=["N 3 R R", "N R R 3"])
def test_celebamask_hq_is_read_from_hdf5(tmp_path: Path, channels_first: bool) -> None:
    path = tmp_path / "celeba-hq.h5"
    with h5py.File(path, "w") as file:
        for side in (16, 64, 128):
            faces = stripes(3, side)
            file[f"data{side}x{side}"] = faces.transpose(0, 3, 1, 2) if channels_first else faces
    assert prepare_celebamask_hq(path, tmp_path / "out", size=32, partial=True) == 3
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["00000.jpg", "00001.jpg", "00002.jpg"]
    written = read_image(tmp_path / "out/00002.jpg")
    assert written.shape == (32, 32, 3)
    assert np.abs(written.astype(int) - stripes(3, 32)[2]).mean() < 8
    prepare = ["prepare", "celebamask-hq", "--root", str(path), "--out", str(tmp_path / "cli"), "--side", "16"]
    assert main([*prepare, "--partial"]) == 0
    assert main(prepare) == 2
    assert read_image(tmp_path / "cli/00001.jpg").shape == (16, 16, 3)
    with pytest.raises(DataError, match="it has data16x16, data64x64, data128x128, but images of 256 px"):
        prepare_celebamask_hq(path, tmp_path / "out", partial=True)


def test_celebamask_hq_is_read_from_its_folder(tmp_path: Path) -> None:
    source = tmp_path / "CelebAMask-HQ/CelebA-HQ-img"
    source.mkdir(parents=True)
    for i, face in enumerate(stripes(2, 64)):
        cv2.imwrite(str(source / f"{i}.png"), face[..., ::-1])
    assert prepare_celebamask_hq(source.parent, tmp_path / "out", size=32, partial=True) == 2
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"0.jpg", "1.jpg"}
    with pytest.raises(DataError, match=r"expected 30000 faces, found 2 .* --partial"):
        prepare_celebamask_hq(source.parent, tmp_path / "out")
    with pytest.raises(DataError, match="the images are read from it"):
        prepare_celebamask_hq(source, source, partial=True)
    with pytest.raises(DataError, match="not an HDF5 file"):
        prepare_celebamask_hq(source / "0.png", tmp_path / "out")


def test_attributes_describe_the_face() -> None:
    shape, seen = frontal_shape() * 50, np.ones(68, bool)
    plain = attributes_of(shape, seen)
    assert abs(float(plain.angles[0])) < 0.05
    assert not plain.classes[CLASSES.index("profile")]
    gaping = shape.copy()
    gaping[66, 1] += 40
    shut = shape.copy()
    shut[66] = shut[62]
    at = CLASSES.index("mouth open")
    assert (bool(attributes_of(gaping, seen).classes[at]), bool(attributes_of(shut, seen).classes[at])) == (True, False)
    covered = attributes_of(shape, np.arange(68) > 20)
    assert bool(covered.classes[CLASSES.index("occluded")])
