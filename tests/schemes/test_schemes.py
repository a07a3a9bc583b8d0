"""The built-in landmark schemes: what each number means must survive a mirror."""

from itertools import chain

import pytest

from unveil.schemes.hierarchy import Hierarchy, Level, Part
from unveil.schemes.scheme import COFW29, IBUG68, SCHEMES, WFLW98, WFLW98_TO_IBUG68, Scheme, get_scheme

each_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
JAW = ("jaw", "chin", "cheek")


def mirrored(scheme: Scheme, points: tuple[int, ...]) -> set[int]:
    return {scheme.flip_order[i] for i in points}


def other_side(name: str) -> str:
    swaps = {"left": "right", "right": "left"}
    return " ".join(swaps.get(word, word) for word in name.split())


@each_scheme
def test_a_flip_twice_is_the_identity(scheme: Scheme) -> None:
    assert [scheme.flip_order[i] for i in scheme.flip_order] == list(range(scheme.points))


@each_scheme
def test_every_landmark_has_a_name_of_its_own(scheme: Scheme) -> None:
    assert len(set(scheme.point_names)) == scheme.points


@each_scheme
def test_a_mirrored_part_is_the_part_of_the_other_side(scheme: Scheme) -> None:
    for part in chain.from_iterable(level.parts for level in scheme.hierarchy.levels):
        if not part.name.endswith(JAW):
            others = {p.name: set(p.points) for level in scheme.hierarchy.levels for p in level.parts}
            assert mirrored(scheme, part.points) == others[other_side(part.name)], part.name


@pytest.mark.parametrize("scheme", [IBUG68, WFLW98], ids=lambda scheme: scheme.name)
def test_a_mirrored_jaw_part_is_the_other_half_within_one_point(scheme: Scheme) -> None:
    for level in scheme.hierarchy.levels[:2]:
        parts = {part.name: part.points for part in level.parts}
        for name, points in parts.items():
            if name.endswith(JAW):
                assert len(mirrored(scheme, points) ^ set(parts[other_side(name)])) <= 1, name


def test_names_mirror_left_to_right() -> None:
    for i, name in enumerate(COFW29.point_names):
        assert COFW29.point_names[COFW29.flip_order[i]] == other_side(name)


@pytest.mark.parametrize(
    ("scheme", "pairs"),
    [
        (IBUG68, {0: 16, 8: 8, 17: 26, 30: 30, 31: 35, 36: 45, 39: 42, 41: 46, 48: 54, 51: 51, 60: 64, 61: 63, 67: 65}),
        (WFLW98, {0: 32, 16: 16, 33: 46, 38: 50, 41: 47, 60: 72, 64: 68, 67: 73, 76: 82, 88: 92, 95: 93, 96: 97}),
        (COFW29, {0: 1, 2: 3, 4: 6, 8: 9, 10: 11, 12: 14, 16: 17, 20: 20, 22: 23, 28: 28}),
    ],
    ids=lambda value: value.name if isinstance(value, Scheme) else "",
)
def test_well_known_landmarks_mirror_into_each_other(scheme: Scheme, pairs: dict[int, int]) -> None:
    assert {i: scheme.flip_order[i] for i in pairs} == pairs


@each_scheme
def test_both_sides_of_a_normaliser_mirror_into_each_other(scheme: Scheme) -> None:
    assert set(scheme.normalisers) == {"ocular", "pupil"}
    for left, right in scheme.normalisers.values():
        assert mirrored(scheme, left) == set(right)


@each_scheme
def test_the_five_points_mirror_into_each_other(scheme: Scheme) -> None:
    assert scheme.five_points is not None
    left_eye, right_eye, nose, left_mouth, right_mouth = scheme.five_points
    assert mirrored(scheme, left_eye) == set(right_eye)
    assert mirrored(scheme, nose) == set(nose)
    assert mirrored(scheme, left_mouth) == set(right_mouth)


@each_scheme
def test_a_mirrored_contour_is_a_contour(scheme: Scheme) -> None:
    contours = [set(contour.points) for contour in scheme.contours]
    for contour in scheme.contours:
        assert mirrored(scheme, contour.points) in contours


def test_98_points_read_as_68_mirror_alike() -> None:
    assert len(WFLW98_TO_IBUG68) == IBUG68.points
    for i, source in enumerate(WFLW98_TO_IBUG68):
        assert WFLW98_TO_IBUG68[IBUG68.flip_order[i]] == WFLW98.flip_order[source]


def test_98_points_read_as_68_stay_in_their_regions() -> None:
    for few, many in zip(IBUG68.hierarchy.levels[1].parts, WFLW98.hierarchy.levels[1].parts, strict=True):
        assert few.name == many.name
        assert {WFLW98_TO_IBUG68[i] for i in few.points} <= set(many.points)


def test_a_mistyped_scheme_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown scheme 'ibug86': did you mean 'ibug68'"):
        get_scheme("ibug86")


def test_an_unknown_scheme_is_answered_with_all_there_are() -> None:
    with pytest.raises(ValueError, match="there are cofw29, ibug68, wflw98"):
        get_scheme("zebra")


PAIR = Hierarchy((Level("whole", (Part("face", (0, 1, 2)),)),))


@pytest.mark.parametrize(
    ("names", "flip_order", "complaint"),
    [
        (("a", "b"), (1, 0), "2 names, but its hierarchy has 3 points"),
        (("a", "b", "c"), (0, 0, 2), "not a permutation of 0 to 2"),
        (("a", "b", "c"), (1, 2, 0), "twice is not the identity"),
    ],
)
def test_a_scheme_that_contradicts_itself_is_refused(
    names: tuple[str, ...], flip_order: tuple[int, ...], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Scheme("mine", names, flip_order, PAIR)
