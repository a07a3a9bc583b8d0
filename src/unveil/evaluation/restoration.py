"""Evaluation of restorers: sharpness and error inside the hole, realism, the mask, and bare faces that stay unchanged.

N faces, F pixels of a frame's side. Several restorers get the same faces under the same occluders. Each face is a
square frame that is wider than a restorer's crop, so that the restorer runs as in `Pipeline.restore`. The figures are
those of the frame's middle, which has the size of a restorer's crop: no restorer reaches what occludes the rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import Library, Occluder, OcclusionConfig, OcclusionSampler
from unveil.data.restoration_pairs import PairAugmentConfig, RestorationPair, restoration_pair
from unveil.data.self_occlusion import self_occluded
from unveil.data.splits import split_by_name
from unveil.geometry import tight_box, unit_to_crop_px
from unveil.inference.aligner import AlignmentModel
from unveil.inference.blending import RestoredCrop, blend, composite
from unveil.inference.restorer import Restorer
from unveil.metrics.restoration import Hole, gradient_energy, hole_metrics, mask_iou
from unveil.models.perceptual import PerceptualFeatures
from unveil.training.restoration import inpaint
from unveil.types import Image, Points

FRAME_SIZE = 256
FRAME_MARGIN, CROP_MARGIN = 1.5, 1.15  # of the frame and of its measured middle, in diagonals of the landmark box
EDGE = round(FRAME_SIZE * (1 - CROP_MARGIN / FRAME_MARGIN) / 2)
MIDDLE = slice(EDGE, FRAME_SIZE - EDGE)
COVERAGE_BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5)
HANDS = "hands"  # the library's folder
SEED = 2
OCCLUDED, INPAINTED = "occluded", "inpainted"
VISIBLE = 0.5
BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class FaceResult:
    """One face under one occluder, restored in one way.

    Args:
        way: The restorer's name, "occluded" for the unchanged face, or "inpainted" for OpenCV's inpainting of the true
            mask.
        kind: The kind of occluder.
        coverage: The occluded share of the face.
        psnr: In the hole, dB.
        ssim: In the hole.
        energy: Gradient energy in the hole, relative to the clean face's.
        iou: Of the true and the predicted mask; None for a way without a mask.
        features: Pooled ImageNet features of the frame's middle, (160,).
    """

    way: str
    kind: str
    coverage: float
    psnr: float
    ssim: float
    energy: float
    iou: float | None
    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BareResult:
    """Bare faces that one restorer leaves unchanged.

    Args:
        way: The restorer's name.
        faces: The number of faces.
        unchanged: How many of them keep every byte.
        changed_share: Mean share of the changed pixels in the frames.
    """

    way: str
    faces: int
    unchanged: int
    changed_share: float


def validation_indices(faces: Faces, val_share: float, count: int) -> list[int]:
    """Return at most `count` faces of the validation split, evenly spaced.

    Args:
        faces: The faces.
        val_share: Share of the validation split, 0 to 1.
        count: Largest number of faces.

    Raises:
        ValueError: If the split is empty or `count` is below 1.
    """
    val = split_by_name(faces.names, val_share).val
    if count < 1 or not len(val):
        raise ValueError(f"{faces.label}: {min(count, len(val))} faces to restore; raise --faces or --val-share")
    spaced = np.linspace(0, len(val) - 1, min(count, len(val))).astype(int)
    return [int(index) for index in val[spaced]]


def evaluation_samplers(library: Library, test_templates: Sequence[str]) -> dict[str, OcclusionSampler]:
    """Return the occluders of the evaluation, by the table's name: masks, hands if the library has some, and polygons.

    Args:
        library: The images.
        test_templates: Beginnings of the names of templates that no training uses. Without such templates masks are
            drawn.
    """

    def sampler(kind: str, images: Library) -> OcclusionSampler:
        bounds = (COVERAGE_BOUNDS[0], COVERAGE_BOUNDS[-1])
        only = {kind: 1.0, "occluded_fraction": 1.0, "second_fraction": 0.0, "coverage": bounds}
        return OcclusionSampler(OcclusionConfig.of_kinds(**only), images)

    templates = tuple(one for one in library.templates if one.name.startswith(tuple(test_templates)))
    hands = tuple(sprite for sprite in library.sprites if sprite.group == HANDS)
    samplers = {"mask": sampler("template" if templates else "mask", replace(library, templates=templates))}
    if hands:
        samplers["hand"] = sampler("sprite", replace(library, sprites=hands))
    return {**samplers, "polygon": sampler("polygon", library)}


def _frame_pair(faces: Faces, index: int, occlude: Occluder, rng: np.random.Generator) -> RestorationPair:
    """Return a face's frame, clean and occluded."""
    return restoration_pair(
        faces.image(index),
        faces.points_px[index],
        scheme=faces.scheme,
        size=FRAME_SIZE,
        augment=PairAugmentConfig().without_changes(FRAME_MARGIN),
        occlude=occlude,
        rng=rng,
    )


def _restore_frame(
    image: Image, points_px: Points, restorer: Restorer, model: AlignmentModel
) -> tuple[Image, Hole, bool]:
    """Restore one face as `Pipeline.restore` does; the tight box of its true landmarks (L, 2) replaces the detection.

    The result is the restored frame, the predicted mask (F, F) before it is dilated, and whether all landmarks that the
    head does not occlude itself are predicted to be visible.
    """
    (found,) = model(image, [tight_box(points_px)])
    crops = restorer(image, [found.points_px], model.scheme, visibility=[found.visibility])
    restored, _ = blend(image, crops)
    white = [RestoredCrop(crop.crop, np.full_like(crop.restored, 255), crop.mask) for crop in crops]
    mask = composite(np.zeros_like(image), white)[..., 0] > 127
    counted = ~self_occluded(model.scheme, found.points_px)
    bare = found.visibility is not None and bool((found.visibility[counted] > VISIBLE).all())
    return restored, mask, bare


def evaluate_restorers(
    faces: Faces,
    indices: Sequence[int],
    restorers: Mapping[str, Restorer],
    model: AlignmentModel,
    samplers: Mapping[str, OcclusionSampler],
    *,
    keep: Callable[[str, RestorationPair, Mapping[str, Image]], None] | None = None,
) -> Iterator[FaceResult]:
    """Yield the results of every face, kind and way.

    Args:
        faces: The faces.
        indices: Which of them.
        restorers: The restorers by name.
        model: Predicts the landmarks of the occluded face.
        samplers: The occluders by name.
        keep: Gets the kind, the pair and the image of each way, for a contact sheet.
    """
    features = PerceptualFeatures()
    for index in indices:
        for number, (kind, sampler) in enumerate(samplers.items()):
            pair = _frame_pair(faces, index, sampler.cover, np.random.default_rng((SEED, number, index)))
            hole = pair.mask[MIDDLE, MIDDLE]
            if not hole.any():
                continue
            points_px = unit_to_crop_px(pair.points_unit, FRAME_SIZE)
            images: dict[str, Image] = {OCCLUDED: pair.occluded, INPAINTED: inpaint(pair)}
            masks: dict[str, Hole] = {}
            for name, restorer in restorers.items():
                images[name], masks[name], _ = _restore_frame(pair.occluded, points_px, restorer, model)
            clean, *restored = (image[MIDDLE, MIDDLE] for image in (pair.clean, *images.values()))
            vectors = _pooled_features(features, [clean, *restored])
            energy = gradient_energy(clean, hole)
            yield FaceResult("clean", kind, pair.coverage, 100.0, 1.0, 1.0, None, vectors[0])
            for way, image, vector in zip(images, restored, vectors[1:], strict=True):
                metrics = hole_metrics(clean, image, hole)
                iou = mask_iou(hole, masks[way][MIDDLE, MIDDLE]) if way in masks else None
                relative = gradient_energy(image, hole) / max(energy, 1e-6)
                yield FaceResult(way, kind, pair.coverage, metrics.psnr, metrics.ssim, relative, iou, vector)
            if keep is not None:
                keep(kind, pair, images)


def evaluate_bare(
    faces: Faces,
    indices: Sequence[int],
    restorers: Mapping[str, Restorer],
    model: AlignmentModel,
) -> list[BareResult]:
    """Return how many bare faces each restorer leaves unchanged.

    Faces count if all landmarks that the head does not occlude itself are predicted to be visible.

    Args:
        faces: The faces.
        indices: Which of them.
        restorers: The restorers by name.
        model: Predicts the landmarks.
    """
    counts = {name: [0, 0, 0.0] for name in restorers}
    for index in indices:
        image, points_px = faces.image(index), faces.points_px[index]
        for name, restorer in restorers.items():
            restored, _, visible = _restore_frame(image, points_px, restorer, model)
            if not visible:
                continue
            changed = float((restored != image).any(axis=2).mean())
            counts[name][0] += 1
            counts[name][1] += changed == 0
            counts[name][2] += changed
    return [BareResult(name, int(n), int(same), total / max(n, 1)) for name, (n, same, total) in counts.items()]


@torch.no_grad()
def _pooled_features(network: PerceptualFeatures, images: Sequence[Image]) -> NDArray[np.float32]:
    """Return the pooled ImageNet features of images (H, W, 3) of one size, (N, 160)."""
    vectors = []
    for start in range(0, len(images), BATCH_SIZE):
        batch = torch.from_numpy(np.stack(images[start : start + BATCH_SIZE])).permute(0, 3, 1, 2).float() / 255
        vectors.append(network.pooled(batch).numpy())
    return np.concatenate(vectors)
