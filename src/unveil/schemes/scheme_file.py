"""Custom landmark schemes: read from TOML files, and stored inside packs, checkpoints and models.

Landmarks are numbered from 0. "Left" is the left side of the image. A scheme file:

name = "five"
points = ["left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner"]
flip = [1, 0, 2, 4, 3]                    # for each landmark, the one that replaces it in the mirrored face
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
from unveil.schemes.scheme import SCHEMES, Contour, Indices, Scheme, get_scheme

BOX = "box"  # the normaliser name that `unveil.metrics` uses for the tight box
Landmarks: TypeAlias = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Contour(_Table):
    points: Landmarks
    closed: bool = False


class _Parts(_Table):
    """Levels from low to high. A missing level is left out; a missing `whole` is filled in."""

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


def load_scheme(name_or_path: str) -> Scheme:
    """Return a built-in scheme by name, or the scheme of a TOML file.

    Args:
        name_or_path: `ibug68`, `wflw98`, `cofw29`, or the path of a scheme file.

    Raises:
        ValueError: It is neither; the message has one line.
    """
    path = Path(name_or_path)
    if name_or_path not in SCHEMES and (path.suffix == ".toml" or path.is_file()):
        return read_scheme(path)
    try:
        return get_scheme(name_or_path)
    except ValueError as error:
        raise ValueError(f"{error} (or name a scheme file, as in five.toml)") from None


def read_scheme(path: Path) -> Scheme:
    """Return the scheme of a TOML file.

    Args:
        path: The scheme file.

    Raises:
        ValueError: The file is wrong. The message, one line, names the file, the key and the fix.
    """
    try:
        description = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; name a scheme file, or one of {', '.join(SCHEMES)}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not TOML: {error}") from error
    try:
        return scheme_from_dict(description)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def scheme_from_dict(description: Mapping[str, Any]) -> Scheme:
    """Return the scheme of the keys of a scheme file.

    Args:
        description: The keys of a scheme file.

    Raises:
        ValueError: A key is wrong. The message, one line, names the key and the fix.
    """
    try:
        return _scheme(_SchemeFile.model_validate(dict(description)))
    except ValidationError as error:
        raise ValueError(_first_mistake(error)) from None


def scheme_to_dict(scheme: Scheme) -> dict[str, Any]:
    """Return the keys of a scheme file as JSON types. `scheme_from_dict` reads them back, except for built-in schemes.

    Args:
        scheme: The scheme.
    """
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


def scheme_record(scheme: Scheme) -> dict[str, Any] | None:
    """Return what a pack, checkpoint or model stores beside the scheme's name, so that it needs no scheme file.

    Args:
        scheme: The scheme.

    Returns:
        The keys of a scheme file; None for a built-in scheme.

    Raises:
        ValueError: The scheme was built in Python and a scheme file cannot express it.
    """
    if SCHEMES.get(scheme.name) == scheme:
        return None
    description = scheme_to_dict(scheme)
    try:
        equal = scheme_from_dict(description) == scheme
    except ValueError as error:
        raise ValueError(f"scheme {scheme.name!r}: {error}") from None
    if not equal:
        raise ValueError(f"scheme {scheme.name!r}: two parts of a level have one name; give each its own")
    return description


def resolve_scheme(name: str, description: Mapping[str, Any] | None) -> Scheme:
    """Return the scheme of a pack, checkpoint or model.

    Args:
        name: The stored scheme name.
        description: What `scheme_record` returned when the file was written.

    Raises:
        ValueError: The description is wrong, or belongs to another name.
    """
    if description is None:
        return get_scheme(name)
    try:
        scheme = scheme_from_dict(description)
    except ValueError as error:
        raise ValueError(f"its own_scheme: {error}") from None
    if scheme.name != name:
        raise ValueError(f"its scheme is {name!r}, but its own_scheme is {scheme.name!r}; write the file again")
    return scheme


def _scheme(content: _SchemeFile) -> Scheme:
    count = len(content.points)
    if content.name in SCHEMES:
        raise ValueError(f"name: {content.name!r} is a built-in scheme; choose another")
    if duplicates := [name for name, times in Counter(content.points).items() if times > 1]:
        raise ValueError(f"points: {duplicates[0]!r} is there twice; give each landmark its own name")
    if len(content.flip) != count:
        raise ValueError(f"flip: {len(content.flip)} landmarks, but points has {count}; give one for each")
    if BOX in content.normalisers:
        raise ValueError(f"normalisers.{BOX}: every scheme has that one, the tight box; choose another name")
    for name, pair in content.normalisers.items():
        _check_indices(f"normalisers.{name}", (i for side in pair for i in side), count)
    for i, contour in enumerate(content.contours):
        _check_indices(f"contours.{i}", contour.points, count)
    _check_indices("five_points", (i for indices in content.five_points or () for i in indices), count)
    return Scheme(
        name=content.name,
        point_names=tuple(content.points),
        flip_order=tuple(content.flip),
        hierarchy=Hierarchy(_levels(content.parts, count)),
        normalisers={name: (tuple(a), tuple(b)) for name, (a, b) in content.normalisers.items()},
        contours=tuple(Contour(tuple(contour.points), contour.closed) for contour in content.contours),
        five_points=None if content.five_points is None else tuple(map(tuple, content.five_points)),
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
            _check_indices(f"parts.{level}.{name}", landmarks, count)
        times = Counter(i for landmarks in table.values() for i in landmarks)
        if wrong := [i for i in range(count) if table and times[i] != 1]:
            raise ValueError(f"parts.{level}: landmark {wrong[0]} is in {times[wrong[0]]} parts; put it in exactly one")
    return tuple(
        Level(level, tuple(Part(name, tuple(landmarks)) for name, landmarks in table.items()))
        for level, table in tables.items()
        if table
    )


def _check_indices(where: str, landmarks: Iterable[int], count: int) -> None:
    if unknown := [i for i in landmarks if i >= count]:
        raise ValueError(
            f"{where}: there is no landmark {unknown[0]}; the {count} points are numbered 0 to {count - 1}"
        )


def _lists(tuples: Iterable[Indices]) -> list[list[int]]:
    return [list(indices) for indices in tuples]


def _first_mistake(error: ValidationError) -> str:
    """Return pydantic's first error on one line, with the keys of the file."""
    first = error.errors()[0]
    where, key = ".".join(str(step) for step in first["loc"]), str(first["loc"][-1])
    if first["type"] == "missing":
        return f"{where} is missing; add it"
    if first["type"] == "extra_forbidden":
        nearest = get_close_matches(key, [*_SchemeFile.model_fields, *_Parts.model_fields, *_Contour.model_fields], 1)
        return f"{where} is not known; " + (f"did you mean {nearest[0]!r}?" if nearest else "remove it")
    reason = first["msg"].replace("Input", "it").replace("List", "it").replace(" after validation", "")
    return f"{where}: {reason}" + ("" if ", not" in reason else f", not {first['input']!r}")
