"""Training DRN and SDM: stage after stage, each on what SIFT sees where the last one left off.

N views, B of a batch, L landmarks, S pixels of a crop's side, W of the picture that a restorer looks at.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from unveil.baselines.drn import Drn, RegressionStage
from unveil.baselines.sdm import LinearStage
from unveil.baselines.shape_indexed import Crops, Restore, Shapes, Stage, sift_at
from unveil.data.augment import Example, augmented
from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import OcclusionSampler
from unveil.data.shape_balance import mean_shape
from unveil.data.tps_warp import OtherShapes
from unveil.geometry import Crop
from unveil.io.files import atomic_write
from unveil.models.checkpoints import build, load_network
from unveil.models.restorers import FaceRestorer, composed, load_restorer
from unveil.training.batches import Batch, Draws, Share, held_out_examples, left_out_kinds, split_by_name
from unveil.training.config import Cascaded
from unveil.training.normaliser import face_lengths, training_normaliser
from unveil.training.pictures import drawn_landmarks
from unveil.training.trainer import Outcome, fit, save_weights

CHUNK = 256
ROOM = 1.4  # sides of the crop that a restorer is shown: its window is larger than the face, and may be off


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Crops (N, S, S, 3), the truth (N, L, 2), the shapes found so far, and SIFT's features there, (N, L, 128).

    With `restore` the crops are those of the pictures (N, W, W, 3) restored round the shapes; else they are the
    pictures. OpenCV's descriptors are bytes, which float16 holds without loss.
    """

    pictures: Crops
    restore: Restore | None
    crops: Crops
    truth: Shapes
    shapes: Shapes
    features: NDArray[np.float16]

    @classmethod
    def of(cls, examples: Sequence[Example], start: NDArray[np.float32], restore: Restore | None = None) -> "Views":
        """Of examples that show the crop, or `ROOM` times its side if they are to be restored."""
        pictures = np.stack([example.image for example in examples])
        truth = np.stack([example.points_unit for example in examples]) * np.float32(ROOM if restore else 1)
        shapes = np.repeat(start[None], len(pictures), axis=0)
        crops = restore(pictures, shapes) if restore else pictures
        return cls(pictures, restore, crops, truth, shapes, _features(crops, shapes))

    def after(self, stage: Stage, *, last: bool) -> "Views":
        """The views with the shapes that a stage leads to; after the last one nothing looks at features again."""
        steps = [stage(self.features[i : i + CHUNK].astype(np.float32)) for i in range(0, len(self.crops), CHUNK)]
        shapes = self.shapes + np.concatenate(steps)
        if last:
            return replace(self, shapes=shapes)
        crops = self.restore(self.pictures, shapes) if self.restore else self.crops
        return replace(self, shapes=shapes, crops=crops, features=_features(crops, shapes))


class StageTask:
    """What the loop needs to know about one stage. Its model is a DRN of that stage alone."""

    kept = ""

    def __init__(self, task: "CascadeTask", views: Views, held_out: dict[str, Views], number: int) -> None:
        self.task, self.views, self.held_out, self.config = task, views, held_out, task.config
        self.blueprint = replace(task.blueprint, sizes={**task.blueprint.sizes, "stages": 1})
        torch.manual_seed(task.config.schedule.seed + number)
        self.model = build(self.blueprint)
        self.model.get_buffer("mean_shape").copy_(torch.from_numpy(task.start))
        only_stage(self.model).standardise(torch.from_numpy(views.features).float())

    def turns(self, _step: int) -> tuple[str, ...]:
        return ("",)

    def parameter_groups(self) -> list[dict[str, object]]:
        return [self.config.schedule.group(self.model.parameters())]

    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        """Views from step `start` on, drawn alike."""
        every, share = np.arange(len(self.views.crops)), Share(process, processes)
        for items in Draws.of(self.task.faces, every, self.config.schedule, start, share):
            indices = [index for _, index in items]
            yield {
                "features": torch.from_numpy(self.views.features[indices]),
                "offsets": torch.from_numpy(self.views.truth[indices] - self.views.shapes[indices]),
                "truth": torch.from_numpy(self.views.truth[indices]),
                "images": torch.from_numpy(self.views.crops[indices]),
            }

    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        moved = {key: value.to(device).float() for key, value in batch.items()}
        moved["images"] = moved["images"].permute(0, 3, 1, 2) / 255
        return moved

    def losses(self, model: nn.Module, batch: Batch, _turn: str, _step: int) -> dict[str, Tensor]:
        """The mean over landmarks of the squared distance that is left."""
        left = model(batch["features"][None])[0] - batch["offsets"]
        return {"loss": left.square().sum(dim=-1).mean()}

    def validate(self, model: nn.Module, _: torch.device) -> dict[str, float]:
        """NME in percent on the held-out slice, clean and occluded, after this stage; `score` is their mean."""
        (stage,) = _numpy(model)
        return self.task.figures({kind: views.after(stage, last=True) for kind, views in self.held_out.items()})

    @torch.no_grad()
    def picture(self, model: nn.Module, batch: Batch) -> Tensor:
        """Eight faces of a batch with truth in white and this stage's shape in red, (3, S, 8 S), uint8."""
        truth, offsets = batch["truth"][:8], batch["offsets"][:8]
        found = truth - offsets + model(batch["features"][None, :8])[0]
        return drawn_landmarks(batch["images"][:8], truth, found)


class CascadeTask:
    """The stages of DRN or SDM, trained one after the other. `fit` does what the loop's does for other tasks.

    ValueError if the faces are too few, or hidden layers are to be solved in closed form.
    """

    def __init__(self, faces: Faces, config: Cascaded) -> None:
        cv2.setNumThreads(1)
        if config.closed_form and config.model.hidden:
            raise ValueError("--closed-form solves linear stages; leave it out or give --hidden without a number")
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise ValueError("a cascade is trained in one process; start it without a launcher")
        self.notes = left_out_kinds(config.occlusion, faces.scheme)
        config = config.model_copy(update={"occlusion": config.occlusion.for_scheme(faces.scheme)})
        self.faces, self.config = faces, config
        self.slices = split_by_name(faces.names, config.held_out_share)
        count = len(self.slices.training) * config.views
        if count < config.schedule.batch or not len(self.slices.validation):
            sizes = f"{count} views to train on and {len(self.slices.validation)} faces to validate"
            raise ValueError(f"{faces.label}: {sizes}, for a batch of {config.schedule.batch}; lower --batch")
        self.normaliser = training_normaliser(faces.scheme)
        self.sampler = OcclusionSampler(config.occlusion)
        self.restore, self.room, self.wide = None, 1.0, config.model.size
        if config.restorer is not None:
            self.restore = restoring(load_restorer(config.restorer), config.model.size)
            self.room, self.wide = ROOM, round(ROOM * config.model.size)
        self.start = mean_shape(faces.points_px[self.slices.training], faces.scheme)
        self.blueprint = config.model.blueprint(faces.scheme)
        self.model = build(self.blueprint)
        self.model.get_buffer("mean_shape").copy_(torch.from_numpy(self.start))

    def fit(self, out: Path, *, resume: bool = False, console: Console | None = None) -> Outcome:
        """Trains every stage in a folder of its own, then writes all of them as one network, its figures and settings.

        A stopped run goes on in the stage where it stopped; the stages before it are read, not trained.
        """
        console = console or Console(stderr=True)
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(out / "config.json") as temporary:
            temporary.write_text(self.config.model_dump_json(indent=2) + "\n")
        views, held_out = self.training_views(), self.held_out_views()
        stages, steps = list(self.model.get_submodule("stages").children()), 0
        for number, stage in enumerate(stages, start=1):
            if self.config.closed_form:
                seen = views.features.astype(np.float32)
                solved = LinearStage.fit(seen, views.truth - views.shapes, self.config.ridge)
                as_stage(stage).take(solved)
            else:
                folder = out / f"stage-{number}"
                again = resume and (folder / "checkpoint.pt").is_file()
                outcome = fit(StageTask(self, views, held_out, number), folder, resume=again, console=console)
                steps += outcome.step
                if outcome.interrupted:
                    return Outcome(steps, outcome.best, interrupted=True)
                best = only_stage(load_network(folder / "best.safetensors")[0])
                stage.load_state_dict(best.state_dict())
            step, last = _numpy(self.model)[number - 1], number == len(stages)
            views, held_out = (
                views.after(step, last=last),
                {kind: held.after(step, last=last) for kind, held in held_out.items()},
            )
            said = "  ".join(f"{name} {value:.3f}" for name, value in self.figures(held_out).items())
            console.print(f"stage {number}/{len(stages)}  {said}", highlight=False)
        figures = self.figures(held_out)
        for name in ("best.safetensors", "last.safetensors"):
            save_weights(self.model, self.blueprint, out / name)
        with atomic_write(out / "best.json") as temporary:
            temporary.write_text(json.dumps(figures, indent=2) + "\n")
        return Outcome(steps, figures, interrupted=False)

    def training_views(self) -> Views:
        """Every training face in several random views, the same ones in every run."""
        config, examples = self.config, []
        low, high = config.augmentation.scale
        augmentation = config.augmentation.model_copy(update={"scale": (self.room * low, self.room * high)})
        others = OtherShapes(self.faces.points_px[self.slices.training])
        for draw in range(config.views * len(self.slices.training)):
            index = int(self.slices.training[draw % len(self.slices.training)])
            examples.append(
                augmented(
                    self.faces.image(index),
                    self.faces.points_px[index],
                    scheme=self.faces.scheme,
                    size=self.wide,
                    config=augmentation,
                    occlude=self.sampler,
                    rng=np.random.default_rng((config.schedule.seed, draw)),
                    others=others,
                )
            )
        return Views.of(examples, self.start, self.restore)

    def held_out_views(self) -> dict[str, Views]:
        held = held_out_examples(self.faces, self.slices.validation, self.wide, self.sampler, self.room)
        return {kind: Views.of(examples, self.start, self.restore) for kind, examples in held.items()}

    def figures(self, held_out: dict[str, Views]) -> dict[str, float]:
        """NME in percent of the normaliser where the shapes are now; `score` is the mean."""
        figures = {}
        for kind, views in held_out.items():
            truth = torch.from_numpy(views.truth)
            distance = (torch.from_numpy(views.shapes) - truth).norm(dim=-1).mean(dim=1)
            nme = float((distance / face_lengths(truth, self.faces.scheme, self.normaliser)).mean())
            figures[f"nme_{self.normaliser}_{kind}"] = 100 * nme
        return {**figures, "score": sum(figures.values()) / len(figures)}


def restoring(restorer: FaceRestorer, size: int) -> Restore:
    """Pictures of `ROOM` crop sides to crops of `size` pixels, restored round the shapes, which are in crop units."""

    def restore(pictures: Crops, shapes: Shapes) -> Crops:
        wide = pictures.shape[1]
        crop = Crop(((wide - 1) / 2, (wide - 1) / 2), wide / ROOM)
        crops = np.empty((len(pictures), size, size, 3), np.uint8)
        what, console = f"restoring {len(pictures)} views", Console(stderr=True)
        chunks = range(0, len(pictures), CHUNK)
        for start in track(chunks, what, console=console, transient=True, disable=not console.is_terminal):
            some = list(pictures[start : start + CHUNK])
            found = restorer(some, [crop.to_px(shape) for shape in shapes[start : start + CHUNK]])
            for i, (picture, windows) in enumerate(zip(some, found, strict=True), start):
                crops[i] = crop.extract(composed(picture, windows), size)
        return crops

    return restore


def as_stage(module: nn.Module) -> RegressionStage:
    assert isinstance(module, RegressionStage)
    return module


def only_stage(drn: nn.Module) -> RegressionStage:
    """The stage of a DRN that has one."""
    return as_stage(drn.get_submodule("stages.0"))


def _numpy(drn: nn.Module) -> tuple[Stage, ...]:
    assert isinstance(drn, Drn)
    return drn.as_stages()


def _features(crops: Crops, shapes: Shapes) -> NDArray[np.float16]:
    parts = [sift_at(crops[i : i + CHUNK], shapes[i : i + CHUNK]) for i in range(0, len(crops), CHUNK)]
    return np.concatenate([part.astype(np.float16) for part in parts])
