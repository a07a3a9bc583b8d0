"""The second paper's Table 1 and its curves on a stand-in for OCFW: restorers before landmark networks, on 300W.

    unveil prepare ocfw-list --root 300W --out ocfw.csv
    python -m benchmarks.ocfw --root 300W --list ocfw.csv --runs RUNS --out OUT

RUNS has a run a folder, named as docs/papers/gan-ia.md does; rows whose runs are not there are left out and named. A
network that was trained on restored faces, as in `drn-on-gan-ia`, goes before the one that was not. OUT gets the table
as Markdown and JSON, and a curve of each set of faces.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from benchmarks.trials import Bar, bar_of
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from unveil.baselines.coupled import ITERATIONS, RestoreFn, coupled, restore_fn
from unveil.data.datasets.ocfw import faces_of_kind
from unveil.data.datasets.registry import DataSet, read_data_set
from unveil.data.occlusion import TEST_TEMPLATES, Library, Occluder, occluder
from unveil.evaluation import ModelResult, Predictions, result_of, run_models
from unveil.evaluation.plots import COLOURS, STROKES, png
from unveil.evaluation.provenance import code_facts
from unveil.inference.aligner import Aligner
from unveil.inference.onnx_model import shipped_models
from unveil.inference.torch_restorer import load_torch_restorer
from unveil.metrics import ced, nrmse, point_errors
from unveil.registry import NETWORKS

LIMIT = 0.15  # of the paper's figure 6
METRIC = "nrmse_ocular"
NOTHING = "–"  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured: the folders of a landmark network and of what restores faces before it looks."""

    name: str
    regressor: str
    restorer: str | None = None
    paper: float | None = None
    """NRMSE x 100 on OCFW's occluded faces, as printed."""

    def place(self, runs: Path) -> Path | None:
        """Where the landmark network lies: trained on what this restorer restored, or on faces as they are, or shipped;
        None if nowhere."""
        names = (*([f"{self.regressor}-on-{self.restorer}"] if self.restorer else ()), self.regressor)
        there = next((runs / name for name in names if (runs / name).is_dir()), None)
        return Path(self.regressor) if there is None and self.regressor in shipped_models() else there


ROWS = (
    Row("DRDA (autoencoders + DRN)", "drn", "drda", 7.23),
    Row("GAN-IA + DRN", "drn", "gan-ia", 6.96),
    Row("DRDA's autoencoders + PFLD", "pfld", "drda"),
    Row("GAN-IA + PFLD", "pfld", "gan-ia", 6.71),
    Row("GAN-IA before its judges + DRN", "drn", "gan-ia-unjudged"),
    Row("GAN-IA before its judges + PFLD", "pfld", "gan-ia-unjudged"),
    Row("GAN-IA without self-attention + DRN", "drn", "gan-ia-no-attention", 7.15),
    Row("GAN-IA without self-attention + PFLD", "pfld", "gan-ia-no-attention"),
    Row("GAN-IA + GlomFace-light", "glomface-light", "gan-ia"),
    Row("SDM", "sdm"),
    Row("DRN", "drn"),
    Row("PFLD", "pfld"),
    Row("GlomFace-light", "glomface-light"),
    Row("GlomFace", "glomface"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """A set of faces, and what they are under."""

    faces: DataSet
    occlude: Occluder | None = None


def aligners(rows: Sequence[Row], runs: Path, iterations: int = ITERATIONS, threads: int = 1) -> dict[str, Aligner]:
    """Every row whose runs are there; a line on stderr names each of the others."""
    restorers: dict[str, RestoreFn] = {}
    found: dict[str, Aligner] = {}
    for row in rows:
        place, restorer = row.place(runs), None if row.restorer is None else runs / row.restorer
        if place is None or (restorer is not None and not restorer.is_dir()):
            missing = runs / row.regressor if place is None else restorer
            print(f"left out: {row.name}: no {missing}", file=sys.stderr)
            continue
        if restorer is not None and restorer.name not in restorers:
            restorers[restorer.name] = restore_fn(load_torch_restorer(restorer, NETWORKS))
        uncover = None if restorer is None else restorers[restorer.name]
        found[row.name] = coupled(place, uncover, iterations=iterations, threads=threads)
        print(f"{row.name}: {place}" + (f" behind {restorer}" if restorer else ""), file=sys.stderr)
    return found


def conditions(root: Path, listed: Path, library: Path | None, *, partial: bool, thinned: int) -> dict[str, Conditions]:
    """Occluded faces of all, and of Common; Common's clean ones as they are, and under a drawn or held-out mask."""
    train, common = (read_data_set(f"300w/{split}", root, partial=partial) for split in ("train", "common"))
    official = (train.expected or train.found) + (common.expected or common.found)
    both = DataSet("300w/train and common", (*train.samples, *common.samples), common.scheme, official)
    occluded, ours = (thin(faces_of_kind("occluded", faces, listed), thinned) for faces in (both, common))
    clean = thin(faces_of_kind("clean", common, listed), thinned)
    masks = occluder("mask") if library is None else occluder("template", Library.read(library).only(TEST_TEMPLATES))
    return {
        "occluded": Conditions(occluded),
        "occluded, of Common": Conditions(ours),
        "clean": Conditions(clean),
        "clean, drawn masks" if library is None else "clean, held-out masks": Conditions(clean, masks),
    }


def thin(faces: DataSet, thinned: int) -> DataSet:
    """Every `thinned`-th face, for a quick look; the label then says so."""
    if thinned == 1:
        return faces
    return DataSet(f"{faces.label}, every {thinned}th:", faces.samples[::thinned], faces.scheme)


def curves_png(faces: DataSet, outcomes: Mapping[str, Predictions], title: str) -> bytes:
    """The share of the faces (N) with no more than an error, for each model, the best first, as in figure 6."""
    figure = Figure(figsize=(9.6, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    errors = {
        name: nrmse(point_errors(outcome.predicted_px, outcome.ground_truth_px, faces.scheme))
        for name, outcome in outcomes.items()
    }
    for i, name in enumerate(sorted(errors, key=lambda name: float(errors[name].mean()))):
        curve = ced(errors[name], LIMIT)
        axes.plot(100 * curve.errors, curve.fractions, STROKES[i % 4], color=COLOURS[i % 7], label=name)
    axes.set(xlim=(0, 100 * LIMIT), ylim=(0, 1), xlabel="NRMSE x 100, inter-ocular", ylabel="share of the faces")
    axes.set_title(title, fontsize=10, wrap=True)
    axes.grid(alpha=0.3)
    return png(figure, axes, "outside")


def table(
    rows: Sequence[Row], sets: Mapping[str, Conditions], figures: Mapping[str, Mapping[str, ModelResult]]
) -> Iterator[str]:
    """A line a row, the best on occluded faces first: NRMSE x 100 with its interval, and the paper's."""
    first = next(iter(sets))
    heads = [f"{name}, {len(one.faces)} faces" for name, one in sets.items()]
    yield f"| NRMSE x 100 | {' | '.join(heads)} | NME, {first} | the paper's, OCFW |"
    yield f"|---|{'---|' * (len(heads) + 2)}"
    measured = [row for row in rows if row.name in figures[first]]
    for row in sorted(measured, key=lambda row: figures[first][row.name].flat()[METRIC]):
        flat = [figures[name][row.name].flat() for name in sets]
        cells = [
            f"{one[METRIC]:.2f} ({one[f'{METRIC}_ci95_low']:.2f} to {one[f'{METRIC}_ci95_high']:.2f})" for one in flat
        ]
        paper = NOTHING if row.paper is None else f"{row.paper:.2f}"
        yield f"| {row.name} | {' | '.join(cells)} | {flat[0]['nme_ocular']:.2f} | {paper} |"


def report(
    models: Mapping[str, Aligner], sets: Mapping[str, Conditions], out: Path, bar: Bar, facts: Mapping[str, str]
) -> str:
    """Measures, and writes `table.md`, `table.json` and a curve a set into `out`; the table.

    The facts are what has to be said beside the figures, by name; notes stand below the table too.
    """
    figures: dict[str, dict[str, ModelResult]] = {}
    out.mkdir(parents=True, exist_ok=True)
    for name, one in sets.items():
        run = run_models(models, one.faces, occluders=(one.occlude,), progress=bar(f"{len(models)} rows, {name}"))
        outcomes = {model: outcome for model, (outcome,) in run.predictions.items()}
        figures[name] = {model: result_of(model, outcome, run.faces) for model, outcome in outcomes.items()}
        title = f"{run.faces.label}" + (f", {name.partition(', ')[2]}" if one.occlude else "")
        (out / f"ced-{name.replace(', ', '-').replace(' ', '-')}.png").write_bytes(
            curves_png(run.faces, outcomes, title)
        )
    found = {name: {model: one.flat() for model, one in models.items()} for name, models in figures.items()}
    labels = {name: one.faces.label for name, one in sets.items()}
    (out / "table.json").write_text(
        json.dumps({**facts, **code_facts(), "faces": labels, "figures": found}, indent=1) + "\n"
    )
    text = "\n".join([*table(ROWS, sets, figures), "", facts["notes"]]) + "\n"
    (out / "table.md").write_text(text)
    return text


def notes(rows: Sequence[Row], runs: Path, models: Mapping[str, Aligner], iterations: int) -> str:
    """What has to be said beside the figures."""
    shipped = [row.name for row in rows if row.name in models and row.place(runs) == Path(row.regressor)]
    said = [
        f"Ground-truth boxes, no mirror averaging; {iterations} iterations of restoration for networks without stages."
    ]
    if shipped:
        trained = "all of 300W's training faces, covered ones too, under synthetic occluders"
        said.append(
            f"With the model that ships, which was trained on {trained}, so also on most of the first column: "
            f"{', '.join(shipped)}."
        )
    return " ".join(said)


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """What both benchmarks of restored faces are told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="300W as it is released")
    parser.add_argument("--runs", type=Path, required=True, help="a run a folder")
    parser.add_argument("--out", type=Path, required=True, help="where table and pictures go")
    parser.add_argument("--library", type=Path, help="mask templates and folders of sprites")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="looks of networks without stages")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--thin", type=int, default=1, metavar="N", help="every Nth face, for a quick look")
    parser.add_argument("--partial", action="store_true", help="take a 300W that is shorter than the official one")
    return parser


def main(arguments: Sequence[str]) -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--list", type=Path, required=True, help="the list of `unveil prepare ocfw-list`, checked")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        try:
            sets = conditions(given.root, given.list, given.library, partial=given.partial, thinned=given.thin)
            models = aligners(ROWS, given.runs, given.iterations, given.threads)
            command = f"python -m benchmarks.ocfw {' '.join(arguments)}"
            facts = {"command": command, "notes": notes(ROWS, given.runs, models, given.iterations)}
            text = report(models, sets, given.out, bar_of(progress), facts)
        except (ValueError, OSError) as error:
            progress.stop()
            print(f"error: {error}", file=sys.stderr)
            return 2
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
