"""Ablation of GlomFace: variants trained at one budget, measured on clean, masked and partly occluded faces.

    python -m benchmarks.ablation train --data PACK --library LIBRARY --out RUNS
    python -m benchmarks.ablation report --root 300W --library LIBRARY --out RUNS

The first command can be stopped and started again. The second one measures the runs that are finished.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.command import Data, Occluders, Out, Root, Steps, run, write_results
from benchmarks.computation import computation
from benchmarks.equal_budget import BUDGET, OCCLUSIONS, SIZE, Trial, train_all, trained_models
from benchmarks.results import COVERAGES

from unveil.cli.progress import progress_bars
from unveil.data.datasets.registry import read_data_set
from unveil.data.occlusion import TEST_TEMPLATES, Library
from unveil.data.pack import read_faces
from unveil.evaluation import EvaluationConfig, Sweep, compare, markdown_table
from unveil.evaluation.plots import sweep_png
from unveil.registry import PRESETS
from unveil.schemes.scheme import IBUG68

VARIANTS = {
    "glomface-light": "full: five levels, T = 3",
    "light-no-phm": "no part to whole (PHM)",
    "light-no-whm": "no whole to part (WHM)",
    "light-no-memory": "no memory between steps",
    "light-2-levels": "two levels: landmarks, whole",
    "light-3-levels": "three levels: + groups",
    "light-4-levels": "four levels: + regions",
    "light-1-step": "T = 1",
    "light-2-steps": "T = 2",
    "light-4-steps": "T = 4",
    "plain": "no hierarchy: plain regressor",
    "hourglass": "two hourglasses",
    "hourglass-boundaries": "two hourglasses with boundary maps",
}
SWEPT = ("glomface-light", "light-no-phm", "light-no-whm", "plain", "hourglass", "hourglass-boundaries")
CONDITIONS = ("clean", "masks", "templates")
TRIALS = (
    *(Trial(variant, occlusion) for occlusion in OCCLUSIONS for variant in VARIANTS),
    Trial("glomface-light", seed=2),
    Trial("plain", seed=2),
)

Metrics = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By run, condition and metric."""


def train(data: Data, out: Out, library: Occluders = None, steps: Steps = BUDGET.steps) -> None:
    """Train what is not trained yet."""
    train_all(read_faces(data), {trial.name: trial.config(library, steps) for trial in TRIALS}, out)


def report(root: Root, library: Occluders, out: Out) -> None:
    """Write `ablation.md`, `ablation.json` and a plot for each training occlusion, and export the models."""
    models = trained_models((trial.name for trial in TRIALS), out)
    trials = [trial for trial in TRIALS if trial.name in models]
    faces = read_data_set("300w/common", root)
    configs = (
        EvaluationConfig(),
        EvaluationConfig(occluder="mask"),
        EvaluationConfig(occluder="template", library=Library.read(library).only(TEST_TEMPLATES)),
    )
    found: dict[str, dict[str, dict[str, float]]] = {trial.name: {} for trial in trials}
    swept = {trial.name: trial for trial in trials if trial.variant in SWEPT and trial.seed == 1}
    with progress_bars() as bar:
        for condition, config in zip(CONDITIONS, configs, strict=True):
            comparison = compare(models, faces, config, progress=bar(f"{len(models)} models, {condition}"))
            for name in models:
                found[name][condition] = comparison.flat(name)
        noise = EvaluationConfig(occluder="noise", coverages=COVERAGES)
        chosen = {name: models[name] for name in swept}
        sweep = compare(chosen, faces, noise, progress=bar(f"{len(swept)} models under noise")).sweep
    assert sweep is not None
    for occlusion, words in OCCLUSIONS.items():
        results = {
            VARIANTS[trial.variant]: sweep.results[name]
            for name, trial in swept.items()
            if trial.occlusion == occlusion
        }
        plot = sweep_png(Sweep(sweep.values, results), f"{faces.label} under noise, trained under {words}")
        (out / f"ablation-{occlusion}.png").write_bytes(plot)
    for name in swept:
        found[name]["sweep"] = sweep.flat(name)
    write_results(out, "ablation", found, table(trials, found))


def table(trials: Sequence[Trial], found: Metrics) -> str:
    """Return a row for each variant and seed: its cost, then its errors under each training occlusion."""

    def rows() -> Iterator[tuple[object, ...]]:
        for variant, seed in dict.fromkeys((trial.variant, trial.seed) for trial in trials):
            cost = computation(PRESETS[variant].model.model_copy(update={"input_size": SIZE}), IBUG68)
            runs = [found.get(Trial(variant, occlusion, seed).name) for occlusion in OCCLUSIONS]
            errors = [one and one[condition]["nme_ocular"] for one in runs for condition in CONDITIONS]
            name = VARIANTS[variant] + (", another seed" if seed > 1 else "")
            yield name, cost.parameters / 1e6, cost.flops / 1e9, *errors

    header = [f"{condition}, {occlusion}" for occlusion in OCCLUSIONS for condition in CONDITIONS]
    return markdown_table(("variant", "M parameters", "GFLOPs", *header), rows())


if __name__ == "__main__":
    sys.exit(run(train, report))
