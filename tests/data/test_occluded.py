"""A data set under occluders, on disk."""

from pathlib import Path

import numpy as np
import pytest

from unveil.cli import main
from unveil.data.datasets.registry import folder
from unveil.data.synthetic import write_drawn_faces


def occlude(root: Path, out: Path, *more: str) -> int:
    return main(["occlude", "folder", "--root", str(root), "--out", str(out), *more])


def test_names_and_landmarks_are_kept_and_images_change(drawn_folder: Path, tmp_path: Path) -> None:
    assert occlude(drawn_folder, tmp_path / "masked", "--kind", "mask") == 0
    before, after = folder(drawn_folder), folder(tmp_path / "masked")
    assert after.names == before.names
    np.testing.assert_allclose(after.points_px, before.points_px, atol=1e-3)
    assert all((before.image(i) != after.image(i)).any() for i in range(len(before)))


def test_a_seed_gives_the_same_images_and_another_gives_others(drawn_folder: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("again", "3"), ("b", "4")):
        assert occlude(drawn_folder, tmp_path / name, "--kind", "noise", "--seed", seed) == 0
    a, again, b = (folder(tmp_path / name) for name in ("a", "again", "b"))
    assert all((a.image(i) == again.image(i)).all() for i in range(len(a)))
    assert any((a.image(i) != b.image(i)).any() for i in range(len(a)))


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--kind", "template"), "template"),
        (("--kind", "noise", "--coverage", "1.5"), "--coverage 1.5"),
        (("--kind", "sprite", "--library", "nowhere"), "nowhere"),
        (("--kind", "mask", "--coverage", "0.5"), "'mask' has a fixed size"),
        (("--kind", "mask", "--templates", "N95"), "--templates N95: is for template, not for mask"),
        (("--kind", "noise", "--library", "x"), "--library x: is for template, sprite, hand, haircut, not for noise"),
        (("--kind", "noise", "--seed", "-1"), "--seed -1: give 0 or more"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    drawn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], complaint: str
) -> None:
    assert occlude(drawn_folder, tmp_path / "out", *more) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ")
    assert complaint in message
    assert "\n" not in message


def test_the_set_itself_is_never_overwritten(drawn_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for out in (drawn_folder, drawn_folder / "below"):
        assert occlude(drawn_folder, out, "--kind", "noise") == 2
        assert "the data set itself lies there" in capsys.readouterr().err


def test_a_set_in_folders_is_not_written_over_from_above(tmp_path: Path) -> None:
    write_drawn_faces(tmp_path / "set/deep/a", 1)
    (image,) = (tmp_path / "set").rglob("*.png")
    before = image.read_bytes()
    assert occlude(tmp_path / "set", tmp_path / "set", "--kind", "noise") == 2
    assert occlude(tmp_path / "set", tmp_path / "set/deep", "--kind", "noise") == 2
    assert image.read_bytes() == before
