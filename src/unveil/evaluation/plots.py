"""Curves as PNG: how errors are spread over faces, and how they grow with what is covered. N faces, S shares.

matplotlib comes with the extra `evaluate` and is imported only when something is drawn.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from unveil.metrics import Interval, Reliability, auc, ced, failure_rate
from unveil.metrics.errors import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people tell apart; the strokes and marks differ as well.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
STROKES = ("-", "--", "-.", ":")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
CED_LIMIT = 0.10


@dataclass(frozen=True, slots=True, eq=False)
class CedLine:
    """A model's errors, each face's as a share of the normaliser, (N,)."""

    name: str
    face_errors: Floats


@dataclass(frozen=True, slots=True)
class SweepLine:
    """A model's mean error at S shares, in per cent: what was truly covered, the error, where its mean may lie."""

    name: str
    covered: Sequence[float]
    errors: Sequence[float]
    intervals: Sequence[Interval]


@dataclass(frozen=True, slots=True, eq=False)
class ReliabilityLine:
    """How far a model's visibility can be believed."""

    name: str
    reliability: Reliability


def need_matplotlib() -> None:
    """ValueError, in one line, if there is no matplotlib: to be asked before an hour's run, not after it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ValueError("--save draws plots, which need matplotlib: pip install 'unveil[evaluate]'") from error


def ced_png(lines: Sequence[CedLine], by: str, title: str) -> bytes:
    """The cumulative error distribution of each model up to 10 % of the normaliser `by`."""
    figure, (axes,) = _canvas(title)
    per_cent = f"{100 * CED_LIMIT:g}"
    for i, line in enumerate(lines):
        curve = ced(line.face_errors, CED_LIMIT)
        area, failures = 100 * auc(line.face_errors, CED_LIMIT), 100 * failure_rate(line.face_errors, CED_LIMIT)
        label = f"{line.name}: auc{per_cent}_{by} {area:.1f} %, fr{per_cent}_{by} {failures:.2f} %"
        axes.plot(100 * curve.errors, 100 * curve.fractions, STROKES[i % 4], color=COLOURS[i % 7], label=label)
    axes.set(xlim=(0, 100 * CED_LIMIT), ylim=(0, 100), xlabel=f"NME, {by}, in per cent", ylabel="faces, in per cent")
    return png(figure, axes, "lower right")


def sweep_png(lines: Sequence[SweepLine], by: str, title: str) -> bytes:
    """Each model's mean error over the share of the face that was covered, with its 95 % interval as a band."""
    figure, (axes,) = _canvas(title)
    for i, line in enumerate(lines):
        colour = COLOURS[i % 7]
        axes.plot(line.covered, line.errors, STROKES[i % 4], marker=MARKS[i % 7], color=colour, label=line.name)
        low, high = [ends.low for ends in line.intervals], [ends.high for ends in line.intervals]
        axes.fill_between(line.covered, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="covered share of the face, measured, in per cent", ylabel=f"NME, {by}, in per cent")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    return png(figure, axes, "upper left")


def reliability_png(lines: Sequence[ReliabilityLine], title: str) -> bytes:
    """How many landmarks are visible of those that a model gives each visibility; on the diagonal it can be believed.

    The bars below count the landmarks, each model's in its colour: a bin of few says little.
    """
    figure, (axes, counts) = _canvas(title, 4, 1)
    axes.plot((0, 100), (0, 100), color="#999999", linewidth=1, label="as told")
    for i, line in enumerate(lines):
        held, colour = line.reliability.count > 0, COLOURS[i % 7]
        told, true = (100 * values[held] for values in (line.reliability.probability, line.reliability.share))
        label = f"{line.name}: visibility_ece {100 * line.reliability.ece:.2f} %"
        axes.plot(told, true, STROKES[i % 4], marker=MARKS[i % 7], color=colour, label=label)
        bins = len(line.reliability.count)
        middles = 100 * (np.arange(bins) + (i + 1) / (len(lines) + 1)) / bins
        counts.bar(middles, line.reliability.count, 80 / bins / len(lines), color=colour)
    axes.set(xlim=(0, 100), ylim=(0, 101), ylabel="visible, in per cent")
    counts.set(
        xlim=(0, 100), yscale="log", ylim=(1, None), ylabel="landmarks", xlabel="visibility, predicted, in per cent"
    )
    return png(figure, axes, "upper left")


def _canvas(title: str, *heights: float) -> "tuple[Figure, list[Axes]]":
    """A figure of its own, not pyplot's, which would keep it and choose a backend for the whole process.

    Its axes lie below each other, of these relative heights; one unless more are given.
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
    """The figure's bytes, with a legend in that corner of the axes, or beside them where there are many lines."""
    if legend == "outside":
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    else:
        axes.legend(loc=legend, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
