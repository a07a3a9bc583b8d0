"""Landmarks that someone predicted, beside the truth, from whatever files they lie in."""

from unveil.io.predictions.arrays import Role
from unveil.io.predictions.faces import Annotation, Broken
from unveil.io.predictions.pairs import Pairs, read_pairs
from unveil.io.predictions.sources import Annotations, read_annotations

__all__ = ["Annotation", "Annotations", "Broken", "Pairs", "Role", "read_annotations", "read_pairs"]
