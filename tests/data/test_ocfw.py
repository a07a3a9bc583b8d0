"""The stand-in for OCFW: which faces are called covered, the list of them, and the command that makes it."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from unveil.cli import main
from unveil.data.datasets.ocfw import (
    Coverage,
    Entry,
    faces_of_300w,
    faces_of_kind,
    rank_by_coverage,
    read_list,
    write_list,
)
from unveil.data.datasets.registry import read_data_set
from unveil.data.occlusion import occluder
from unveil.data.pack import Pack
from unveil.data.synthetic import write_drawn_faces
from unveil.geometry import Crop, tight_box
from unveil.inference.aligner import AlignmentModel
from unveil.inference.blending import RestoredCrop
from unveil.inference.covered import contact_sheets, coverage_fn
from unveil.io.files import DataError
from unveil.types import Box, Image, Points


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """300W with drawn faces, three to train on and three to test on."""
    for place in ("helen/trainset", "helen/testset"):
        write_drawn_faces(tmp_path / "300w" / place, 3)
    return tmp_path / "300w"


def by_name(hidden: dict[str, float]) -> list[Entry]:
    return [Entry(name, "occluded" if score > 0.5 else "clean", Coverage(score)) for name, score in hidden.items()]


def test_the_most_covered_faces_come_first_and_those_between_are_unsure(root: Path) -> None:
    faces = faces_of_300w(root, partial=True)
    assert [face.name.split("/")[1] for face in faces] == ["trainset"] * 3 + ["testset"] * 3
    shares = iter((0.1, 0.5, 0.3, 0.2, 0.0, 0.4))
    entries = rank_by_coverage(faces, lambda *_: Coverage(next(shares)), occluded=1 / 3, clean=1 / 2)
    assert [entry.coverage.landmarks for entry in entries] == [0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    assert [entry.kind for entry in entries] == ["occluded", "occluded", "unsure", "clean", "clean", "clean"]
    assert entries[0].name == faces[1].name
    with pytest.raises(ValueError, match=r"0\.6 occluded and 0\.5 clean"):
        rank_by_coverage(faces, lambda *_: Coverage(0.0), occluded=0.6, clean=0.5)


def test_either_model_may_see_the_cover() -> None:
    assert Coverage(0.2).total == Coverage(0.2, 0.1).total == Coverage(0.1, 0.2).total == 0.2


def test_a_list_comes_back_as_it_was_edited(tmp_path: Path) -> None:
    path = tmp_path / "lists/ocfw.csv"
    write_list(path, by_name({"afw/b": 0.9, "afw/a": 0.1}))
    head, *lines = path.read_text().splitlines()
    assert head == "name,kind,coverage,landmarks,masked"
    assert lines == ["afw/b,occluded,0.9000,0.9000,", "afw/a,clean,0.1000,0.1000,"]
    assert list(read_list(path).items()) == [("afw/b", "occluded"), ("afw/a", "clean")]
    path.write_text("\ufeffkind, note ,name\r\nunsure,hair,afw/b\r\n clean ,,afw/a\r\n", "utf-8")
    assert read_list(path) == {"afw/b": "unsure", "afw/a": "clean"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name,kind\na,covered\n", r"line 2: kind 'covered'; there are clean, unsure, occluded"),
        ("name,kind\na,clean\na,clean\n", r"line 3: 'a' is listed twice"),
        ("name,kind\na\n", r"line 2: kind ''"),
        ("a\nb\n", r"no columns name and kind; make a list with"),
        ("", r"no columns name and kind"),
    ],
)
def test_a_list_with_another_word_is_refused_with_its_line(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=complaint):
        read_list(tmp_path / "list.csv")


def test_faces_are_chosen_by_what_they_are_called(root: Path, tmp_path: Path) -> None:
    common = read_data_set("300w/common", root, partial=True)
    first, *rest = common.names
    write_list(tmp_path / "list.csv", by_name({first: 0.9} | dict.fromkeys(rest, 0.0)))
    chosen = faces_of_kind("occluded", common, tmp_path / "list.csv")
    assert (chosen.names, chosen.label) == ((first,), "300w/common 3/554, occluded 1")
    with pytest.raises(DataError, match="none of the 3 faces of 300w/common 3/554 is unsure"):
        faces_of_kind("unsure", common, tmp_path / "list.csv")
    write_list(tmp_path / "short.csv", by_name(dict.fromkeys(rest, 0.0)))
    with pytest.raises(DataError, match=r"1 of 3 faces are not in it, the first 'helen/testset/face_000'"):
        faces_of_kind("clean", common, tmp_path / "short.csv")


def test_a_portrait_behind_a_mask_has_more_coverage_than_the_portrait(portrait: tuple[Image, Points]) -> None:
    image, points_px = portrait
    coverage_of = coverage_fn(AlignmentModel.load("glomface-light"))
    masked = occluder("mask")(image, points_px, np.random.default_rng(0)).image
    assert coverage_of(image, points_px).landmarks < 0.1 < 0.3 < coverage_of(masked, points_px).landmarks
    assert coverage_of(image, points_px).masked is None


def test_a_restorers_mask_counts_where_the_face_is(portrait: tuple[Image, Points]) -> None:
    image, points_px = portrait
    mask = np.zeros((64, 64), np.float32)
    mask[32:] = 1
    mask[:, :2] = 1  # beside the face

    def restorer(image_rgb: Image, points_px: Sequence[Points], _: object) -> list[RestoredCrop]:
        crop = Crop.around(tight_box(points_px[0]), 1.15)
        return [RestoredCrop(crop, crop.extract(image_rgb, 64), mask)]

    coverage_of = coverage_fn(AlignmentModel.load("glomface-light"), restorer)  # type: ignore[arg-type]
    assert coverage_of(image, points_px).masked == pytest.approx(0.4, abs=0.1)  # the face reaches above the crop


@pytest.fixture(scope="module")
def portrait() -> tuple[Image, Points]:
    """NASA's public-domain portrait of Eileen Collins, and its landmarks as the model that ships finds them."""
    from skimage.data import astronaut

    image = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    return image, AlignmentModel.load("glomface-light")(image, [Box(179, 76, 270, 177)])[0].points_px


def test_sheets_hold_a_hundred_faces_row_by_row() -> None:
    tiles = [(f"line {i}", np.full((16, 16, 3), i, np.uint8)) for i in range(112)]
    first, last = contact_sheets(tiles)
    assert first.shape[1] == last.shape[1] == 160
    height = first.shape[0] // 10
    assert (last.shape[0], first[0, 0, 0], first[height, 20, 0], last[height, 20, 0]) == (2 * height, 0, 11, 111)
    assert (last[height:, 32:] == 255).all()


def test_the_command_writes_the_list_and_sheets_and_the_clean_faces_are_packed(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lists/ocfw.csv"
    shares = ["--occluded", "0.33", "--clean", "0.33", "--side", "32"]
    assert main(["prepare", "ocfw-list", "--root", str(root), "--out", str(out), "--partial", *shares]) == 0
    assert capsys.readouterr().out == f"{out}: 6 faces of 300w, 2 clean, 2 unsure, 2 occluded\n"
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ["ocfw-occluded-1.png", "ocfw-unsure-1.png", "ocfw.csv"]
    sheet = cv2.imread(str(out.with_name("ocfw-unsure-1.png")))
    assert sheet is not None
    assert sheet.shape[1] == 320
    out.write_text(out.read_text().replace("unsure", "clean"))
    pack = tmp_path / "clean.npz"
    packing = ["prepare", "300w", "--root", str(root), "--partial", "--side", "32", "--out", str(pack)]
    assert main([*packing, "--list", str(out)]) == 0
    clean = [name for name, kind in read_list(out).items() if kind == "clean" and "trainset" in name]
    assert sorted(Pack.read(pack).names) == sorted(clean)
    assert Pack.read(pack).label == f"300w/train 3/3148, clean {len(clean)}"
    assert main(["prepare", "folder", "--root", str(root), "--out", str(pack), "--list", str(out)]) == 2
