"""All metrics of a set of faces in one flat mapping from name to value. N faces, L landmarks, R resamples.

Names contain the normaliser and the threshold: `nme_ocular`, `fr10_ocular` (fraction of faces with an NME above 10 %),
`auc10_ocular`, `nrmse_box`, `nme_ocular_region_left_cheek`, `nme_ocular_occluded`. All values but `n` are percentages.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from unveil.metrics.distribution import Interval, auc_contribution, bootstrap_counts, bootstrap_interval, failures
from unveil.metrics.errors import (
    AnyFloats,
    Flags,
    Floats,
    Names,
    contour_errors,
    nme,
    nme_by_region,
    normaliser_names,
    nrmse,
    outline_landmarks,
    point_errors,
)
from unveil.metrics.visibility import auroc, precision_recall, recall_at_precision, reliability
from unveil.schemes.pose import five_points, upright_yaw
from unveil.schemes.scheme import Scheme

THRESHOLDS = (0.08, 0.10)
PRECISION = 0.80
OCCLUDED_ABOVE = 0.5  # 1 - visibility above which a landmark counts as occluded
YAW_BINS_DEG = (0, 15, 30, 45)


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
    thresholds: Sequence[float] = THRESHOLDS,
    visible: Flags | None = None,
    visibility: AnyFloats | None = None,
    names: Names = None,
    rng: np.random.Generator | None = None,
    repeats: int = 1000,
) -> Summary:
    """Return all metrics.

    Args:
        predicted_px: (N, L, 2).
        ground_truth_px: (N, L, 2).
        scheme: The landmark scheme.
        thresholds: Of failure rate and AUC, as fractions of the normaliser.
        visible: Ground truth of visibility, (N, L); adds the NME over visible and over occluded landmarks.
        visibility: Predicted visibility, (N, L), 0 to 1; with `visible` it adds the calibration error, and of
            all landmarks, without the outline and by region: AUROC of occlusion, precision and recall at 0.5, recall at
            80 % precision.
        names: The faces' names for messages.
        rng: Adds bootstrap intervals.
        repeats: R.

    Raises:
        ValueError: As for `point_errors`, or the shape of a visibility is wrong.
    """
    for given in (flags for flags in (visible, visibility) if flags is not None):
        if given.shape != ground_truth_px.shape[:2]:
            raise ValueError(f"visibility of shape {given.shape}, but landmarks of shape {ground_truth_px.shape}")
    means: dict[str, _Mean] = {}
    turned = yaw_bins(ground_truth_px, scheme)
    for normaliser in normaliser_names(scheme):
        means |= dict(_means((predicted_px, ground_truth_px), scheme, normaliser, thresholds, visible, names, turned))
    percent = {name: 100 * float(np.average(mean.values, weights=mean.weights)) for name, mean in means.items()}
    if visible is not None:
        percent |= _visibility(visible, visibility, scheme)
    return Summary(len(ground_truth_px), MappingProxyType(percent), MappingProxyType(_intervals(means, rng, repeats)))


def yaw_bins(ground_truth_px: AnyFloats, scheme: Scheme) -> dict[str, Flags]:
    """Return which faces are turned by how much, (N,) by bin: `0_15`, `15_30`, `30_45` and `45_up` degrees.

    Args:
        ground_truth_px: (N, L, 2).
        scheme: The landmark scheme; one without five points has no bins.
    """
    if scheme.five_points is None:
        return {}
    yaws = np.abs([upright_yaw(five_points(scheme, face.astype(np.float32))) for face in ground_truth_px])
    ends = [*YAW_BINS_DEG, np.inf]
    bins = pairwise(ends)
    return {f"{low:g}_{'up' if high == np.inf else f'{high:g}'}": (yaws >= low) & (yaws < high) for low, high in bins}


def _means(
    landmarks: tuple[AnyFloats, AnyFloats],
    scheme: Scheme,
    normaliser: str,
    thresholds: Sequence[float],
    visible: Flags | None,
    names: Names,
    turned: Mapping[str, Flags],
) -> Iterator[tuple[str, _Mean]]:
    """Yield the metrics of one normaliser that are means over faces; `landmarks` are predicted and ground truth."""
    errors, by = point_errors(*landmarks, scheme, normaliser, names), metric_key(normaliser)
    face_errors = nme(errors)
    yield f"nme_{by}", _Mean(face_errors)
    yield f"nrmse_{by}", _Mean(nrmse(errors))
    for threshold in thresholds:
        yield f"fr{100 * threshold:g}_{by}", _Mean(failures(face_errors, threshold).astype(np.float64))
        yield f"auc{100 * threshold:g}_{by}", _Mean(auc_contribution(face_errors, threshold))
    for region, values in nme_by_region(errors, scheme).items():
        yield f"nme_{by}_region_{metric_key(region)}", _Mean(values)
    if (split := contour_errors(*landmarks, scheme, normaliser)) is not None:
        for name, values in zip(("along", "across"), split, strict=True):
            yield f"nme_{by}_outline_{name}", _Mean(nme(values))
    for name, chosen in turned.items():
        if chosen.any():
            yield f"nme_{by}_yaw_{name}", _Mean(face_errors, chosen.astype(np.float64))
    for name, chosen in () if visible is None else (("visible", visible), ("occluded", ~visible)):
        if chosen.any():
            count = chosen.sum(axis=1).astype(np.float64)
            yield f"nme_{by}_{name}", _Mean((errors * chosen).sum(axis=1) / np.maximum(count, 1), count)


def _visibility(visible: Flags, visibility: AnyFloats | None, scheme: Scheme) -> dict[str, float]:
    """Return the metrics of visibility alone, of all landmarks, without the outline and by region."""
    percent = {"occluded_fraction": 100 * float((~visible).mean())}
    if visibility is None:
        return percent
    percent["visibility_ece"] = 100 * reliability(visible, visibility).ece
    outline = outline_landmarks(scheme)
    inner = [point for point in range(scheme.points) if point not in outline]
    regions = next((level.parts for level in scheme.hierarchy.levels if level.name == "regions"), ())
    groups = {"": list(range(scheme.points))}
    if outline and inner:
        groups["_without_outline"] = inner
    groups |= {f"_region_{metric_key(part.name)}": list(part.points) for part in regions}
    for name, points in groups.items():
        percent |= dict(_occlusion(~visible[:, points], 1 - visibility[:, points], name))
    return percent


def _occlusion(occluded: Flags, score: AnyFloats, name: str) -> Iterator[tuple[str, float]]:
    """Yield the metrics of a group of landmarks, as far as they are defined."""
    precision, recall = precision_recall(occluded, score > OCCLUDED_ABOVE)
    for metric, value in (("precision50", precision), ("recall50", recall)):
        if value is not None:
            yield f"occlusion_{metric}{name}", 100 * value
    if occluded.any():
        recall = recall_at_precision(occluded, score, PRECISION)
        yield f"occlusion_recall_at_precision{100 * PRECISION:g}{name}", 100 * recall
        if not occluded.all():
            yield f"occlusion_auroc{name}", 100 * auroc(occluded, score)


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
