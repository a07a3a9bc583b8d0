"""What each part of GlomFace is worth: every variant trained alike, then measured on clean, masked and swept faces.

    python -m benchmarks.worth train --data PACK --library LIBRARY --out RUNS
    python -m benchmarks.worth report --root 300W --library LIBRARY --out RUNS

The first can be stopped and started again: it goes on where it was. The second takes the runs that are finished.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.trials import (
    AUGMENTATIONS,
    BUDGET,
    SHARES,
    SIZE,
    at_budget,
    bar_of,
    command_line,
    models_of,
    row,
    train_all,
)
from rich.console import Console
from rich.progress import Progress

from unveil.evaluation.plots import COLOURS, MARKERS, STROKES, png
from unveil.registry import PRESETS
from unveil.training.config import LandmarkTrainConfig

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


@dataclass(frozen=True, slots=True)
class Trial:
    """One variant under one augmentation; another seed tells how far two equal runs lie apart."""

    variant: str
    augmentation: str
    seed: int = 1

    @property
    def name(self) -> str:
        return f"{self.variant}.{self.augmentation}" + (f".seed{self.seed}" if self.seed > 1 else "")

    def config(self, library: Path | None, steps: int = BUDGET.steps) -> LandmarkTrainConfig:
        """The preset at the common size and budget."""
        return at_budget(self.variant, self.augmentation, seed=self.seed, steps=steps, library=library)


TRIALS = (
    *(Trial(variant, "full") for variant in VARIANTS),
    Trial("glomface-light", "full", seed=2),
    Trial("plain", "full", seed=2),
    *(Trial(variant, "noise") for variant in VARIANTS),
)


def train(data: Path, library: Path | None, out: Path, steps: int) -> None:
    """Trains what is not trained yet, one after the other."""
    from unveil.data.pack import read_faces

    train_all(read_faces(data), {trial.name: trial.config(library, steps) for trial in TRIALS}, out)


def report(root: Path, library: Path, out: Path) -> None:
    """`worth.md`, `worth.json` and `worth.png` in `out`, and each finished run's model beside its weights."""
    from benchmarks.computation import computation

    from unveil.data.datasets.registry import read_data_set
    from unveil.data.occlusion import TEST_TEMPLATES, Library
    from unveil.evaluation import EvaluationConfig, compare
    from unveil.schemes.scheme import IBUG68

    models = models_of((trial.name for trial in TRIALS), out)
    trials = [trial for trial in TRIALS if trial.name in models]
    faces = read_data_set("300w/common", root)
    pictures = Library.read(library)
    settings = {
        "clean": EvaluationConfig(),
        "masks": EvaluationConfig(occluder="mask"),
        "templates": EvaluationConfig(occluder="template", library=pictures.only(TEST_TEMPLATES)),
    }
    found: dict[str, dict[str, dict[str, float]]] = {trial.name: {} for trial in trials}
    swept = {trial.name: models[trial.name] for trial in trials if trial.variant in SWEPT and trial.seed == 1}
    with Progress(console=Console(stderr=True)) as progress:
        bar = bar_of(progress)
        for condition, setting in settings.items():
            figures = compare(models, faces, setting, progress=bar(f"{len(models)} models, {condition}"))
            for name in models:
                found[name][condition] = figures.flat(name)
        noise = EvaluationConfig(occluder="noise", coverages=SHARES)
        sweep = compare(swept, faces, noise, progress=bar(f"{len(swept)} models, swept")).sweep
    assert sweep is not None
    for name in swept:
        found[name]["sweep"] = sweep.flat(name)
    sizes = {
        variant: computation(PRESETS[variant].model.model_copy(update={"input_size": SIZE}), IBUG68)
        for variant in dict.fromkeys(trial.variant for trial in trials)
    }
    costs = {variant: (one.parameters / 1e6, one.flops / 1e9) for variant, one in sizes.items()}
    (out / "worth.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "worth.md").write_text("\n".join(table(trials, found, costs)) + "\n")
    (out / "worth.png").write_bytes(picture(found))
    print((out / "worth.md").read_text())


def table(
    trials: Sequence[Trial],
    found: Mapping[str, Mapping[str, Mapping[str, float]]],
    costs: Mapping[str, tuple[float, float]],
) -> Iterator[str]:
    """A line a variant: what it costs, then its errors under each augmentation."""
    conditions = ("clean", "masks", "templates")
    heads = [f"{condition}, {how}" for how in AUGMENTATIONS for condition in conditions]
    yield row("variant", "M parameters", "GFLOPs", *heads)
    yield f"|---|{'---|' * (2 + len(heads))}"
    rows = dict.fromkeys((trial.variant, trial.seed) for trial in trials)
    for variant, seed in rows:
        names = [Trial(variant, how, seed).name for how in AUGMENTATIONS]
        cells = [
            found[name][condition]["nme_ocular"] if name in found else None
            for name in names
            for condition in conditions
        ]
        again = ", another seed" if seed > 1 else ""
        yield row(VARIANTS[variant] + again, *costs[variant], *cells)


def picture(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> bytes:
    """The variants that differ in kind under more and more noise, each augmentation in a panel of its own: PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 5), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(AUGMENTATIONS), sharey=True, squeeze=False)[0]
    for axes, (how, words) in zip(panels, AUGMENTATIONS.items(), strict=True):
        for i, variant in enumerate(SWEPT):
            if sweep := found.get(Trial(variant, how).name, {}).get("sweep"):
                errors = [sweep[f"nme_ocular_at_coverage{100 * share:.0f}"] for share in SHARES]
                shares = [100 * share for share in SHARES]
                axes.plot(shares, errors, STROKES[i % 4], marker=MARKERS[i], color=COLOURS[i], label=VARIANTS[variant])
        axes.set_title(f"trained under {words}", fontsize=10)
        axes.set(xlabel="covered share of the face, in per cent", xlim=(0, None))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("NME, ocular, in per cent")
    return png(figure, panels[0], "upper left")


def main() -> None:
    given = command_line(__doc__, {"train": ["data"], "report": ["root", "library"]})
    if given.what == "train":
        train(given.data, given.library, given.out, given.steps)
    else:
        report(given.root, given.library, given.out)


if __name__ == "__main__":
    main()
