"""Training a landmark network: the data, the losses and the validation that the loop calls."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from unveil.data.datasets.joined import JoinedFaces
from unveil.data.datasets.samples import Faces
from unveil.data.shape_balance import balanced_weights, shape_clusters
from unveil.metrics import normaliser_lengths
from unveil.models.network import LandmarkNetwork, Prediction
from unveil.training.batches import check_more
from unveil.training.config import LandmarkTrainConfig
from unveil.training.faces import ViewTask, with_score
from unveil.training.losses import shape_loss, uncertainty_loss, visibility_loss
from unveil.training.task import Batch, Losses, Updater
from unveil.training.validation import calibrate_scale, calibrate_visibility, face_lengths


class LandmarkTask(ViewTask[LandmarkTrainConfig]):
    """Train a landmark network on annotated faces, and with `more` on faces such as those with a teacher's predictions.

    `config.more_share` is the share of the drawn faces for each set. The constructor is that of `FacesTask`.

    Example:
        >>> task = LandmarkTask(read_faces(Path("faces")), LandmarkTrainConfig())
        >>> result = task.fit(Path("runs/light"))
    """

    takes_more = True
    model: LandmarkNetwork
    weights: NDArray[np.float64]
    labelled: NDArray[np.bool_]

    @override
    def setup(self, more: Sequence[Faces]) -> None:
        config, faces = self.config, self.faces
        if config.imagenet:
            self.model.load_imagenet()
        super().setup(more)
        self._trained_module = self.model.visibility_module() if config.visibility_only else ""
        self.partial_updates = config.visibility_only
        self.clusters = shape_clusters(faces.points_px[self.split.train], config.clusters, config.schedule.seed)
        self.weights = balanced_weights(self.clusters, config.balance)
        self.labelled = np.full(len(faces), faces.visible is not None)
        if more:
            check_more(config.more_share, more)
            if config.clusters_per_batch is not None:
                raise ValueError(f"--clusters-per-batch {config.clusters_per_batch}: not with --more; leave one out")
            self.weights *= 1 - sum(config.more_share)
            for added, share in zip(more, config.more_share, strict=True):
                self._add(added, share)

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
    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        return self.prediction_losses(model(batch["images"]), batch)

    def prediction_losses(self, prediction: Prediction, batch: Batch) -> Losses:
        """Return the weighted sum under `loss`, its terms, and `nme`: the error in percent of the faces' lengths.

        An output that is None adds no term; a subclass adds terms here.

        Args:
            prediction: The network's output.
            batch: The prepared batch.
        """
        config, half, truth = self.config, self.config.model.input_size / 2, batch["points_unit"]
        lengths = face_lengths(truth, self.faces.scheme, self.normaliser)
        error = (prediction.points_unit - truth).norm(dim=-1)
        log_scale, ellipses, log_half = prediction.log_scale, prediction.ellipses, math.log(half)
        loss = shape_loss(
            prediction.shapes_unit * half,
            truth * half,
            config.shape_loss,
            lengths * half,
            None if log_scale is None else log_scale + log_half,
            None if ellipses is None else ellipses + torch.tensor([log_half, 0.0, log_half], device=error.device),
        )
        terms = {"shape": loss}
        if prediction.visibility_logit is not None:
            terms["visibility"] = visibility_loss(
                prediction.visibility_logit, batch["visible"], batch.get("labelled"), config.unlabelled_weight
            )
            loss = loss + config.visibility_weight * terms["visibility"]
        if log_scale is not None:
            terms["uncertainty"] = uncertainty_loss(log_scale, error)
            loss = loss + config.uncertainty_weight * terms["uncertainty"]
        return {"loss": loss, **terms, "nme": (error.mean(dim=1) / lengths).mean() * 100}

    @override
    def step(self, update: Updater, batch: Batch, step: int) -> Losses:
        return update(lambda model: self.losses(model, batch), self._trained_module)

    @override
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the NME in percent of the normaliser on the validation split, clean and occluded, and their mean.

        Sets the model's calibration from the same faces. `score` is the mean, or the visibility loss where only the
        visibility head trains.
        """
        outputs: list[tuple[Tensor, ...]] = []

        def collect(prediction: Prediction, batch: Batch, distance: Tensor) -> None:
            if prediction.visibility_logit is not None and prediction.log_scale is not None:
                columns = (prediction.visibility_logit, batch["visible"], prediction.log_scale.exp(), distance)
                outputs.append(tuple(column.flatten().float().cpu() for column in columns))

        metrics = with_score(self.mean_errors(model, device, self.config.schedule.batch, collect))
        if outputs:
            logits, visible, scale, distance = (torch.cat(column) for column in zip(*outputs, strict=True))
            network = cast(LandmarkNetwork, model)
            network.set_calibration(
                calibrate_visibility(logits, visible > 0, self.config.occluded_weight),
                float(network.calibration[2]) if self.config.visibility_only else calibrate_scale(scale, distance),
            )
        if self.config.visibility_only:
            metrics["score"] = metrics["visibility_loss"] = float(visibility_loss(logits[None], visible[None] > 0))
        return metrics
