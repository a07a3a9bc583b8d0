"""Metrics of predicted visibility: recall at a precision, and calibration. N faces, L landmarks, K bins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unveil.metrics.errors import AnyFloats, Flags, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Predicted probabilities and observed frequencies in K bins of equal width from 0 to 1.

    Args:
        count: Predictions in each bin, (K,).
        probability: Mean predicted probability, (K,); 0 in an empty bin.
        frequency: Fraction that is true, (K,); 0 in an empty bin.
    """

    count: NDArray[np.int64]
    probability: Floats
    frequency: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error (Naeini et al. 2015): mean |probability - frequency| over all predictions."""
        return float(np.average(np.abs(self.probability - self.frequency), weights=self.count))


def reliability(true: Flags, probability: AnyFloats, bins: int = 10) -> Reliability:
    """Compare probabilities with what is true.

    Args:
        true: Of any shape.
        probability: Of the same shape, 0 to 1.
        bins: K.

    Returns:
        The comparison.

    Raises:
        ValueError: The shapes differ, a probability is outside 0 to 1, or there are no bins.
    """
    _require_same_shape(true, probability)
    if bins < 1:
        raise ValueError(f"{bins} bins: give 1 or more")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a probability is not a number from 0 to 1")
    given = probability.ravel().astype(np.float64)
    place = np.minimum((given * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    means, frequencies = (np.bincount(place, weights, bins) / np.maximum(count, 1) for weights in (given, true.ravel()))
    return Reliability(count, means, frequencies)


def recall_at_precision(true: Flags, score: AnyFloats, precision: float = 0.80) -> float:
    """Return the largest recall of any threshold on a score whose precision is high enough; 0 if there is none.

    Args:
        true: Of any shape. For occlusion: true where a landmark is occluded.
        score: Of the same shape. For occlusion: 1 - visibility.
        precision: The least precision.

    Raises:
        ValueError: The shapes differ, a score is not finite, or nothing is true.

    Source:
        Burgos-Artizzu et al. 2013 (COFW), at 80 % precision.
    """
    _require_same_shape(true, score)
    if not np.isfinite(score).all():
        raise ValueError("a score is not a finite number")
    if not true.any():
        raise ValueError("nothing is true, so there is no recall")
    falling = np.argsort(-score.ravel(), kind="stable")
    scores, hits = score.ravel()[falling], np.cumsum(true.ravel()[falling])
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # equal scores are found together
    precise = hits[last] / (last + 1) >= precision
    return float(hits[last][precise].max(initial=0) / hits[-1])


def _require_same_shape(true: Flags, score: AnyFloats) -> None:
    if true.shape != score.shape or not true.size:
        raise ValueError(f"ground truth of shape {true.shape}, but scores of shape {score.shape}")
