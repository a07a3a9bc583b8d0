"""Training PFLD: landmarks, told the pose and how rare a face is (Guo et al. 2019). B faces, L landmarks."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from unveil.baselines.pfld_attributes import attributes_of
from unveil.data.augment import Example
from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import OcclusionSampler
from unveil.data.self_occlusion import turned_away
from unveil.data.shape_balance import mean_shape
from unveil.data.tps_warp import OtherShapes
from unveil.models.checkpoints import build, start_from
from unveil.schemes.scheme import IBUG68
from unveil.training.batches import (
    Batch,
    Draws,
    Share,
    TrainingFaces,
    example_batches,
    held_out_examples,
    loaded,
    refuse_few,
    split_by_name,
    to_device,
)
from unveil.training.config import PoseGuided
from unveil.training.gan_losses import attribute_weights, pfld_loss
from unveil.training.normaliser import face_lengths
from unveil.training.pictures import drawn_landmarks

COUNTED = 400  # views that the classes' shares are counted on


class PosedFaces(Dataset[Batch]):
    """Random views with their angles, (3,), and classes, (5,)."""

    def __init__(self, views: TrainingFaces) -> None:
        self.views = views

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        view = self.views[item]
        points, visible = view["points_unit"].numpy(), view["visible"].numpy()
        # A landmark that the head turns away is no occluder's work: "profile" says it already.
        attributes = attributes_of(points, visible | turned_away(IBUG68, points))
        return {
            **view,
            "angles": torch.from_numpy(attributes.angles),
            "classes": torch.from_numpy(attributes.classes),
        }


class PfldTask:
    """What the loop needs to know about PFLD's training.

    ValueError if the faces are too few for a batch, or of another scheme than ibug68, which angles are told from.
    """

    kept = ""

    def __init__(self, faces: Faces, config: PoseGuided) -> None:
        cv2.setNumThreads(1)  # before OpenCV makes its threads: a forked loader waits for them for ever
        if faces.scheme != IBUG68:
            raise ValueError(
                f"{faces.label}: scheme {faces.scheme.name!r}, but angles are told from ibug68's 68 points"
            )
        self.faces, self.config = faces, config
        self.slices = split_by_name(faces.names, config.held_out_share)
        refuse_few(faces, self.slices, config.schedule.batch)
        offset = config.augmentation.annotation_offset
        self.blueprint = replace(config.model.blueprint(faces.scheme), annotation_offset=offset)
        self.sampler = OcclusionSampler(config.occlusion)
        seed = config.schedule.seed
        others = OtherShapes(faces.points_px[self.slices.training])
        views = TrainingFaces(faces, config.model.size, config.augmentation, self.sampler, seed, others)
        self.posed = PosedFaces(views)
        torch.manual_seed(seed)
        self.model = build(self.blueprint)
        start = torch.from_numpy(mean_shape(faces.points_px[self.slices.training], faces.scheme))
        with torch.no_grad():
            self.model.get_parameter("points.bias").copy_(start.flatten())
        self.notes: tuple[str, ...] = () if config.start is None else (start_from(self.model, config.start),)

    def turns(self, _step: int) -> tuple[str, ...]:
        return ("",)

    def parameter_groups(self) -> list[dict[str, object]]:
        return [self.config.schedule.group(self.model.parameters())]

    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        """Training batches from step `start`, made in one loader process; one's own part, of several processes."""
        share = Share(process, processes)
        return loaded(self.posed, Draws.of(self.faces, self.slices.training, self.config.schedule, start, share))

    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        return to_device(batch, device)

    @cached_property
    def shares(self) -> Tensor:
        """Of training views, how many are in each class: counted before the loader starts, on the first draws."""
        training = self.slices.training
        views = [
            self.posed[draw, int(training[draw % len(training)])] for draw in range(min(COUNTED, 4 * len(training)))
        ]
        return torch.stack([view["classes"] for view in views]).float().mean(dim=0)

    def losses(self, model: nn.Module, batch: Batch, _turn: str, _step: int) -> dict[str, Tensor]:
        weights = attribute_weights(batch["classes"], self.shares.to(batch["classes"].device))
        prediction = model(batch["images"])
        loss = pfld_loss(prediction, batch["points_unit"], batch["angles"], weights)
        degrees = (prediction.angles - batch["angles"]).abs().mean().rad2deg()
        return {"loss": loss, "degrees": degrees}

    @cached_property
    def validation(self) -> dict[str, list[Example]]:
        return held_out_examples(self.faces, self.slices.validation, self.config.model.size, self.sampler)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Inter-ocular NME in percent on the held-out slice, clean and occluded; `score` is their mean."""
        figures: dict[str, float] = {}
        for kind, examples in self.validation.items():
            errors = []
            for batch in example_batches(examples, self.config.schedule.batch, device):
                with torch.no_grad():
                    distance = (model(batch["images"]).points_unit - batch["points_unit"]).norm(dim=-1)
                errors.append(distance.mean(dim=1) / face_lengths(batch["points_unit"], self.faces.scheme, "ocular"))
            figures[f"nme_ocular_{kind}"] = float(torch.cat(errors).mean()) * 100
        return {**figures, "score": sum(figures.values()) / len(figures)}

    @torch.no_grad()
    def picture(self, model: nn.Module, batch: Batch) -> Tensor:
        """Eight faces of a batch with truth in white and prediction in red, (3, S, 8 S), uint8."""
        images = batch["images"][:8]
        return drawn_landmarks(images, batch["points_unit"][:8], model(images).points_unit)
