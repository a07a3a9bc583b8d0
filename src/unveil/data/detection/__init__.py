"""Training data of the face detector: scenes that are composed of faces, backgrounds and group photographs."""

from unveil.data.detection.degrade import DegradeConfig, degraded
from unveil.data.detection.groups import GroupPhotos, write_groups
from unveil.data.detection.scenes import MAX_FACES, MAX_IGNORED, DetectionScene, FaceSource, SceneConfig, SceneSampler

__all__ = [
    "MAX_FACES",
    "MAX_IGNORED",
    "DegradeConfig",
    "DetectionScene",
    "FaceSource",
    "GroupPhotos",
    "SceneConfig",
    "SceneSampler",
    "degraded",
    "write_groups",
]
