"""What `--save` leaves in a folder: the report, its plots as files, every model's landmarks. N faces, M models."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet
from unveil.evaluation import page
from unveil.evaluation.figures import Figures, Lines, cell, table
from unveil.evaluation.plots import CedLine, ReliabilityLine, ced_png, reliability_png, sweep_png
from unveil.evaluation.run import Outcome
from unveil.evaluation.sheets import Gallery
from unveil.evaluation.sweep import Sweep
from unveil.io.files import atomic_write


@dataclass(frozen=True, eq=False)
class Report:
    """What an evaluation found, however it was done; a sweep has its galleries and `figures` at the largest share."""

    title: str
    notes: tuple[str, ...]
    """What nobody may miss: that a set is partial, that faces were left out."""
    facts: Mapping[str, str]
    """What makes the figures reproducible."""
    figures: Sequence[Figures]
    galleries: Sequence[Gallery] = field(default_factory=tuple)
    sweep: Sweep | None = None


def write_report(folder: Path, report: Report) -> list[Path]:
    """`report.html`, `ced.png`, of a sweep `sweep.png`, where visibility is judged `reliability.png`; each whole or not
    at all. Needs matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    first, lines = report.figures[0], [CedLine(one.name, one.face_errors) for one in report.figures]
    plots = {"ced.png": ced_png(lines, first.by, report.title)}
    if report.sweep is not None:
        plots["sweep.png"] = sweep_png(report.sweep.lines(), first.by, report.title)
    believed = [ReliabilityLine(one.name, one.visibility) for one in report.figures if one.visibility is not None]
    if believed:
        plots["reliability.png"] = reliability_png(believed, report.title)
    written = [_write(folder / name, png) for name, png in plots.items()]
    return [_write(folder / "report.html", report_html(report, plots).encode()), *written]


def report_html(report: Report, plots: Mapping[str, bytes]) -> str:
    """The report's page, from plots by their file names."""
    models, first = [one.name for one in report.figures], report.figures[0]
    where = " at the largest share" if report.sweep else ""
    sections = [] if report.sweep is None else [_sweep(report.sweep, first, plots["sweep.png"])]
    ced = page.picture(plots["ced.png"], f"share of faces below each error, by {first.by}, one line a model")
    sections += [
        page.section(f"How errors are spread over the faces{where}", ced),
        *_believed(plots.get("reliability.png"), where),
        page.section(f"Errors by region{where}", page.table([f"NME, {first.by}, %", *models], _regions(report))),
        page.section(
            f"All metrics{where}",
            "<p>In per cent, but for counts and milliseconds; in brackets, the mean's 95 % interval.</p>",
            page.table(["metric", *models], table(report.figures)),
        ),
        *(page.gallery(shown) for shown in report.galleries),
        page.section("What makes these figures reproducible", page.facts(report.facts)),
    ]
    return page.page(f"unveil evaluate: {report.title}", report.notes, sections)


def write_landmarks(folder: Path, model: str, faces: DataSet, outcome: Outcome) -> Path:
    """`MODEL.npz`, which `unveil evaluate --predictions FILE --truth FILE` gives the same figures for."""
    arrays = {"names": np.array(faces.names), "truth": outcome.truth_px, "predictions": outcome.predicted_px}
    given = {"visible": outcome.visible, "visibility": outcome.judged_visibility}
    arrays |= {name: flags for name, flags in given.items() if flags is not None}
    return _written(folder / f"{file_name(model)}.npz", lambda path: _save(path, arrays))


def file_name(model: str) -> str:
    """`models/mine` as a file's name: `models-mine`."""
    return re.sub(r"[^\w.-]+", "-", model).strip("-.") or "model"


def _sweep(sweep: Sweep, first: Figures, png: bytes) -> str:
    metrics = [first.headline, f"{first.headline}_visible", f"{first.headline}_occluded", f"fr10_{first.by}"]
    header = ["share asked for, %", "covered, %", *sweep.figures]
    tables = [part for name in metrics for part in (f"<p>{name}, %</p>", page.table(header, sweep.table(name)))]
    plot = page.picture(png, f"mean error by {first.by} over the covered share of the face, one line a model")
    return page.section("Error over the covered share of the face", plot, *tables)


def _believed(png: bytes | None, where: str) -> list[str]:
    if png is None:
        return []
    plot = page.picture(png, "share of landmarks that are visible over the visibility predicted, one line a model")
    return [page.section(f"Whether the visibility can be believed{where}", plot)]


def _regions(report: Report) -> Lines:
    start = f"{report.figures[0].headline}_region_"
    names = [name for name in report.figures[0].summary.percent if name.startswith(start)]
    return [(name.removeprefix(start).replace("_", " "), [cell(one, name) for one in report.figures]) for name in names]


def _write(path: Path, content: bytes) -> Path:
    return _written(path, lambda temporary: temporary.write_bytes(content))


def _written(path: Path, write: Callable[[Path], object]) -> Path:
    with atomic_write(path) as temporary:
        write(temporary)
    return path


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with path.open("wb") as file:  # given a name, numpy would add a suffix to it
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
