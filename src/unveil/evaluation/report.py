"""The files of `--save`: the report, its plots, and the landmarks of every model. N faces, M models."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet
from unveil.evaluation.galleries import GROUND_TRUTH, PREDICTION, Gallery
from unveil.evaluation.plots import ced_png, reliability_png, sweep_png, uncertainty_png
from unveil.evaluation.results import ModelResult, Rows, Sweep, cell, metric_rows
from unveil.evaluation.runner import Predictions
from unveil.installation import install_command
from unveil.io.files import atomic_write, write_file

TEMPLATE = Path(__file__).with_name("report.html.jinja")


@dataclass(frozen=True, eq=False)
class Report:
    """What an evaluation measured.

    Args:
        title: Faces and configuration.
        notes: What must stand beside the metrics, for example that the set is partial.
        facts: What makes the metrics reproducible.
        results: Of each model; of a sweep at the largest coverage.
        galleries: Faces to look at.
        sweep: With several coverages or turns.
        published: Means of other methods on these faces, for the plot.
    """

    title: str
    notes: tuple[str, ...]
    facts: Mapping[str, str]
    results: Sequence[ModelResult]
    galleries: Sequence[Gallery] = field(default_factory=tuple)
    sweep: Sweep | None = None
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Section:
    """A part of the page: a plot with its description, a sentence, tables with their captions and headers."""

    title: str
    plot: bytes | None = None
    description: str = ""
    text: str = ""
    tables: Sequence[tuple[str, Sequence[str], Rows]] = ()


def require_report_packages() -> None:
    """Check for the packages of the extra `evaluate`, before a long run.

    Raises:
        ValueError: One is not installed.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"--save needs {(error.name or '').partition('.')[0]}: {install_command('evaluate')}"
        ) from error


def write_report(folder: Path, report: Report) -> list[Path]:
    """Write `report.html` and its plots.

    The plots are `ced.png`, `sweep.png` of a sweep, `reliability.png` of a visibility and `uncertainty.png` of an
    uncertainty.

    Args:
        folder: Created if it is missing.
        report: What was measured.

    Returns:
        The files.
    """
    plots = {"ced.png": ced_png(report.results, report.title, report.published)}
    if report.sweep is not None:
        plots["sweep.png"] = sweep_png(report.sweep, report.title)
    if any(result.visibility is not None for result in report.results):
        plots["reliability.png"] = reliability_png(report.results, report.title)
    if any(result.uncertainty is not None for result in report.results):
        plots["uncertainty.png"] = uncertainty_png(report.results, report.title)
    content = {"report.html": _report_html(report, plots).encode("utf-8", "backslashreplace"), **plots}
    for name, data in content.items():
        write_file(folder / name, data)
    return [folder / name for name in content]


def _report_html(report: Report, plots: Mapping[str, bytes]) -> str:
    """Return the page, with its images inside; `plots` are PNG by file name."""
    from jinja2 import Environment

    environment = Environment(autoescape=True)
    environment.filters["b64encode"] = lambda content: base64.b64encode(content).decode("ascii")
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        title=f"unveil evaluate: {report.title}",
        notes=report.notes,
        sections=list(_sections(report, plots)),
        galleries=report.galleries,
        colours={"ground_truth": GROUND_TRUTH, "prediction": PREDICTION},
        facts=report.facts,
    )


def write_landmarks(folder: Path, model: str, faces: DataSet, predictions: Predictions) -> Path:
    """Write `MODEL.npz`; `unveil evaluate --predictions FILE --ground-truth FILE` gives the same metrics for it.

    Args:
        folder: Where to.
        model: The model's name.
        faces: The data set.
        predictions: The model's.

    Returns:
        The file.
    """
    arrays: dict[str, NDArray[Any]] = {
        "names": np.array(faces.names),
        "ground_truth": predictions.ground_truth_px,
        "predictions": predictions.predicted_px,
    }
    if predictions.visible is not None:
        arrays["visible"] = predictions.visible
        if predictions.visibility is not None:
            arrays["visibility"] = predictions.visibility
    path = folder / f"{file_name(model)}.npz"
    with atomic_write(path) as temporary, temporary.open("wb") as file:  # given a name, numpy would add a suffix to it
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return path


def file_name(model: str) -> str:
    """Return a model's name as a file's name: `models/mine` is `models-mine`.

    Args:
        model: The name.
    """
    return re.sub(r"[^\w.-]+", "-", model).strip("-.") or "model"


def _sections(report: Report, plots: Mapping[str, bytes]) -> Iterator[_Section]:
    models, first = [result.name for result in report.results], report.results[0]
    where = f" at the largest {report.sweep.parameter}" if report.sweep else ""
    if report.sweep is not None:
        metrics = [
            first.headline,
            f"{first.headline}_visible",
            f"{first.headline}_occluded",
            f"fr10_{first.normaliser}",
        ]
        header = [*report.sweep.headers, *report.sweep.results]
        tables = [(f"{name}, %", header, report.sweep.rows(name)) for name in metrics]
        over = {"coverage": "the covered fraction of the face", "turn": "the turn"}[report.sweep.parameter]
        description = f"mean error by {first.normaliser} over {over}, one line for each model"
        yield _Section(f"Error over {over}", plots["sweep.png"], description, tables=tables)
    description = f"fraction of faces below each error, by {first.normaliser}, one line for each model"
    yield _Section(f"Cumulative error distribution{where}", plots["ced.png"], description)
    if "reliability.png" in plots:
        description = "fraction of landmarks that are visible over the predicted visibility, one line for each model"
        yield _Section(f"Calibration of the visibility{where}", plots["reliability.png"], description)
    if "uncertainty.png" in plots:
        description = "actual error over the predicted one, by decile, one line for each model"
        yield _Section(f"Calibration of the uncertainty{where}", plots["uncertainty.png"], description)
    regions = ("", [f"NME, {first.normaliser}, %", *models], _regions(report))
    yield _Section(f"Errors by region, along and across the outline, and by yaw{where}", tables=[regions])
    text = "In per cent, except counts and milliseconds; in brackets the 95 % interval of the mean."
    yield _Section(f"All metrics{where}", text=text, tables=[("", ["metric", *models], metric_rows(report.results))])


def _regions(report: Report) -> Rows:
    start = f"{report.results[0].headline}_"
    names = [name for name in report.results[0].summary.percent if re.match(rf"{start}(region|outline|yaw)_", name)]
    plain = [name.removeprefix(start).removeprefix("region_").replace("_", " ") for name in names]
    return [(text, [cell(one, name) for one in report.results]) for text, name in zip(plain, names, strict=True)]
