"""Facial landmarks on occluded faces, their visibility and uncertainty, and restoration of what is occluded."""

import os
from typing import TYPE_CHECKING, Any

# onnxruntime reads this when it is imported. Without it, onnxruntime 1.32 writes a device ID and a database to ~/.cache
# and uploads events.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from unveil.inference.pipeline import Pipeline
    from unveil.inference.restorer import Restored, Restorer
    from unveil.inference.smoothing import OneEuroConfig
    from unveil.inference.tracking import TrackedFace, Tracker
    from unveil.io.conversions import to_pandas, to_supervision
    from unveil.io.images import read_image
    from unveil.registry import train
    from unveil.types import Box, Detection, Face, Pose

__version__ = "0.1.0"

__all__ = [
    "Box",
    "Detection",
    "Face",
    "OneEuroConfig",
    "Pipeline",
    "Pose",
    "Restored",
    "Restorer",
    "TrackedFace",
    "Tracker",
    "__version__",
    "read_image",
    "to_pandas",
    "to_supervision",
    "train",
]

_MODULES = {
    "Box": "unveil.types",
    "Detection": "unveil.types",
    "Face": "unveil.types",
    "OneEuroConfig": "unveil.inference.smoothing",
    "Pipeline": "unveil.inference.pipeline",
    "Pose": "unveil.types",
    "Restored": "unveil.inference.restorer",
    "Restorer": "unveil.inference.restorer",
    "TrackedFace": "unveil.inference.tracking",
    "Tracker": "unveil.inference.tracking",
    "read_image": "unveil.io.images",
    "to_pandas": "unveil.io.conversions",
    "to_supervision": "unveil.io.conversions",
    "train": "unveil.registry",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that the command line starts without OpenCV and onnxruntime."""
    if name not in _MODULES:
        raise AttributeError(f"module 'unveil' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
