"""Landmarks that someone predicted, beside the truth, from whatever files they lie in."""

from unveil.data.predictions.arrays import Role
from unveil.data.predictions.faces import Annotation, Broken
from unveil.data.predictions.pairs import Pairs, read_pairs
from unveil.data.predictions.sources import Annotations, read_annotations

__all__ = ["Annotation", "Annotations", "Broken", "Pairs", "Role", "read_annotations", "read_pairs"]
