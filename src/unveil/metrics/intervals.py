"""How sure a mean over faces is: percentile bootstrap (Efron 1979). N faces, R resamples."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unveil.metrics.errors import Floats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Where a mean lies in the middle 95 % (or another share) of the resamples."""

    low: float
    high: float


def resamples(faces: int, rng: np.random.Generator, repeats: int = 1000) -> NDArray[np.int64]:
    """How often each face is drawn, with replacement, in each resample: (R, N). Means to compare share one."""
    if faces < 1 or repeats < 1:
        raise ValueError(f"{repeats} resamples of {faces} faces: give 1 or more of each")
    drawn = rng.integers(faces, size=(repeats, faces))
    return np.stack([np.bincount(draw, minlength=faces) for draw in drawn])


def interval(
    values: Floats, drawn: NDArray[np.int64], weights: Floats | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """The interval of the faces' mean, (N,) with `resamples` (R, N).

    `weights` (N,) make it a weighted mean, as when faces have different numbers of occluded landmarks; a resample
    whose weights are all zero has no mean and is left out. ValueError if the shapes differ.
    """
    weights = np.ones(len(values)) if weights is None else weights
    if not values.shape == weights.shape == drawn.shape[1:]:
        raise ValueError(f"values {values.shape}, weights {weights.shape} and resamples {drawn.shape} do not agree")
    totals = drawn @ weights
    means = (drawn @ (values * weights))[totals > 0] / totals[totals > 0]
    if not len(means):
        raise ValueError("the weights are zero in every resample")
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
