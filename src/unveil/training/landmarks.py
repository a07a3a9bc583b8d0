"""Training a landmark model: the network, the step and the validation that the loop calls."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from unveil.data.augment import Example
from unveil.data.datasets.joined import Joined
from unveil.data.datasets.registry import Faces
from unveil.data.occlusion import OcclusionSampler
from unveil.data.shape_balance import balanced_weights, mean_shape
from unveil.data.tps_warp import OtherShapes
from unveil.metrics import normaliser_lengths
from unveil.models.checkpoints import build, start_from
from unveil.models.glomface import Prediction
from unveil.models.imagenet import load_imagenet
from unveil.training.batches import (
    Batch,
    Draws,
    Share,
    TrainingFaces,
    example_batches,
    held_out_examples,
    left_out_kinds,
    loaded,
    refuse_few,
    split_by_name,
    to_device,
)
from unveil.training.calibration import calibrate_spread, calibrate_visibility
from unveil.training.config import Alignment
from unveil.training.losses import alignment_loss
from unveil.training.normaliser import face_lengths, training_normaliser
from unveil.training.pictures import drawn_landmarks

HEAR_ALL = ("context", "recall", "memory", "disentangle.levels.0.widen")
"""Layers that hear all of a face at once, thousands of numbers that move together: `memory_rate` is theirs."""


class AlignmentTask:
    """What the loop needs to know about landmark training. Its `config` lacks what the faces' scheme does not allow.

    `more` are faces that only train, each set `config.more_share` of all that are drawn: a teacher's, say. ValueError
    if the faces are too few for a batch, one of them has no length to divide its error by, or the shares fit no sets.
    """

    def __init__(self, faces: Faces, config: Alignment, more: Sequence[Faces] = ()) -> None:
        cv2.setNumThreads(1)  # before OpenCV makes its threads: a forked loader waits for them for ever
        self.notes = left_out_kinds(config.occlusion, faces.scheme)
        config = config.model_copy(update={"occlusion": config.occlusion.for_scheme(faces.scheme)})
        self.config = config
        self.slices = split_by_name(faces.names, config.held_out_share)
        refuse_few(faces, self.slices, config.schedule.batch)
        training = faces.points_px[self.slices.training]
        self.normaliser = training_normaliser(faces.scheme)
        normaliser_lengths(faces.points_px, faces.scheme, self.normaliser, faces.names)
        offset = config.augmentation.annotation_offset
        self.blueprint = replace(config.model.blueprint(faces.scheme), annotation_offset=offset)
        torch.manual_seed(config.schedule.seed)
        self.model = build(self.blueprint)
        for start in (buffer for name, buffer in self.model.named_buffers() if name == "mean_shape"):
            start.copy_(torch.from_numpy(mean_shape(training, faces.scheme)))
        if config.model.imagenet:
            load_imagenet(self.model.get_submodule("features"))
        if config.start is not None:
            self.notes += (start_from(self.model, config.start),)
        self.sampler = OcclusionSampler(config.occlusion)
        self.weights = balanced_weights(training, config.clusters, config.balance, config.schedule.seed)
        self.faces = faces
        if more:
            _check_shares(config.more_share, more)
            self.weights *= 1 - sum(config.more_share)
            for added, share in zip(more, config.more_share, strict=True):
                self._add(added, share)

    def _add(self, more: Faces, share: float) -> None:
        """Faces that only train: what is held out, the mean shape and the order of the others stay as they are."""
        config, first = self.config, len(self.faces)
        self.faces = Joined(self.faces, more)
        normaliser_lengths(more.points_px, more.scheme, self.normaliser, more.names)
        added = np.arange(first, len(self.faces))
        self.slices = replace(self.slices, training=np.concatenate([self.slices.training, added]))
        weights = balanced_weights(more.points_px, config.clusters, config.balance, config.schedule.seed)
        self.weights = np.concatenate([self.weights, share * weights])

    kept = ""

    def turns(self, _step: int) -> tuple[str, ...]:
        return ("",)

    def parameter_groups(self) -> list[dict[str, object]]:
        """Backbone and memory slower; what has one axis, as gains and most biases, without decay."""
        schedule, groups = self.config.schedule, []
        pace = {"features.stem": schedule.backbone_rate, "features.stages": schedule.backbone_rate}
        pace = pace if self.config.model.imagenet or self.config.start else {}
        wide = HEAR_ALL if self.config.model.network == "glomface" else HEAR_ALL[:2]  # the light one's tree hears less
        pace |= dict.fromkeys(wide, self.config.memory_rate)
        found: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            factor = next((factor for start, factor in pace.items() if name.startswith(start)), 1.0)
            found.setdefault((factor, parameter.ndim > 1), []).append(parameter)
        for (factor, decays), chosen in found.items():
            groups.append(schedule.group(chosen, factor, decays=decays))
        return groups

    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        """Training batches from step `start`, made in one loader process; one's own part of them, of several processes.

        ValueError if the faces are too few for all the processes' batches.
        """
        config, training = self.config, self.slices.training
        order = Draws.of(self.faces, training, config.schedule, start, Share(process, processes), self.weights)
        others = OtherShapes(self.faces.points_px[training], self.weights)
        seed = config.schedule.seed
        views = TrainingFaces(self.faces, config.model.size, config.augmentation, self.sampler, seed, others)
        return loaded(views, order)

    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        return to_device(batch, device)

    def losses(self, model: nn.Module, batch: Batch, _turn: str, _step: int) -> dict[str, Tensor]:
        config = self.config
        return alignment_loss(
            model(batch["images"]),
            batch["points_unit"],
            batch["visible"],
            size=config.model.size,
            kind=config.shape_loss,
            lengths_unit=face_lengths(batch["points_unit"], self.faces.scheme, self.normaliser),
            visibility_weight=config.visibility_weight,
            spread_weight=config.spread_weight,
            contours=self.faces.scheme.contours,
            boundary_weight=config.boundary_weight,
        )

    @cached_property
    def validation(self) -> dict[str, list[Example]]:
        return held_out_examples(self.faces, self.slices.validation, self.config.model.size, self.sampler)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """NME in percent of the normaliser on the held-out slice, clean and occluded; `score` is their mean.

        Sets the model's calibration from the same faces.
        """
        figures: dict[str, float] = {}
        told = []
        for kind, examples in self.validation.items():
            errors = []
            for batch in example_batches(examples, self.config.schedule.batch, device):
                with torch.no_grad():
                    prediction: Prediction = model(batch["images"])
                lengths = face_lengths(batch["points_unit"], self.faces.scheme, self.normaliser)
                distance = (prediction.points_unit - batch["points_unit"]).norm(dim=-1)
                errors.append(distance.mean(dim=1) / lengths)
                spread = prediction.log_spread.exp()
                told.append([t.flatten() for t in (prediction.visibility, batch["visible"], spread, distance)])
            figures[f"nme_{self.normaliser}_{kind}"] = float(torch.cat(errors).mean()) * 100
        logits, visible, spread, distance = (torch.cat(column).float().cpu() for column in zip(*told, strict=True))
        calibration = (*calibrate_visibility(logits, visible > 0), calibrate_spread(spread, distance))
        model.get_buffer("calibration").copy_(torch.tensor(calibration))
        return {**figures, "score": sum(figures.values()) / len(figures)}

    @torch.no_grad()
    def picture(self, model: nn.Module, batch: Batch) -> Tensor:
        images, truth = batch["images"][:8], batch["points_unit"][:8]
        return drawn_landmarks(images, truth, model(images).points_unit)


def _check_shares(shares: Sequence[float], more: Sequence[Faces]) -> None:
    """ValueError unless there is one share for each of `more` and the annotated faces keep some."""
    given = " ".join(map(str, shares))
    if len(shares) != len(more):
        sets = ", ".join(faces.label for faces in more)
        raise ValueError(f"--more-share {given}: {len(shares)} for {len(more)} sets of --more, {sets}; give one each")
    if sum(shares) >= 1:
        raise ValueError(f"--more-share {given}: together 1 or more, so no annotated face would train; give less")
