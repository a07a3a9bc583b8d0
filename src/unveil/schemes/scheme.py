"""The built-in landmark schemes: 68, 98 and 29 points, each as data. "Left" is the left side of the image."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, TypeAlias

from unveil.schemes.hierarchy import Hierarchy, Level, Part

Indices: TypeAlias = tuple[int, ...]
PartNames: TypeAlias = Mapping[str, tuple[str, ...]]
"""By the name of a part, the parts of the level below that form it."""


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


def _hierarchy(neighbourhoods: tuple[Part, ...], regions: PartNames, groups: PartNames) -> Hierarchy:
    """Return the hierarchy whose higher parts are unions of the parts below them, by name."""
    levels = [Level("neighbourhoods", neighbourhoods)]
    for level, unions in (("regions", regions), ("groups", groups), ("whole", {"face": tuple(groups)})):
        below = {part.name: part.points for part in levels[-1].parts}
        points = {name: sorted(i for part in parts for i in below[part]) for name, parts in unions.items()}
        levels.append(Level(level, tuple(Part.of(name, found) for name, found in points.items())))
    return Hierarchy(tuple(levels))


def _contours(*ends: Indices, closed: bool = False) -> tuple[Contour, ...]:
    """Return contours through consecutive landmarks, each given by its first and its last one."""
    return tuple(Contour(tuple(_span(first, last)), closed) for first, last in ends)


OUTLINED_PARTS = (
    *("left jaw", "left chin", "right chin", "right jaw", "left brow", "right brow"),
    *("nose bridge", "nostrils", "left eye", "right eye", "outer lips", "inner lips"),
)
OUTLINED_REGIONS: PartNames = {
    "left cheek": ("left jaw", "left chin"),
    "right cheek": ("right chin", "right jaw"),
    "brows": ("left brow", "right brow"),
    "nose": ("nose bridge", "nostrils"),
    "eyes": ("left eye", "right eye"),
    "mouth": ("outer lips", "inner lips"),
}
OUTLINED_GROUPS: PartNames = {
    "cheeks": ("left cheek", "right cheek"),
    "brows and eyes": ("brows", "eyes"),
    "nose and mouth": ("nose", "mouth"),
}


def _outlined(last: Indices, pupils: Indices = ()) -> tuple[Part, ...]:
    """Return the neighbourhoods of a scheme with outlines, whose landmarks follow one another, by the last of each."""
    first, more = (0, *(i + 1 for i in last[:-1])), {"left eye": pupils[:1], "right eye": pupils[1:]}
    ends = zip(OUTLINED_PARTS, first, last, strict=True)
    return tuple(Part.of(name, _span(low, high), more.get(name, ())) for name, low, high in ends)


IBUG68_NEIGHBOURHOODS = _outlined((3, 8, 12, 16, 21, 26, 30, 35, 41, 47, 59, 67))

IBUG68 = Scheme(
    name="ibug68",
    point_names=_names(IBUG68_NEIGHBOURHOODS),
    flip_order=_order(
        *(_span(16, 0), _span(26, 17), _span(27, 30), _span(35, 31), _span(45, 42), 47, 46),
        *(_span(39, 36), 41, 40, _span(54, 48), _span(59, 55), _span(64, 60), _span(67, 65)),
    ),
    hierarchy=_hierarchy(IBUG68_NEIGHBOURHOODS, OUTLINED_REGIONS, OUTLINED_GROUPS),
    normalisers={"ocular": ((36,), (45,)), "pupil": (tuple(_span(36, 41)), tuple(_span(42, 47)))},
    contours=(
        *_contours((0, 16), (17, 21), (22, 26), (27, 30), (31, 35)),
        *_contours((36, 41), (42, 47), (48, 59), (60, 67), closed=True),
    ),
    five_points=(tuple(_span(36, 41)), tuple(_span(42, 47)), (30,), (48,), (54,)),
)

WFLW98_NEIGHBOURHOODS = _outlined((7, 16, 24, 32, 41, 50, 54, 59, 67, 75, 87, 95), pupils=(96, 97))

WFLW98 = Scheme(
    name="wflw98",
    point_names=_names(WFLW98_NEIGHBOURHOODS),
    flip_order=_order(
        *(_span(32, 0), _span(46, 42), _span(50, 47), _span(37, 33), _span(41, 38), _span(51, 54), _span(59, 55)),
        *(_span(72, 68), _span(75, 73), _span(64, 60), _span(67, 65)),
        *(_span(82, 76), _span(87, 83), _span(92, 88), _span(95, 93), 97, 96),
    ),
    hierarchy=_hierarchy(WFLW98_NEIGHBOURHOODS, OUTLINED_REGIONS, OUTLINED_GROUPS),
    normalisers={"ocular": ((60,), (72,)), "pupil": ((96,), (97,))},
    contours=(
        *_contours((0, 32)),
        *_contours((33, 41), (42, 50), closed=True),
        *_contours((51, 54), (55, 59)),
        *_contours((60, 67), (68, 75), (76, 87), (88, 95), closed=True),
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
        regions={
            "brows": ("left brow", "right brow"),
            "eyes": ("left eye", "right eye"),
            "nose": ("nostrils", "nose tip"),
            "mouth": ("upper lip", "lower lip"),
            "chin": ("chin",),
        },
        groups={"brows and eyes": ("brows", "eyes"), "nose, mouth and chin": ("nose", "mouth", "chin")},
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
SCHEME_OF_COUNT: Mapping[int, Scheme] = MappingProxyType({scheme.points: scheme for scheme in SCHEMES.values()})
"""The built-in schemes by their number of landmarks."""

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
