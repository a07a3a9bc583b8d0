"""Levels of parts: each covers the face once, and each lies in the next."""

import pytest

from unveil.schemes.hierarchy import Hierarchy, Level, Part, check_levels
from unveil.schemes.scheme import IBUG68, SCHEMES, Scheme

each_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
WHOLE = Level("whole", (Part("face", (0, 1, 2, 3)),))


@each_scheme
def test_every_landmark_is_in_exactly_one_part_of_each_level(scheme: Scheme) -> None:
    for level in scheme.hierarchy.levels:
        assert sorted(i for part in level.parts for i in part.points) == list(range(scheme.points))


@each_scheme
def test_levels_nest_from_neighbourhoods_to_the_whole(scheme: Scheme) -> None:
    assert [level.name for level in scheme.hierarchy.levels] == ["neighbourhoods", "regions", "groups", "whole"]
    levels = scheme.hierarchy.levels
    for low in range(3):
        for i, part in enumerate(levels[low].parts):
            assert set(part.points) <= set(levels[low + 1].parts[scheme.hierarchy.parent(low, i)].points)


@each_scheme
def test_a_part_is_made_up_of_its_children(scheme: Scheme) -> None:
    levels = scheme.hierarchy.levels
    for high in range(1, 4):
        for i, part in enumerate(levels[high].parts):
            children = [levels[high - 1].parts[child].points for child in scheme.hierarchy.children(high, i)]
            assert sorted(point for points in children for point in points) == sorted(part.points)


@each_scheme
def test_siblings_share_a_parent_and_leave_oneself_out(scheme: Scheme) -> None:
    hierarchy = scheme.hierarchy
    for level in range(3):
        for part in range(len(hierarchy.levels[level].parts)):
            family = {part, *hierarchy.siblings(level, part)}
            assert part not in hierarchy.siblings(level, part)
            assert family == set(hierarchy.children(level + 1, hierarchy.parent(level, part)))


def test_the_eyes_are_the_siblings_of_the_brows() -> None:
    regions = IBUG68.hierarchy.levels[1].parts
    brows = next(i for i, part in enumerate(regions) if part.name == "brows")
    assert [regions[i].name for i in IBUG68.hierarchy.siblings(1, brows)] == ["eyes"]


def test_a_hierarchy_counts_its_landmarks() -> None:
    assert Hierarchy((WHOLE,)).points == 4


@pytest.mark.parametrize(
    ("below", "complaint"),
    [
        ((Part("a", (0, 1)), Part("b", (2,))), r"level 'halves': landmarks \[3\]"),
        ((Part("a", (0, 1)), Part("b", (1, 2, 3))), r"level 'halves': landmarks \[1\]"),
        ((Part("a", (0, 1)), Part("b", (2, 3, 7))), r"level 'halves': landmarks \[7\]"),
    ],
    ids=["missing", "twice", "unknown"],
)
def test_a_landmark_in_no_part_or_in_two_is_named(below: tuple[Part, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_levels((Level("halves", below), WHOLE))


def test_a_part_that_straddles_two_is_named() -> None:
    low = Level("low", (Part("a", (0,)), Part("b", (1, 2)), Part("c", (3,))))
    high = Level("high", (Part("d", (0, 1)), Part("e", (2, 3))))
    with pytest.raises(ValueError, match="part 'b' of level 'low' does not lie inside one part of 'high'"):
        check_levels((low, high, WHOLE))


def test_a_hierarchy_without_a_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly one part, the whole face"):
        check_levels((Level("halves", (Part("a", (0, 1)), Part("b", (2, 3)))),))
    with pytest.raises(ValueError, match="exactly one part, the whole face"):
        check_levels(())
