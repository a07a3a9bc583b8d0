"""The distribution of errors over faces: CED, AUC, failure rate, bootstrap intervals. N faces, K steps, R resamples.

Errors and thresholds are fractions of the normaliser (0.10 is 10 %); results are fractions of the faces.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unveil.metrics.errors import Flags, Floats

STEP = 1e-4  # the longest step between two errors of a curve
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Ced:
    """The cumulative error distribution.

    Args:
        errors: Errors from 0 to the limit, (K + 1,).
        fractions: The fraction of the faces with at most that error, (K + 1,).
    """

    errors: Floats
    fractions: Floats


class Interval(NamedTuple):
    """The middle part of a mean's bootstrap distribution.

    Args:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float


def ced(face_errors: Floats, limit: float = 0.10) -> Ced:
    """Return the cumulative error distribution.

    Args:
        face_errors: (N,).
        limit: The largest error of the curve.
    """
    _require_errors(face_errors)
    at = _grid(limit)
    return Ced(at, np.searchsorted(np.sort(face_errors), at, side="right") / len(face_errors))


def failures(face_errors: Floats, threshold: float) -> Flags:
    """Return which faces have an error above the threshold, (N,).

    Args:
        face_errors: (N,).
        threshold: The threshold.
    """
    _require_errors(face_errors)
    flags: Flags = face_errors > threshold
    return flags


def failure_rate(face_errors: Floats, threshold: float) -> float:
    """Return the fraction of faces with an error above the threshold.

    Args:
        face_errors: (N,).
        threshold: The threshold.
    """
    return float(failures(face_errors, threshold).mean())


def auc_contribution(face_errors: Floats, threshold: float) -> Floats:
    """Return what each face contributes to the AUC, (N,): the fraction of the range above its error.

    The CED is the mean of the faces' step functions and Simpson's rule is a weighted mean of the CED, so the AUC is the
    mean of these contributions. The bootstrap needs them for each face.

    Args:
        face_errors: (N,).
        threshold: The upper end of the range.
    """
    _require_errors(face_errors)
    at = _grid(threshold)
    weights = simpson_weights(len(at))
    above = np.append(np.cumsum(weights[::-1])[::-1], 0.0)  # (K + 2,): the weight of step k and all later ones
    contributions: Floats = above[np.searchsorted(at, face_errors)] / above[0]
    return contributions


def auc(face_errors: Floats, threshold: float) -> float:
    """Return the area under the CED up to the threshold, by Simpson's rule, divided by the threshold: 0 to 1.

    Args:
        face_errors: (N,).
        threshold: The threshold.
    """
    return float(auc_contribution(face_errors, threshold).mean())


def simpson_weights(points: int) -> Floats:
    """Return Simpson's weights 1, 4, 2, 4, …, 4, 1; times a third of the step they give the integral.

    Args:
        points: An odd number, 3 or more.

    Raises:
        ValueError: It is not.
    """
    if points < 3 or points % 2 == 0:
        raise ValueError(f"Simpson's rule over {points} points: give an odd number, 3 or more")
    weights = np.full(points, 2.0)
    weights[1::2] = 4
    weights[[0, -1]] = 1
    return weights


def bootstrap_counts(faces: int, rng: np.random.Generator, repeats: int = 1000) -> NDArray[np.int64]:
    """Return how often each face is drawn, with replacement, in each resample, (R, N).

    Metrics that are compared share one result.

    Args:
        faces: N.
        rng: The random generator.
        repeats: R.

    Raises:
        ValueError: A number is below 1.

    Source:
        Percentile bootstrap, Efron 1979.
    """
    if faces < 1 or repeats < 1:
        raise ValueError(f"{repeats} resamples of {faces} faces: give 1 or more of each")
    drawn = rng.integers(faces, size=(repeats, faces))
    return np.stack([np.bincount(draw, minlength=faces) for draw in drawn])


def bootstrap_interval(values: Floats, counts: NDArray[np.int64], weights: Floats | None = None) -> Interval:
    """Return the 95 % bootstrap interval of a mean over faces.

    Args:
        values: (N,).
        counts: (R, N), of `bootstrap_counts`.
        weights: (N,), for a weighted mean, as when faces have different numbers of occluded landmarks. A resample whose
            weights are all zero has no mean and is left out.

    Raises:
        ValueError: The shapes differ, or the weights are zero in every resample.
    """
    weights = np.ones(len(values)) if weights is None else weights
    if not values.shape == weights.shape == counts.shape[1:]:
        raise ValueError(f"values {values.shape}, weights {weights.shape} and resamples {counts.shape} do not agree")
    totals = counts @ weights
    means = (counts @ (values * weights))[totals > 0] / totals[totals > 0]
    if not len(means):
        raise ValueError("the weights are zero in every resample")
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


def _grid(limit: float) -> Floats:
    """Return errors from 0 to the limit in an even number of equal steps, none longer than `STEP`."""
    if not STEP <= limit < math.inf:
        raise ValueError(f"threshold {limit:g}: give {STEP:g} or more, as a fraction")
    return np.linspace(0, limit, 2 * math.ceil(limit / (2 * STEP) - 1e-9) + 1)


def _require_errors(face_errors: Floats) -> None:
    if face_errors.ndim != 1 or not len(face_errors):
        raise ValueError(f"errors of shape {face_errors.shape}: give one for each face, (N,)")
    for face in np.flatnonzero(~np.isfinite(face_errors)):
        raise ValueError(f"face {face}: its error is not a finite number")
