"""Restored views of faces, on which landmark networks behind a restorer train and validate.

N faces, L landmarks, S pixels of a crop's side, W = `ROOM` x S pixels of the image that a restorer gets.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from unveil.data.augment import AugmentConfig, Example
from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import OcclusionSampler
from unveil.geometry import Crop
from unveil.inference.blending import replace_occluded
from unveil.inference.restorer import Restorer
from unveil.inference.torch_restorer import load_torch_restorer
from unveil.models.checkpoints import NETWORKS, Networks
from unveil.schemes.scheme import IBUG68, Scheme
from unveil.training.task import Batch
from unveil.training.validation import val_examples
from unveil.types import Points

CHUNK = 256
ROOM = 1.4  # sides of the crop that a restorer gets: its window is larger than the face, and may be off
FAR = 0.5  # of the way from the mean shape to the face: the least accurate prediction that a restorer gets

T = TypeVar("T")

RestoreCrops: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.uint8]]
"""From images (N, W, W, 3) and shapes (N, L, 2) in units of the central crop to restored crops (N, S, S, 3)."""


def load_stage_restorers(path: Path, networks: Networks = NETWORKS) -> tuple[Restorer, ...]:
    """Load a restorer, or one for each stage of a cascade.

    Args:
        path: A restorer as `load_torch_restorer` takes it, or a folder with such restorers in `stage-1`, `stage-2`, ...
        networks: The builders to choose from.

    Returns:
        The restorers in the order of the stages; a single one is for all of them.

    Raises:
        ValueError: A restorer cannot be loaded, or a stage is missing.
    """
    stages = [folder for folder in path.glob("stage-*") if folder.is_dir()] if path.is_dir() else []
    numbered = [path / f"stage-{number}" for number in range(1, len(stages) + 1)]
    if missing := [folder for folder in numbered if not folder.is_dir()]:
        raise ValueError(f"{missing[0]}: no such folder; number the restorers of the stages from 1 on")
    return tuple(load_torch_restorer(folder, networks) for folder in numbered or [path])


def of_stage(restorers: Sequence[T], stage: int) -> T:
    """Return the restorer of a stage.

    Args:
        restorers: One for each stage; the last one also serves the stages after it.
        stage: The stage, counted from 0.
    """
    return restorers[min(stage, len(restorers) - 1)]


def restore_with(restorer: Restorer, size: int) -> RestoreCrops:
    """Return a function that restores faces around shapes and blends them as in evaluation.

    Args:
        restorer: The restorer.
        size: The crop's side, S, pixels.
    """

    def restore(images: NDArray[np.uint8], shapes: NDArray[np.float32]) -> NDArray[np.uint8]:
        wide = images.shape[1]
        crop = Crop(((wide - 1) / 2, (wide - 1) / 2), wide / ROOM)
        crops = np.empty((len(images), size, size, 3), np.uint8)
        what, console = f"restoring {len(images)} views", Console(stderr=True)
        chunks, hidden = range(0, len(images), CHUNK), len(images) <= CHUNK or not console.is_terminal
        for start in track(chunks, what, console=console, transient=True, disable=hidden):
            some = list(images[start : start + CHUNK])
            restored = restorer.restore_each(some, [crop.to_px(s) for s in shapes[start : start + CHUNK]], IBUG68)
            for i, (image, windows) in enumerate(zip(some, restored, strict=True), start):
                crops[i] = crop.extract(replace_occluded(image, windows), size)
        return crops

    return restore


class RestoredViews:
    """Restored views for a network without stages.

    In evaluation such a network gets the face restored around the mean shape, then around its own prediction. So half
    of the training views are restored around the mean shape, the others around a shape between it and ground truth.

    Args:
        path: The restorer; see `load_stage_restorers`.
        size: Side of the network's crop, pixels.
        mean_shape: (L, 2) in unit coordinates.
        scheme: The scheme of the faces.
        networks: The builders to choose from; `unveil.registry.NETWORKS` has DRDA too.

    Raises:
        ValueError: The faces do not have the 68 points of ibug68, or the restorer cannot be loaded.
    """

    def __init__(
        self, path: Path, size: int, mean_shape: Points, scheme: Scheme, networks: Networks = NETWORKS
    ) -> None:
        if scheme != IBUG68:
            raise ValueError(f"--restorer {path}: restorers need the 68 points of ibug68, not scheme {scheme.name!r}")
        self.restorers = [restore_with(restorer, size) for restorer in load_stage_restorers(path, networks)]
        self.size, self.mean_shape = round(ROOM * size), mean_shape

    @staticmethod
    def wider(config: AugmentConfig) -> AugmentConfig:
        """Return the augmentation of the restorer's images, which are `ROOM` times as wide as the crop.

        Args:
            config: The augmentation of the crop.
        """
        low, high = config.scale
        return config.model_copy(update={"scale": (ROOM * low, ROOM * high)})

    def batch(self, batch: Batch) -> Batch:
        """Return a batch restored and cut to the crop; its content is the seed.

        Args:
            batch: A batch with images of bytes, (B, W, W, 3).
        """
        truth = ROOM * batch["points_unit"].numpy()
        rng = np.random.default_rng(zlib.crc32(truth.tobytes()))
        share = np.where(rng.random(len(truth)) < 0.5, 0, rng.uniform(FAR, 1, len(truth)))[:, None, None]
        shapes = (self.mean_shape + share * (truth - self.mean_shape)).astype(np.float32)
        images = batch["images"].numpy()
        crops = np.empty((len(images), round(self.size / ROOM), round(self.size / ROOM), 3), np.uint8)
        for stage, chosen in enumerate((share[:, 0, 0] == 0, share[:, 0, 0] > 0)):
            if chosen.any():
                crops[chosen] = of_stage(self.restorers, stage)(images[chosen], shapes[chosen])
        return {**batch, "images": torch.from_numpy(crops), "points_unit": torch.from_numpy(truth)}

    def validation(
        self, faces: Faces, indices: NDArray[np.int64], sampler: OcclusionSampler
    ) -> dict[str, list[Example]]:
        """Return the examples of `val_examples`, restored around the mean shape and cut to the crop.

        Args:
            faces: The faces.
            indices: Which of them.
            sampler: The occluders.
        """
        wide = val_examples(faces, indices, self.size, sampler, ROOM)
        return {condition: self._restored(examples) for condition, examples in wide.items()}

    def _restored(self, examples: Sequence[Example]) -> list[Example]:
        shapes = np.repeat(self.mean_shape[None], len(examples), axis=0).astype(np.float32)
        crops = self.restorers[0](np.stack([example.image for example in examples]), shapes)
        return [
            replace(example, image=crop, points_unit=ROOM * example.points_unit)
            for example, crop in zip(examples, crops, strict=True)
        ]
