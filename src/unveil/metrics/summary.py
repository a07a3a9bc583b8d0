"""All metrics of a set of faces in one flat mapping from name to value. N faces, L landmarks, R resamples.

Names contain the normaliser and the threshold: `nme_ocular`, `fr10_ocular` (fraction of faces with an NME above 10 %),
`auc10_ocular`, `nrmse_box`, `nme_ocular_region_left_cheek`, `nme_ocular_occluded`. All values but `n` are percentages.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from unveil.metrics.distribution import Interval, auc_contribution, bootstrap_counts, bootstrap_interval, failures
from unveil.metrics.errors import (
    AnyFloats,
    Flags,
    Floats,
    Names,
    nme,
    nme_by_region,
    normaliser_names,
    nrmse,
    point_errors,
)
from unveil.metrics.visibility import recall_at_precision, reliability
from unveil.schemes.scheme import Scheme

THRESHOLDS = (0.08, 0.10)
PRECISION = 0.80


@dataclass(frozen=True, slots=True)
class Summary:
    """The metrics of a set of faces.

    Args:
        n: Number of faces.
        percent: Each metric in per cent.
        intervals: The 95 % bootstrap interval of each metric that is a mean over faces or landmarks; empty if no
            bootstrap was made.
    """

    n: int
    percent: Mapping[str, float]
    intervals: Mapping[str, Interval]

    def flat(self) -> dict[str, float]:
        """Return `{"n": 689, "nme_ocular": 2.994, …}`, with `nme_ocular_ci95_low` and `…_high` for the intervals."""
        ends = {f"{name}_ci95_{end}": v for name, ci in self.intervals.items() for end, v in ci._asdict().items()}
        return {"n": self.n, **self.percent, **ends}


class _Mean(NamedTuple):
    """A metric that is a mean over faces, (N,), with their weights; None: equal weights."""

    values: Floats
    weights: Floats | None = None


def summarise(
    predicted_px: AnyFloats,
    ground_truth_px: AnyFloats,
    scheme: Scheme,
    *,
    normalisers: Sequence[str] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    visible: Flags | None = None,
    visibility: AnyFloats | None = None,
    names: Names = None,
    rng: np.random.Generator | None = None,
    repeats: int = 1000,
) -> Summary:
    """Compute all metrics.

    Args:
        predicted_px: (N, L, 2).
        ground_truth_px: (N, L, 2).
        scheme: The landmark scheme.
        normalisers: None: all of the scheme.
        thresholds: Of failure rate and AUC, as fractions of the normaliser.
        visible: Ground truth of visibility, (N, L); adds the NME over visible and over occluded landmarks.
        visibility: Predicted visibility, (N, L), 0 to 1; with `visible` it adds the recall of occluded landmarks at
            80 % precision and the calibration error.
        names: The faces' names for messages.
        rng: Adds bootstrap intervals.
        repeats: R.

    Returns:
        The metrics.

    Raises:
        ValueError: As for `point_errors`, or the shape of a visibility is wrong.
    """
    for given in (flags for flags in (visible, visibility) if flags is not None):
        if given.shape != ground_truth_px.shape[:2]:
            raise ValueError(f"visibility of shape {given.shape}, but landmarks of shape {ground_truth_px.shape}")
    means: dict[str, _Mean] = {}
    for normaliser in normaliser_names(scheme) if normalisers is None else normalisers:
        errors = point_errors(predicted_px, ground_truth_px, scheme, normaliser, names)
        means |= dict(_means(errors, scheme, metric_key(normaliser), thresholds, visible))
    percent = {name: 100 * float(np.average(mean.values, weights=mean.weights)) for name, mean in means.items()}
    if visible is not None:
        percent |= _visibility(visible, visibility)
    return Summary(len(ground_truth_px), MappingProxyType(percent), MappingProxyType(_intervals(means, rng, repeats)))


def _means(
    errors: Floats, scheme: Scheme, by: str, thresholds: Sequence[float], visible: Flags | None
) -> Iterator[tuple[str, _Mean]]:
    """Yield the metrics of one normaliser's errors (N, L) that are means over faces."""
    face_errors = nme(errors)
    yield f"nme_{by}", _Mean(face_errors)
    yield f"nrmse_{by}", _Mean(nrmse(errors))
    for threshold in thresholds:
        yield f"fr{100 * threshold:g}_{by}", _Mean(failures(face_errors, threshold).astype(np.float64))
        yield f"auc{100 * threshold:g}_{by}", _Mean(auc_contribution(face_errors, threshold))
    for region, values in nme_by_region(errors, scheme).items():
        yield f"nme_{by}_region_{metric_key(region)}", _Mean(values)
    for name, chosen in () if visible is None else (("visible", visible), ("occluded", ~visible)):
        if chosen.any():
            count = chosen.sum(axis=1).astype(np.float64)
            yield f"nme_{by}_{name}", _Mean((errors * chosen).sum(axis=1) / np.maximum(count, 1), count)


def _visibility(visible: Flags, visibility: AnyFloats | None) -> dict[str, float]:
    """Return the metrics of visibility alone; recall only where something is occluded."""
    percent = {"occluded_fraction": 100 * float((~visible).mean())}
    if visibility is None:
        return percent
    percent["visibility_ece"] = 100 * reliability(visible, visibility).ece
    if not visible.all():
        recall = recall_at_precision(~visible, 1 - visibility, PRECISION)
        percent[f"occlusion_recall_at_precision{100 * PRECISION:g}"] = 100 * recall
    return percent


def _intervals(means: Mapping[str, _Mean], rng: np.random.Generator | None, repeats: int) -> dict[str, Interval]:
    if rng is None or not means:
        return {}
    counts = bootstrap_counts(len(next(iter(means.values())).values), rng, repeats)
    ends = {name: bootstrap_interval(mean.values, counts, mean.weights) for name, mean in means.items()}
    return {name: Interval(100 * low, 100 * high) for name, (low, high) in ends.items()}


def metric_key(name: str) -> str:
    """Return a normaliser's or region's name as metric names contain it: `left cheek` is `left_cheek`.

    Args:
        name: The name.
    """
    return re.sub(r"\W+", "_", name.strip().lower())
