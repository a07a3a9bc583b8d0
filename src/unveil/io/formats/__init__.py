"""Landmark annotations in files: `.pts`, JSON, CSV, COCO keypoints, dlib XML, CVAT, Label Studio and `.npz`."""

from unveil.io.formats.npz import Role
from unveil.io.formats.records import FaceAnnotation, ImageAnnotation, InvalidFace, annotate, by_image, image_name
from unveil.io.formats.registry import FORMATS, Annotations, FormatName, read_annotations, read_file

__all__ = [
    "FORMATS",
    "Annotations",
    "FaceAnnotation",
    "FormatName",
    "ImageAnnotation",
    "InvalidFace",
    "Role",
    "annotate",
    "by_image",
    "image_name",
    "read_annotations",
    "read_file",
]
