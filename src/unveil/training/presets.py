"""The runs that have names."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from unveil.training.config import Alignment

PRESETS: Mapping[str, Alignment] = MappingProxyType(
    {
        "glomface-light": Alignment(),
    }
)


def preset_named(name: str) -> Alignment:
    """The preset of that name; ValueError with the nearest name if there is none."""
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PRESETS)}"
        raise ValueError(f"unknown preset {name!r}: {hint}")
    return PRESETS[name]
