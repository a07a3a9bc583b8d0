"""Batches of training faces: random views in an order that depends on the seed alone. B faces, S pixels a side."""

import math
import signal
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from unveil.data.augment import AugmentConfig, Example, Transform, augment
from unveil.data.datasets.joined import JoinedFaces
from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import Occluder
from unveil.data.splits import Split, name_hash
from unveil.data.tps_warp import ShapeSampler
from unveil.training.config import ScheduleConfig
from unveil.training.task import Batch


class TrainingFaces(Dataset[Batch]):
    """Random views. An item is (number of the draw, index of the face); the draw's number seeds the view.

    Args:
        faces: The faces.
        size: The crop's side, pixels.
        config: Strength of the augmentation.
        occlude: Draws the occluders; None for none.
        seed: Seed of all views.
        shapes: Shapes to warp towards.
        transform: A user's own augmentation, applied last.
        labelled: (N,), whether the occlusion of each face itself is annotated; None for all.
    """

    def __init__(
        self,
        faces: Faces,
        size: int,
        config: AugmentConfig,
        occlude: Occluder | None,
        seed: int,
        shapes: ShapeSampler,
        transform: Transform | None = None,
        labelled: NDArray[np.bool_] | None = None,
    ) -> None:
        self.labelled = np.ones(len(faces), np.bool_) if labelled is None else labelled
        self.faces, self.size, self.config, self.occlude, self.seed = faces, size, config, occlude, seed
        self.shapes, self.transform = shapes, transform

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        draw, index = item
        rng = np.random.default_rng((self.seed, draw))
        example = augment(
            self.faces.image(index),
            self.faces.points_px[index],
            scheme=self.faces.scheme,
            size=self.size,
            config=self.config,
            occlude=self.occlude,
            rng=rng,
            shapes=self.shapes,
            annotated_visible=None if self.faces.visible is None else self.faces.visible[index],
        )
        tensors = as_tensors(example if self.transform is None else self.transform(example, rng))
        return {**tensors, "labelled": torch.tensor(bool(self.labelled[index]))}


def as_tensors(example: Example) -> Batch:
    """Return an example as tensors: image bytes (S, S, 3), landmarks (L, 2) and visibility (L,).

    Args:
        example: The example.
    """
    return {
        "images": torch.from_numpy(np.ascontiguousarray(example.image)),
        "points_unit": torch.from_numpy(np.asarray(example.points_unit, np.float32)),
        "visible": torch.from_numpy(example.visible),
    }


def check_enough_faces(faces: Faces, split: Split, batch: int, views: int = 1) -> None:
    """Check that there is a batch of training faces and a face to validate.

    Args:
        faces: The faces.
        split: Their split.
        batch: Faces of a step.
        views: Views of each training face.

    Raises:
        ValueError: There are too few.
    """
    train, val = len(split.train), len(split.val)
    if not val:
        enough = math.floor(100 * min(map(name_hash, faces.names), default=1.0) + 1) / 100
        fix = f"raise --val-share to {min(enough, 0.99):g} or add faces"
        raise ValueError(f"{faces.label}: {train} faces to train, but the validation split is empty; {fix}")
    if train * views < batch:
        fix = f"lower --batch to {max(train * views, 1)} or less, lower --val-share, or add faces"
        raise ValueError(f"{faces.label}: {train} faces to train and {val} to validate, for a batch of {batch}; {fix}")


def check_more(
    values: Sequence[float], more: Sequence[Faces], option: str = "--more-share", limit: float = 1.0
) -> None:
    """Check an option that takes one value for each set of --more.

    Args:
        values: The values.
        more: The sets.
        option: Name of the option, for the message.
        limit: What the sum of the values must stay below; shares of the drawn faces leave some for --data.

    Raises:
        ValueError: There are more or fewer values than sets, or their sum is too large.
    """
    given = " ".join([option, *map(str, values)])
    if len(values) != len(more):
        sets = ", ".join(["--more", *(faces.label for faces in more)])
        raise ValueError(f"{given}: {len(values)} for {len(more)} sets of {sets}; give one each")
    if sum(values) >= limit:
        raise ValueError(f"{given}: together {limit:g} or more, so no face of --data would train; give less")


def joined_faces(faces: Faces, more: Sequence[Faces], shares: Sequence[float]) -> tuple[Faces, NDArray[np.int64]]:
    """Return all faces and the number of the set of each.

    Args:
        faces: The first set.
        more: The others.
        shares: Their shares of the drawn faces; none draws every face equally often.

    Raises:
        ValueError: The shares do not fit.
    """
    if shares:
        check_more(shares, more)
    joined = faces
    for one in more:
        joined = JoinedFaces(joined, one)
    return joined, np.repeat(np.arange(1 + len(more)), [len(one) for one in (faces, *more)])


def set_weights(sets: NDArray[np.int64], shares: Sequence[float]) -> NDArray[np.float64]:
    """Return the probability of each training face: its set's share, divided among the set's training faces.

    Args:
        sets: The number of each face's set.
        shares: Of all sets but the first; none draws every face equally often.
    """
    if not shares:
        return np.full(len(sets), 1 / len(sets))
    weights = (np.array([1 - sum(shares), *shares]) / np.maximum(np.bincount(sets, minlength=1 + len(shares)), 1))[sets]
    return np.asarray(weights / weights.sum(), np.float64)


class BatchSampler(Sampler[list[tuple[int, int]]]):
    """An endless order of batches that depends on the seed alone, so that a resumed run continues where it stopped.

    All processes draw the same faces for a step, and each process yields its own part of them.

    Args:
        indices: The faces to draw from.
        schedule: Batch size and seed.
        start: The first step.
        process: Rank of this process.
        processes: Number of processes that train together.
        weights: The probability of each face, which sum to 1; None for the same.
        clusters: Cluster of each face; with `per_batch` that many clusters are drawn uniformly for each batch, and each
            of its faces from one of them by weight.
        per_batch: Clusters of a batch; None draws the faces by weight alone.

    Raises:
        ValueError: The faces are too few for the batches of all processes.
    """

    def __init__(
        self,
        indices: NDArray[np.int64],
        schedule: ScheduleConfig,
        start: int,
        process: int = 0,
        processes: int = 1,
        weights: NDArray[np.float64] | None = None,
        clusters: NDArray[np.int64] | None = None,
        per_batch: int | None = None,
    ) -> None:
        self.batch, self.seed = schedule.batch, schedule.seed
        if len(indices) < self.batch * processes:
            sizes = f"{len(indices)} faces to train for {processes} batches of {self.batch}"
            raise ValueError(f"{sizes}; lower --batch or start fewer processes")
        self.indices, self.start, self.process, self.processes = indices, start, process, processes
        self.weights = np.full(len(indices), 1 / len(indices)) if weights is None else weights
        self.clusters, self.per_batch = clusters, per_batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step, together = self.start, self.batch * self.processes
        own = slice(self.process * self.batch, (self.process + 1) * self.batch)
        while True:
            rng = np.random.default_rng((self.seed, step, 0))
            if self.clusters is None or self.per_batch is None:
                chosen = rng.choice(self.indices, size=together, p=self.weights, replace=False)
            else:
                chosen = self._from_clusters(rng, together)
            yield [(step * together + i, int(index)) for i, index in enumerate(chosen)][own]
            step += 1

    def _from_clusters(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw clusters uniformly, then `count` faces, each from one of them; a face may occur twice."""
        assert self.clusters is not None
        assert self.per_batch is not None
        present = np.unique(self.clusters)
        drawn = rng.choice(present, size=min(self.per_batch, len(present)), replace=False)
        order = np.concatenate([rng.permutation(drawn) for _ in range(-(-count // len(drawn)))])[:count]
        faces = []
        for cluster in order:
            members = np.flatnonzero(self.clusters == cluster)
            weights = self.weights[members]
            faces.append(self.indices[rng.choice(members, p=weights / weights.sum())])
        return np.array(faces, np.int64)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on the device; images become RGB in [0, 1], (B, 3, S, S), channels last.

    Args:
        batch: Tensors by name, with `images` of bytes (B, S, S, 3).
        device: The device.
    """
    moved = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
    moved["images"] = moved["images"].permute(0, 3, 1, 2).float() / 255
    return moved


def load_batches(views: Dataset[Batch], order: BatchSampler) -> Iterator[Batch]:
    """Return an iterator over batches, made in one loader process.

    Args:
        views: The data set.
        order: The items of each batch.
    """
    return iter(DataLoader(views, batch_sampler=order, num_workers=1, prefetch_factor=6, worker_init_fn=start_loader))


def start_loader(_: int) -> None:
    """Use one thread, and ignore signals that reach every process of a group: the loop still needs batches."""
    torch.set_num_threads(1)
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
