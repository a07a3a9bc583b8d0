"""Landmark schemes of one's own, read from a TOML file. Landmarks are numbered from 0; "left" is the image's left.

name = "five"
points = ["left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner"]
flip = [1, 0, 2, 4, 3]                    # of the mirrored face: which landmark takes this one's place
five_points = [[0], [1], [2], [3], [4]]   # optional: eyes, nose tip, mouth corners, for head pose
contours = [{ points = [3, 2, 4], closed = true }]  # optional: the lines to draw

[normalisers]                             # optional: an error is divided by the distance between two means
ocular = [[0], [1]]

[parts.regions]                           # each optional: neighbourhoods, regions, groups, whole
eyes = [0, 1]
nose = [2]
mouth = [3, 4]
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unveil.schemes.hierarchy import Hierarchy, Level, Part
from unveil.schemes.scheme import SCHEMES, Contour, Indices, Scheme, scheme_named

BOX = "box"  # what `unveil.metrics` calls the tight box
Landmarks: TypeAlias = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Contour(_Table):
    points: Landmarks
    closed: bool = False


class _Parts(_Table):
    """From low to high; a level that is not there is left out, but for the whole, which every face has."""

    neighbourhoods: dict[str, Landmarks] = {}
    regions: dict[str, Landmarks] = {}
    groups: dict[str, Landmarks] = {}
    whole: dict[str, Landmarks] = {}


class _SchemeFile(_Table):
    name: Annotated[str, Field(min_length=1)]
    points: Annotated[list[str], Field(min_length=1)]
    flip: Landmarks
    five_points: Annotated[list[Landmarks], Field(min_length=5, max_length=5)] | None = None
    contours: list[_Contour] = []
    normalisers: dict[str, Annotated[list[Landmarks], Field(min_length=2, max_length=2)]] = {}
    parts: _Parts = _Parts()


def find_scheme(name_or_path: str) -> Scheme:
    """The built-in scheme of that name, else that of the TOML file; ValueError on one line if it is neither."""
    path = Path(name_or_path)
    if name_or_path not in SCHEMES and (path.suffix == ".toml" or path.is_file()):
        return read_scheme(path)
    try:
        return scheme_named(name_or_path)
    except ValueError as error:
        raise ValueError(f"{error} (or name a scheme file, as in five.toml)") from None


def read_scheme(path: Path) -> Scheme:
    """The scheme of a TOML file; ValueError on one line names the file, what is wrong in it and how to mend it."""
    try:
        description = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; name a scheme file, or one of {', '.join(SCHEMES)}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not TOML: {error}") from error
    try:
        return scheme_from(description)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def scheme_from(description: Mapping[str, Any]) -> Scheme:
    """The scheme that has the keys of a scheme file; ValueError on one line says what is wrong and how to mend it."""
    try:
        return _scheme(_SchemeFile.model_validate(dict(description)))
    except ValidationError as error:
        raise ValueError(_first_mistake(error)) from None


def describe(scheme: Scheme) -> dict[str, Any]:
    """The keys of a scheme file, as JSON has them. `scheme_from` reads them back, unless the scheme is built in."""
    description: dict[str, Any] = {
        "name": scheme.name,
        "points": list(scheme.point_names),
        "flip": list(scheme.flip_order),
        "contours": [{"points": list(contour.points), "closed": contour.closed} for contour in scheme.contours],
        "normalisers": {name: _lists(pair) for name, pair in scheme.normalisers.items()},
        "parts": {
            level.name: {part.name: list(part.points) for part in level.parts} for level in scheme.hierarchy.levels
        },
    }
    return description | ({} if scheme.five_points is None else {"five_points": _lists(scheme.five_points)})


def _scheme(written: _SchemeFile) -> Scheme:
    count = len(written.points)
    if written.name in SCHEMES:
        raise ValueError(f"name: {written.name!r} is a built-in scheme; choose another")
    if twice := [name for name, times in Counter(written.points).items() if times > 1]:
        raise ValueError(f"points: {twice[0]!r} is there twice; give each landmark its own name")
    if len(written.flip) != count:
        raise ValueError(f"flip: {len(written.flip)} landmarks, but points has {count}; give one for each")
    if BOX in written.normalisers:
        raise ValueError(f"normalisers.{BOX}: every scheme has that one, the tight box; choose another name")
    for name, pair in written.normalisers.items():
        _need_known(f"normalisers.{name}", (i for side in pair for i in side), count)
    for i, contour in enumerate(written.contours):
        _need_known(f"contours.{i}", contour.points, count)
    _need_known("five_points", (i for indices in written.five_points or () for i in indices), count)
    return Scheme(
        name=written.name,
        point_names=tuple(written.points),
        flip_order=tuple(written.flip),
        hierarchy=Hierarchy(_levels(written.parts, count)),
        normalisers={name: (tuple(a), tuple(b)) for name, (a, b) in written.normalisers.items()},
        contours=tuple(Contour(tuple(contour.points), contour.closed) for contour in written.contours),
        five_points=None if written.five_points is None else _tuples(written.five_points),
    )


def _levels(parts: _Parts, count: int) -> tuple[Level, ...]:
    tables: Mapping[str, dict[str, Landmarks]] = {
        "neighbourhoods": parts.neighbourhoods,
        "regions": parts.regions,
        "groups": parts.groups,
        "whole": parts.whole or {"face": list(range(count))},
    }
    for level, table in tables.items():
        for name, landmarks in table.items():
            _need_known(f"parts.{level}.{name}", landmarks, count)
        homes = Counter(i for landmarks in table.values() for i in landmarks)
        if wrong := [i for i in range(count) if table and homes[i] != 1]:
            raise ValueError(f"parts.{level}: landmark {wrong[0]} is in {homes[wrong[0]]} parts; put it in exactly one")
    return tuple(
        Level(level, tuple(Part(name, tuple(landmarks)) for name, landmarks in table.items()))
        for level, table in tables.items()
        if table
    )


def _need_known(where: str, landmarks: Iterable[int], count: int) -> None:
    if unknown := [i for i in landmarks if i >= count]:
        raise ValueError(
            f"{where}: there is no landmark {unknown[0]}; the {count} points are numbered 0 to {count - 1}"
        )


def _tuples(lists: Iterable[Iterable[int]]) -> tuple[Indices, ...]:
    return tuple(tuple(indices) for indices in lists)


def _lists(tuples: Iterable[Indices]) -> list[list[int]]:
    return [list(indices) for indices in tuples]


def _first_mistake(error: ValidationError) -> str:
    """pydantic's first complaint on one line, in the words of the file."""
    first = error.errors()[0]
    where, key = ".".join(str(step) for step in first["loc"]), str(first["loc"][-1])
    if first["type"] == "missing":
        return f"{where} is missing; add it"
    if first["type"] == "extra_forbidden":
        near = get_close_matches(key, [*_SchemeFile.model_fields, *_Parts.model_fields, *_Contour.model_fields], 1)
        return f"{where} is not known; " + (f"did you mean {near[0]!r}?" if near else "take it out")
    reason = first["msg"].replace("Input", "it").replace("List", "it").replace(" after validation", "")
    return f"{where}: {reason}" + ("" if ", not" in reason else f", not {first['input']!r}")
