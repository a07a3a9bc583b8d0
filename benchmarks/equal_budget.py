"""Training of many networks at one budget, in runs that can be stopped and resumed, and their exported models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from unveil.data.datasets.samples import Faces
from unveil.export.onnx_export import export_model
from unveil.inference.aligner import AlignmentModel
from unveil.registry import PRESETS, build_task
from unveil.training.config import LandmarkTrainConfig, ScheduleConfig
from unveil.training.presets import NOISE_ONLY
from unveil.training.runtime import keep_freed_memory

SIZE = 112
BUDGET = ScheduleConfig(steps=900, batch=16, warmup=0.11, decay=0.44, ema=0.99)
OCCLUSIONS = {"full": "every occluder", "noise": "one rectangle of noise"}


@dataclass(frozen=True, slots=True)
class Trial:
    """One preset under one kind of training occlusion; a second seed shows how much equal runs differ."""

    variant: str
    occlusion: str = "full"
    seed: int = 1

    @property
    def name(self) -> str:
        return f"{self.variant}.{self.occlusion}" + (f".seed{self.seed}" if self.seed > 1 else "")

    def config(self, library: Path | None, steps: int | None = None) -> LandmarkTrainConfig:
        """Return the preset at the common size and budget; fewer steps keep the proportions of the schedule."""
        preset = PRESETS[self.variant]
        assert isinstance(preset, LandmarkTrainConfig)
        steps = steps or BUDGET.steps
        images = {} if library is None else {"library": library, "template": 1.0, "sprite": 2.0}
        every_kind = preset.occlusion.model_copy(update={"flat": 2.0, **images})
        changes = {
            "model": preset.model.model_copy(update={"input_size": SIZE}),
            "schedule": BUDGET.model_copy(update={"seed": self.seed, "steps": steps}),
            "occlusion": NOISE_ONLY if self.occlusion == "noise" else every_kind,
            "validate_every": steps,
            "checkpoint_every": min(300, steps),
            "image_every": steps,
        }
        return preset.model_copy(update=changes)


def is_trained(run: Path) -> bool:
    """Return whether a run has ended: `best.json` is written by its one validation, at the end."""
    return (run / "best.json").exists()


def train_all(faces: Faces, configs: Mapping[str, LandmarkTrainConfig], out: Path) -> bool:
    """Train what is not trained yet, each in its folder of `out`; False if training was interrupted."""
    keep_freed_memory()
    console = Console(stderr=True)
    for name, config in configs.items():
        folder = out / name
        if is_trained(folder):
            continue
        console.rule(name)
        checkpoint = folder / "checkpoint.pt"
        if build_task(faces, config).fit(folder, resume=checkpoint.exists(), console=console).interrupted:
            return False
        checkpoint.unlink()
    return True


def trained_models(names: Iterable[str], out: Path) -> dict[str, AlignmentModel]:
    """Return the models of the runs in `out` that are trained; they are exported if necessary."""
    models = {}
    for name in names:
        run = out / name
        if not is_trained(run):
            continue
        if not (run / "model" / "config.json").exists():
            export_model(run / "last.safetensors", run / "model", name)
        models[name] = AlignmentModel.load(run / "model", threads=1)
    return models
