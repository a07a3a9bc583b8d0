"""Libraries of occluders: what is read from their folders, and what is refused."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from unveil.data.occlusion import Library


def write_cut_out(path: Path, alpha: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((40, 60, 4), (10, 20, 200, 255), np.uint8)  # BGRA, as OpenCV writes it
    pixels[:8, :8, 3] = 0
    assert cv2.imwrite(str(path), pixels if alpha else np.ascontiguousarray(pixels[..., :3]))


def write_masks(folder: Path, *names: str) -> None:
    for name in names:
        write_cut_out(folder / f"{name}.png")
    places = {letter: [10.0 + index, 5.0] for index, letter in enumerate("abcdef")}
    (folder / "anchors.json").write_text(json.dumps(dict.fromkeys(names, places)))


def test_a_library_reads_masks_and_sprites_from_their_folders(tmp_path: Path) -> None:
    write_masks(tmp_path / "masks", "KN95", "N95", "N95_left", "cloth")
    write_cut_out(tmp_path / "hands" / "palm.png")
    write_cut_out(tmp_path / "objects" / "cup.png")
    library = Library.read(tmp_path, exclude=("N95", "cloth"))
    assert [template.name for template in library.templates] == ["KN95"]
    assert [(sprite.group, sprite.name) for sprite in library.sprites] == [("hands", "palm"), ("objects", "cup")]


def test_a_library_reads_a_plain_folder_of_either_kind(tmp_path: Path) -> None:
    write_masks(tmp_path / "mine", "one")
    write_cut_out(tmp_path / "pictures" / "cup.png")
    assert [template.name for template in Library.read(tmp_path / "mine").templates] == ["one"]
    assert [sprite.name for sprite in Library.read(tmp_path / "pictures").sprites] == ["cup"]


def test_a_read_image_is_rgb_and_what_is_transparent_is_black(tmp_path: Path) -> None:
    write_cut_out(tmp_path / "cup.png")
    pixels = Library.read(tmp_path).sprites[0].pixels
    assert pixels[20, 30].tolist() == [200, 20, 10, 255]
    assert not pixels[0, 0].any()


def test_no_folder_gives_an_empty_library() -> None:
    assert not Library.read(None).templates
    assert not Library.read(None).sprites


def test_an_image_without_transparency_is_refused_by_name(tmp_path: Path) -> None:
    write_cut_out(tmp_path / "cup.png", alpha=False)
    with pytest.raises(ValueError, match=r"cup\.png.*RGBA"):
        Library.read(tmp_path)


def test_a_template_without_anchors_is_refused_by_name(tmp_path: Path) -> None:
    write_masks(tmp_path, "one")
    write_cut_out(tmp_path / "two.png")
    with pytest.raises(ValueError, match="no anchors for 'two'"):
        Library.read(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Library.read(tmp_path / "nowhere")
