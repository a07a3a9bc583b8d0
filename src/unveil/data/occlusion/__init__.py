"""Synthetic occlusion of faces: kinds of occluder, each with the mask of what it covers, and one sampler over them."""

from unveil.data.occlusion.compose import Occluded, Occluder, is_occluded
from unveil.data.occlusion.frame import coverage_of, face_region
from unveil.data.occlusion.kinds import KINDS, SCALABLE, occluder
from unveil.data.occlusion.library import TEST_TEMPLATES, Library, Sprite, Template
from unveil.data.occlusion.sampler import OcclusionConfig, OcclusionSampler

__all__ = [
    "KINDS",
    "SCALABLE",
    "TEST_TEMPLATES",
    "Library",
    "Occluded",
    "Occluder",
    "OcclusionConfig",
    "OcclusionSampler",
    "Sprite",
    "Template",
    "coverage_of",
    "face_region",
    "is_occluded",
    "occluder",
]
