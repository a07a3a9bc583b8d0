"""Training a landmark network: the data, the losses and the validation that the loop calls."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from unveil.data.augment import Example, Transform
from unveil.data.datasets.joined import JoinedFaces
from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import OcclusionSampler
from unveil.data.shape_balance import balanced_weights, mean_shape, shape_clusters
from unveil.data.splits import split_by_name
from unveil.data.tps_warp import ShapeSampler
from unveil.metrics import normaliser_lengths
from unveil.models.checkpoints import NETWORKS, Networks, load_matching
from unveil.models.network import LandmarkNetwork, Prediction
from unveil.training.batches import (
    BatchSampler,
    Rank,
    TrainingFaces,
    check_enough_faces,
    check_more,
    load_batches,
    to_device,
    unsupported_note,
)
from unveil.training.config import LandmarkTrainConfig
from unveil.training.losses import landmark_loss, visibility_loss
from unveil.training.restored_views import restored_views
from unveil.training.task import Batch, Losses, Task, Updater
from unveil.training.validation import (
    calibrate_scale,
    calibrate_visibility,
    draw_landmarks,
    example_batches,
    face_lengths,
    training_normaliser,
    val_examples,
)


class LandmarkTask(Task):
    """Train a landmark network on annotated faces.

    Args:
        faces: The faces; a share of them validates.
        config: The settings. The task's own `config` lacks the occluders that the faces' scheme does not allow.
        more: Sets of faces that only train, such as faces with a teacher's predictions; `config.more_share` is the
            share of the drawn faces for each.
        transform: A user's own augmentation, applied last to every training example.
        networks: What `config.restorer` may be; `unveil.registry.NETWORKS` has DRDA too.

    Raises:
        ValueError: The faces are too few for a batch, a face has no normaliser length, or the shares do not fit.

    Example:
        >>> task = LandmarkTask(read_faces(Path("faces")), LandmarkTrainConfig())
        >>> result = task.fit(Path("runs/light"))
    """

    model: LandmarkNetwork
    config: LandmarkTrainConfig

    def __init__(
        self,
        faces: Faces,
        config: LandmarkTrainConfig,
        more: Sequence[Faces] = (),
        *,
        transform: Transform | None = None,
        networks: Networks = NETWORKS,
    ) -> None:
        cv2.setNumThreads(1)  # before OpenCV creates its threads: a forked loader would wait for them for ever
        self.notes = unsupported_note(config.occlusion, faces.scheme)
        self.config = config.model_copy(update={"occlusion": config.occlusion.for_scheme(faces.scheme)})
        self.transform = transform
        self.split = split_by_name(faces.names, config.val_share)
        check_enough_faces(faces, self.split, config.schedule.batch)
        training = faces.points_px[self.split.train]
        self.normaliser = training_normaliser(faces.scheme)
        normaliser_lengths(faces.points_px, faces.scheme, self.normaliser, faces.names)
        self.spec = config.model.spec(faces.scheme, annotation_offset=config.augment.annotation_offset)
        torch.manual_seed(config.schedule.seed)
        self.model = cast(LandmarkNetwork, config.model.build(faces.scheme))
        mean = mean_shape(training, faces.scheme)
        self.model.set_mean_shape(torch.from_numpy(mean))
        self.restored = restored_views(config.restorer, config.model.input_size, mean, faces.scheme, networks)
        if config.imagenet:
            self.model.load_imagenet()
        if config.init_from is not None:
            self.notes += (load_matching(self.model, config.init_from),)
        self._trained_module = self.model.visibility_module() if config.visibility_only else ""
        self.partial_updates = config.visibility_only
        self.sampler = OcclusionSampler(self.config.occlusion)
        self.clusters = shape_clusters(training, config.clusters, config.schedule.seed)
        self.weights = balanced_weights(self.clusters, config.balance)
        self.faces = faces
        self.labelled = np.full(len(faces), faces.visible is not None)
        if more:
            check_more(config.more_share, more)
            if config.clusters_per_batch is not None:
                raise ValueError(f"--clusters-per-batch {config.clusters_per_batch}: not with --more; leave one out")
            self.weights *= 1 - sum(config.more_share)
            for added, share in zip(more, config.more_share, strict=True):
                self._add(added, share)
        self.config = self.config.model_copy(
            update={"schedule": config.schedule.for_faces(len(self.split.train), _world_size())}
        )

    def _add(self, more: Faces, share: float) -> None:
        """Add faces that only train; the validation split, the mean shape and the order of the others stay."""
        config, first = self.config, len(self.faces)
        self.faces = JoinedFaces(self.faces, more)
        self.labelled = np.append(self.labelled, np.full(len(more), more.visible is not None))
        normaliser_lengths(more.points_px, more.scheme, self.normaliser, more.names)
        added = np.arange(first, len(self.faces))
        self.split = replace(self.split, train=np.concatenate([self.split.train, added]))
        clusters = shape_clusters(more.points_px, config.clusters, config.schedule.seed)
        self.weights = np.concatenate([self.weights, share * balanced_weights(clusters, config.balance)])

    @override
    def parameter_groups(self) -> list[dict[str, object]]:
        config = self.config
        trained = config.imagenet or config.init_from is not None
        groups = self.model.param_groups(
            backbone_lr_scale=config.schedule.backbone_lr_scale if trained else 1.0,
            memory_lr_scale=config.memory_lr_scale,
        )
        return [config.schedule.optimiser_group(group) for group in groups]

    @override
    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        config, training = self.config, self.split.train
        rank = Rank(process, processes)
        order = BatchSampler.of(
            self.faces,
            training,
            config.schedule,
            start,
            rank,
            self.weights,
            self.clusters,
            config.clusters_per_batch,
        )
        views = TrainingFaces(
            self.faces,
            self.restored.size if self.restored else config.model.input_size,
            self.restored.wider(config.augment) if self.restored else config.augment,
            self.sampler,
            config.schedule.seed,
            ShapeSampler(self.faces.points_px[training], self.weights),
            self.transform,
            self.labelled,
        )
        return load_batches(views, order)

    @override
    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        return to_device(self.restored.batch(batch) if self.restored else batch, device)

    @override
    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        return self.prediction_losses(model(batch["images"]), batch)

    def prediction_losses(self, prediction: Prediction, batch: Batch) -> Losses:
        """Return the losses of a prediction; a subclass adds terms here.

        Args:
            prediction: The network's output.
            batch: The prepared batch.
        """
        config = self.config
        return landmark_loss(
            prediction,
            batch["points_unit"],
            batch["visible"],
            size=config.model.input_size,
            kind=config.shape_loss,
            lengths_unit=face_lengths(batch["points_unit"], self.faces.scheme, self.normaliser),
            visibility_weight=config.visibility_weight,
            uncertainty_weight=config.uncertainty_weight,
            labelled=batch.get("labelled"),
            unlabelled_weight=config.unlabelled_weight,
        )

    @override
    def step(self, update: Updater, batch: Batch, step: int) -> Losses:
        return update(lambda model: self.losses(model, batch), self._trained_module)

    @cached_property
    def validation(self) -> dict[str, list[Example]]:
        """The validation examples of each condition."""
        if self.restored:
            return self.restored.validation(self.faces, self.split.val, self.sampler)
        return val_examples(self.faces, self.split.val, self.config.model.input_size, self.sampler)

    @override
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the NME in percent of the normaliser on the validation split, clean and occluded, and their mean.

        Sets the model's calibration from the same faces. `score` is the mean, or the visibility loss where only the
        visibility head trains.
        """
        metrics: dict[str, float] = {}
        outputs: list[tuple[Tensor, ...]] = []
        for condition, examples in self.validation.items():
            errors = []
            for batch in example_batches(examples, self.config.schedule.batch, device):
                with torch.no_grad():
                    prediction: Prediction = model(batch["images"])
                lengths = face_lengths(batch["points_unit"], self.faces.scheme, self.normaliser)
                distance = (prediction.points_unit - batch["points_unit"]).norm(dim=-1)
                errors.append(distance.mean(dim=1) / lengths)
                if prediction.visibility_logit is not None and prediction.log_scale is not None:
                    scale = prediction.log_scale.exp()
                    columns = (prediction.visibility_logit, batch["visible"], scale, distance)
                    outputs.append(tuple(column.flatten().float().cpu() for column in columns))
            metrics[f"nme_{self.normaliser}_{condition}"] = float(torch.cat(errors).mean()) * 100
        if outputs:
            logits, visible, scale, distance = (torch.cat(column) for column in zip(*outputs, strict=True))
            network = cast(LandmarkNetwork, model)
            network.set_calibration(
                calibrate_visibility(logits, visible > 0, self.config.occluded_weight),
                float(network.calibration[2]) if self.config.visibility_only else calibrate_scale(scale, distance),
            )
        score = sum(metrics.values()) / len(metrics)
        if self.config.visibility_only:
            score = metrics["visibility_loss"] = float(visibility_loss(logits[None], visible[None] > 0))
        return {**metrics, "score": score}

    @override
    @torch.no_grad()
    def sample_image(self, model: nn.Module, batch: Batch) -> Tensor:
        images, points = batch["images"][:8], batch["points_unit"][:8]
        return draw_landmarks(images, points, model(images).points_unit)


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
