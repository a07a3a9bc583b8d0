"""Whether restoring a face before its landmarks are sought helps, by how much, and at which covered share.

    python -m benchmarks.restored_sweep --root 300W --runs RUNS --out OUT [--library LIBRARY] [--list ocfw.csv]

DRN, PFLD and GlomFace-light with and without GAN-IA, on the same faces under the same occluders. `noise`, `polygon` and
`sprite` are scaled to each share; `mask`, `sunglasses` and `template` are as large as they are. With --list on those
faces of Common that it calls clean. RUNS is as for `benchmarks.ocfw`.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from benchmarks.ocfw import NOTHING, Row, aligners, parser_of, thin
from benchmarks.trials import SHARES, Bar, bar_of
from rich.console import Console
from rich.progress import Progress

from unveil.data.datasets.ocfw import faces_of_kind
from unveil.data.datasets.registry import DataSet, read_data_set
from unveil.data.occlusion import KINDS, SCALABLE, TEST_TEMPLATES, Library, occluder
from unveil.evaluation import ModelResult, Sweep, result_of, run_models
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


def swept(models: Mapping[str, Aligner], faces: DataSet, kind: str, library: Library, bar: Bar) -> Sweep:
    """Every model under that kind of occluder, at every share if it can be scaled."""
    shares = SHARES if kind in SCALABLE else ()
    occluders = [occluder(kind, library, share) for share in shares] or [occluder(kind, library)]
    run = run_models(models, faces, occluders=occluders, progress=bar(f"{len(models)} rows under {kind}"))
    figures = {
        name: tuple(result_of(name, outcome, run.faces) for outcome in outcomes)
        for name, outcomes in run.predictions.items()
    }
    return Sweep(shares, figures)


def gain(bare: ModelResult, restored: ModelResult) -> tuple[float, Interval]:
    """By how much the error falls, in per cent of the normaliser, and where the mean over faces may lie."""
    saved = 100 * (bare.face_errors - restored.face_errors)
    drawn = bootstrap_counts(len(saved), np.random.default_rng(RESAMPLING_SEED), RESAMPLES)
    return float(saved.mean()), bootstrap_interval(saved, drawn)


def table(sweeps: Mapping[str, Sweep]) -> Iterator[str]:
    """A line a kind and share: errors with and without restoring, and the difference face by face."""
    measured = next(iter(sweeps.values())).results
    pairs = [(name, f"GAN-IA + {name}") for name in BARE if {name, f"GAN-IA + {name}"} <= measured.keys()]
    heads = [head for bare, behind in pairs for head in (bare, behind, "restoring saves (95 %)")]
    yield f"| NME, ocular, % | asked | covered | {' | '.join(heads)} |"
    yield f"|---|{'---|' * (len(heads) + 2)}"
    for kind, sweep in sweeps.items():
        for i, share in enumerate(sweep.values or (None,)):
            cells: list[str] = []
            for bare, behind in pairs:
                one, other = sweep.results[bare][i], sweep.results[behind][i]
                saved, (low, high) = gain(one, other)
                errors = (figures.summary.percent[figures.headline] for figures in (one, other))
                cells += [*(f"{error:.2f}" for error in errors), f"{saved:+.2f} ({low:+.2f} to {high:+.2f})"]
            covered = next(iter(sweep.results.values()))[i].extra["face_coverage"]
            asked = NOTHING if share is None else f"{100 * share:g} %"
            yield f"| {kind} | {asked} | {covered:.1f} % | {' | '.join(cells)} |"


def library_of(folder: Path | None, group: str | None) -> Library:
    """Templates that no training has seen, and the sprites of one folder; ValueError if it has none."""
    library = Library.read(folder)
    if library.templates:
        library = library.only(TEST_TEMPLATES)
    if group is None:
        return library
    sprites = tuple(sprite for sprite in library.sprites if sprite.group == group)
    if not sprites:
        raise ValueError(f"--group {group}: no such folder of sprites in {folder}; name a library that has it")
    return replace(library, sprites=sprites)


def flat(sweep: Sweep, model: str) -> dict[str, float]:
    """A model's figures, metric name to value."""
    return sweep.flat(model) if sweep.values else sweep.results[model][0].flat()


def main(arguments: Sequence[str]) -> int:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--list", type=Path, help="faces that this list of `unveil prepare ocfw` calls clean, not all of Common"
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["noise"])
    parser.add_argument("--group", help="of the library's sprites those of this folder alone, as in hands")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        try:
            library = library_of(given.library, given.group)
            faces = read_data_set("300w/common", given.root, partial=given.partial)
            faces = thin(faces if given.list is None else faces_of_kind("clean", faces, given.list), given.thin)
            models = aligners(ROWS, given.runs, given.iterations, given.threads)
            if not any(row.restorer and row.name in models for row in ROWS):
                raise ValueError(f"{given.runs}: no networks to measure; see docs/papers/gan-ia.md")
            sweeps = {kind: swept(models, faces, kind, library, bar_of(progress)) for kind in given.kinds}
        except (ValueError, OSError) as error:
            progress.stop()
            print(f"error: {error}", file=sys.stderr)
            return 2
    for kind, sweep in sweeps.items():
        if sweep.values:
            title = f"{faces.label}, under {kind}, with and without restoring"
            (given.out / f"sweep-{kind}.png").write_bytes(sweep_png(sweep, title))
    found = {kind: {model: flat(sweep, model) for model in models} for kind, sweep in sweeps.items()}
    facts = {"command": f"python -m benchmarks.restored_sweep {' '.join(arguments)}", "faces": faces.label}
    (given.out / "sweep.json").write_text(json.dumps({**facts, **code_facts(), "figures": found}, indent=1) + "\n")
    text = "\n".join(table(sweeps)) + "\n"
    (given.out / "sweep.md").write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
