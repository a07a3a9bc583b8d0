"""Effect of restoration on alignment, by kind of occluder and coverage.

    python -m benchmarks.restoration_sweep --root 300W --runs RUNS --out OUT [--library LIBRARY] [--list ocfw.csv]

DRN, PFLD and GlomFace-light with and without GAN-IA, on the same faces under the same occluders. `noise`, `polygon` and
`sprite` are scaled to each coverage; other kinds have their own size. RUNS is as for `benchmarks.ocfw`. For exported
models and restorers alone, `unveil evaluate --restorer` does the same.
"""

import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from benchmarks.command import Iterations, Limit, Occluders, Out, Partial, Root, Runs, Threads, run, write_results
from benchmarks.ocfw import Row, aligners
from benchmarks.results import COVERAGES

from unveil.baselines.coupled import ITERATIONS
from unveil.cli.progress import Bar, progress_bars
from unveil.data.datasets.ocfw import faces_of_kind
from unveil.data.datasets.registry import DataSet, read_data_set
from unveil.data.occlusion import SCALABLE, TEST_TEMPLATES, Library, occluder
from unveil.evaluation import ModelResult, Sweep, markdown_table, result_of, run_models
from unveil.evaluation.plots import sweep_png
from unveil.evaluation.provenance import code_facts
from unveil.evaluation.results import RESAMPLES, RESAMPLING_SEED
from unveil.inference.aligner import Aligner
from unveil.metrics import Interval, bootstrap_counts, bootstrap_interval

RESTORER = "gan-ia"
BARE = {"DRN": "drn", "PFLD": "pfld", "GlomFace-light": "glomface-light"}
ROWS = tuple(
    row for name, folder in BARE.items() for row in (Row(name, folder), Row(f"GAN-IA + {name}", folder, RESTORER))
)


def sweep_of(models: Mapping[str, Aligner], faces: DataSet, kind: str, library: Library, bar: Bar) -> Sweep:
    """Measure every model under a kind of occluder, at every coverage if it can be scaled."""
    coverages = COVERAGES if kind in SCALABLE else ()
    occluders = [occluder(kind, library, coverage) for coverage in coverages] or [occluder(kind, library)]
    measured = run_models(models, faces, occluders=occluders, progress=bar(f"{len(models)} rows under {kind}"))
    results = {
        name: tuple(result_of(name, one, measured.faces) for one in predictions)
        for name, predictions in measured.predictions.items()
    }
    return Sweep(coverages, results)


def gain(bare: ModelResult, restored: ModelResult) -> tuple[float, Interval]:
    """Return by how much the error falls, in per cent of the normaliser, and the 95 % interval over faces."""
    saved = 100 * (bare.face_errors - restored.face_errors)
    counts = bootstrap_counts(len(saved), np.random.default_rng(RESAMPLING_SEED), RESAMPLES)
    return float(saved.mean()), bootstrap_interval(saved, counts)


def table(sweeps: Mapping[str, Sweep]) -> str:
    """Return a row for each kind and coverage: errors without and with restoration, and the gain."""
    measured = next(iter(sweeps.values())).results
    pairs = [(name, f"GAN-IA + {name}") for name in BARE if {name, f"GAN-IA + {name}"} <= measured.keys()]

    def rows() -> Iterator[tuple[object, ...]]:
        for kind, sweep in sweeps.items():
            for i, coverage in enumerate(sweep.values or (None,)):
                cells: list[object] = []
                for names in pairs:
                    bare, restored = (sweep.results[name][i] for name in names)
                    saved, (low, high) = gain(bare, restored)
                    cells += [result.summary.percent[result.headline] for result in (bare, restored)]
                    cells.append(f"{saved:+.2f} ({low:+.2f} to {high:+.2f})")
                actual = next(iter(sweep.results.values()))[i].extra["face_coverage"]
                yield kind, None if coverage is None else f"{100 * coverage:g} %", f"{actual:.1f} %", *cells

    columns = (column for pair in pairs for column in (*pair, "gain (95 %)"))
    return markdown_table(("NME, ocular, %", "coverage", "measured", *columns), rows())


def library_of(folder: Path | None, group: str | None) -> Library:
    """Return the templates that no training uses, and the sprites of one folder; ValueError if it has none."""
    library = Library.read(folder)
    if library.templates:
        library = library.only(TEST_TEMPLATES)
    if group is None:
        return library
    sprites = tuple(sprite for sprite in library.sprites if sprite.group == group)
    if not sprites:
        raise ValueError(f"--group {group}: no such folder of sprites in {folder}; name a library that has it")
    return replace(library, sprites=sprites)


def main(
    root: Root,
    runs: Runs,
    out: Out,
    list: Path | None = None,
    library: Occluders = None,
    iterations: Iterations = ITERATIONS,
    threads: Threads = 1,
    kinds: tuple[str, ...] = ("noise",),
    group: str | None = None,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Write sweep.md, sweep.json and a plot for each kind that can be scaled.

    Args:
        list: Only the faces of Common that this list of `unveil prepare ocfw-list` calls clean.
        kinds: Kinds of occluder.
        group: Only the sprites of this folder of the library, as in hands.
    """
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    occluders = library_of(library, group)
    faces = read_data_set("300w/common", root, partial=partial)
    faces = (faces if list is None else faces_of_kind("clean", faces, list)).spaced(limit)
    models = aligners(ROWS, runs, iterations, threads)
    if not any(row.restorer and row.name in models for row in ROWS):
        raise ValueError(f"{runs}: no networks to measure; see docs/papers/gan-ia.md")
    with progress_bars() as bar:
        sweeps = {kind: sweep_of(models, faces, kind, occluders, bar) for kind in kinds}
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    for kind, sweep in sweeps.items():
        if sweep.values:
            title = f"{faces.label}, under {kind}, with and without restoration"
            (out / f"sweep-{kind}.png").write_bytes(sweep_png(sweep, title))
        metrics[kind] = {
            name: sweep.flat(name) if sweep.values else results[0].flat() for name, results in sweep.results.items()
        }
    facts = {"command": shlex.join(sys.argv), "faces": faces.label, **code_facts()}
    write_results(out, "sweep", {**facts, "figures": metrics}, table(sweeps))


if __name__ == "__main__":
    sys.exit(run(main))
