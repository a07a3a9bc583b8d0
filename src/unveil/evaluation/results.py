"""The metrics of models over one set of faces, for JSON and for tables. N faces."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unveil.data.datasets.registry import DataSet
from unveil.evaluation.runner import Predictions
from unveil.metrics import (
    THRESHOLDS,
    Deciles,
    Interval,
    Reliability,
    Summary,
    error_deciles,
    metric_key,
    nme,
    nme_over,
    normaliser_lengths,
    normaliser_names,
    point_errors,
    reliability,
    summarise,
)
from unveil.metrics.errors import Floats
from unveil.schemes.scheme import COFW29, Scheme

HEADLINE: Mapping[str, str] = MappingProxyType({COFW29.name: "pupil"})
"""The normaliser that publications report by, where it is not the first of `USUAL`."""
USUAL = ("ocular", "pupil")
RESAMPLES, RESAMPLING_SEED = 1000, 0
INTERVALS = f"95 %, percentile bootstrap over faces, {RESAMPLES} resamples, seed {RESAMPLING_SEED}"
COUNTS = ("n", "n_expected", "detector_missed", "problems")
LENGTHS = ("nme_", "nrmse_")  # per cent of a length of the face; everything else but counts and ms is a fraction
SAME_AT_EVERY_VALUE = ("n", "n_expected", "partial")
PIPE_WIDTH = 200  # columns of a table that is written to a file or a pipe

Rows: TypeAlias = list[tuple[str, list[str]]]
"""A table: each row's name and its cells."""


@dataclass(frozen=True, eq=False)
class ModelResult:
    """The metrics of one model, or of one file of predictions, under one occluder.

    Args:
        name: The model's name.
        summary: The metrics.
        normaliser: The normaliser of the main error, as metric names contain it.
        face_errors: The NME of each face by it, (N,), as a fraction.
        extra: Values beside the metrics: `ms_per_face`, `detector_missed`, `n_expected`, `partial`.
        visibility: Calibration of the predicted visibility, if it is predicted and the ground truth is known.
        uncertainty: Predicted and actual errors by decile of the uncertainty, in per cent of the normaliser.
    """

    name: str
    summary: Summary
    normaliser: str
    face_errors: Floats
    extra: Mapping[str, float] = field(default_factory=dict)
    visibility: Reliability | None = None
    uncertainty: Deciles | None = None

    def flat(self) -> dict[str, float]:
        """Return one flat object, metric name to value; fractions in per cent."""
        return self.summary.flat() | dict(self.extra)

    @property
    def headline(self) -> str:
        """The name of the main error, for example `nme_ocular`."""
        return f"nme_{self.normaliser}"


@dataclass(frozen=True, eq=False)
class Sweep:
    """The metrics of every model at several values of one parameter.

    Args:
        values: In rising order: fractions of the face that are to be covered, or degrees.
        results: By model, one for each value.
        parameter: What varies, "coverage" or "turn".
    """

    values: tuple[float, ...]
    results: Mapping[str, tuple[ModelResult, ...]]
    parameter: Literal["coverage", "turn"] = "coverage"

    @property
    def labels(self) -> tuple[str, ...]:
        """The values as tables contain them: per cent or degrees."""
        factor = 100 if self.parameter == "coverage" else 1
        return tuple(f"{factor * value:g}" for value in self.values)

    @property
    def headers(self) -> tuple[str, ...]:
        """The columns before the metric: the requested value, and the measured coverage."""
        return ("coverage, %", "measured, %") if self.parameter == "coverage" else ("turn, degrees",)

    def flat(self, model: str) -> dict[str, float]:
        """Return one flat object, metric name to value.

        `nme_ocular_at_coverage30` is the error at a requested coverage of 30 %, and `nme_ocular_at_turn90` that of
        faces turned by 90 degrees.

        Args:
            model: The model's name.
        """
        flat: dict[str, float] = {}
        for label, result in zip(self.labels, self.results[model], strict=True):
            at = f"_at_{self.parameter}{label}"
            flat |= {name if name in SAME_AT_EVERY_VALUE else name + at: v for name, v in result.flat().items()}
        return flat

    def rows(self, metric: str) -> Rows:
        """Return a row for each value, with the metric of each model; see `headers`.

        Args:
            metric: The metric's name.
        """
        rows: Rows = []
        for i, label in enumerate(self.labels):
            here = [results[i] for results in self.results.values()]
            measured = [cell(here[0], "face_coverage")] if self.parameter == "coverage" else []
            rows.append((label, [*measured, *(cell(result, metric) for result in here)]))
        return rows


def headline_normaliser(scheme: Scheme) -> str:
    """Return the normaliser of the main error of a scheme.

    Args:
        scheme: The landmark scheme.
    """
    names = normaliser_names(scheme)
    wanted = (HEADLINE.get(scheme.name), *USUAL, names[0])
    return next(name for name in wanted if name in names)


def result_of(
    name: str,
    predictions: Predictions,
    faces: DataSet,
    *,
    can_miss: bool = False,
    thresholds: Sequence[float] = THRESHOLDS,
) -> ModelResult:
    """Return the metrics of one model.

    Args:
        name: The model's name.
        predictions: Its predictions.
        faces: The data set.
        can_miss: The boxes are from a detector, which may miss faces.
        thresholds: Of failure rates and AUC, as fractions.

    Raises:
        ValueError: A prediction is not a finite number; the message names the model and the face.
    """
    try:
        summary = summarise(
            predictions.predicted_px,
            predictions.ground_truth_px,
            faces.scheme,
            thresholds=thresholds,
            visible=predictions.visible,
            visibility=None if predictions.visible is None else predictions.visibility,
            names=predictions.names,
            rng=np.random.default_rng(RESAMPLING_SEED),
            repeats=RESAMPLES,
        )
    except ValueError as error:
        raise ValueError(f"model {name!r}: {error}") from None
    normaliser = headline_normaliser(faces.scheme)
    errors = point_errors(predictions.predicted_px, predictions.ground_truth_px, faces.scheme, normaliser)
    by = metric_key(normaliser)
    extra: dict[str, float] = {"partial": is_partial(faces)}
    if faces.expected is not None:
        extra["n_expected"] = faces.expected
    if predictions.coverage is not None:
        extra["face_coverage"] = 100 * float(predictions.coverage.mean())
    if can_miss:
        extra["detector_missed"] = int(predictions.missed.sum())
        if not predictions.missed.all():
            found = np.broadcast_to(~predictions.missed[:, None], errors.shape)
            extra[f"nme_{by}_found"] = 100 * nme_over(errors, found)
    extra["ms_per_face"] = 1e3 * predictions.seconds_per_face
    predicted, true = predictions.visibility, predictions.visible
    calibration = None if predicted is None or true is None else reliability(true, predicted)
    deciles = None
    if predictions.uncertainty_px is not None and predictions.uncertainty_px.size >= 10:
        lengths_px = normaliser_lengths(predictions.ground_truth_px, faces.scheme, normaliser)
        deciles = error_deciles(100 * predictions.uncertainty_px / lengths_px[:, None], 100 * errors)
        extra["uncertainty_deviation"] = 100 * deciles.deviation
    return ModelResult(name, summary, by, nme(errors), extra, calibration, deciles)


def is_partial(faces: DataSet) -> bool:
    """Return whether faces of the official set are missing.

    Args:
        faces: The data set.
    """
    return faces.expected is not None and faces.found < faces.expected


def metric_rows(results: Sequence[ModelResult]) -> Rows:
    """Return a row for each metric with the value of each model; regions by the main normaliser alone.

    The other regions and intervals are in `flat`.

    Args:
        results: Of the models.
    """
    rows: Rows = []
    names = dict.fromkeys(name for result in results for name in result.flat() if "_ci95_" not in name)
    for name in names:
        subset = re.search(r"^nme_.*(_region_|_outline_|_yaw_|_(visible|occluded)$)", name)
        if name == "partial" or (subset and not name.startswith(f"{results[0].headline}_")):
            continue
        rows.append((name, [cell(result, name) for result in results]))
    return rows


def cell(result: ModelResult, name: str) -> str:
    """Return one value as text; with its 95 % interval if it is a mean error over all landmarks.

    Args:
        result: The model's metrics.
        name: The metric.
    """
    value = result.flat().get(name)
    if value is None:
        return "–"  # noqa: RUF001
    if name in COUNTS:
        return f"{value:.0f}"
    text = f"{value:.3f}" if name.startswith(LENGTHS) else f"{value:.2f}"
    ends: Interval | None = result.summary.intervals.get(name)
    if ends is None or not re.fullmatch(r"nme_\w+", name) or "_region_" in name:
        return text
    return f"{text} ({ends.low:.2f} to {ends.high:.2f})"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as Markdown.

    Args:
        header: Names of the columns.
        rows: The cells; numbers with a fraction get two digits, and None is a dash.
    """

    def line(cells: Iterable[object]) -> str:
        texts = ("–" if one is None else f"{one:.2f}" if isinstance(one, float) else str(one) for one in cells)  # noqa: RUF001
        return f"| {' | '.join(texts)} |"

    return "\n".join([line(header), f"|{'---|' * len(header)}", *map(line, rows)]) + "\n"


def print_table(title: str, header: Sequence[str], rows: Rows, notes: Sequence[str]) -> None:
    """Print a table on stdout and notes below it.

    Args:
        title: Above the table.
        header: Names of the columns, with that of the rows' names first.
        rows: The rows.
        notes: Sentences.
    """
    table = Table(title=Text(title), title_justify="left")
    for i, name in enumerate(header):
        table.add_column(Text(name), justify="right" if i else "left")
    for name, cells in rows:
        table.add_row(Text(name), *map(Text, cells))
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, soft_wrap=True)
    console.print(table)
    for note in notes:
        console.print(Text(note))
