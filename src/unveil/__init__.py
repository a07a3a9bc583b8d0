"""Facial landmarks on faces that are hidden: where they are, which are visible."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unveil.inference.images import read_image
    from unveil.inference.pipeline import Pipeline
    from unveil.types import Box, Face, Pose

__version__ = "0.1.0"

__all__ = ["Box", "Face", "Pipeline", "Pose", "__version__", "read_image"]

_HOMES = {
    "Box": "unveil.types",
    "Face": "unveil.types",
    "Pipeline": "unveil.inference.pipeline",
    "Pose": "unveil.types",
    "read_image": "unveil.inference.images",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first asked for, so that the command line starts at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'unveil' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
