"""Plots as PNG: the distribution of errors, errors over coverage, calibration of visibility. N faces.

matplotlib is in the extra `evaluate` and is imported only when something is drawn.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from unveil.evaluation.results import ModelResult, Sweep
from unveil.metrics import auc, ced, failure_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colours of Okabe and Ito, which colour-blind people can distinguish; strokes and markers differ as well.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
STROKES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
CED_LIMIT = 0.10


def ced_png(results: Sequence[ModelResult], title: str, published: Mapping[str, float] | None = None) -> bytes:
    """Return the cumulative error distribution of each model, up to 10 % of the normaliser.

    Args:
        results: Of the models, by one normaliser.
        title: Above the plot.
        published: Means of other methods in per cent, which are drawn as vertical lines.
    """
    figure, (axes,) = canvas(title)
    by, limit = results[0].normaliser, f"{100 * CED_LIMIT:g}"
    for i, result in enumerate(results):
        curve = ced(result.face_errors, CED_LIMIT)
        area, rate = 100 * auc(result.face_errors, CED_LIMIT), 100 * failure_rate(result.face_errors, CED_LIMIT)
        mean = 100 * float(result.face_errors.mean())
        label = f"{result.name}: mean {mean:.2f} %, auc{limit}_{by} {area:.1f} %, fr{limit}_{by} {rate:.2f} %"
        axes.plot(100 * curve.errors, 100 * curve.fractions, STROKES[i % 4], color=COLOURS[i % 7], label=label)
    for i, (method, mean) in enumerate(sorted((published or {}).items(), key=lambda item: item[1])):
        axes.axvline(mean, color="#888888", linewidth=0.8, linestyle=":")
        axes.text(mean, 2 + 6.5 * (i % 8), f" {method} {mean:.2f}", fontsize=6.5, color="#555555")
    axes.set(xlim=(0, 100 * CED_LIMIT), ylim=(0, 100), xlabel=f"NME, {by}, in per cent", ylabel="faces, in per cent")
    return png(figure, axes, "lower right")


def sweep_png(sweep: Sweep, title: str) -> bytes:
    """Return the mean error of each model over the measured coverage or the turn, with its 95 % interval as a band.

    Args:
        sweep: The metrics at each value.
        title: Above the plot.
    """
    figure, (axes,) = canvas(title)
    for i, (name, results) in enumerate(sweep.results.items()):
        covered, colour = sweep.parameter == "coverage", COLOURS[i % 7]
        places = [result.extra["face_coverage"] for result in results] if covered else list(sweep.values)
        errors = [result.summary.percent[result.headline] for result in results]
        intervals = [result.summary.intervals[result.headline] for result in results]
        axes.plot(places, errors, STROKES[i % 4], marker=MARKERS[i % 7], color=colour, label=name)
        low, high = [ends.low for ends in intervals], [ends.high for ends in intervals]
        axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    by = next(iter(sweep.results.values()))[0].normaliser
    labels = {
        "coverage": "covered fraction of the face, measured, in per cent",
        "turn": "turn in the image plane, degrees",
    }
    axes.set(xlabel=labels[sweep.parameter], ylabel=f"NME, {by}, in per cent")
    if min(sweep.values) >= 0:
        axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    return png(figure, axes, "upper left")


def reliability_png(results: Sequence[ModelResult], title: str) -> bytes:
    """Return the fraction of landmarks that are visible over their predicted visibility.

    The bars below count the landmarks of each bin.

    Args:
        results: Of the models; those without a calibration are left out.
        title: Above the plot.
    """
    figure, (axes, counts) = canvas(title, 4, 1)
    axes.plot((0, 100), (0, 100), color="#999999", linewidth=1, label="calibrated")
    known = [(result.name, result.visibility) for result in results if result.visibility is not None]
    for i, (name, calibration) in enumerate(known):
        occupied, colour, bins = calibration.count > 0, COLOURS[i % 7], len(calibration.count)
        label = f"{name}: visibility_ece {100 * calibration.ece:.2f} %"
        predicted, true = 100 * calibration.probability[occupied], 100 * calibration.frequency[occupied]
        axes.plot(predicted, true, STROKES[i % 4], marker=MARKERS[i % 7], color=colour, label=label)
        middles = 100 * (np.arange(bins) + (i + 1) / (len(known) + 1)) / bins
        counts.bar(middles, calibration.count, 80 / bins / len(known), color=colour)
    axes.set(xlim=(0, 100), ylim=(0, 101), ylabel="visible, in per cent")
    counts.set(
        xlim=(0, 100), yscale="log", ylim=(1, None), ylabel="landmarks", xlabel="predicted visibility, in per cent"
    )
    return png(figure, axes, "upper left")


def uncertainty_png(results: Sequence[ModelResult], title: str) -> bytes:
    """Return the actual error over the predicted one, by decile of the predicted uncertainty.

    Args:
        results: Of the models; those without an uncertainty are left out.
        title: Above the plot.
    """
    figure, (axes,) = canvas(title)
    known = [(result.name, result.uncertainty) for result in results if result.uncertainty is not None]
    largest = max(float(max(deciles.predicted.max(), deciles.actual.max())) for _, deciles in known)
    axes.plot((0, largest), (0, largest), color="#999999", linewidth=1, label="calibrated")
    for i, (name, deciles) in enumerate(known):
        label = f"{name}: deviation {100 * deciles.deviation:.0f} %"
        axes.plot(
            deciles.predicted, deciles.actual, STROKES[i % 4], marker=MARKERS[i % 7], color=COLOURS[i % 7], label=label
        )
    by = results[0].normaliser
    axes.set(xlabel=f"predicted error, {by}, in per cent", ylabel=f"actual error, {by}, in per cent")
    return png(figure, axes, "upper left")


def canvas(title: str, *heights: float) -> "tuple[Figure, list[Axes]]":
    """Return a figure and its axes, one below the other.

    The figure is not pyplot's: that would keep it and choose a backend for the whole process.

    Args:
        title: Above the first axes.
        heights: Relative heights of the axes; by default there is one.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.6 if heights else 4.6), dpi=150, layout="constrained")
    found = figure.subplots(max(len(heights), 1), height_ratios=heights or (1,), squeeze=False)[:, 0]
    found[0].set_title(title, fontsize=10, wrap=True)
    for axes in found:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(found)


def png(figure: "Figure", axes: "Axes", legend: Literal["lower right", "upper left", "outside"]) -> bytes:
    """Return a figure as PNG.

    Args:
        figure: The figure.
        axes: Those with the legend.
        legend: The legend's corner, or "outside" for many lines.
    """
    if legend == "outside":
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    else:
        axes.legend(loc=legend, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
