"""The built-in landmark schemes: 68, 98 and 29 points, each as data. "Left" is the left side of the image."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, TypeAlias

from unveil.schemes.hierarchy import Hierarchy, Level, Part

Indices: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Contour:
    """A polyline through landmarks, for drawing.

    Args:
        points: Landmark indices in drawing order.
        closed: Whether the last landmark is joined to the first.
    """

    points: Indices
    closed: bool = False


@dataclass(frozen=True)
class Scheme:
    """A landmark scheme: names, mirror order, normalisers and part hierarchy.

    Args:
        name: Name of the scheme.
        point_names: One name for each landmark.
        flip_order: For each landmark, the index of the landmark that replaces it in the mirrored face.
        hierarchy: The parts of the face.
        normalisers: Pairs of landmark sets. An error is divided by the distance between the means of both sets.
        contours: Lines to draw.
        five_points: Landmark sets whose means are left eye, right eye, nose tip, left and right mouth corner.

    Raises:
        ValueError: The parts of the scheme contradict each other.
    """

    name: str
    point_names: tuple[str, ...]
    flip_order: Indices
    hierarchy: Hierarchy
    normalisers: Mapping[str, tuple[Indices, Indices]] = field(default_factory=dict)
    contours: tuple[Contour, ...] = ()
    five_points: tuple[Indices, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.point_names)
        if self.hierarchy.points != count:
            raise ValueError(
                f"scheme {self.name!r}: {count} names, but its hierarchy has {self.hierarchy.points} points"
            )
        if sorted(self.flip_order) != list(range(count)):
            raise ValueError(f"scheme {self.name!r}: the flip order is not a permutation of 0 to {count - 1}")
        if any(self.flip_order[self.flip_order[i]] != i for i in range(count)):
            raise ValueError(f"scheme {self.name!r}: the flip order applied twice is not the identity")
        object.__setattr__(self, "normalisers", MappingProxyType(dict(self.normalisers)))

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy cannot be pickled
        values = (getattr(self, each.name) for each in fields(self))
        return Scheme, tuple(dict(value) if isinstance(value, MappingProxyType) else value for value in values)

    @property
    def points(self) -> int:
        """Number of landmarks."""
        return len(self.point_names)


def _span(first: int, last: int) -> range:
    """Return the indices from first to last, both included, counting up or down."""
    return range(first, last + 1) if last >= first else range(first, last - 1, -1)


def _order(*pieces: int | range) -> Indices:
    return tuple(i for piece in pieces for i in ((piece,) if isinstance(piece, int) else piece))


def _names(parts: tuple[Part, ...]) -> tuple[str, ...]:
    """Name each landmark by its neighbourhood and its position in it, as `left brow 2`."""
    names = {index: f"{part.name} {i + 1}" for part in parts for i, index in enumerate(part.points)}
    return tuple(names[i] for i in range(len(names)))


def _hierarchy(neighbourhoods: tuple[Part, ...], regions: tuple[Part, ...], groups: tuple[Part, ...]) -> Hierarchy:
    whole = Part.of("face", range(sum(len(part.points) for part in groups)))
    return Hierarchy(
        (
            Level("neighbourhoods", neighbourhoods),
            Level("regions", regions),
            Level("groups", groups),
            Level("whole", (whole,)),
        )
    )


IBUG68_NEIGHBOURHOODS = (
    Part.of("left jaw", _span(0, 3)),
    Part.of("left chin", _span(4, 8)),
    Part.of("right chin", _span(9, 12)),
    Part.of("right jaw", _span(13, 16)),
    Part.of("left brow", _span(17, 21)),
    Part.of("right brow", _span(22, 26)),
    Part.of("nose bridge", _span(27, 30)),
    Part.of("nostrils", _span(31, 35)),
    Part.of("left eye", _span(36, 41)),
    Part.of("right eye", _span(42, 47)),
    Part.of("outer lips", _span(48, 59)),
    Part.of("inner lips", _span(60, 67)),
)

IBUG68 = Scheme(
    name="ibug68",
    point_names=_names(IBUG68_NEIGHBOURHOODS),
    flip_order=_order(
        *(_span(16, 0), _span(26, 17), _span(27, 30), _span(35, 31), _span(45, 42), 47, 46),
        *(_span(39, 36), 41, 40, _span(54, 48), _span(59, 55), _span(64, 60), _span(67, 65)),
    ),
    hierarchy=_hierarchy(
        IBUG68_NEIGHBOURHOODS,
        regions=(
            Part.of("left cheek", _span(0, 8)),
            Part.of("right cheek", _span(9, 16)),
            Part.of("brows", _span(17, 26)),
            Part.of("nose", _span(27, 35)),
            Part.of("eyes", _span(36, 47)),
            Part.of("mouth", _span(48, 67)),
        ),
        groups=(
            Part.of("cheeks", _span(0, 16)),
            Part.of("brows and eyes", _span(17, 26), _span(36, 47)),
            Part.of("nose and mouth", _span(27, 35), _span(48, 67)),
        ),
    ),
    normalisers={"ocular": ((36,), (45,)), "pupil": (tuple(_span(36, 41)), tuple(_span(42, 47)))},
    contours=(
        Contour(tuple(_span(0, 16))),
        Contour(tuple(_span(17, 21))),
        Contour(tuple(_span(22, 26))),
        Contour(tuple(_span(27, 30))),
        Contour(tuple(_span(31, 35))),
        Contour(tuple(_span(36, 41)), closed=True),
        Contour(tuple(_span(42, 47)), closed=True),
        Contour(tuple(_span(48, 59)), closed=True),
        Contour(tuple(_span(60, 67)), closed=True),
    ),
    five_points=(tuple(_span(36, 41)), tuple(_span(42, 47)), (30,), (48,), (54,)),
)

WFLW98_NEIGHBOURHOODS = (
    Part.of("left jaw", _span(0, 7)),
    Part.of("left chin", _span(8, 16)),
    Part.of("right chin", _span(17, 24)),
    Part.of("right jaw", _span(25, 32)),
    Part.of("left brow", _span(33, 41)),
    Part.of("right brow", _span(42, 50)),
    Part.of("nose bridge", _span(51, 54)),
    Part.of("nostrils", _span(55, 59)),
    Part.of("left eye", _span(60, 67), (96,)),
    Part.of("right eye", _span(68, 75), (97,)),
    Part.of("outer lips", _span(76, 87)),
    Part.of("inner lips", _span(88, 95)),
)

WFLW98 = Scheme(
    name="wflw98",
    point_names=_names(WFLW98_NEIGHBOURHOODS),
    flip_order=_order(
        *(_span(32, 0), _span(46, 42), _span(50, 47), _span(37, 33), _span(41, 38), _span(51, 54), _span(59, 55)),
        *(_span(72, 68), _span(75, 73), _span(64, 60), _span(67, 65)),
        *(_span(82, 76), _span(87, 83), _span(92, 88), _span(95, 93), 97, 96),
    ),
    hierarchy=_hierarchy(
        WFLW98_NEIGHBOURHOODS,
        regions=(
            Part.of("left cheek", _span(0, 16)),
            Part.of("right cheek", _span(17, 32)),
            Part.of("brows", _span(33, 50)),
            Part.of("nose", _span(51, 59)),
            Part.of("eyes", _span(60, 75), (96, 97)),
            Part.of("mouth", _span(76, 95)),
        ),
        groups=(
            Part.of("cheeks", _span(0, 32)),
            Part.of("brows and eyes", _span(33, 50), _span(60, 75), (96, 97)),
            Part.of("nose and mouth", _span(51, 59), _span(76, 95)),
        ),
    ),
    normalisers={"ocular": ((60,), (72,)), "pupil": ((96,), (97,))},
    contours=(
        Contour(tuple(_span(0, 32))),
        Contour(tuple(_span(33, 41)), closed=True),
        Contour(tuple(_span(42, 50)), closed=True),
        Contour(tuple(_span(51, 54))),
        Contour(tuple(_span(55, 59))),
        Contour(tuple(_span(60, 67)), closed=True),
        Contour(tuple(_span(68, 75)), closed=True),
        Contour(tuple(_span(76, 87)), closed=True),
        Contour(tuple(_span(88, 95)), closed=True),
    ),
    five_points=((96,), (97,), (54,), (76,), (82,)),
)

COFW29_NAMES = (
    *("left brow outer", "right brow outer", "left brow inner", "right brow inner"),
    *("left brow top", "left brow bottom", "right brow top", "right brow bottom"),
    *("left eye outer", "right eye outer", "left eye inner", "right eye inner"),
    *("left lid top", "left lid bottom", "right lid top", "right lid bottom", "left pupil", "right pupil"),
    *("left nostril", "right nostril", "nose tip", "nose base", "left mouth corner", "right mouth corner"),
    *("upper lip top", "upper lip bottom", "lower lip top", "lower lip bottom", "chin"),
)

COFW29 = Scheme(
    name="cofw29",
    point_names=COFW29_NAMES,
    flip_order=_order(
        *(1, 0, 3, 2, 6, 7, 4, 5, 9, 8, 11, 10, 14, 15, 12, 13, 17, 16, 19, 18),
        *(20, 21, 23, 22, 24, 25, 26, 27, 28),
    ),
    hierarchy=_hierarchy(
        (
            Part("left brow", (0, 2, 4, 5)),
            Part("right brow", (1, 3, 6, 7)),
            Part("left eye", (8, 10, 12, 13, 16)),
            Part("right eye", (9, 11, 14, 15, 17)),
            Part("nostrils", (18, 19)),
            Part("nose tip", (20, 21)),
            Part("upper lip", (22, 23, 24, 25)),
            Part("lower lip", (26, 27)),
            Part("chin", (28,)),
        ),
        regions=(
            Part.of("brows", _span(0, 7)),
            Part.of("eyes", _span(8, 17)),
            Part.of("nose", _span(18, 21)),
            Part.of("mouth", _span(22, 27)),
            Part("chin", (28,)),
        ),
        groups=(
            Part.of("brows and eyes", _span(0, 17)),
            Part.of("nose, mouth and chin", _span(18, 28)),
        ),
    ),
    normalisers={"ocular": ((8,), (9,)), "pupil": ((16,), (17,))},
    contours=(
        Contour((0, 4, 2, 5), closed=True),
        Contour((1, 6, 3, 7), closed=True),
        Contour((8, 12, 10, 13), closed=True),
        Contour((9, 14, 11, 15), closed=True),
        Contour((18, 21, 19)),
        Contour((22, 24, 23, 27), closed=True),
        Contour((22, 25, 23, 26), closed=True),
    ),
    five_points=((16,), (17,), (20,), (22,), (23,)),
)

SCHEMES: Mapping[str, Scheme] = MappingProxyType({scheme.name: scheme for scheme in (IBUG68, WFLW98, COFW29)})

WFLW98_TO_IBUG68: Indices = _order(
    *(range(0, 33, 2), _span(33, 37), _span(42, 46), _span(51, 59)),
    *(60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75, _span(76, 95)),
)


def get_scheme(name: str) -> Scheme:
    """Return a built-in scheme.

    Args:
        name: `ibug68`, `wflw98` or `cofw29`.

    Raises:
        ValueError: There is no such scheme. The message has the nearest name.
    """
    if name not in SCHEMES:
        near = get_close_matches(name, SCHEMES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(SCHEMES))}"
        raise ValueError(f"unknown scheme {name!r}: {hint}")
    return SCHEMES[name]
