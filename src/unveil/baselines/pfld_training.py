"""Training PFLD: the loss weights faces by the error of their pose and by the rarity of their classes.

B faces, L landmarks.

Source: Guo et al. 2019.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import cast

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from typing_extensions import override

from unveil.baselines.pfld import Pfld, PfldConfig
from unveil.baselines.pfld_attributes import attributes_of
from unveil.baselines.pfld_loss import attribute_weights, pfld_loss
from unveil.data.augment import AugmentConfig, Example, Transform
from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import OcclusionConfig, OcclusionSampler
from unveil.data.self_occlusion import self_occluded
from unveil.data.shape_balance import mean_shape
from unveil.data.splits import split_by_name
from unveil.data.tps_warp import ShapeSampler
from unveil.models.checkpoints import NETWORKS, Networks, load_matching
from unveil.schemes.scheme import IBUG68
from unveil.training.batches import (
    BatchSampler,
    Rank,
    TrainingFaces,
    check_enough_faces,
    load_batches,
    refuse_more,
    to_device,
)
from unveil.training.config import OpenShare, ScheduleConfig, TrainConfig
from unveil.training.restored_views import ROOM, restored_views
from unveil.training.task import Batch, Losses, Task
from unveil.training.validation import draw_landmarks, example_batches, face_lengths, val_examples

COUNTED_VIEWS = 400  # views on which the shares of the classes are counted


class PfldTrainConfig(TrainConfig):
    """One run that trains PFLD."""

    model: PfldConfig = PfldConfig()
    schedule: ScheduleConfig = ScheduleConfig(
        steps=20_000, batch=32, lr=1e-3, warmup=0.015, decay=0.4, weight_decay=1e-6
    )
    augment: AugmentConfig = AugmentConfig()
    occlusion: OcclusionConfig = OcclusionConfig()
    val_share: OpenShare = 0.05
    """Share of the faces, chosen by the hash of their names, that only validates."""
    init_from: Path | None = None
    """Weights to start from, a .safetensors file; tensors that do not fit start fresh."""
    restorer: Path | None = None
    """Train on restored faces: a restorer's weights, its run, or a folder of seven."""


PFLD_PRESETS: Mapping[str, PfldTrainConfig] = MappingProxyType(
    {"pfld": PfldTrainConfig(), "pfld-0.25": PfldTrainConfig(model=PfldConfig(width_mult=0.25))}
)
"""pfld took 80 minutes on a core with AVX2, by the commands of its model card: 6.58 % NME on 300W Common."""


class _FacesWithPose(Dataset[Batch]):
    """Random views with their Euler angles, (3,), and classes, (5,); `room` is the side of a view in crop sides."""

    def __init__(self, views: TrainingFaces, room: float = 1.0) -> None:
        self.views, self.room = views, room

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        view = self.views[item]
        points, visible = (self.room * view["points_unit"]).numpy(), view["visible"].numpy()
        # Self-occlusion does not count as occlusion: the class "profile" covers it.
        attributes = attributes_of(points, visible | self_occluded(IBUG68, points))
        return {
            **view,
            "angles": torch.from_numpy(attributes.angles),
            "classes": torch.from_numpy(attributes.classes),
        }


class PfldTask(Task):
    """Train PFLD.

    Args:
        faces: The faces, of scheme ibug68; a share of them validates.
        config: The settings.
        more: Must be empty.
        transform: A user's own augmentation, applied last to every training example.
        networks: The builders of restorers.

    Raises:
        ValueError: The faces are too few for a batch, or of another scheme than ibug68, which the angles need.
    """

    config: PfldTrainConfig

    def __init__(
        self,
        faces: Faces,
        config: PfldTrainConfig,
        more: Sequence[Faces] = (),
        *,
        transform: Transform | None = None,
        networks: Networks = NETWORKS,
    ) -> None:
        cv2.setNumThreads(1)  # before OpenCV creates its threads: a forked loader would wait for them for ever
        refuse_more(more, config.model.network)
        if faces.scheme != IBUG68:
            raise ValueError(f"{faces.label}: scheme {faces.scheme.name!r}, but PFLD's angles need ibug68's 68 points")
        self.faces = faces
        self.split = split_by_name(faces.names, config.val_share)
        check_enough_faces(faces, self.split, config.schedule.batch)
        self.config = config.model_copy(update={"schedule": config.schedule.for_faces(len(self.split.train))})
        self.spec = config.model.spec(faces.scheme, annotation_offset=config.augment.annotation_offset)
        self.sampler = OcclusionSampler(config.occlusion)
        seed, training = config.schedule.seed, faces.points_px[self.split.train]
        mean = mean_shape(training, faces.scheme)
        self.restored = restored_views(config.restorer, config.model.input_size, mean, faces.scheme, networks)
        views = TrainingFaces(
            faces,
            self.restored.size if self.restored else config.model.input_size,
            self.restored.wider(config.augment) if self.restored else config.augment,
            self.sampler,
            seed,
            ShapeSampler(training),
            transform,
        )
        self.views = _FacesWithPose(views, ROOM if self.restored else 1.0)
        torch.manual_seed(seed)
        self.model: Pfld = config.model.build(faces.scheme)
        self.model.set_mean_shape(torch.from_numpy(mean))
        if config.init_from is not None:
            self.notes = (load_matching(self.model, config.init_from),)

    @override
    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        rank = Rank(process, processes)
        return load_batches(
            self.views, BatchSampler.of(self.faces, self.split.train, self.config.schedule, start, rank)
        )

    @override
    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        return to_device(self.restored.batch(batch) if self.restored else batch, device)

    @cached_property
    def class_shares(self) -> Tensor:
        """The share of each class in training views, counted on the first draws before the loader starts."""
        training = self.split.train
        views = [
            self.views[draw, int(training[draw % len(training)])]
            for draw in range(min(COUNTED_VIEWS, 4 * len(training)))
        ]
        return torch.stack([view["classes"] for view in views]).float().mean(dim=0)

    @override
    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        weights = attribute_weights(batch["classes"], self.class_shares.to(batch["classes"].device))
        prediction = model(batch["images"])
        loss = pfld_loss(prediction, batch["points_unit"], batch["angles"], weights)
        degrees = (prediction.angles - batch["angles"]).abs().mean().rad2deg()
        return {"loss": loss, "degrees": degrees}

    @cached_property
    def validation(self) -> dict[str, list[Example]]:
        """The validation examples of each condition."""
        if self.restored:
            return self.restored.validation(self.faces, self.split.val, self.sampler)
        return val_examples(self.faces, self.split.val, self.config.model.input_size, self.sampler)

    @override
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the inter-ocular NME in percent on the validation split, clean and occluded, and their mean."""
        metrics: dict[str, float] = {}
        for condition, examples in self.validation.items():
            errors = []
            for batch in example_batches(examples, self.config.schedule.batch, device):
                with torch.no_grad():
                    distance = (cast(Pfld, model)(batch["images"]).points_unit - batch["points_unit"]).norm(dim=-1)
                errors.append(distance.mean(dim=1) / face_lengths(batch["points_unit"], self.faces.scheme, "ocular"))
            metrics[f"nme_ocular_{condition}"] = float(torch.cat(errors).mean()) * 100
        return {**metrics, "score": sum(metrics.values()) / len(metrics)}

    @override
    @torch.no_grad()
    def sample_image(self, model: nn.Module, batch: Batch) -> Tensor:
        images = batch["images"][:8]
        return draw_landmarks(images, batch["points_unit"][:8], model(images).points_unit)
