"""Facial landmarks on faces that are hidden: where they are, which are visible, and what may be behind the mask."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unveil.inference.pipeline import Pipeline
    from unveil.inference.restorer import Restored, Restorer
    from unveil.inference.smoothing import OneEuro
    from unveil.inference.tracking import TrackedFace, Tracker
    from unveil.io.images import read_image
    from unveil.types import Box, Face, Pose

__version__ = "0.1.0"

__all__ = [
    "Box",
    "Face",
    "OneEuro",
    "Pipeline",
    "Pose",
    "Restored",
    "Restorer",
    "TrackedFace",
    "Tracker",
    "__version__",
    "read_image",
]

_HOMES = {
    "Box": "unveil.types",
    "Face": "unveil.types",
    "OneEuro": "unveil.inference.smoothing",
    "Pipeline": "unveil.inference.pipeline",
    "Pose": "unveil.types",
    "Restored": "unveil.inference.restorer",
    "Restorer": "unveil.inference.restorer",
    "TrackedFace": "unveil.inference.tracking",
    "Tracker": "unveil.inference.tracking",
    "read_image": "unveil.io.images",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first asked for, so that the command line starts at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'unveil' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
