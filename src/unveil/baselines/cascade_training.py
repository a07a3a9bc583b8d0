"""Training DRN and SDM: stage after stage, each on the SIFT descriptors at the shapes that the stage before predicts.

N views, B of a batch, L landmarks, S pixels of a crop's side, W of the picture that a restorer looks at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from torch import Tensor, nn
from typing_extensions import override

from unveil.baselines.drn import Drn, DrnConfig
from unveil.baselines.sdm import LinearStage
from unveil.baselines.shape_indexed import Crops, Shapes, Stage, sift_at
from unveil.data.augment import AugmentConfig
from unveil.data.datasets.samples import Faces
from unveil.models.checkpoints import from_config, load_network
from unveil.training.batches import BatchSampler, as_tensors
from unveil.training.config import Count, FixedViewTrainConfig, ScheduleConfig
from unveil.training.faces import FacesTask, with_score
from unveil.training.restored_views import CHUNK, ROOM, RestoreCrops, of_stage
from unveil.training.runtime import process_count
from unveil.training.state import CHECKPOINT, save_weights, write_best, write_settings
from unveil.training.task import Batch, FitResult, Losses, Task
from unveil.training.validation import draw_landmarks, face_lengths, val_examples


class CascadeTrainConfig(FixedViewTrainConfig):
    """One run that trains DRN, or SDM in closed form. The schedule is that of each stage."""

    model: DrnConfig = DrnConfig()
    schedule: ScheduleConfig = ScheduleConfig(steps=3000, batch=64, lr=3e-4, warmup=0.034, decay=0.5, ema=0.99)
    augment: AugmentConfig = AugmentConfig(rotation=10.0)
    views: Count = 6
    """Views of each face, made once before the first stage."""
    closed_form: bool = False
    """Solve each stage by ridge regression, as SDM does; only without hidden layers."""
    ridge: Annotated[float, Field(gt=0)] = 20.0
    """Strength of the ridge penalty of the closed form."""
    restorer: Path | None = None
    """Train on restored faces: a restorer's weights, its run, a folder of seven, or a folder with one of these in
    `stage-1`, `stage-2` and so on for each stage."""


CASCADE_PRESETS: Mapping[str, CascadeTrainConfig] = MappingProxyType(
    {
        "drn": CascadeTrainConfig(),
        "sdm": CascadeTrainConfig(model=DrnConfig(hidden=(), stages=4), closed_form=True),
    }
)
"""On bare faces drn and sdm took at most ten minutes and have an NRMSE of 5.61 and 4.89 (docs/papers/gan-ia.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """Crops (N, S, S, 3), ground truth (N, L, 2), the current shapes, and the SIFT features there, (N, L, 128).

    With `restore` the crops are cut from the images (N, W, W, 3), restored around the shapes; else they are the images.
    OpenCV's descriptors are bytes, which float16 represents without loss.
    """

    images: Crops
    restore: Sequence[RestoreCrops]
    crops: Crops
    ground_truth: Shapes
    shapes: Shapes
    features: NDArray[np.float16]
    number: int = 0

    @classmethod
    def of(
        cls, examples: Sequence[Batch], start: NDArray[np.float32], restore: Sequence[RestoreCrops] = ()
    ) -> "_Views":
        """Return the views of examples with the crop, or with `ROOM` times its side if `restore` is given."""
        images = np.stack([example["images"].numpy() for example in examples])
        ground_truth = np.stack([example["points_unit"].numpy() for example in examples]) * np.float32(
            ROOM if restore else 1
        )
        shapes = np.repeat(start[None], len(images), axis=0)
        crops = restore[0](images, shapes) if restore else images
        return cls(images, restore, crops, ground_truth, shapes, _features(crops, shapes))

    def after(self, stage: Stage, *, last: bool) -> "_Views":
        """Return the views with the shapes after a stage; after the last stage the features are not updated."""
        steps = [stage(self.features[i : i + CHUNK].astype(np.float32)) for i in range(0, len(self.crops), CHUNK)]
        shapes = self.shapes + np.concatenate(steps)
        if last:
            return replace(self, shapes=shapes)
        number = self.number + 1
        crops = of_stage(self.restore, number)(self.images, shapes) if self.restore else self.crops
        return replace(self, shapes=shapes, crops=crops, features=_features(crops, shapes), number=number)


class StageTask(Task):
    """Train one stage. Its model is a DRN of that stage alone.

    Args:
        task: The cascade.
        views: The training views with the shapes that the stages before predict.
        val_views: The validation views of each condition, likewise.
        number: The stage, counted from 1.
    """

    model: Drn
    config: CascadeTrainConfig

    def __init__(self, task: "CascadeTask", views: _Views, val_views: dict[str, _Views], number: int) -> None:
        self.task, self.config, self.views, self.val_views = task, task.config, views, val_views
        network = task.config.model.model_copy(update={"stages": 1})
        self.faces, self.split, self.spec = task.faces, task.split, network.spec(task.faces.scheme)
        torch.manual_seed(task.config.schedule.seed + number)
        self.model = network.build(task.faces.scheme)
        self.model.set_mean_shape(torch.from_numpy(task.mean_shape))
        self.model.stage(0).standardise(torch.from_numpy(views.features).float())

    @override
    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        every = np.arange(len(self.views.crops))
        for items in BatchSampler(every, self.config.schedule, start, process, processes):
            indices = [index for _, index in items]
            yield {
                "features": torch.from_numpy(self.views.features[indices]),
                "offsets": torch.from_numpy(self.views.ground_truth[indices] - self.views.shapes[indices]),
                "ground_truth": torch.from_numpy(self.views.ground_truth[indices]),
                "images": torch.from_numpy(self.views.crops[indices]),
            }

    @override
    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        moved = {key: value.to(device).float() for key, value in batch.items()}
        moved["images"] = moved["images"].permute(0, 3, 1, 2) / 255
        return moved

    @override
    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """Return the mean over landmarks of the squared distance after the stage."""
        difference = model(batch["features"][None])[0] - batch["offsets"]
        return {"loss": difference.square().sum(dim=-1).mean()}

    @override
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the NME in percent on the validation split, clean and occluded, after this stage, and their mean."""
        (stage,) = cast(Drn, model).as_stages()  # SIFT is computed on the CPU
        return self.task.metrics({kind: views.after(stage, last=True) for kind, views in self.val_views.items()})

    @override
    @torch.no_grad()
    def sample_image(self, model: nn.Module, batch: Batch) -> Tensor:
        ground_truth, offsets = batch["ground_truth"][:8], batch["offsets"][:8]
        predicted = ground_truth - offsets + model(batch["features"][None, :8])[0]
        return draw_landmarks(batch["images"][:8], ground_truth, predicted)


class CascadeTask(FacesTask[CascadeTrainConfig]):
    """Train the stages of DRN or SDM, one after the other. The constructor is that of `FacesTask`."""

    model: Drn

    @override
    def setup(self, more: Sequence[Faces]) -> None:
        if self.config.closed_form and self.config.model.hidden:
            raise ValueError("--closed-form solves linear stages; leave it out or give --hidden without a number")
        if process_count() != 1:
            raise ValueError("a cascade is trained in one process; start it without a launcher")

    def fit(self, out: Path, *, resume: bool = False, console: Console | None = None) -> FitResult:
        """Train every stage in a folder of its own, then write all of them as one network with metrics and settings.

        An interrupted run continues in the stage where it stopped; the stages before it are loaded.

        Args:
            out: The run's folder.
            resume: Continue from its checkpoints.
            console: Where to print; stderr by default.

        Returns:
            The steps of all stages together, and the metrics after the last one.

        Raises:
            LaunchError: A checkpoint does not fit.
        """
        console = console or Console(stderr=True)
        write_settings(self.config, out)
        views, val_views = self.training_views(), self.val_views()
        count, steps = len(self.model.stages), 0
        for number in range(1, count + 1):
            stage = self.model.stage(number - 1)
            if self.config.closed_form:
                features = views.features.astype(np.float32)
                stage.set_linear(LinearStage.fit(features, views.ground_truth - views.shapes, self.config.ridge))
            else:
                folder = out / f"stage-{number}"
                again = resume and (folder / CHECKPOINT).is_file()
                result = StageTask(self, views, val_views, number).fit(folder, resume=again, console=console)
                steps += result.step
                if result.interrupted:
                    return FitResult(steps, result.best, interrupted=True)
                best = load_network(folder / "best.safetensors", {"drn": from_config(DrnConfig)})[0]
                stage.load_state_dict(cast(Drn, best).stage(0).state_dict())
            step, last = self.model.as_stages()[number - 1], number == count
            views = views.after(step, last=last)
            val_views = {kind: each.after(step, last=last) for kind, each in val_views.items()}
            shown = "  ".join(f"{name} {value:.3f}" for name, value in self.metrics(val_views).items())
            console.print(f"stage {number}/{count}  {shown}", highlight=False)
        metrics = self.metrics(val_views)
        save_weights(self.model, self.spec, out / "last.safetensors")
        write_best(self.model, self.spec, metrics, out)
        return FitResult(steps, metrics, interrupted=False)

    def training_views(self) -> _Views:
        """Return several random views of every training face, the same ones in every run."""
        return self._views(self.first_views(self.config.views * len(self.split.train)))

    def val_views(self) -> dict[str, _Views]:
        """Return the views of the validation split, for each condition."""
        size, room = (self.restored.size, ROOM) if self.restored else (self.config.model.input_size, 1.0)
        examples_of = val_examples(self.faces, self.split.val, size, self.sampler, room)
        return {kind: self._views([as_tensors(one) for one in examples]) for kind, examples in examples_of.items()}

    def _views(self, examples: Sequence[Batch]) -> _Views:
        return _Views.of(examples, self.mean_shape, self.restored.restorers if self.restored else ())

    def metrics(self, val_views: dict[str, _Views]) -> dict[str, float]:
        """Return the NME of the current shapes in percent of the normaliser; `score` is the mean over conditions.

        Args:
            val_views: The validation views of each condition.
        """
        metrics = {}
        for condition, views in val_views.items():
            ground_truth = torch.from_numpy(views.ground_truth)
            distance = (torch.from_numpy(views.shapes) - ground_truth).norm(dim=-1).mean(dim=1)
            nme = float((distance / face_lengths(ground_truth, self.faces.scheme, self.normaliser)).mean())
            metrics[f"nme_{self.normaliser}_{condition}"] = 100 * nme
        return with_score(metrics)


def _features(crops: Crops, shapes: Shapes) -> NDArray[np.float16]:
    parts = [sift_at(crops[i : i + CHUNK], shapes[i : i + CHUNK]) for i in range(0, len(crops), CHUNK)]
    return np.concatenate([part.astype(np.float16) for part in parts])
