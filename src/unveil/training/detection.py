"""Training the face detector: random scenes, label assignment, losses and validation.

B images, N cells, F faces of an image, P positive cells.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from unveil.data.datasets.samples import Faces
from unveil.data.detection import (
    MAX_FACES,
    MAX_IGNORED,
    DetectionScene,
    FaceSource,
    GroupPhotos,
    SceneConfig,
    SceneSampler,
)
from unveil.data.occlusion import OcclusionConfig, OcclusionSampler
from unveil.data.splits import split_by_name
from unveil.io.image_sources import list_images
from unveil.io.images import read_image
from unveil.models.checkpoints import load_matching
from unveil.models.detector import (
    DetectorNetworkConfig,
    DetectorOutput,
    FaceDetectorNetwork,
    cell_centres,
    decode,
)
from unveil.training.batches import check_enough_faces, check_more, start_loader
from unveil.training.config import ScheduleConfig, TrainConfig, Weight
from unveil.training.task import Batch, Losses, Task

CENTRE_RADIUS, CENTRE_SHARE = 2.0, 0.25  # a cell may predict a face whose centre is this near, in strides or face sizes
CELL_FACE = 4.0  # size of the faces that suit a level, in strides
MAX_POSITIVES = 10
BOX_WEIGHT, POINTS_WEIGHT = 2.0, 0.5
SCENE_HOLDOUT = 0.28
SCORE_EXPONENT = 0.2  # of the overlap in a score's target: a face whose box is uncertain keeps a high score
MATCH_IOU, SCORE = 0.5, 0.5


class DetectorTrainConfig(TrainConfig):
    """One run that trains a face detector."""

    model: DetectorNetworkConfig = DetectorNetworkConfig()
    schedule: ScheduleConfig = ScheduleConfig(steps=30_000, batch=32, lr=2e-3, warmup=0.02, decay=0.35, ema=0.999)
    scene: SceneConfig = SceneConfig()
    occlusion: OcclusionConfig = OcclusionConfig(occluded_fraction=0.55)
    scenes: Path | None = None
    """Folder of images without faces: backgrounds and negatives."""
    groups: Path | None = None
    """Photographs of several people, a file that `unveil prepare detection` wrote."""
    more_weight: tuple[Weight, ...] = ()
    """How often a face of each set of --more is drawn, as a multiple of a face of --data; 1 by default."""
    val_scenes: int = 200
    """Number of validation scenes; the same in every run."""
    init_from: Path | None = None
    """Weights to start from, a .safetensors file."""


DETECTOR_PRESETS: Mapping[str, DetectorTrainConfig] = MappingProxyType({"detector": DetectorTrainConfig()})
"""Face detectors: `unveil train detector --data packs/300w-train.npz --scenes DIR`."""


class DetectionTask(Task):
    """Train a face detector on annotated faces.

    Args:
        faces: Faces with their surroundings; a share of them validates.
        config: The settings.
        more: Further sets of faces, split by the same rule.

    Raises:
        ValueError: There are no images without faces, or a scheme has no five points.

    Example:
        >>> config = DetectorTrainConfig(scenes=Path("scenes"))
        >>> result = DetectionTask(read_faces(Path("faces")), config).fit(Path("runs/detector"))
    """

    model: FaceDetectorNetwork
    config: DetectorTrainConfig

    def __init__(self, faces: Faces, config: DetectorTrainConfig, more: Sequence[Faces] = ()) -> None:
        cv2.setNumThreads(1)  # before OpenCV creates its threads: a forked loader would wait for them for ever
        if config.scenes is None:
            raise ValueError("a detector also trains on images without faces; name their folder with --scenes")
        if config.more_weight:
            check_more(config.more_weight, more, "--more-weight", limit=math.inf)
        if config.schedule.epochs is not None:
            raise ValueError(f"--epochs {config.schedule.epochs:g}: a detector trains on composed scenes; give --steps")
        self.config, self.faces = config, faces
        sets = (faces, *more)
        splits = [split_by_name(part.names, config.val_share) for part in sets]
        self.split = splits[0]
        check_enough_faces(faces, self.split, 1)
        scenes = [(path, read_image(path)) for path in list_images(config.scenes)]
        scene_split = split_by_name([path.stem for path, _ in scenes], SCENE_HOLDOUT)
        weights = (1.0, *(config.more_weight or (1.0,) * len(more)))
        schemes = {part.scheme.name: part.scheme for part in sets}
        occluders = {name: OcclusionSampler(config.occlusion.for_scheme(scheme)) for name, scheme in schemes.items()}
        groups = None if config.groups is None else GroupPhotos(config.groups)

        def sampler(split: str, groups: GroupPhotos | None) -> SceneSampler:
            sources = [
                FaceSource(part, getattr(indices, split), occluders[part.scheme.name], weight)
                for part, indices, weight in zip(sets, splits, weights, strict=True)
            ]
            images = [scenes[index][1] for index in getattr(scene_split, split)]
            if scenes and not images:
                raise ValueError(f"--scenes {config.scenes}: none of {len(scenes)} images is for {split}; add images")
            return SceneSampler(sources, images, groups, config.scene, config.model.input_size)

        self.sampler, self._val_sampler = sampler("train", groups), sampler("val", None)
        self.spec = config.model.spec(faces.scheme)
        torch.manual_seed(config.schedule.seed)
        self.model = config.model.build(faces.scheme)
        self.notes = () if config.init_from is None else (load_matching(self.model, config.init_from),)
        self._val: list[DetectionScene] | None = None

    @override
    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        schedule = self.config.schedule
        first = (start * processes + process) * schedule.batch
        scenes = _Scenes(self.sampler, schedule.seed, first, schedule.batch, schedule.batch * processes)
        return iter(DataLoader(scenes, schedule.batch, num_workers=1, prefetch_factor=4, worker_init_fn=start_loader))

    @override
    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        moved = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        moved["images"] = moved["images"].permute(0, 3, 1, 2).float() / 127.5 - 1
        return moved

    @override
    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        return detection_loss(model(batch["images"]), batch)

    @override
    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return recall, false positives per 100 images and box error on the validation scenes.

        `score` is the share of missed faces plus that of false positives, in percent of the faces, plus the box error.
        """
        if self._val is None:
            rngs = (np.random.default_rng((0, index)) for index in range(self.config.val_scenes))
            self._val = [self._val_sampler(rng) for rng in rngs]
        faces = found = false_positives = 0
        errors: list[float] = []
        for scene in self._val:
            batch = self.prepare(_tensors(scene, batched=True), device)
            centres, strides = (part.to(device) for part in cell_centres(*batch["images"].shape[-2:]))
            with torch.no_grad():
                scores, boxes, _ = decode(model(batch["images"]), centres, strides)
            kept = _nms(scores[0], boxes[0])
            true, ignored = torch.from_numpy(scene.boxes), torch.from_numpy(scene.ignored)
            overlap = _iou(kept[:, None], true[None])
            best = overlap.amax(dim=0) if len(kept) else torch.zeros(len(true))
            faces += len(true)
            found += int((best >= MATCH_IOU).sum())
            errors += (1 - best[best >= MATCH_IOU]).tolist()
            neutral = torch.cat([true, ignored])
            near = _iou(kept[:, None], neutral[None]).amax(dim=1) if len(neutral) else torch.zeros(len(kept))
            false_positives += int((near < 0.3).sum())
        missed = 100 * (1 - found / max(faces, 1))
        box = 100 * float(np.mean(errors)) if errors else 100.0
        extra = 100 * false_positives / len(self._val)
        return {"recall": 100 - missed, "false_positives": extra, "box_error": box, "score": missed + extra + box}

    @override
    @torch.no_grad()
    def sample_image(self, model: nn.Module, batch: Batch) -> Tensor:
        images = batch["images"][:6]
        centres, strides = (part.to(images.device) for part in cell_centres(*images.shape[-2:]))
        scores, boxes, _ = decode(model(images), centres, strides)
        drawn = []
        for image, score, box in zip(images, scores, boxes, strict=True):
            canvas = np.ascontiguousarray(((image.permute(1, 2, 0) + 1) * 127.5).byte().cpu().numpy())
            for x0, y0, x1, y1 in _nms(score, box).round().int().tolist():
                cv2.rectangle(canvas, (x0, y0), (x1, y1), (0, 255, 0), 1)
            drawn.append(canvas)
        return torch.from_numpy(np.concatenate(drawn, axis=1)).permute(2, 0, 1)


class _Scenes(Dataset[Batch]):
    """Scenes from a number on; the number seeds the scene, so a resumed run continues where it stopped."""

    def __init__(self, sampler: SceneSampler, seed: int, first: int, batch: int, stride: int) -> None:
        self.sampler, self.seed, self.first, self.batch, self.stride = sampler, seed, first, batch, stride

    def __len__(self) -> int:
        return 2**40 // self.batch * self.batch

    def __getitem__(self, index: int) -> Batch:
        step, item = divmod(index, self.batch)
        number = self.first + step * self.stride + item
        return _tensors(self.sampler(np.random.default_rng((self.seed, number))))


def _tensors(scene: DetectionScene, *, batched: bool = False) -> Batch:
    """Return a scene as tensors; faces and ignored boxes are filled up to the same number of rows in every scene."""

    def filled(rows: np.ndarray, count: int) -> Tensor:
        full = np.zeros((count, *rows.shape[1:]), np.float32)
        full[: len(rows)] = rows
        return torch.from_numpy(full)

    tensors = {
        "images": torch.from_numpy(np.ascontiguousarray(scene.image)),
        "boxes": filled(scene.boxes, MAX_FACES),
        "points": filled(scene.points, MAX_FACES),
        "ignored": filled(scene.ignored, MAX_IGNORED),
        "faces": torch.tensor(len(scene.boxes)),
        "ignored_count": torch.tensor(len(scene.ignored)),
    }
    return {key: value[None] for key, value in tensors.items()} if batched else tensors


def detection_loss(output: DetectorOutput, batch: Batch) -> Losses:
    """Return the losses of a batch of scenes: quality focal loss, GIoU and smooth L1 of the five points.

    Args:
        output: Predictions of all cells.
        batch: `images`, `boxes` (B, F, 4), `points` (B, F, 5, 2), `ignored` (B, F, 4) and their counts.

    Source: scores as in SCRFD (quality focal loss, Li et al. 2020); assignment is SimOTA (Ge et al. 2021).
    """
    centres, strides = (part.to(output.scores.device) for part in cell_centres(*batch["images"].shape[-2:]))
    scores, boxes, points = decode(output, centres, strides)
    target, weight = torch.zeros_like(scores), torch.ones_like(scores)
    predicted, true, predicted_points, true_points = [], [], [], []
    for image in range(len(scores)):
        if ignored := int(batch["ignored_count"][image]):
            region = batch["ignored"][image, :ignored]
            inside = (centres[:, None] > region[None, :, :2]) & (centres[:, None] < region[None, :, 2:])
            weight[image, inside.all(dim=-1).any(dim=1)] = 0
        if not (count := int(batch["faces"][image])):
            continue
        faces = batch["boxes"][image, :count]
        with torch.no_grad():
            cells, owners = assign(scores[image], boxes[image], centres, strides, faces)
            target[image, cells] = _iou(boxes[image, cells], faces[owners]).clamp(min=0.05) ** SCORE_EXPONENT
            weight[image, cells] = 1
        predicted.append(boxes[image, cells])
        true.append(faces[owners])
        predicted_points.append(points[image, cells])
        true_points.append(batch["points"][image, :count][owners])
    positives = max(1, sum(len(part) for part in predicted))
    focal = (target - scores.detach()).abs().square() * weight
    logits = output.scores.float()
    score_loss = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * focal).sum() / positives
    if not predicted:
        zero = score_loss * 0 + 0 * (boxes.sum() + points.sum())
        return {"loss": score_loss + zero, "score": score_loss}
    found, faces = torch.cat(predicted), torch.cat(true)
    box_loss = (1 - _giou(found, faces)).mean()
    sizes = (faces[:, 2:] - faces[:, :2]).amax(dim=-1)[:, None, None]
    error = 10 * (torch.cat(predicted_points) - torch.cat(true_points)) / sizes
    points_loss = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.3)
    loss = score_loss + BOX_WEIGHT * box_loss + POINTS_WEIGHT * points_loss
    return {"loss": loss, "score": score_loss, "box": box_loss, "points": points_loss}


def assign(
    scores: Float[Tensor, "N"],
    boxes: Float[Tensor, "N 4"],
    centres: Float[Tensor, "N 2"],
    strides: Float[Tensor, "N"],
    faces: Float[Tensor, "F 4"],
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Assign cells to the faces of one image.

    Args:
        scores: Predicted scores in [0, 1].
        boxes: Predicted boxes in pixels.
        centres: Centres of the cells in pixels.
        strides: Strides of the cells in pixels.
        faces: True boxes in pixels.

    Returns:
        The positive cells, and the face of each. A face gets as many cells as the sum of its ten largest overlaps,
        those of the least cost; a cell gets one face.

    Source: SimOTA (Ge et al. 2021), with a cost for a stride that does not suit the size of the face.
    """
    middle, size = (faces[:, :2] + faces[:, 2:]) / 2, faces[:, 2:] - faces[:, :2]
    distance = (centres[:, None] - middle).abs()
    near = (distance < CENTRE_RADIUS * strides[:, None, None]).all(-1) | (distance < CENTRE_SHARE * size).all(-1)
    candidates = near.any(dim=1).nonzero()[:, 0]
    near = near[candidates]
    overlap = _iou(boxes[candidates][:, None], faces[None])
    level = torch.log2(size.amax(dim=-1) / (strides[candidates][:, None] * CELL_FACE)).abs()
    cost = -scores[candidates][:, None].clamp(1e-6, 1).log() - 3 * overlap.clamp(min=1e-4).log()
    cost = cost + 2 * (level - 0.75).clamp(min=0) + 1e5 * ~near
    counts = overlap.topk(min(MAX_POSITIVES, len(candidates)), dim=0).values.sum(dim=0).int().clamp(min=1)
    matched = torch.zeros_like(cost, dtype=torch.bool)
    for face, count in enumerate(counts.tolist()):
        matched[cost[:, face].topk(min(count, len(candidates)), largest=False).indices, face] = True
    matched &= near
    shared = matched.sum(dim=1) > 1
    if shared.any():
        rows = shared.nonzero()[:, 0]
        matched[rows] = False
        matched[rows, cost[rows].argmin(dim=1)] = True
    positive = matched.any(dim=1)
    return candidates[positive], matched[positive].float().argmax(dim=1)


def _iou(a: Float[Tensor, "*#batch 4"], b: Float[Tensor, "*#batch 4"]) -> Tensor:
    return _overlaps(a, b)[0]


def _giou(a: Float[Tensor, "*#batch 4"], b: Float[Tensor, "*#batch 4"]) -> Tensor:
    iou, union = _overlaps(a, b)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(dim=-1)
    return iou - (hull - union) / hull.clamp(min=1e-6)


def _overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    shared = sides.clamp(min=0).prod(dim=-1)
    union = (a[..., 2:] - a[..., :2]).prod(dim=-1) + (b[..., 2:] - b[..., :2]).prod(dim=-1) - shared
    return shared / union.clamp(min=1e-6), union


def _nms(scores: Float[Tensor, "N"], boxes: Float[Tensor, "N 4"]) -> Float[Tensor, "K 4"]:
    """Return the boxes above `SCORE` that do not overlap a better one."""
    order = scores.argsort(descending=True)
    order = order[scores[order] >= SCORE][:200]
    kept: list[int] = []
    for index in order.tolist():
        if not kept or float(_iou(boxes[index], boxes[kept]).max()) < 0.4:
            kept.append(index)
    return boxes[kept].cpu()
