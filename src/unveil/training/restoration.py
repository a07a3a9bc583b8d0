"""Training to restore: the faces, their pairs, the loss on pixels and the validation of any restoring network.

B faces, S pixels of a crop's side. `unveil.training.gan` adds GAN-IA's phases and losses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import Dataset
from typing_extensions import override

from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import OcclusionSampler
from unveil.data.restoration_pairs import NONE, RestorationPair, component_pair, restoration_pair, with_landmark_map
from unveil.data.self_occlusion import self_occluded
from unveil.data.splits import split_by_name
from unveil.geometry import tight_box
from unveil.inference.aligner import AlignmentModel
from unveil.metrics.restoration import Pixels, hole_metrics, mask_iou
from unveil.models.checkpoints import load_matching
from unveil.models.discriminators import random_corners
from unveil.models.generator import GeneratorOutput, as_generator_output
from unveil.schemes.scheme import IBUG68
from unveil.training.batches import BatchSampler, check_enough_faces, joined_faces, load_batches, set_weights
from unveil.training.gan_config import RestorationTrainConfig
from unveil.training.gan_losses import reconstruction_loss
from unveil.training.runtime import process_count
from unveil.training.task import Batch, FitResult, Losses, Task
from unveil.types import Image

FACE_SIZE = 256  # least side of the face that a component is cropped from, pixels
WIDER_CROP = 1.6  # factor of that face's crop: the jaw's window is wider than the face's and lies lower
TRIES = 8  # occluders to draw until one covers part of the component
SAMPLE_FACES = 6
ALIGNER = "glomface-light"

Config = TypeVar("Config", bound=RestorationTrainConfig)


def make_pair(
    faces: Faces,
    index: int,
    config: RestorationTrainConfig,
    sampler: OcclusionSampler,
    size: int,
    rng: np.random.Generator,
    *,
    validation: bool = False,
) -> RestorationPair:
    """Make a pair of one face, of the component if the network restores one.

    Args:
        faces: The faces.
        index: Which of them.
        config: The network's crop and the augmentation.
        sampler: The occluders.
        size: The crop's side in pixels.
        rng: The same state gives the same pair.
        validation: Use the crop of inference and unchanged images, and always occlude.

    Returns:
        The pair, with a landmark map for a guided network. If the occluder misses the component, another one is drawn,
        at most `TRIES` times.
    """
    network, part = config.model, config.model.part
    augment = config.augment.without_changes(network.margin) if validation else config.augment
    occlude = sampler.cover if validation else sampler
    if part is not None:
        low, high = augment.scale
        augment = augment.model_copy(update={"scale": (WIDER_CROP * low, WIDER_CROP * high)})
    for _ in range(TRIES):
        pair = restoration_pair(
            faces.image(index),
            faces.points_px[index],
            scheme=faces.scheme,
            size=size if part is None else max(FACE_SIZE, 2 * size),
            augment=augment,
            occlude=occlude,
            rng=rng,
        )
        if part is not None:
            pair = component_pair(pair, part, size, None if validation else rng)
        if part is None or pair.mask.any() or pair.kind == NONE:
            break
    guided = getattr(network, "guided", False)
    return with_landmark_map(pair, faces.scheme, augment, rng) if guided else pair


def as_tensors(pair: RestorationPair) -> Batch:
    """Return a pair as tensors: images of bytes, (S, S, 3), and the mask, (S, S).

    Args:
        pair: The pair; a landmark map becomes a fourth channel of the occluded image.
    """
    occluded = pair.occluded if pair.landmark_map is None else np.dstack([pair.occluded, pair.landmark_map])
    return {
        "clean": torch.from_numpy(pair.clean),
        "occluded": torch.from_numpy(occluded),
        "mask": torch.from_numpy(pair.mask),
    }


class TrainingPairs(Dataset[Batch]):
    """Random pairs. An item is (number of the draw, index of the face); the draw's number seeds the pair.

    Args:
        faces: The faces.
        config: The run's settings.
        sampler: The occluders.
        patch: Side of the patch for which random corners are drawn, or None.
        coarse: The number of draws at half the side.
    """

    def __init__(
        self,
        faces: Faces,
        config: RestorationTrainConfig,
        sampler: OcclusionSampler,
        patch: int | None = None,
        coarse: int = 0,
    ) -> None:
        self.faces, self.config, self.sampler, self.patch, self.coarse = faces, config, sampler, patch, coarse

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        draw, index = item
        rng = np.random.default_rng((self.config.schedule.seed, draw))
        size = self.config.model.input_size // (2 if draw < self.coarse else 1)
        batch = as_tensors(make_pair(self.faces, index, self.config, self.sampler, size, rng))
        if self.patch is None:
            return batch
        generator = torch.Generator().manual_seed(int(rng.integers(2**32)))
        return {**batch, "corners": random_corners(1, size, min(self.patch, size), generator)[0]}


class RestorationTask(Task, Generic[Config]):
    """Train a restoring network on the loss of its pixels alone (DRDA); `GanTask` adds the other losses of GAN-IA.

    Args:
        faces: Bare faces with landmarks of scheme ibug68.
        config: The settings; the task's own `config` lacks the occluders that are not available.
        more: More sets of such faces; `config.more_share` is the share of the drawn faces for each.

    Raises:
        ValueError: The faces are too few or of another scheme, or the shares do not fit the sets.
    """

    config: Config

    def __init__(self, faces: Faces, config: Config, more: Sequence[Faces] = ()) -> None:
        cv2.setNumThreads(1)  # before OpenCV creates its threads: a forked loader would wait for them for ever
        for one in (faces, *more):
            if one.scheme != IBUG68:
                raise ValueError(
                    f"{one.label}: scheme {one.scheme.name!r}, but occluders are placed by ibug68's 68 points"
                )
        library = config.occlusion.read_library()
        unavailable = config.occlusion.unavailable(library)
        self.sampler = OcclusionSampler(config.occlusion.without(*unavailable), library)
        if not self.sampler.kinds:
            kinds = ", ".join(config.occlusion.weights)
            raise ValueError(f"no occluder is left of {kinds}; give a --library of pictures or another kind")
        self.config = config.model_copy(update={"occlusion": self.sampler.config})
        self.notes = tuple(f"without {kind}: the library has no pictures of it" for kind in unavailable)
        self.faces, self.sets = joined_faces(faces, more, config.more_share)
        self.split = split_by_name(self.faces.names, config.val_share)
        if config.min_visible:
            bare = _bare_faces(self.faces, config.min_visible)
            self.notes += (f"{int((~bare).sum())} of {len(bare)} faces are occluded and do not train",)
            self.split = type(self.split)(*(part[bare[part]] for part in (self.split.train, self.split.val)))
        check_enough_faces(self.faces, self.split, config.schedule.batch)
        schedule = config.schedule.for_faces(len(self.split.train), process_count())
        self.config = self.config.model_copy(update={"schedule": schedule})
        self.spec = config.model.spec(faces.scheme)
        torch.manual_seed(config.schedule.seed)
        self.network = config.model.build(faces.scheme)
        if config.init_from is not None:
            self.notes += (load_matching(self.network, config.init_from),)
        self.model: nn.Module = self.network

    @override
    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        schedule, weights = self.config.schedule, set_weights(self.sets[self.split.train], self.config.more_share)
        order = BatchSampler(self.split.train, schedule, start, process, processes, weights)
        return load_batches(self.pairs(schedule.batch * processes), order)

    @override
    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        config, restored = self.config, as_generator_output(model(batch["occluded"])).restored
        return {
            "loss": reconstruction_loss(restored, batch["clean"], batch["mask"], config.hole_weight, config.pixel_loss)
        }

    @override
    def fit(self, out: Path, *, resume: bool = False, console: Console | None = None) -> FitResult:
        """Print the metrics to beat, then train; see `Task.fit`."""
        if console is not None:
            for name, metrics in self.baselines().items():
                shown = "  ".join(f"{metric} {value:.3f}" for metric, value in metrics.items())
                console.print(f"validation faces, {name}: {shown}", highlight=False, soft_wrap=True)
        return super().fit(out, resume=resume, console=console)

    def pairs(self, batch: int) -> TrainingPairs:
        """Return the random pairs to train on.

        Args:
            batch: Faces of a step, of all processes together.
        """
        del batch
        return TrainingPairs(self.faces, self.config, self.sampler)

    @override
    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        """Move a batch to the device: RGB and mask in [0, 1], (B, 3, S, S) and (B, 1, S, S), channels last."""
        moved = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        for key in ("clean", "occluded"):
            moved[key] = moved[key].permute(0, 3, 1, 2).float() / 255
        moved["mask"] = moved["mask"][:, None].float()
        return moved

    @cached_property
    def validation(self) -> list[RestorationPair]:
        """Faces of the validation split, each under one occluder; the same in every run."""
        held_out, config = self.split.val, self.config
        chosen = held_out[np.linspace(0, len(held_out) - 1, min(config.val_faces, len(held_out))).astype(int)]
        return [
            make_pair(
                self.faces,
                int(index),
                config,
                self.sampler,
                config.model.input_size,
                np.random.default_rng((0, int(index))),
                validation=True,
            )
            for index in chosen
        ]

    @override
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return means over the validation: PSNR (dB), SSIM and absolute error in the hole, and the IoU of the mask.

        `score` is the error, plus 1 - IoU for a network that predicts a mask.
        """
        restored: list[Pixels] = []
        masks: list[NDArray[np.bool_]] = []
        has_mask = False
        for start in range(0, len(self.validation), self.config.schedule.batch):
            chunk = [as_tensors(pair) for pair in self.validation[start : start + self.config.schedule.batch]]
            batch = self.prepare({key: torch.stack([item[key] for item in chunk]) for key in chunk[0]}, device)
            with torch.no_grad():
                raw = model(batch["occluded"])
            has_mask = isinstance(raw, GeneratorOutput)
            output = as_generator_output(raw)
            images = output.composite(batch["occluded"]).float().cpu().permute(0, 2, 3, 1) * 255
            restored += list(images.numpy())
            masks += list(output.mask[:, 0].float().cpu().numpy() > 0.5)
        metrics = mean_metrics(self.validation, restored)
        if has_mask:
            pairs = zip(self.validation, masks, strict=True)
            metrics["iou"] = float(np.mean([mask_iou(pair.mask, mask) for pair, mask in pairs if pair.mask.any()]))
        return {**metrics, "score": metrics["error"] + 1 - metrics.get("iou", 1.0)}

    def baselines(self) -> dict[str, dict[str, float]]:
        """Return the metrics to beat on the validation's faces: no change, and OpenCV's inpainting of the true mask."""
        return {
            "occluded": mean_metrics(self.validation, [pair.occluded for pair in self.validation]),
            "inpainted": mean_metrics(self.validation, [inpaint(pair) for pair in self.validation]),
        }

    @override
    @torch.no_grad()
    def sample_image(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return six faces of a batch side by side, uint8: occluded, restored, predicted mask and clean in rows."""
        occluded = batch["occluded"][:SAMPLE_FACES]
        output = as_generator_output(model(occluded))
        mask = output.mask.float().expand(-1, 3, -1, -1)
        rows = (occluded[:, :3], output.composite(occluded).float(), mask, batch["clean"][:SAMPLE_FACES])
        grid = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
        return (grid * 255).byte().cpu()


def _bare_faces(faces: Faces, min_visible: float) -> NDArray[np.bool_]:
    """Return which faces are bare, (N,): the aligner predicts at least `min_visible` of the landmarks as visible.

    Landmarks that the head itself occludes do not count. A face with a landmark that is annotated as occluded is not
    bare.
    """
    model = AlignmentModel.load(ALIGNER, threads=1)
    bare = np.zeros(len(faces), np.bool_)
    for index in range(len(faces)):
        points_px = faces.points_px[index]
        if faces.visible is not None and not faces.visible[index].all():
            continue
        (found,) = model(faces.image(index), [tight_box(points_px)])
        counted = ~self_occluded(faces.scheme, points_px)
        assert found.visibility is not None
        bare[index] = (found.visibility[counted] > 0.5).mean() >= min_visible
    return bare


def inpaint(pair: RestorationPair) -> Image:
    """Return the occluded face with the true mask filled by OpenCV's inpainting (Telea 2004).

    Args:
        pair: The pair.
    """
    return np.asarray(cv2.inpaint(pair.occluded, pair.mask.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)


def mean_metrics(pairs: Sequence[RestorationPair], restored: Sequence[Pixels]) -> dict[str, float]:
    """Return the means over occluded faces of `hole_metrics`.

    Args:
        pairs: Pairs with the ground truth.
        restored: RGB of each restored face, 0 to 255.

    Raises:
        ValueError: No face is occluded.
    """
    metrics = [
        asdict(hole_metrics(pair.clean, image, pair.mask))
        for pair, image in zip(pairs, restored, strict=True)
        if pair.mask.any()
    ]
    if not metrics:
        raise ValueError(f"none of {len(pairs)} faces is occluded; raise --val-share or choose other occluders")
    return {name: float(np.mean([one[name] for one in metrics])) for name in metrics[0]}
