"""What was measured, ready for JSON and for tables: names, values, and what has to be said beside them. N faces."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from unveil.data.datasets.registry import DataSet
from unveil.evaluation.run import Outcome
from unveil.metrics import (
    THRESHOLDS,
    Reliability,
    Summary,
    nme,
    nme_over,
    normaliser_names,
    point_errors,
    reliability,
    metric_key,
    summarise,
)
from unveil.metrics.errors import Flags, Floats
from unveil.schemes.scheme import COFW29, Scheme

HEADLINE: Mapping[str, str] = MappingProxyType({COFW29.name: "pupil"})
"""The normaliser that the field reports by, where it is not the first of these."""
USUAL = ("ocular", "pupil")
RESAMPLES, RESAMPLING_SEED = 1000, 0
INTERVALS = f"95 %, percentile bootstrap over faces, {RESAMPLES} resamples, seed {RESAMPLING_SEED}"
COUNTS = ("n", "n_expected", "detector_missed", "problems")
LENGTHS = ("nme_", "nrmse_")  # per cent of a length of the face; everything else but counts and ms is a share


Lines: TypeAlias = list[tuple[str, list[str]]]
"""A table's lines: each one's name, then its cells."""


@dataclass(frozen=True, eq=False)
class Figures:
    """A model's or a file's figures over one set of faces under one occluder."""

    name: str
    summary: Summary
    by: str
    """The normaliser of headlines, as it stands in metric names."""
    face_errors: Floats
    """Each face's NME by it, (N,), as a share."""
    more: Mapping[str, float] = field(default_factory=dict)
    """What is said beside the metrics: `ms_per_face`, `detector_missed`, `n_expected`, `partial`."""
    visibility: Reliability | None = None
    """How far its visibility can be believed, where it says one and the truth is known."""

    def flat(self) -> dict[str, float]:
        """One flat object, metric name to value; percentages as percentages."""
        return self.summary.flat() | dict(self.more)

    @property
    def headline(self) -> str:
        """The metric that comes first: `nme_ocular`, as a rule."""
        return f"nme_{self.by}"


def headline_normaliser(scheme: Scheme) -> str:
    """The normaliser that figures, plots and the order of faces go by, unless someone asks for another."""
    names = normaliser_names(scheme)
    wanted = (HEADLINE.get(scheme.name), *USUAL, names[0])
    return next(name for name in wanted if name in names)


def summary_of(outcome: Outcome, faces: DataSet, thresholds: Sequence[float] = THRESHOLDS) -> Summary:
    """Every metric of an outcome, with bootstrap intervals."""
    return summarise(
        outcome.predicted_px,
        outcome.truth_px,
        faces.scheme,
        thresholds=thresholds,
        visible=outcome.visible,
        visibility=outcome.judged_visibility,
        names=outcome.names,
        rng=np.random.default_rng(RESAMPLING_SEED),
        repeats=RESAMPLES,
    )


def figures_of(
    name: str,
    outcome: Outcome,
    faces: DataSet,
    *,
    can_miss: bool = False,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Figures:
    """The figures of one outcome; `can_miss` if its boxes came from a detector, which may find none.

    ValueError, naming model and face, if the model answered with something that is not a number.
    """
    try:
        summary = summary_of(outcome, faces, thresholds)
    except ValueError as error:
        raise ValueError(f"model {name!r}: {error}") from None
    errors = point_errors(outcome.predicted_px, outcome.truth_px, faces.scheme, headline_normaliser(faces.scheme))
    by = metric_key(headline_normaliser(faces.scheme))
    more: dict[str, float] = {"partial": is_partial(faces)}
    if faces.expected is not None:
        more["n_expected"] = faces.expected
    if outcome.covered_share is not None:
        more["face_covered_share"] = 100 * float(outcome.covered_share.mean())
    if can_miss:
        more["detector_missed"] = int(outcome.missed.sum())
        if not outcome.missed.all():
            more[f"nme_{by}_found"] = 100 * nme_over(errors, _rows(~outcome.missed, errors))
    more["ms_per_face"] = 1e3 * outcome.seconds_per_face
    told, true = outcome.judged_visibility, outcome.visible
    believed = None if told is None or true is None else reliability(true, told)
    return Figures(name, summary, by, nme(errors), more, believed)


def is_partial(faces: DataSet) -> bool:
    """Whether faces of the official set are missing."""
    return faces.expected is not None and faces.found < faces.expected


def table(figures: Sequence[Figures]) -> Lines:
    """A metric's name and what each model has, line by line; intervals beside mean errors, regions by one normaliser.

    The other regions and intervals are in `flat`.
    """
    lines: Lines = []
    names = dict.fromkeys(name for one in figures for name in one.flat() if "_ci95_" not in name)
    for name in names:
        splits = re.search(r"_region_|_(visible|occluded)$", name)
        if name == "partial" or (splits and not name.startswith(f"{figures[0].headline}_")):
            continue
        lines.append((name, [cell(one, name) for one in figures]))
    return lines


def cell(figures: Figures, name: str) -> str:
    """One value as it is printed; with its 95 % interval if it is a mean error over all landmarks."""
    value = figures.flat().get(name)
    if value is None:
        return "–"  # noqa: RUF001
    if name in COUNTS:
        return f"{value:.0f}"
    text = f"{value:.3f}" if name.startswith(LENGTHS) else f"{value:.2f}"
    ends = figures.summary.intervals.get(name)
    if ends is None or not re.fullmatch(r"nme_\w+", name) or "_region_" in name:
        return text
    return f"{text} ({ends.low:.2f} to {ends.high:.2f})"


def _rows(faces: Flags, errors: Floats) -> Flags:
    return np.broadcast_to(faces[:, None], errors.shape)
