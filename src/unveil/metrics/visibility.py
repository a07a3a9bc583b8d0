"""Whether a visibility can be believed: recall at a precision, and calibration. N faces, L landmarks, K bins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unveil.metrics.errors import AnyFloats, Flags, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Probabilities beside what happened, in K bins of equal width from 0 to 1: each (K,), NaN in an empty bin."""

    count: NDArray[np.int64]
    probability: Floats
    """The mean probability that was given."""
    share: Floats
    """How many were then true."""

    @property
    def ece(self) -> float:
        """Expected calibration error (Naeini et al. 2015): the mean of |probability - share| over all judgements."""
        held = self.count > 0
        return float(np.average(np.abs(self.probability - self.share)[held], weights=self.count[held]))


def reliability(true: Flags, probability: AnyFloats, bins: int = 10) -> Reliability:
    """How well probabilities, of any shape, agree with what was true, of the same; ValueError outside [0, 1]."""
    _need_same(true, probability)
    if bins < 1:
        raise ValueError(f"{bins} bins: give 1 or more")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a probability is not a number from 0 to 1")
    given = probability.ravel().astype(np.float64)
    place = np.minimum((given * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means, shares = (np.bincount(place, weights, bins) / count for weights in (given, true.ravel()))
    return Reliability(count, means, shares)


def recall_at_precision(true: Flags, score: AnyFloats, precision: float = 0.80) -> float:
    """The largest share of the true ones that some threshold on the score finds with at least that precision.

    Both of any one shape. To judge occlusion as COFW does (Burgos-Artizzu et al. 2013, 80 % precision), `true` is
    "occluded" and the score 1 - visibility. 0 if no threshold is that precise; ValueError if nothing is true.
    """
    _need_same(true, score)
    if not np.isfinite(score).all():
        raise ValueError("a score is not a finite number")
    if not true.any():
        raise ValueError("nothing is true, so there is no recall")
    falling = np.argsort(-score.ravel(), kind="stable")
    scores, hits = score.ravel()[falling], np.cumsum(true.ravel()[falling])
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # equal scores are found together
    precise = hits[last] / (last + 1) >= precision
    return float(hits[last][precise].max(initial=0) / hits[-1])


def _need_same(true: Flags, score: AnyFloats) -> None:
    if true.shape != score.shape or not true.size:
        raise ValueError(f"a truth of shape {true.shape}, but scores of shape {score.shape}")
