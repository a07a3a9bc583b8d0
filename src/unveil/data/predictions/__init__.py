"""Landmarks that someone predicted, beside the truth, from whatever files they lie in."""

from unveil.data.predictions.pairs import Pairs, read_pairs
from unveil.data.predictions.sources import Annotation, Annotations, Broken, read_annotations

__all__ = ["Annotation", "Annotations", "Broken", "Pairs", "read_annotations", "read_pairs"]
