"""From settings to what learns by them: one function for every kind of run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from rich.console import Console

from unveil.baselines.cascade_training import CascadeTask
from unveil.baselines.pfld_training import PfldTask
from unveil.data.datasets.samples import Faces
from unveil.training.config import Alignment, AnyRun, Cascaded, PoseGuided, Restoring
from unveil.training.gan import RestorationTask
from unveil.training.landmarks import AlignmentTask
from unveil.training.trainer import Outcome, fit

AnyTask: TypeAlias = AlignmentTask | RestorationTask | PfldTask | CascadeTask


def task_of(faces: Faces, config: AnyRun, more: Sequence[Faces] = ()) -> AnyTask:
    """What these settings train on these faces; ValueError if the faces are not fit for it.

    `more` are faces that only train, of landmark networks of the hierarchies' contract.
    """
    if more and not isinstance(config, Alignment):
        raise ValueError(
            f"--more {more[0].label}: only GlomFace and what stands beside it takes more faces; leave it out"
        )
    match config:
        case Alignment():
            return AlignmentTask(faces, config, more)
        case Restoring():
            return RestorationTask(faces, config)
        case PoseGuided():
            return PfldTask(faces, config)
        case Cascaded():
            return CascadeTask(faces, config)


def fit_task(task: AnyTask, out: Path, *, resume: bool = False, console: Console | None = None) -> Outcome:
    """Trains to the end or to Ctrl-C; see `unveil.training.trainer.fit`."""
    if isinstance(task, RestorationTask) and console is not None:
        for name, figures in task.baselines().items():
            said = "  ".join(f"{figure} {value:.3f}" for figure, value in figures.items())
            console.print(f"held-out faces as they are {name}: {said}", highlight=False)
    if isinstance(task, CascadeTask):
        return task.fit(out, resume=resume, console=console)
    return fit(task, out, resume=resume, console=console)
