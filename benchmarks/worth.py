"""What each part of GlomFace is worth: every variant trained alike, then measured on clean, masked and swept faces.

    python benchmarks/worth.py train --data PACK --library OCCLUDERS --out RUNS
    python benchmarks/worth.py report --root 300W --library OCCLUDERS --out RUNS

The first can be stopped and started again: it goes on where it was. The second takes the runs that are finished.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from unveil.training.config import Alignment, Schedule
from unveil.training.presets import NOISE_ONLY, PRESETS

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
AUGMENTATIONS = {"full": "every occluder", "noise": "one rectangle of noise"}
SWEPT = ("glomface-light", "light-no-phm", "light-no-whm", "plain", "hourglass", "hourglass-boundaries")
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
HELD_OUT = ("surgical", "N95", "cloth")
SIZE = 112
BUDGET = Schedule(steps=900, batch=16, warmup=100, decay=400, ema=0.99)


@dataclass(frozen=True, slots=True)
class Trial:
    """One variant under one augmentation; another seed tells how far two equal runs lie apart."""

    variant: str
    augmentation: str
    seed: int = 1

    @property
    def name(self) -> str:
        return f"{self.variant}.{self.augmentation}" + (f".seed{self.seed}" if self.seed > 1 else "")

    def config(self, library: Path | None) -> Alignment:
        """The preset at the common size and budget."""
        preset = PRESETS[self.variant]
        assert isinstance(preset, Alignment)
        changes: dict[str, object] = {
            "model": preset.model.model_copy(update={"size": SIZE}),
            "schedule": BUDGET.model_copy(update={"seed": self.seed}),
            "validate_every": BUDGET.steps,
            "checkpoint_every": 300,
            "picture_every": BUDGET.steps,
        }
        if self.augmentation == "noise":
            changes |= {
                "occlusion": NOISE_ONLY,
                "augmentation": preset.augmentation.model_copy(update={"occlude": 0.5}),
            }
        elif library is not None:
            pictures = {"library": library, "template": 1.0, "sprite": 2.0}
            changes["occlusion"] = preset.occlusion.model_copy(update=pictures)
        return preset.model_copy(update=changes)


TRIALS = (
    *(Trial(variant, "full") for variant in VARIANTS),
    Trial("glomface-light", "full", seed=2),
    Trial("plain", "full", seed=2),
    *(Trial(variant, "noise") for variant in VARIANTS),
)


def train(data: Path, library: Path | None, out: Path) -> None:
    """Trains what is not trained yet, one after the other."""
    from unveil.data.pack import read_faces
    from unveil.training.alignment import AlignmentTask
    from unveil.training.loop import fit
    from unveil.training.memory import keep_freed_memory

    keep_freed_memory()
    faces, console = read_faces(data), Console(stderr=True)
    for trial in TRIALS:
        folder = out / trial.name
        if (folder / "best.json").exists():  # written by the one validation, at the end
            continue
        console.rule(trial.name)
        begun = (folder / "checkpoint.pt").exists()
        outcome = fit(AlignmentTask(faces, trial.config(library)), folder, resume=begun, console=console)
        if outcome.interrupted:
            return
        (folder / "checkpoint.pt").unlink()


def report(root: Path, library: Path, out: Path) -> None:
    """`worth.md`, `worth.json` and `worth.png` in `out`, and each finished run's model beside its weights."""
    from benchmarks.computation import computation

    from unveil.data.landmarks import read_data_set
    from unveil.data.occlusion import Library
    from unveil.evaluation import Setting, compare
    from unveil.export import export_model
    from unveil.face.schemes import IBUG68
    from unveil.inference.runtime import AlignmentModel

    console = Console(stderr=True)
    trials = [trial for trial in TRIALS if (out / trial.name / "best.json").exists()]
    for trial in trials:
        folder = out / trial.name
        if not (folder / "model" / "config.json").exists():
            console.print(f"exporting {trial.name}")
            export_model(folder / "last.safetensors", folder / "model", trial.name)
    models = {trial.name: AlignmentModel.load(out / trial.name / "model", 2) for trial in trials}
    faces = read_data_set("300w/common", root)
    pictures = Library.read(library)
    settings = {
        "clean": Setting(),
        "masks": Setting(kind="mask"),
        "templates": Setting(kind="template", library=pictures.only(HELD_OUT), only=HELD_OUT),
    }
    found: dict[str, dict[str, dict[str, float]]] = {trial.name: {} for trial in trials}
    for condition, setting in settings.items():
        console.print(f"measuring {len(models)} models, {condition}")
        figures = compare(models, faces, setting)
        for name in models:
            found[name][condition] = figures.flat(name)
    swept = {trial.name: models[trial.name] for trial in trials if trial.variant in SWEPT and trial.seed == 1}
    console.print(f"sweeping {len(swept)} models")
    sweep = compare(swept, faces, Setting(kind="noise", shares=SHARES)).sweep
    assert sweep is not None
    for name in swept:
        found[name]["sweep"] = sweep.flat(name)
    sizes = {
        variant: computation(PRESETS[variant].model.model_copy(update={"size": SIZE}), IBUG68) for variant in VARIANTS
    }
    costs = {variant: (one.parameters / 1e6, one.flops / 1e9) for variant, one in sizes.items()}
    (out / "worth.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "worth.md").write_text("\n".join(table(trials, found, costs)) + "\n")
    (out / "worth.png").write_bytes(picture(sweep.lines()))
    print((out / "worth.md").read_text())


def table(
    trials: Sequence[Trial],
    found: Mapping[str, Mapping[str, Mapping[str, float]]],
    costs: Mapping[str, tuple[float, float]],
) -> Iterator[str]:
    """A line a variant: what it costs, then its errors under each augmentation."""
    conditions = ("clean", "masks", "templates")
    heads = [f"{condition}, {how}" for how in AUGMENTATIONS for condition in conditions]
    yield f"| variant | M parameters | GFLOPs | {' | '.join(heads)} |"
    yield f"|---|{'---|' * (2 + len(heads))}"
    rows = dict.fromkeys((trial.variant, trial.seed) for trial in trials)
    for variant, seed in rows:
        names = [Trial(variant, how, seed).name for how in AUGMENTATIONS]
        cells = [
            f"{found[name][condition]['nme_ocular']:.2f}" if name in found else "–"  # noqa: RUF001
            for name in names
            for condition in conditions
        ]
        again = ", another seed" if seed > 1 else ""
        parameters, gflops = costs[variant]
        yield f"| {VARIANTS[variant]}{again} | {parameters:.2f} | {gflops:.2f} | {' | '.join(cells)} |"


def picture(lines: Sequence[object]) -> bytes:
    """The sweep of the variants that differ in kind, each under both augmentations."""
    from unveil.evaluation.plots import sweep_png

    return sweep_png(lines, "ocular", f"300W Common under a rectangle of noise, {SIZE} px, equal budget")  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "report"))
    parser.add_argument("--data", type=Path, help="a pack of training faces")
    parser.add_argument("--root", type=Path, help="300W as it is released")
    parser.add_argument("--library", type=Path, help="mask templates and folders of sprites")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.what == "train":
        train(given.data, given.library, given.out)
    else:
        report(given.root, given.library, given.out)


if __name__ == "__main__":
    main()
