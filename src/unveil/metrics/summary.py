"""A set of faces in one flat mapping, metric name to value. N faces, L landmarks, R resamples.

Names say what was divided by and where the threshold lies: `nme_ocular`, `fr10_ocular` (NME above 10 %),
`auc10_ocular`, `nrmse_box`, `nme_ocular_region_left_cheek`, `nme_ocular_occluded`. All values but `n` are percentages.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from unveil.metrics.curves import covered, failed
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
from unveil.metrics.intervals import Interval, interval, resamples
from unveil.metrics.visibility import recall_at_precision, reliability
from unveil.schemes.scheme import Scheme

THRESHOLDS = (0.08, 0.10)
PRECISION = 0.80


@dataclass(frozen=True, slots=True)
class Summary:
    """How good the alignment of `n` faces is, in per cent."""

    n: int
    percent: Mapping[str, float]
    intervals: Mapping[str, Interval]
    """The 95 % bootstrap interval of each metric that is a mean over faces or landmarks; empty without a generator."""

    def flat(self) -> dict[str, float]:
        """`{"n": 689, "nme_ocular": 2.994, …}`, then `nme_ocular_ci95_low` and `…_high` where there are intervals."""
        ends = {f"{name}_ci95_{end}": v for name, ci in self.intervals.items() for end, v in ci._asdict().items()}
        return {"n": self.n, **self.percent, **ends}


class Mean(NamedTuple):
    """A metric that is a mean over faces, (N,), each with its weight; without weights all count the same."""

    values: Floats
    weights: Floats | None = None


def summarise(
    predicted_px: AnyFloats,
    truth_px: AnyFloats,
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
    """Every metric of faces (N, L, 2), by every normaliser of the scheme unless some are named.

    `visible` (N, L) says which landmarks truly are; it adds NME over visible and over occluded ones, where there are
    such. With `visibility` too, (N, L) from 0 to 1, it adds the recall of occluded landmarks at 80 % precision and the
    calibration error. `rng` adds bootstrap intervals over `repeats` resamples. ValueError as for `point_errors`.
    """
    for given in (flags for flags in (visible, visibility) if flags is not None):
        if given.shape != truth_px.shape[:2]:
            raise ValueError(f"visibility of shape {given.shape}, but landmarks of shape {truth_px.shape}")
    means: dict[str, Mean] = {}
    for normaliser in normaliser_names(scheme) if normalisers is None else normalisers:
        errors = point_errors(predicted_px, truth_px, scheme, normaliser, names)
        means |= dict(_means(errors, scheme, spelt(normaliser), thresholds, visible))
    percent = {name: 100 * float(np.average(mean.values, weights=mean.weights)) for name, mean in means.items()}
    if visible is not None:
        percent |= _visibility(visible, visibility)
    return Summary(len(truth_px), MappingProxyType(percent), MappingProxyType(_intervals(means, rng, repeats)))


def _means(
    errors: Floats, scheme: Scheme, by: str, thresholds: Sequence[float], visible: Flags | None
) -> Iterator[tuple[str, Mean]]:
    """The metrics of one normaliser's errors (N, L) that are means over faces."""
    face_errors = nme(errors)
    yield f"nme_{by}", Mean(face_errors)
    yield f"nrmse_{by}", Mean(nrmse(errors))
    for threshold in thresholds:
        yield f"fr{_per_cent(threshold)}_{by}", Mean(failed(face_errors, threshold).astype(np.float64))
        yield f"auc{_per_cent(threshold)}_{by}", Mean(covered(face_errors, threshold))
    for region, values in nme_by_region(errors, scheme).items():
        yield f"nme_{by}_region_{spelt(region)}", Mean(values)
    for name, chosen in () if visible is None else (("visible", visible), ("occluded", ~visible)):
        if chosen.any():
            count = chosen.sum(axis=1).astype(np.float64)
            yield f"nme_{by}_{name}", Mean((errors * chosen).sum(axis=1) / np.maximum(count, 1), count)


def _visibility(visible: Flags, visibility: AnyFloats | None) -> dict[str, float]:
    """What is said of visibility alone; recall only where something is occluded."""
    percent = {"occluded_share": 100 * float((~visible).mean())}
    if visibility is None:
        return percent
    percent["visibility_ece"] = 100 * reliability(visible, visibility).ece
    if not visible.all():
        recall = recall_at_precision(~visible, 1 - visibility, PRECISION)
        percent[f"occlusion_recall_at_precision{_per_cent(PRECISION)}"] = 100 * recall
    return percent


def _intervals(means: Mapping[str, Mean], rng: np.random.Generator | None, repeats: int) -> dict[str, Interval]:
    if rng is None or not means:
        return {}
    drawn = resamples(len(next(iter(means.values())).values), rng, repeats)
    ends = {name: interval(mean.values, drawn, mean.weights) for name, mean in means.items()}
    return {name: Interval(100 * low, 100 * high) for name, (low, high) in ends.items()}


def _per_cent(share: float) -> str:
    """0.1 is `10` and 0.075 is `7.5`."""
    return f"{100 * share:g}"


def spelt(name: str) -> str:
    """A normaliser or region as it stands in metric names: `left cheek` is `left_cheek`."""
    return re.sub(r"\W+", "_", name.strip().lower())
