"""Table 1 and the curves of the GAN-IA paper on a substitute for OCFW: restorers before landmark networks, on 300W.

    unveil prepare ocfw-list --root 300W --out ocfw.csv
    python -m benchmarks.ocfw --root 300W --list ocfw.csv --runs RUNS [RUNS ...] --out OUT
    python -m benchmarks.ocfw --cofw68 COFW68 --runs RUNS [RUNS ...] --out OUT

Several RUNS are the same runs with other seeds: the table then has their mean with its interval over the faces, and the
value of each seed. With --cofw68 the curves are those of figure 8. RUNS has a folder for each run, named as in
docs/papers/gan-ia.md; rows without runs are left out and named. A network that was trained on restored faces, as in
`drn-on-gan-ia`, is preferred. OUT gets the table as Markdown and JSON, and the curves of each set of faces.
"""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.command import Iterations, Limit, Occluders, Out, Partial, Threads, run, write_results
from numpy.typing import NDArray

from unveil.baselines.coupled import ITERATIONS, RestoreFn, coupled, restore_fn
from unveil.cli.progress import Bar, progress_bars
from unveil.data.datasets.ocfw import faces_of_kind
from unveil.data.datasets.registry import DataSet, read_data_set
from unveil.data.occlusion import TEST_TEMPLATES, Library, Occluder, occluder
from unveil.evaluation import Predictions, markdown_table, result_of, run_models
from unveil.evaluation.plots import COLOURS, STROKES, canvas, png
from unveil.evaluation.provenance import code_facts
from unveil.evaluation.results import RESAMPLES, RESAMPLING_SEED
from unveil.inference.aligner import Aligner
from unveil.inference.onnx_model import shipped_models
from unveil.metrics import bootstrap_counts, bootstrap_interval, ced, nrmse, point_errors
from unveil.registry import NETWORKS
from unveil.training.restored_views import load_stage_restorers

LIMIT = 0.15  # of the paper's figure 6
METRIC = "nrmse_ocular"


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured: the folders of a landmark network and of the restorer before it."""

    name: str
    regressor: str
    restorer: str | None = None
    paper: float | None = None
    """NRMSE x 100 on OCFW's occluded faces, as printed."""

    def place(self, runs: Path) -> Path | None:
        """Return the landmark network: trained on restored faces, on others, or shipped; None if missing."""
        names = (*([f"{self.regressor}-on-{self.restorer}"] if self.restorer else ()), self.regressor)
        there = next((runs / name for name in names if (runs / name).is_dir()), None)
        return Path(self.regressor) if there is None and self.regressor in shipped_models() else there


ROWS = (
    Row("DRDA (autoencoders + DRN)", "drn", "drda", 7.23),
    Row("GAN-IA + DRN", "drn", "gan-ia", 6.96),
    Row("GAN-IA of seven components + DRN", "drn", "gan-ia-components"),
    Row("GAN-IA for each stage + DRN", "drn", "gan-ia-stages"),
    Row("DRDA's autoencoders + PFLD", "pfld", "drda"),
    Row("GAN-IA + PFLD", "pfld", "gan-ia", 6.71),
    Row("GAN-IA before its discriminators + DRN", "drn", "gan-ia-generator-only"),
    Row("GAN-IA before its discriminators + PFLD", "pfld", "gan-ia-generator-only"),
    Row("GAN-IA without self-attention + DRN", "drn", "gan-ia-no-attention", 7.15),
    Row("GAN-IA without self-attention + PFLD", "pfld", "gan-ia-no-attention"),
    Row("GAN-IA of seven components + PFLD", "pfld", "gan-ia-components"),
    Row("DRDA's autoencoders + GlomFace-light", "glomface-light", "drda"),
    Row("GAN-IA + GlomFace-light", "glomface-light", "gan-ia"),
    Row("GAN-IA without self-attention + GlomFace-light", "glomface-light", "gan-ia-no-attention"),
    Row("SDM", "sdm"),
    Row("RCPR", "rcpr"),
    Row("DRN", "drn"),
    Row("PFLD", "pfld"),
    Row("GlomFace-light", "glomface-light"),
    Row("GlomFace", "glomface"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """A set of faces and their occluder."""

    faces: DataSet
    occlude: Occluder | None = None


def aligners(rows: Sequence[Row], runs: Path, iterations: int = ITERATIONS, threads: int = 1) -> dict[str, Aligner]:
    """Return the aligner of each row whose runs are there; a line on stderr names each of the others."""
    restorers: dict[str, list[RestoreFn]] = {}
    found: dict[str, Aligner] = {}
    for row in rows:
        place, restorer = row.place(runs), None if row.restorer is None else runs / row.restorer
        if place is None or (restorer is not None and not restorer.is_dir()):
            missing = runs / row.regressor if place is None else restorer
            print(f"left out: {row.name}: no {missing}", file=sys.stderr)
            continue
        if restorer is not None and restorer.name not in restorers:
            restorers[restorer.name] = [restore_fn(one) for one in load_stage_restorers(restorer, NETWORKS)]
        restore = None if restorer is None else restorers[restorer.name]
        found[row.name] = coupled(place, restore, iterations=iterations, threads=threads)
        print(f"{row.name}: {place}" + (f" behind {restorer}" if restorer else ""), file=sys.stderr)
    return found


def conditions(
    root: Path, listed: Path, library: Path | None, *, partial: bool, limit: int | None
) -> dict[str, Conditions]:
    """Return the occluded faces, those of Common, and Common's clean faces without and with a mask."""
    train, common = (read_data_set(f"300w/{split}", root, partial=partial) for split in ("train", "common"))
    official = (train.expected or train.found) + (common.expected or common.found)
    both = DataSet("300w/train and common", (*train.samples, *common.samples), common.scheme, official)
    occluded, ours = (faces_of_kind("occluded", faces, listed).spaced(limit) for faces in (both, common))
    clean = faces_of_kind("clean", common, listed).spaced(limit)
    masks = occluder("mask") if library is None else occluder("template", Library.read(library).only(TEST_TEMPLATES))
    return {
        "occluded": Conditions(occluded),
        "occluded, of Common": Conditions(ours),
        "clean": Conditions(clean),
        "clean, drawn masks" if library is None else "clean, held-out masks": Conditions(clean, masks),
    }


def curves_png(errors: Mapping[str, NDArray[np.float64]], title: str) -> bytes:
    """Return the fraction of the faces with an error up to each limit, for each row's errors (N,), as in figure 6."""
    figure, (axes,) = canvas(title)
    figure.set_size_inches(9.6, 4.6)
    for i, name in enumerate(sorted(errors, key=lambda name: float(errors[name].mean()))):
        curve = ced(errors[name], LIMIT)
        axes.plot(100 * curve.errors, curve.fractions, STROKES[i % 4], color=COLOURS[i % 7], label=name)
    axes.set(xlim=(0, 100 * LIMIT), ylim=(0, 1), xlabel="NRMSE x 100, inter-ocular", ylabel="fraction of the faces")
    return png(figure, axes, "outside")


def figures_of(seeds: Sequence[Predictions], faces: DataSet) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Return a row's figures, metric name to value, and the error of each face, both the means over the seeds.

    The interval is that of the mean over the faces; `METRIC_by_seed` has each seed's value if there are several.
    """
    flats = [result_of("", one, faces).flat() for one in seeds]
    errors = np.stack([nrmse(point_errors(one.predicted_px, one.ground_truth_px, faces.scheme)) for one in seeds])
    if len(seeds) == 1:
        return flats[0], errors[0]
    mean = errors.mean(axis=0)
    counts = bootstrap_counts(len(mean), np.random.default_rng(RESAMPLING_SEED), RESAMPLES)
    low, high = bootstrap_interval(100 * mean, counts)
    figures: dict[str, Any] = {name: float(np.mean([flat[name] for flat in flats])) for name in flats[0]}
    figures |= {f"{METRIC}_ci95_low": low, f"{METRIC}_ci95_high": high}
    return {**figures, f"{METRIC}_by_seed": [flat[METRIC] for flat in flats]}, mean


def table(
    rows: Sequence[Row], sets: Mapping[str, Conditions], figures: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> str:
    """Return NRMSE x 100 with its interval for each row, best on the first set first, beside the paper's."""
    first = next(iter(sets))
    measured = [row for row in rows if row.name in figures[first]]

    def cell(flat: Mapping[str, Any]) -> str:
        seeds = ", ".join(f"{value:.2f}" for value in flat.get(f"{METRIC}_by_seed", ()))
        interval = f"{flat[f'{METRIC}_ci95_low']:.2f} to {flat[f'{METRIC}_ci95_high']:.2f}"
        return f"{flat[METRIC]:.2f} ({interval}{'; seeds ' + seeds if seeds else ''})"

    def cells() -> Iterator[tuple[object, ...]]:
        for row in sorted(measured, key=lambda row: float(figures[first][row.name][METRIC])):
            flat = [figures[name][row.name] for name in sets]
            yield row.name, *map(cell, flat), flat[0]["nme_ocular"], row.paper

    columns = (f"{name}, {len(one.faces)} faces" for name, one in sets.items())
    return markdown_table(("NRMSE x 100", *columns, f"NME, {first}", "the paper's, OCFW"), cells())


def report(
    models: Sequence[Mapping[str, Aligner]],
    sets: Mapping[str, Conditions],
    out: Path,
    bar: Bar,
    facts: Mapping[str, str],
) -> None:
    """Write `table.md`, `table.json` and the curves of each set into `out`, and print the table.

    Args:
        models: The rows' aligners for each seed.
        sets: The faces.
        out: The folder.
        bar: Shows the progress.
        facts: What goes into the JSON file by name; the one called `notes` also stands below the table.
    """
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    out.mkdir(parents=True, exist_ok=True)
    for name, one in sets.items():
        named = {f"{row} {seed}": model for seed, rows in enumerate(models) for row, model in rows.items()}
        run = run_models(named, one.faces, occluders=(one.occlude,), progress=bar(f"{len(named)} rows, {name}"))
        errors: dict[str, NDArray[np.float64]] = {}
        figures[name] = {}
        for row in dict.fromkeys(row for rows in models for row in rows):
            seeds = [run.predictions[f"{row} {seed}"][0] for seed, rows in enumerate(models) if row in rows]
            figures[name][row], errors[row] = figures_of(seeds, run.faces)
        title = f"{run.faces.label}" + (f", {name.partition(', ')[2]}" if one.occlude else "")
        (out / f"ced-{name.replace(', ', '-').replace(' ', '-')}.png").write_bytes(curves_png(errors, title))
    labels = {name: one.faces.label for name, one in sets.items()}
    record = {**facts, **code_facts(), "faces": labels, "figures": figures}
    write_results(out, "table", record, f"{table(ROWS, sets, figures)}\n{facts['notes']}\n")


def notes(rows: Sequence[Row], runs: Path, models: Mapping[str, Aligner], iterations: int) -> str:
    """Return what must stand beside the figures."""
    shipped = [row.name for row in rows if row.name in models and row.place(runs) == Path(row.regressor)]
    sentences = [
        f"Ground-truth boxes, no mirror averaging; {iterations} iterations of restoration for networks without stages."
    ]
    if shipped:
        trained = "all of 300W's training faces, occluded ones too, under synthetic occluders"
        sentences.append(
            f"With the model that ships, which was trained on {trained}, so also on most of the first column: "
            f"{', '.join(shipped)}."
        )
    return " ".join(sentences)


def main(
    runs: tuple[Path, ...],
    out: Out,
    root: Path | None = None,
    list: Path | None = None,
    cofw68: Path | None = None,
    library: Occluders = None,
    iterations: Iterations = ITERATIONS,
    threads: Threads = 1,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Write the table and the curves; without --library masks are drawn.

    Args:
        runs: A folder of runs, or one for each seed.
        root: 300W as it is released.
        list: The list of `unveil prepare ocfw-list`, checked.
        cofw68: COFW's test file with its annotations of 68 landmarks, as they are released.
    """
    torch.set_num_threads(threads)
    if (root is None) != (list is None) or (root is None and cofw68 is None):
        raise ValueError("give --root and --list, or --cofw68, or all three")
    sets: dict[str, Conditions] = {}
    if root is not None and list is not None:
        sets |= conditions(root, list, library, partial=partial, limit=limit)
    if cofw68 is not None:
        sets["COFW68"] = Conditions(read_data_set("cofw68/test", cofw68, partial=partial).spaced(limit))
    models = [aligners(ROWS, folder, iterations, threads) for folder in runs]
    if not any(models):
        raise ValueError(f"{runs[0]}: no networks to measure; see docs/papers/gan-ia.md")
    facts = {"command": shlex.join(sys.argv), "notes": notes(ROWS, runs[0], models[0], iterations)}
    with progress_bars() as bar:
        report(models, sets, out, bar, facts)


if __name__ == "__main__":
    sys.exit(run(main))
