import os
from pathlib import Path

import pytest

from unveil.io.image_sources import find_sources


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("in/a.jpg", "in/b.PNG", "in/notes.txt", "in/deep/er/c.jpeg", "in/.hidden.jpg", "in/.git/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outputs(*arguments: str, out: str = "out") -> list[str]:
    found = find_sources(arguments, Path(out))
    assert not found.problems
    return [source.output.as_posix() for source in found.images]


@pytest.mark.usefixtures("tree")
def test_a_folder_is_searched_recursively_and_its_tree_mirrored() -> None:
    assert outputs("in") == ["a", "b", "deep/er/c"]


def test_a_glob_mirrors_the_tree_below_its_fixed_part(tree: Path) -> None:
    assert outputs("in/**/*.jp*g") == ["a", "deep/er/c"]
    assert outputs(str(tree / "in" / "*")) == ["a", "b"]


def test_a_file_with_any_name_is_read(tree: Path) -> None:
    assert outputs("in/notes.txt") == ["notes"]
    (tree / "odd[1].jpg").touch()
    assert outputs("odd[1].jpg") == ["odd[1]"]


def test_an_image_named_twice_is_aligned_once(tree: Path) -> None:
    assert outputs("in/a.jpg", "in", str(tree / "in" / "a.jpg")) == ["a", "b", "deep/er/c"]


def test_outputs_inside_the_source_folder_are_not_sources(tree: Path) -> None:
    (tree / "in" / "out").mkdir()
    (tree / "in" / "out" / "a.png").touch()
    for name in ("a.overlay.png", "a.0.aligned-112.png"):
        (tree / "in" / name).touch()
    assert outputs("in", out="in/out") == ["a", "b", "deep/er/c"]


def test_images_of_one_stem_do_not_write_over_one_another(tree: Path) -> None:
    (tree / "in" / "a.png").touch()
    (tree / "in" / "deep" / "a.jpg").touch()
    assert outputs("in/a.jpg", "in/a.png") == ["a.jpg", "a.png"]
    assert outputs("in/a.jpg", "in/deep/a.jpg") == ["a.jpg", "deep/a.jpg"]


def test_an_image_named_like_the_output_of_another_gets_its_own_output(tree: Path) -> None:
    for name in ("x.jpg", "x.png", "x.jpg.jpg"):
        (tree / "twins" / name).parent.mkdir(exist_ok=True)
        (tree / "twins" / name).touch()
    assert sorted(outputs("twins")) == ["x.jpg", "x.jpg.jpg", "x.png"]


def test_the_files_of_one_of_several_faces_are_not_those_of_another_image(tree: Path) -> None:
    for name in ("x.jpg", "x.0.jpg"):
        (tree / "faces" / name).parent.mkdir(exist_ok=True)
        (tree / "faces" / name).touch()
    assert sorted(outputs("faces")) == ["x", "x.0.jpg"]


def test_links_to_folders_are_followed_once(tree: Path) -> None:
    (tree / "links").mkdir()
    (tree / "links" / "photos").symlink_to(tree / "in", target_is_directory=True)
    (tree / "links" / "again").symlink_to(tree / "links", target_is_directory=True)
    assert outputs("links") == ["photos/a", "photos/b", "photos/deep/er/c"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_folder_is_skipped_and_a_broken_link_is_not(tree: Path) -> None:
    os.mkfifo(tree / "in" / "deep" / "pipe.jpg")
    (tree / "in" / "deep" / "link.jpg").symlink_to(tree / "absent.jpg")
    found = find_sources(["in/deep"], Path("out"))
    assert [str(source.output) for source in found.images] == ["link", "er/c"]
    assert found.skipped == ("in/deep: skipped 1 file that is not an image: 1 .jpg",)


def test_what_leads_to_no_image_is_one_line_and_the_others_are_found(tree: Path) -> None:
    (tree / "empty").mkdir()
    found = find_sources(["empty", "in/*.gif", "in/a.jpg"], Path("out"))
    assert [str(source.output) for source in found.images] == ["a"]
    assert "empty: no images in this folder" in found.problems[0]
    assert "in/*.gif: no images match" in found.problems[1]
