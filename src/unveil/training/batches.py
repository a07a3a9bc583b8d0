"""Batches of faces: which train and which validate, random views in an order that the seed alone decides.

B faces, S pixels a side.
"""

import hashlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from unveil.data.augment import Augmentation, Example, augmented, cut
from unveil.data.datasets.registry import Faces
from unveil.data.occlusion import Occluder, OcclusionConfig, OcclusionSampler, is_occluded
from unveil.data.self_occlusion import turned_away
from unveil.data.tps_warp import OtherShapes
from unveil.geometry import Crop, tight_box, unit_to_crop_px
from unveil.schemes.scheme import Scheme
from unveil.training.config import Schedule

Batch: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Slices:
    """Which faces train and which only validate."""

    training: NDArray[np.int64]
    validation: NDArray[np.int64]


def split_by_name(names: Sequence[str], share: float) -> Slices:
    """A face validates if the hash of its name says so: the same faces in every run, whatever else is in the set."""
    held = np.array([int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 < share for name in names])
    return Slices(np.flatnonzero(~held), np.flatnonzero(held))


def left_out_kinds(config: OcclusionConfig, scheme: Scheme) -> tuple[str, ...]:
    """A line that names the kinds that cannot be placed on faces of the scheme; none if all can."""
    kinds = ", ".join(sorted(config.unsupported(scheme)))
    return (f"scheme {scheme.name}: without {kinds}, which are drawn from the 68 points of ibug68",) if kinds else ()


class TrainingFaces(Dataset[Batch]):
    """Random views. An item is (number of the draw, index of the face): the draw's number seeds the view."""

    def __init__(
        self,
        faces: Faces,
        size: int,
        config: Augmentation,
        occlude: Occluder | None,
        seed: int,
        others: OtherShapes,
    ) -> None:
        self.faces, self.size, self.config, self.occlude, self.seed = faces, size, config, occlude, seed
        self.others = others

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        draw, index = item
        example = augmented(
            self.faces.image(index),
            self.faces.points_px[index],
            scheme=self.faces.scheme,
            size=self.size,
            config=self.config,
            occlude=self.occlude,
            rng=np.random.default_rng((self.seed, draw)),
            others=self.others,
            annotated_visible=None if self.faces.visible is None else self.faces.visible[index],
        )
        return as_tensors(example)


def as_tensors(example: Example) -> Batch:
    return {
        "images": torch.from_numpy(example.image),
        "points_unit": torch.from_numpy(example.points_unit),
        "visible": torch.from_numpy(example.visible),
    }


@dataclass(frozen=True, slots=True)
class Share:
    """Which of several equal processes this is."""

    process: int = 0
    processes: int = 1


def refuse_few(faces: Faces, slices: Slices, batch: int) -> None:
    """ValueError if too few faces train for a batch, or none validates."""
    if len(slices.training) < batch or not len(slices.validation):
        sizes = f"{len(slices.training)} faces to train and {len(slices.validation)} to validate"
        raise ValueError(f"{faces.label}: {sizes}, for a batch of {batch}; lower --batch or add faces")


class Draws(Sampler[list[tuple[int, int]]]):
    """An endless order of batches that depends on the seed alone, so a resumed run goes on where it stopped.

    Several processes draw the same faces, as many as fill all their batches, and each keeps its own part of them.
    """

    def __init__(
        self,
        indices: NDArray[np.int64],
        weights: NDArray[np.float64],
        batch: int,
        seed: int,
        start: int,
        share: Share = Share(),
    ) -> None:
        self.indices, self.weights, self.batch, self.seed, self.start = indices, weights, batch, seed, start
        self.share = share

    @classmethod
    def of(
        cls,
        faces: Faces,
        indices: NDArray[np.int64],
        schedule: Schedule,
        start: int,
        share: Share,
        weights: NDArray[np.float64] | None = None,
    ) -> Self:
        """The order of these faces from step `start`, all alike without weights.

        ValueError if they are too few for all the processes' batches.
        """
        if len(indices) < schedule.batch * share.processes:
            sizes = f"{len(indices)} faces to train for {share.processes} batches of {schedule.batch}"
            raise ValueError(f"{faces.label}: {sizes}; lower --batch or start fewer processes")
        alike = np.full(len(indices), 1 / len(indices))
        return cls(indices, alike if weights is None else weights, schedule.batch, schedule.seed, start, share)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step, together = self.start, self.batch * self.share.processes
        own = slice(self.share.process * self.batch, (self.share.process + 1) * self.batch)
        while True:
            rng = np.random.default_rng((self.seed, step, 0))
            chosen = rng.choice(self.indices, size=together, p=self.weights, replace=False)
            yield [(step * together + i, int(index)) for i, index in enumerate(chosen)][own]
            step += 1


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Bytes to the device, then RGB in [0, 1], (B, 3, S, S), channels last."""
    moved = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
    moved["images"] = moved["images"].permute(0, 3, 1, 2).float() / 255
    return moved


def loaded(views: Dataset[Batch], order: Draws) -> Iterator[Batch]:
    """Batches in that order, made in one loader process."""
    return iter(
        DataLoader(views, batch_sampler=order, num_workers=1, prefetch_factor=6, worker_init_fn=_loader_process)
    )


def held_out_examples(
    faces: Faces, indices: NDArray[np.int64], size: int, sampler: OcclusionSampler | None, margin: float = 1.0
) -> dict[str, list[Example]]:
    """The faces as they are, and each under one occluder: the same ones in every run."""

    def example(index: int, kind: str) -> Example:
        points_px = faces.points_px[index]
        crop = Crop.around(tight_box(points_px), margin)
        picture, points_unit = cut(faces.image(index), points_px, crop, faces.scheme, size)
        visible = ~turned_away(faces.scheme, points_unit)
        if faces.visible is not None:
            visible &= faces.visible[index]
        if kind == "occluded" and sampler is not None and sampler.kinds:
            rng = np.random.default_rng((0, index))
            points = unit_to_crop_px(points_unit, size)
            occluded = sampler.cover(picture, points, rng)
            picture, visible = occluded.image, visible & ~is_occluded(points, occluded.mask)
        return Example(picture, points_unit, visible)

    return {kind: [example(int(i), kind) for i in indices] for kind in ("clean", "occluded")}


def example_batches(examples: Sequence[Example], size: int, device: torch.device) -> Iterator[Batch]:
    """The examples in order, `size` at a time, as a network sees them."""
    for start in range(0, len(examples), size):
        chunk = [as_tensors(example) for example in examples[start : start + size]]
        yield to_device({key: torch.stack([item[key] for item in chunk]) for key in chunk[0]}, device)


def _loader_process(_: int) -> None:
    """One thread, and deaf to Ctrl-C, which the terminal sends to every process: the loop still needs its batches."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
