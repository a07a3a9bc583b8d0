"""Schemes inside packs, weights and models: a built-in one by its name, one of one's own described as in its file."""

from collections.abc import Mapping
from typing import Any

from unveil.schemes.scheme import SCHEMES, Scheme, scheme_named
from unveil.schemes.scheme_file import describe, scheme_from


def own_scheme(scheme: Scheme) -> dict[str, Any] | None:
    """What a file carries beside the scheme's name, so that nobody needs the scheme file again: None if built in.

    ValueError if the scheme, made in Python, has what no scheme file can say.
    """
    if SCHEMES.get(scheme.name) == scheme:
        return None
    description = describe(scheme)
    try:
        same = scheme_from(description) == scheme
    except ValueError as error:
        raise ValueError(f"scheme {scheme.name!r}: {error}") from None
    if not same:
        raise ValueError(f"scheme {scheme.name!r}: two parts of a level have one name; give each its own")
    return description


def carried_scheme(name: str, description: Mapping[str, Any] | None) -> Scheme:
    """The scheme of a file that has `own_scheme` beside the scheme's name; ValueError if they say different things."""
    if description is None:
        return scheme_named(name)
    try:
        scheme = scheme_from(description)
    except ValueError as error:
        raise ValueError(f"its own_scheme: {error}") from None
    if scheme.name != name:
        raise ValueError(f"its scheme is {name!r}, but its own_scheme is {scheme.name!r}; write the file again")
    return scheme
