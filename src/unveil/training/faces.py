"""Bases of the tasks that train on augmented views of annotated faces."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset
from typing_extensions import override

from unveil.data.augment import Example, Transform
from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import OcclusionSampler
from unveil.data.shape_balance import mean_shape
from unveil.data.splits import split_by_name
from unveil.data.tps_warp import ShapeSampler
from unveil.metrics import normaliser_lengths
from unveil.models.checkpoints import NETWORKS, Networks, load_matching
from unveil.models.network import Network
from unveil.training.batches import (
    BatchSampler,
    TrainingFaces,
    check_enough_faces,
    load_batches,
    to_device,
)
from unveil.training.config import FaceTrainConfig, ViewTrainConfig
from unveil.training.restored_views import RestoredViews
from unveil.training.runtime import process_count
from unveil.training.task import Batch, Task
from unveil.training.validation import (
    draw_landmarks,
    example_batches,
    face_lengths,
    training_normaliser,
    val_examples,
)

Config = TypeVar("Config", bound=FaceTrainConfig)
ViewConfig = TypeVar("ViewConfig", bound=ViewTrainConfig)


class FacesTask(Generic[Config]):
    """Annotated faces, their split, their random views, and a fresh network that starts from their mean shape.

    Args:
        faces: The faces; a share of them validates.
        config: The settings. The task's own `config` lacks the occluders that the faces' scheme does not allow.
        more: Sets of faces that only train, for a task that takes them.
        transform: A user's own augmentation, applied last to every training view.
        networks: What `config.restorer` may be; `unveil.registry.NETWORKS` has DRDA too.

    Raises:
        ValueError: The faces are too few for a batch, a face has no normaliser length, the restorer cannot be loaded,
            or the task does not take `more`.
    """

    takes_more = False
    model: Network
    config: Config
    weights: NDArray[np.float64] | None = None
    clusters: NDArray[np.int64] | None = None
    labelled: NDArray[np.bool_] | None = None

    def __init__(
        self,
        faces: Faces,
        config: Config,
        more: Sequence[Faces] = (),
        *,
        transform: Transform | None = None,
        networks: Networks = NETWORKS,
    ) -> None:
        cv2.setNumThreads(1)  # before OpenCV creates its threads: a forked loader would wait for them for ever
        if more and not self.takes_more:
            raise ValueError(f"--more {more[0].label}: {config.model.network} trains on one set of faces; leave it out")
        self.faces, self.config, self.transform = faces, config, transform
        kinds = ", ".join(sorted(config.occlusion.unsupported(faces.scheme)))
        note = f"scheme {faces.scheme.name}: without {kinds}, which are placed by the 68 points of ibug68"
        self.notes: tuple[str, ...] = (note,) if kinds else ()
        self.split = split_by_name(faces.names, config.val_share)
        check_enough_faces(faces, self.split, config.schedule.batch, config.views_per_face)
        training = faces.points_px[self.split.train]
        count = config.views_per_face * (len(training) + sum(map(len, more)))
        schedule = config.schedule.for_faces(count, process_count())
        occlusion = config.occlusion.for_scheme(faces.scheme)
        self.config = config.model_copy(update={"occlusion": occlusion, "schedule": schedule})
        self.normaliser = training_normaliser(faces.scheme)
        normaliser_lengths(faces.points_px, faces.scheme, self.normaliser, faces.names)
        self.sampler = OcclusionSampler(occlusion)
        self.spec = config.model.spec(faces.scheme, annotation_offset=config.augment.annotation_offset)
        torch.manual_seed(schedule.seed)
        self.model = config.model.build(faces.scheme)
        self.mean_shape = mean_shape(training, faces.scheme)
        self.model.set_mean_shape(torch.from_numpy(self.mean_shape))
        restorer: Path | None = getattr(config, "restorer", None)
        size = config.model.input_size
        self.restored = (
            None if restorer is None else RestoredViews(restorer, size, self.mean_shape, faces.scheme, networks)
        )
        self.setup(more)

    def setup(self, more: Sequence[Faces]) -> None:
        """Complete the construction; by default nothing is left to do.

        Args:
            more: Sets of faces that only train.
        """

    def random_views(self) -> Dataset[Batch]:
        """Return the random views to train on; those for a restorer are wider than the network's crop."""
        config, restored = self.config, self.restored
        return TrainingFaces(
            self.faces,
            restored.size if restored else config.model.input_size,
            restored.wider(config.augment) if restored else config.augment,
            self.sampler,
            config.schedule.seed,
            ShapeSampler(self.faces.points_px[self.split.train], self.weights),
            self.transform,
            self.labelled,
        )

    def first_views(self, count: int) -> list[Batch]:
        """Return the first random views of the training faces in turn, the same ones in every run.

        Args:
            count: How many.
        """
        views, train = self.random_views(), self.split.train
        return [views[draw, int(train[draw % len(train)])] for draw in range(count)]

    @cached_property
    def validation(self) -> dict[str, list[Example]]:
        """The validation examples of each condition."""
        if self.restored:
            return self.restored.validation(self.faces, self.split.val, self.sampler)
        return val_examples(self.faces, self.split.val, self.config.model.input_size, self.sampler)

    def mean_errors(
        self,
        model: Callable[[Tensor], Any],
        device: torch.device,
        batch: int,
        each: Callable[[Any, Batch, Tensor], object] = lambda *_: None,
    ) -> dict[str, float]:
        """Return the NME in percent of the normaliser on the validation split, for each condition.

        Args:
            model: From images to a prediction with `points_unit`.
            device: The device that computes.
            batch: Faces that are predicted together.
            each: Called with every prediction, its batch, and the landmarks' distances (B, L) in unit coordinates.
        """
        metrics = {}
        for condition, examples in self.validation.items():
            errors = []
            for faces in example_batches(examples, batch, device):
                with torch.no_grad():
                    prediction = model(faces["images"])
                distance = (prediction.points_unit - faces["points_unit"]).norm(dim=-1)
                errors.append(
                    distance.mean(dim=1) / face_lengths(faces["points_unit"], self.faces.scheme, self.normaliser)
                )
                each(prediction, faces, distance)
            metrics[f"nme_{self.normaliser}_{condition}"] = float(torch.cat(errors).mean()) * 100
        return metrics


def with_score(metrics: dict[str, float]) -> dict[str, float]:
    """Return metrics with their mean as `score`.

    Args:
        metrics: The metrics.
    """
    return {**metrics, "score": sum(metrics.values()) / len(metrics)}


class ViewTask(FacesTask[ViewConfig], Task):
    """A task whose batches are random views. Its constructor is that of `FacesTask`."""

    model: Network
    config: ViewConfig

    @override
    def setup(self, more: Sequence[Faces]) -> None:
        if self.config.init_from is not None:
            self.notes += (load_matching(self.model, self.config.init_from),)

    @override
    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        per_batch = getattr(self.config, "clusters_per_batch", None)
        order = BatchSampler(
            self.split.train, self.config.schedule, start, process, processes, self.weights, self.clusters, per_batch
        )
        return load_batches(self.random_views(), order)

    @override
    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        return to_device(self.restored.batch(batch) if self.restored else batch, device)

    @override
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the NME in percent of the normaliser on the validation split, clean and occluded, and their mean."""
        return with_score(self.mean_errors(model, device, self.config.schedule.batch))

    @override
    @torch.no_grad()
    def sample_image(self, model: nn.Module, batch: Batch) -> Tensor:
        images, points = batch["images"][:8], batch["points_unit"][:8]
        return draw_landmarks(images, points, model(images).points_unit)
