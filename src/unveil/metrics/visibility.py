"""Metrics of predicted visibility and uncertainty: AUROC, recall, precision, calibration. K = `BINS`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unveil.metrics.errors import AnyFloats, Flags, Floats

BINS = 10


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


def reliability(true: Flags, probability: AnyFloats) -> Reliability:
    """Return probabilities in bins, with what is true.

    Args:
        true: Of any shape.
        probability: Of the same shape, 0 to 1.

    Raises:
        ValueError: The shapes differ, or a probability is outside 0 to 1.
    """
    _require_same_shape(true, probability)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a probability is not a number from 0 to 1")
    given = probability.ravel().astype(np.float64)
    place = np.minimum((given * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    means, frequencies = (np.bincount(place, weights, BINS) / np.maximum(count, 1) for weights in (given, true.ravel()))
    return Reliability(count, means, frequencies)


def auroc(true: Flags, score: AnyFloats) -> float:
    """Return the area under the ROC curve: the probability that a true one scores higher than a false one.

    Args:
        true: Of any shape. For occlusion: true where a landmark is occluded.
        score: Of the same shape; equal scores count one half. For occlusion: 1 - visibility.

    Raises:
        ValueError: The shapes differ, a score is not finite, or all are true or all false.
    """
    _require_same_shape(true, score)
    if not np.isfinite(score).all():
        raise ValueError("a score is not a finite number")
    hits = int(true.sum())
    if hits in (0, true.size):
        raise ValueError("all are true or all are false, so there is no ROC curve")
    _, place, counts = np.unique(score.ravel(), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # the mean rank of equal scores, from 1
    total = float(ranks[true.ravel()].sum())
    return (total - hits * (hits + 1) / 2) / (hits * (true.size - hits))


def precision_recall(true: Flags, predicted: Flags) -> tuple[float | None, float | None]:
    """Return precision and recall of predictions.

    Args:
        true: Of any shape.
        predicted: Of the same shape.

    Returns:
        Precision, None if nothing is predicted; recall, None if nothing is true.

    Raises:
        ValueError: The shapes differ.
    """
    _require_same_shape(true, predicted)
    hits, found, wanted = int((true & predicted).sum()), int(predicted.sum()), int(true.sum())
    return hits / found if found else None, hits / wanted if wanted else None


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


@dataclass(frozen=True, slots=True, eq=False)
class Deciles:
    """Predicted and actual errors of landmarks in K groups of equal size, by rising predicted error.

    Args:
        predicted: Mean predicted error, (K,).
        actual: Mean actual error, (K,).
    """

    predicted: Floats
    actual: Floats

    @property
    def deviation(self) -> float:
        """Mean |predicted - actual| / actual over the groups: 0 is calibrated."""
        return float(np.mean(np.abs(self.predicted - self.actual) / np.maximum(self.actual, 1e-12)))


def error_deciles(predicted: AnyFloats, actual: AnyFloats) -> Deciles:
    """Return the means of predicted and actual errors in each group.

    Args:
        predicted: Of any shape, for example (N, L), as fractions of the normaliser.
        actual: Of the same shape.

    Raises:
        ValueError: The shapes differ, a value is not finite, or there are fewer than ten values.
    """
    if predicted.shape != actual.shape or predicted.size < BINS:
        raise ValueError(
            f"predicted errors {predicted.shape} and actual ones {actual.shape}: give {BINS} or more of each"
        )
    if not (np.isfinite(predicted).all() and np.isfinite(actual).all()):
        raise ValueError("an error is not a finite number")
    order = np.argsort(predicted.ravel(), kind="stable")
    parts = np.array_split(order, BINS)
    means = [np.array([values.ravel()[part].mean() for part in parts], np.float64) for values in (predicted, actual)]
    return Deciles(means[0], means[1])


def _require_same_shape(true: Flags, score: AnyFloats | Flags) -> None:
    if true.shape != score.shape or not true.size:
        raise ValueError(f"ground truth of shape {true.shape}, but scores of shape {score.shape}")
