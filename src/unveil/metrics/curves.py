"""How errors are spread over the faces: the cumulative curve, the area under it, the failures. N faces, K steps.

Errors and thresholds are shares of the normaliser, 0.10 being 10 %; so are the results, shares of the faces.
"""

import math
from dataclasses import dataclass

import numpy as np

from unveil.metrics.errors import Flags, Floats

STEP = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Ced:
    """The cumulative error distribution: `shares[k]` of the faces are off by at most `errors[k]`; both (K + 1,)."""

    errors: Floats
    shares: Floats


def ced(face_errors: Floats, limit: float = 0.10, step: float = STEP) -> Ced:
    """The curve of errors (N,) from 0 to `limit`, both included."""
    _need_errors(face_errors)
    at = _grid(limit, step)
    return Ced(at, np.searchsorted(np.sort(face_errors), at, side="right") / len(face_errors))


def failed(face_errors: Floats, threshold: float) -> Flags:
    """Which faces, (N,), are off by more than the threshold."""
    _need_errors(face_errors)
    flags: Flags = face_errors > threshold
    return flags


def failure_rate(face_errors: Floats, threshold: float) -> float:
    """FR: the share of faces off by more than the threshold; 1 - CED there."""
    return float(failed(face_errors, threshold).mean())


def covered(face_errors: Floats, threshold: float, step: float = STEP) -> Floats:
    """What each face, (N,), adds to the AUC: the share of the way from 0 to the threshold that lies after its error.

    The curve is the mean of the faces' own steps from 0 to 1, and Simpson's rule is a weighted mean of the curve, so
    the mean of these is the AUC; having it face by face is what a bootstrap needs.
    """
    _need_errors(face_errors)
    at = _grid(threshold, step)
    weights = simpson_weights(len(at))
    after = np.append(np.cumsum(weights[::-1])[::-1], 0.0)  # (K + 2,): the weight of step k and all later ones
    shares: Floats = after[np.searchsorted(at, face_errors)] / after[0]
    return shares


def auc(face_errors: Floats, threshold: float, step: float = STEP) -> float:
    """The area under the curve up to the threshold, by Simpson's rule, over the threshold; from 0 to 1."""
    return float(covered(face_errors, threshold, step).mean())


def simpson_weights(points: int) -> Floats:
    """Simpson's 1, 4, 2, 4, …, 4, 1, for an odd number of points; times a third of the step they give the integral."""
    if points < 3 or points % 2 == 0:
        raise ValueError(f"Simpson's rule over {points} points: give an odd number, 3 or more")
    weights = np.full(points, 2.0)
    weights[1::2] = 4
    weights[[0, -1]] = 1
    return weights


def _grid(limit: float, step: float) -> Floats:
    """From 0 to the limit in an even number of equal steps, none longer than `step`."""
    if not (0 < limit < math.inf and 0 < step <= limit):
        raise ValueError(f"threshold {limit:g} in steps of {step:g}: give a threshold above 0 and a step below it")
    return np.linspace(0, limit, 2 * math.ceil(limit / (2 * step) - 1e-9) + 1)


def _need_errors(face_errors: Floats) -> None:
    if face_errors.ndim != 1 or not len(face_errors):
        raise ValueError(f"errors of shape {face_errors.shape}: give one for each face, (N,)")
    for face in np.flatnonzero(~np.isfinite(face_errors)):
        raise ValueError(f"face {face}: its error is not a finite number")
