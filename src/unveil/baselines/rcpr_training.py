"""Training RCPR: stage after stage, ferns on the pixel differences that correlate most with what is left.

V views, M starts of a view, N = V x M samples, L landmarks, F features of a zone, K ferns, D bits.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from torch import Tensor
from typing_extensions import override

from unveil.baselines.rcpr import GRID, FernStage, Rcpr, RcprConfig, interpolate, pixels_at, spread_of, to_grey
from unveil.data.augment import AugmentConfig
from unveil.data.datasets.samples import Faces
from unveil.data.shape_balance import unit_shapes
from unveil.models.network import Prediction
from unveil.training.config import Count, FixedViewTrainConfig, ScheduleConfig
from unveil.training.faces import FacesTask, with_score
from unveil.training.state import save_weights, write_best, write_settings
from unveil.training.task import Batch, FitResult
from unveil.training.validation import calibrate_visibility, face_lengths

CHUNK = 256
AGREEING = 0.9  # share of the training views whose starts agree, by definition of the largest spread
OCCLUSION_WEIGHT = 0.5  # of the occlusion beside the shape, where features are chosen
MIN_THRESHOLD = 2.0**-20  # brightness; ten times a rounding error of float32
REPORTS = 6  # lines about the progress of a run


class RcprTrainConfig(FixedViewTrainConfig):
    """One run that trains RCPR. It has no learning rate; of the schedule only the seed counts."""

    model: RcprConfig = RcprConfig()
    schedule: ScheduleConfig = ScheduleConfig(batch=1)
    augment: AugmentConfig = AugmentConfig(rotation=10.0, shift=0.03, scale=(0.9, 1.12))
    views: Count = 2
    """Views of each face, made once before the first stage."""
    view_starts: Count = 6
    """Starts of each view."""
    pool: Annotated[int, Field(ge=4)] = 100
    """Pixels of each zone to choose pairs from, drawn anew for each stage."""
    shrinkage: Annotated[float, Field(ge=0)] = 300.0
    """Samples without movement that are added to each bin of a fern."""


RCPR_PRESETS: Mapping[str, RcprTrainConfig] = MappingProxyType({"rcpr": RcprTrainConfig()})


class Samples(NamedTuple):
    """Training views and their states.

    Args:
        images: RGB, (V, S, S, 3).
        target: Ground truth of each view.
        state: The M current states of each view.
    """

    images: NDArray[np.uint8]
    target: Float[Tensor, "V 1 L 3"]
    state: Float[Tensor, "V M L 3"]

    def grey(self, start: int) -> Float[Tensor, "B 1 S S"]:
        """Return the brightness of `CHUNK` views in [0, 1].

        Args:
            start: Index of the first view.
        """
        return to_grey(torch.from_numpy(self.images[start : start + CHUNK]).permute(0, 3, 1, 2).float() / 255)


class RcprTask(FacesTask[RcprTrainConfig]):
    """Train RCPR. The constructor is that of `FacesTask`."""

    model: Rcpr

    @override
    def setup(self, more: Sequence[Faces]) -> None:
        self.shapes = torch.from_numpy(unit_shapes(self.faces.points_px[self.split.train]))
        self.generator = torch.Generator().manual_seed(self.config.schedule.seed)

    @torch.no_grad()
    def fit(self, out: Path, *, resume: bool = False, console: Console | None = None) -> FitResult:
        """Train every stage, then write weights, metrics and settings.

        Args:
            out: The run's folder.
            resume: Must be False: a run has no checkpoint.
            console: Where to print; stderr by default.

        Returns:
            The number of stages and the metrics.
        """
        if resume:
            raise ValueError(f"{out}: a run of rcpr has no checkpoint; leave --resume out")
        console = console or Console(stderr=True)
        torch.set_num_threads(self.config.threads)
        write_settings(self.config, out)
        begun = time.monotonic()
        samples, stages = self.training_samples(), len(self.model.stages)
        for number, module in enumerate(self.model.stages, start=1):
            stage = cast(FernStage, module)
            samples = samples._replace(state=self.fit_stage(stage, samples))
            if number == self.model.early:
                self.model.max_spread.copy_(spread_of(samples.state[..., :2]).quantile(AGREEING))
            if number % -(-stages // REPORTS) == 0:
                lengths = face_lengths(samples.target[:, 0, :, :2], self.faces.scheme, self.normaliser)
                distance = (samples.state - samples.target)[..., :2].norm(dim=-1).mean(dim=(1, 2))
                nme, minutes = 100 * float((distance / lengths).mean()), (time.monotonic() - begun) / 60
                console.print(
                    f"stage {number}/{stages}  training NME {nme:.2f}  {minutes:.1f} minutes", highlight=False
                )
        metrics = self.validate()
        save_weights(self.model, self.spec, out / "last.safetensors")
        write_best(self.model, self.spec, metrics, out)
        return FitResult(stages, metrics, interrupted=False)

    def training_samples(self) -> Samples:
        """Return several random views of every training face, each with random training shapes to start from."""
        config = self.config
        items = self.first_views(config.views * len(self.split.train))
        images = np.stack([item["images"].numpy() for item in items])
        occluded = torch.stack([~item["visible"] for item in items])[..., None].float()
        target = torch.cat([torch.stack([item["points_unit"] for item in items]), occluded], dim=-1)[:, None]
        rate = occluded.mean(dim=0)  # (L, 1), what is occluded on average
        starts = self._states(len(self.model.starts), rate)
        starts[0, :, :2] = torch.from_numpy(self.mean_shape)
        self.model.starts.copy_(starts.half())  # as a file with float16 has them
        state = torch.unflatten(self._states(len(items) * config.view_starts, rate), 0, (len(items), -1))
        return Samples(images, target, state)

    def _states(self, count: int, occlusion: Float[Tensor, "L 1"]) -> Float[Tensor, "count L 3"]:
        drawn = torch.randint(len(self.shapes), (count,), generator=self.generator)
        return torch.cat([self.shapes[drawn], occlusion.expand(count, -1, -1)], dim=-1)

    def fit_stage(self, stage: FernStage, samples: Samples) -> Float[Tensor, "V M L 3"]:
        """Return the states after a stage whose regressors are fitted, each on pixels of its zone, to what is left.

        Args:
            stage: The stage, which is changed.
            samples: The views with the states before this stage.
        """
        regressors, ferns, depth = stage.sizes
        config, left = self.config, (samples.target - samples.state).flatten(0, 1).flatten(1)  # (N, 3L)
        pools = self._pools(regressors)
        ends = torch.cat([pool.ends for pool in pools])
        place = torch.cat([pool.place for pool in pools])
        chunks = [
            pixels_at(samples.grey(i), interpolate(samples.state[i : i + CHUNK, :, :, :2], ends, place))
            for i in range(0, len(samples.images), CHUNK)
        ]
        pixels = torch.split(torch.cat(chunks).flatten(0, 1), [len(pool.ends) for pool in pools], dim=1)
        bins, updates = torch.unflatten(stage.bins, 0, (regressors, ferns, -1)), []
        for zone, (pool, values) in enumerate(zip(pools, pixels, strict=True)):
            stage.zones[zone] = pool.members
            residual, selection = left.clone(), FeatureSelection(values)
            for fern in range(ferns):
                pairs = selection.pairs(self._projected(residual, depth))  # (D, 2)
                differences = values[:, pairs[:, 0]] - values[:, pairs[:, 1]]
                threshold = self._thresholds(differences)
                index = ((differences > threshold).long() << torch.arange(depth)).sum(dim=1)
                sums = residual.new_zeros(2**depth, residual.shape[1]).index_add_(0, index, residual)
                counts = torch.bincount(index, minlength=2**depth)[:, None]
                update = sums / (counts + config.shrinkage).clamp_min(1)
                residual -= update[index]
                stage.ends[zone, fern], stage.place[zone, fern] = pool.ends[pairs], pool.place[pairs]
                stage.threshold[zone, fern], bins[zone, fern] = threshold, update
            updates.append(torch.unflatten(left - residual, 0, samples.state.shape[:2]))
        return stage.combine(samples.state, torch.stack(updates, dim=2))

    def _pools(self, count: int) -> list["_Pool"]:
        """Draw zones, and points between two landmarks in each; a zone without such points is not drawn."""
        mean = torch.from_numpy(self.mean_shape)
        zones = zone_of(mean, mean)
        landmarks, wanted = len(mean), self.config.pool
        found: list[_Pool] = []
        for zone in torch.randperm(GRID**2, generator=self.generator).tolist():
            ends = torch.randint(landmarks, (wanted * 60, 2), generator=self.generator)
            # Rounded, so that a file with float16 has the same points.
            place = torch.rand(len(ends), generator=self.generator).half().float()
            inside = zone_of(interpolate(mean, ends, place), mean) == zone
            chosen = inside.nonzero()[:wanted, 0]
            if len(chosen) < 4:
                continue
            members = (zones == zone).float()
            members = members if members.any() else torch.ones(landmarks)
            found.append(_Pool(ends[chosen], place[chosen], members / members.sum()))
            if len(found) == count:
                return found
        raise ValueError(f"{self.faces.label}: only {len(found)} zones of the face have features; lower --regressors")

    def _projected(self, residual: Float[Tensor, "N L3"], depth: int) -> Float[Tensor, "N D"]:
        """Return projections of what is left on random directions, shape and occlusion in proportion."""
        left = torch.unflatten(residual, 1, (-1, 3))
        shape, occlusion = left[..., :2].std(), left[..., 2].std()
        scale = torch.stack([1 / shape, 1 / shape, OCCLUSION_WEIGHT / occlusion.clamp_min(1e-6)])
        directions = torch.randn(residual.shape[1], depth, generator=self.generator)
        projected: Tensor = residual @ (directions * scale.repeat(residual.shape[1] // 3)[:, None])
        return projected

    def _thresholds(self, differences: Float[Tensor, "N D"]) -> Float[Tensor, "D"]:
        """Draw a threshold between the quintiles of each difference, rounded to float16, but none near zero.

        In flat areas a difference is zero, and at a threshold of zero a rounding error would decide the bit.
        """
        low, high = differences[:: max(1, len(differences) // 2000)].quantile(torch.tensor([0.2, 0.8]), dim=0)
        share = torch.rand(differences.shape[1], generator=self.generator)
        thresholds = (low + share * (high - low)).half().float()
        return torch.where(thresholds.abs() < MIN_THRESHOLD, MIN_THRESHOLD, thresholds)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the NME in percent on the validation split, clean and occluded, and their mean as `score`.

        Calibrates the visibility on the same faces.
        """
        logits: list[Tensor] = []
        visible: list[Tensor] = []

        def collect(prediction: Prediction, batch: Batch, _: Tensor) -> None:
            assert prediction.visibility_logit is not None
            logits.append(prediction.visibility_logit.flatten())
            visible.append(batch["visible"].flatten())

        metrics = self.mean_errors(self.model, torch.device("cpu"), CHUNK, collect)
        with torch.enable_grad():
            visibility = calibrate_visibility(torch.cat(logits), torch.cat(visible))
        self.model.set_calibration(visibility, 1.0)
        return with_score(metrics)


class _Pool(NamedTuple):
    """Points of one zone as `interpolate` takes them, and each landmark's share in the zone's occlusion, (L,)."""

    ends: Tensor
    place: Tensor
    members: Tensor


def zone_of(points: Float[Tensor, "Q 2"], mean: Float[Tensor, "L 2"]) -> Tensor:
    """Return the zone of each point, (Q,): the cell of a grid over the box of the mean shape, row by row.

    Args:
        points: Points on the mean shape.
        mean: The mean shape.
    """
    low, high = mean.amin(dim=0), mean.amax(dim=0)
    cell = ((points - low) / (high - low) * GRID).long().clamp(0, GRID - 1)
    return cell[:, 1] * GRID + cell[:, 0]


class FeatureSelection:
    """Selection of the pixel differences that correlate most with a target.

    Args:
        values: The brightness at each pixel of a zone, (N, F).

    Source: Cao et al. 2012, section 2.3.
    """

    def __init__(self, values: Float[Tensor, "N F"]) -> None:
        self.centred = values - values.mean(dim=0)
        covariance = self.centred.T @ self.centred / len(values)
        variance = covariance.diagonal()
        self.scale = (variance[:, None] + variance - 2 * covariance).clamp_min(1e-9).sqrt()

    def pairs(self, targets: Float[Tensor, "N D"]) -> Tensor:
        """Return the pair of pixels for each target, (D, 2).

        Args:
            targets: The targets.
        """
        covariance = self.centred.T @ (targets - targets.mean(dim=0)) / len(targets)  # (F, D)
        correlation = (covariance[:, None] - covariance).abs() / self.scale[..., None]
        best = correlation.flatten(0, 1).argmax(dim=0)
        return torch.stack([best // len(self.scale), best % len(self.scale)], dim=1)
