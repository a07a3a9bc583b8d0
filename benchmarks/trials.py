"""What benchmarks that train networks share: one budget for all, runs that can be stopped, their models, their rows."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.progress import Progress

from unveil.data.datasets.samples import Faces
from unveil.inference.aligner import AlignmentModel
from unveil.registry import PRESETS, build_task
from unveil.training.config import LandmarkTrainConfig, ScheduleConfig
from unveil.training.presets import NOISE_ONLY

SIZE = 112
BUDGET = ScheduleConfig(steps=900, batch=16, warmup=0.11, decay=0.44, ema=0.99)
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # of the face under noise, in a sweep
PATHS = {
    "data": "a pack of training faces with 68 points",
    "root": "300W as it is released",
    "library": "mask templates and folders of sprites",
}
AUGMENTATIONS = {"full": "every occluder", "noise": "one rectangle of noise"}


Bar: TypeAlias = Callable[[str], Callable[[int, int], None]]
"""From what is done to what is told how much of it is."""


def command_line(description: str | None, needs: Mapping[str, Sequence[str]], **paths: str) -> argparse.Namespace:
    """What a benchmark was told to do, and with which paths; ends with a line if one is missing that this needs.

    `paths` are further ones, and their help.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(needs))
    for name, said in {**PATHS, **paths}.items():
        parser.add_argument(f"--{name}", type=Path, help=said)
    parser.add_argument("--steps", type=int, default=BUDGET.steps, help="fewer, to try things out")
    parser.add_argument("--out", type=Path, required=True, help="a folder that git ignores")
    given = parser.parse_args()
    for name in needs[given.what]:
        if getattr(given, name) is None:
            parser.error(f"{given.what} needs --{name}, {(PATHS | paths)[name]}")
    return given


def at_budget(
    variant: str, augmentation: str, *, seed: int = 1, steps: int = BUDGET.steps, library: Path | None = None
) -> LandmarkTrainConfig:
    """The preset at the common size and budget; with fewer steps, to try things out, all of it in proportion."""
    preset = PRESETS[variant]
    assert isinstance(preset, LandmarkTrainConfig)
    changes: dict[str, object] = {
        "model": preset.model.model_copy(update={"input_size": SIZE}),
        "schedule": BUDGET.model_copy(update={"seed": seed, "steps": steps}),
        "validate_every": steps,
        "checkpoint_every": min(300, steps),
        "image_every": steps,
    }
    if augmentation == "noise":
        changes |= {
            "occlusion": NOISE_ONLY,
        }
    else:
        pictures = {} if library is None else {"library": library, "template": 1.0, "sprite": 2.0}
        changes["occlusion"] = preset.occlusion.model_copy(update={"flat": 2.0, **pictures})
    return preset.model_copy(update=changes)


def is_trained(run: Path) -> bool:
    """Whether a run has ended: `best.json` is written by its one validation, at the end."""
    return (run / "best.json").exists()


def train_all(faces: Faces, configs: Mapping[str, LandmarkTrainConfig], out: Path) -> bool:
    """Trains what is not trained yet, one after the other, each in its folder of `out`; False if it was stopped."""
    from unveil.training.runtime import keep_freed_memory

    keep_freed_memory()
    console = Console(stderr=True)
    for name, config in configs.items():
        folder = out / name
        if is_trained(folder):
            continue
        console.rule(name)
        begun = (folder / "checkpoint.pt").exists()
        if build_task(faces, config).fit(folder, resume=begun, console=console).interrupted:
            return False
        (folder / "checkpoint.pt").unlink()
    return True


def models_of(names: Iterable[str], out: Path, threads: int = 1) -> dict[str, AlignmentModel]:
    """The models of those runs in `out` that are trained, exported beside their weights if that was not done before."""
    from unveil.export.onnx_export import export_model

    models = {}
    for name in names:
        run = out / name
        if not is_trained(run):
            continue
        if not (run / "model" / "config.json").exists():
            Console(stderr=True).print(f"exporting {name}")
            export_model(run / "last.safetensors", run / "model", name)
        models[name] = AlignmentModel.load(run / "model", threads)
    return models


def row(*cells: object) -> str:
    """A line of a Markdown table; errors with two digits, a cell that was not measured as a dash."""
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(cell: object) -> str:
    return "–" if cell is None else f"{cell:.2f}" if isinstance(cell, float) else str(cell)  # noqa: RUF001


def bar_of(progress: Progress) -> Bar:
    """A bar for each thing that is done."""

    def bar(what: str) -> Callable[[int, int], None]:
        task = progress.add_task(what, total=None)
        return lambda done, total: progress.update(task, completed=done, total=total)

    return bar
