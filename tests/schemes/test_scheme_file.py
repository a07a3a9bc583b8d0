"""Schemes from TOML files: what is read, and the messages about wrong files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.schemes import own_schemes

from unveil.schemes.hierarchy import Hierarchy, Level, Part
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import IBUG68, SCHEMES, Contour, Scheme
from unveil.schemes.scheme_file import (
    load_scheme,
    read_scheme,
    resolve_scheme,
    scheme_from_dict,
    scheme_record,
    scheme_to_dict,
)

FIVE = f"""{own_schemes.FIVE}
[parts.groups]
"upper half" = [0, 1]
"lower half" = [2, 3, 4]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "five.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_five_point_scheme_is_read_from_a_file(tmp_path: Path) -> None:
    scheme = read_scheme(written(tmp_path, FIVE))
    assert (scheme.name, scheme.points) == ("five", 5)
    assert scheme.flip_order == (1, 0, 2, 4, 3)
    assert scheme.point_names[3] == "left mouth corner"
    assert dict(scheme.normalisers) == {"ocular": ((0,), (1,))}
    assert scheme.contours == (Contour((0, 1)), Contour((3, 2, 4), closed=True))
    assert [level.name for level in scheme.hierarchy.levels] == ["regions", "groups", "whole"]
    assert scheme.hierarchy.levels[0].parts[2] == Part("mouth", (3, 4))


def test_a_scheme_of_ones_own_names_its_five_points(tmp_path: Path) -> None:
    points_px = np.arange(10, dtype=np.float32).reshape(5, 2)
    scheme = read_scheme(written(tmp_path, FIVE))
    np.testing.assert_array_equal(five_points(scheme, points_px), points_px)


def test_a_scheme_without_parts_has_only_the_whole(tmp_path: Path) -> None:
    scheme = read_scheme(written(tmp_path, 'name = "two"\npoints = ["a", "b"]\nflip = [1, 0]\n'))
    assert [level.name for level in scheme.hierarchy.levels] == ["whole"]
    assert scheme.five_points is None
    assert scheme.contours == ()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("mouth = [3, 4]", "mouth = [3]", "parts.regions: landmark 4 is in 0 parts; put it in exactly one"),
        ("nose = [2]", "nose = [2, 3]", "parts.regions: landmark 3 is in 2 parts; put it in exactly one"),
        ("nose = [2]", "nose = [5]", "parts.regions.nose: there is no landmark 5; the 5 points are numbered 0 to 4"),
        ("nose = [2]", "nose = []", "parts.regions.nose: it should have at least 1 item, not 0"),
        ("nose = [2]", "nose = [-1]", "parts.regions.nose.0: it should be greater than or equal to 0, not -1"),
        ('"upper half" = [0, 1]', '"upper half" = [0]', "parts.groups: landmark 1 is in 0 parts"),
        ('[0, 1]\n"lower half" = [2,', '[0, 2]\n"lower half" = [1,', "part 'eyes' of level 'regions'"),
        ("flip = [1, 0, 2, 4, 3]", "flip = [1, 0, 2]", "flip: 3 landmarks, but points has 5; give one for each"),
        ("flip = [1, 0, 2, 4, 3]", "flip = [1, 2, 0, 4, 3]", "flip order applied twice is not the identity"),
        ("flip = [1, 0, 2, 4, 3]", "flop = [1, 0, 2, 4, 3]", "flip is missing; add it"),
        ("flip = [1, 0, 2, 4, 3]", "flip = [1, 0, 2, 4, 3]\nflipp = [1]", "flipp is not known; did you mean 'flip'"),
        ("[parts.regions]", "[parts.areas]", "parts.areas is not known; "),
        ("ocular = [[0], [1]]", "ocular = [[0], [9]]", "normalisers.ocular: there is no landmark 9"),
        ("ocular = [[0], [1]]", "ocular = [[0]]", "normalisers.ocular: it should have at least 2 items, not 1"),
        ("ocular = [[0], [1]]", "box = [[0], [1]]", "normalisers.box: every scheme has that one, the tight box"),
        ("points = [0, 1] }", "points = [0, 8] }", "contours.0: there is no landmark 8"),
        ("[[0], [1], [2], [3], [4]]", "[[0], [1], [2], [3], [6]]", "five_points: there is no landmark 6"),
        ("[[0], [1], [2], [3], [4]]", "[[0], [1]]", "five_points: it should have at least 5 items, not 2"),
        ('name = "five"', 'name = "ibug68"', "name: 'ibug68' is a built-in scheme; choose another"),
        ('name = "five"', "name = 5", "name: it should be a valid string, not 5"),
        ('"right eye"', '"left eye"', "points: 'left eye' is there twice; give each landmark its own name"),
        ('name = "five"', "name = five", "not TOML: "),
    ],
)
def test_a_mistake_is_named_on_one_line_with_its_file(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert FIVE.count(old) == 1 or old == '"right eye"'
    path = written(tmp_path, FIVE.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"five\.toml") as caught:
        read_scheme(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_scheme_file_is_answered_with_the_built_in_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.toml: No such file or directory; .*ibug68"):
        read_scheme(tmp_path / "nowhere.toml")


def test_a_scheme_is_found_by_name_or_by_file(tmp_path: Path) -> None:
    assert load_scheme("wflw98") is SCHEMES["wflw98"]
    assert load_scheme(str(written(tmp_path, FIVE))).name == "five"
    with pytest.raises(ValueError, match=r"unknown scheme 'wflw89': did you mean 'wflw98'\? \(or name a scheme file"):
        load_scheme("wflw89")
    with pytest.raises(ValueError, match=r"gone\.toml: No such file or directory"):
        load_scheme("gone.toml")


def test_a_description_has_all_of_a_scheme(tmp_path: Path) -> None:
    own = [read_scheme(written(tmp_path, FIVE)), *(replace(scheme, name="mine") for scheme in SCHEMES.values())]
    for scheme in own:
        assert scheme_from_dict(json.loads(json.dumps(scheme_to_dict(scheme)))) == scheme


def test_files_carry_a_scheme_of_ones_own_whole_and_a_built_in_one_by_name(tmp_path: Path) -> None:
    five = read_scheme(written(tmp_path, FIVE))
    assert resolve_scheme("five", scheme_record(five)) == five
    assert scheme_record(IBUG68) is None
    assert resolve_scheme("ibug68", None) is IBUG68


def test_a_scheme_made_in_python_that_no_file_can_express_is_not_stored() -> None:
    parts, face = (Part("half", (0,)), Part("half", (1,))), Level("whole", (Part("face", (0, 1)),))
    for levels, complaint in (
        ((Level("regions", parts), face), "landmark 0 is in 0"),
        ((Level("all", face.parts),), "all"),
    ):
        with pytest.raises(ValueError, match=f"scheme 'odd': parts.*{complaint}"):
            scheme_record(Scheme("odd", ("a", "b"), (1, 0), Hierarchy(levels)))
    with pytest.raises(ValueError, match="'ibug68' is a built-in scheme; choose another"):
        scheme_record(replace(IBUG68, contours=()))
