"""Evaluation of restorers: sharpness and error inside the hole, realism, the mask, and bare faces that stay unchanged.

N faces, F pixels of a frame's side. Several restorers get the same faces under the same occluders. Each face is a
square frame that is wider than a restorer's crop, so that the restorer runs as in `Pipeline.restore`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import Library, OcclusionConfig, OcclusionSampler
from unveil.data.restoration_pairs import PairAugmentConfig, RestorationPair, restoration_pair
from unveil.data.self_occlusion import self_occluded
from unveil.data.splits import split_by_name
from unveil.evaluation.results import markdown_table
from unveil.geometry import tight_box, unit_to_crop_px
from unveil.inference.aligner import AlignmentModel
from unveil.inference.blending import RestoredCrop, blend, composite
from unveil.inference.drawing import BACKGROUND, GAP, side_by_side
from unveil.inference.restorer import Restorer
from unveil.metrics.restoration import Hole, frechet_distance, gradient_energy, hole_metrics, mask_iou
from unveil.models.perceptual import PerceptualFeatures
from unveil.training.restoration import inpaint
from unveil.types import Image, Points

FRAME_SIZE = 256
FRAME_MARGIN = 1.5  # of the frame, in diagonals of the landmark box; restorers use 1.15
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
        features: Pooled ImageNet features of the frame, (160,).
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
class Row:
    """Means over the faces of one way and kind.

    Args:
        way: As of `FaceResult`.
        kind: The kind of occluder.
        coverage: The range of the occluded share, or "all".
        faces: Number of faces.
        psnr: Mean in the hole, dB.
        ssim: Mean in the hole.
        energy: Median of the gradient energy in the hole, relative to the clean face's.
        iou: Mean of the true and the predicted mask; None for a way without a mask.
        frechet: Fréchet distance between restored and clean faces; None for a single face.
    """

    way: str
    kind: str
    coverage: str
    faces: int
    psnr: float
    ssim: float
    energy: float
    iou: float | None
    frechet: float | None


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


def frame_pair(faces: Faces, index: int, occlude: Callable[..., object], rng: np.random.Generator) -> RestorationPair:
    """Return a face's frame, clean and occluded.

    Args:
        faces: The faces.
        index: The number of the face.
        occlude: Draws the occluder.
        rng: Source of randomness.
    """
    return restoration_pair(
        faces.image(index),
        faces.points_px[index],
        scheme=faces.scheme,
        size=FRAME_SIZE,
        augment=PairAugmentConfig().without_changes(FRAME_MARGIN),
        occlude=occlude,  # type: ignore[arg-type]
        rng=rng,
    )


def restore_frame(
    image: Image, points_px: Points, restorer: Restorer, model: AlignmentModel
) -> tuple[Image, Hole, bool]:
    """Restore one face as `Pipeline.restore` does.

    Args:
        image: The frame, (F, F, 3).
        points_px: True landmarks (L, 2). Their tight box replaces the detection.
        restorer: The restorer.
        model: Predicts the landmarks.

    Returns:
        The restored frame, the predicted mask (F, F) before it is dilated, and whether all landmarks that the head does
        not occlude itself are predicted to be visible.
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
            pair = frame_pair(faces, index, sampler.cover, np.random.default_rng((SEED, number, index)))
            if not pair.mask.any():
                continue
            points_px = unit_to_crop_px(pair.points_unit, FRAME_SIZE)
            images: dict[str, Image] = {OCCLUDED: pair.occluded, INPAINTED: inpaint(pair)}
            masks: dict[str, Hole] = {}
            for name, restorer in restorers.items():
                images[name], masks[name], _ = restore_frame(pair.occluded, points_px, restorer, model)
            vectors = pooled_features(features, [pair.clean, *images.values()])
            energy = gradient_energy(pair.clean, pair.mask)
            yield FaceResult("clean", kind, pair.coverage, 100.0, 1.0, 1.0, None, vectors[0])
            for (way, image), vector in zip(images.items(), vectors[1:], strict=True):
                metrics = hole_metrics(pair.clean, image, pair.mask)
                iou = mask_iou(pair.mask, masks[way]) if way in masks else None
                relative = gradient_energy(image, pair.mask) / max(energy, 1e-6)
                yield FaceResult(way, kind, pair.coverage, metrics.psnr, metrics.ssim, relative, iou, vector)
            if keep is not None:
                keep(kind, pair, images)


def evaluate_bare(
    faces: Faces,
    indices: Sequence[int],
    restorers: Mapping[str, Restorer],
    model: AlignmentModel,
    *,
    only_visible: bool = True,
) -> list[BareResult]:
    """Count the bare faces that stay unchanged.

    Args:
        faces: The faces.
        indices: Which of them.
        restorers: The restorers by name.
        model: Predicts the landmarks.
        only_visible: Count only faces whose landmarks are all predicted to be visible, except those that the head
            occludes.

    Returns:
        The counts of each restorer.
    """
    counts = {name: [0, 0, 0.0] for name in restorers}
    for index in indices:
        image, points_px = faces.image(index), faces.points_px[index]
        for name, restorer in restorers.items():
            restored, _, visible = restore_frame(image, points_px, restorer, model)
            if only_visible and not visible:
                continue
            changed = float((restored != image).any(axis=2).mean())
            counts[name][0] += 1
            counts[name][1] += changed == 0
            counts[name][2] += changed
    return [BareResult(name, int(n), int(same), total / max(n, 1)) for name, (n, same, total) in counts.items()]


@torch.no_grad()
def pooled_features(network: PerceptualFeatures, images: Sequence[Image]) -> NDArray[np.float32]:
    """Return the pooled ImageNet features of images, (N, 160).

    Args:
        network: The network.
        images: RGB images (H, W, 3) of one size.
    """
    vectors = []
    for start in range(0, len(images), BATCH_SIZE):
        batch = torch.from_numpy(np.stack(images[start : start + BATCH_SIZE])).permute(0, 3, 1, 2).float() / 255
        vectors.append(network.pooled(batch).numpy())
    return np.concatenate(vectors)


def coverage_range(coverage: float) -> str:
    """Return the range of `COVERAGE_BOUNDS` that a share lies in, such as `20-30 %`.

    Args:
        coverage: The share, 0 to 1.
    """
    edges = [0.0, *COVERAGE_BOUNDS, 1.01]
    upper = next(i for i, edge in enumerate(edges[1:], start=1) if coverage < edge)
    if upper == 1:
        return f"below {100 * edges[1]:.0f} %"
    return f"{100 * edges[upper - 1]:.0f}-{100 * edges[upper]:.0f} %" if upper < len(edges) - 1 else "50 % and more"


def summarise(results: Sequence[FaceResult], *, by_coverage: bool = False) -> list[Row]:
    """Return the rows of the table: one for each kind and way.

    Args:
        results: The results of single faces.
        by_coverage: Add rows for each range of coverage.
    """
    groups: dict[tuple[str, str], dict[str, list[FaceResult]]] = defaultdict(lambda: defaultdict(list))
    for one in results:
        groups[one.kind, "all"][one.way].append(one)
        if by_coverage:
            groups[one.kind, coverage_range(one.coverage)][one.way].append(one)
    rows = []
    for (kind, coverage), ways in sorted(groups.items()):
        clean = np.stack([one.features for one in ways["clean"]])
        for way, found in ways.items():
            if way == "clean":
                continue
            ious = [one.iou for one in found if one.iou is not None]
            vectors = np.stack([one.features for one in found])
            rows.append(
                Row(
                    way,
                    kind,
                    coverage,
                    len(found),
                    float(np.mean([one.psnr for one in found])),
                    float(np.mean([one.ssim for one in found])),
                    float(np.median([one.energy for one in found])),
                    float(np.mean(ious)) if ious else None,
                    frechet_distance(clean, vectors) if len(found) > 1 else None,
                )
            )
    return rows


def markdown(rows: Sequence[Row], bare: Sequence[BareResult] = ()) -> str:
    """Return the tables of restored and of bare faces.

    Args:
        rows: The rows of the restored faces.
        bare: The counts of bare faces.
    """
    metrics = ("PSNR, dB", "SSIM", "gradient energy", "Fréchet distance", "mask IoU")
    restored = [
        (
            *(row.kind, row.coverage, row.way, row.faces, row.psnr, f"{row.ssim:.3f}", f"{row.energy:.0%}"),
            *(row.frechet, None if row.iou is None else f"{row.iou:.3f}"),
        )
        for row in rows
    ]
    text = markdown_table(("under a", "coverage", "restored by", "faces", *metrics), restored)
    if bare:
        kept = [
            (one.way, one.faces, one.unchanged, f"{one.unchanged / max(one.faces, 1):.1%}", f"{one.changed_share:.2%}")
            for one in bare
        ]
        header = ("bare faces, restored by", "faces", "unchanged", "share", "pixels changed")
        text += "\n" + markdown_table(header, kept)
    return text


def contact_sheet(strips: Sequence[tuple[str, RestorationPair, Mapping[str, Image]]]) -> Image:
    """Return one row for each face: every way, then the clean face.

    Args:
        strips: The kind of occluder, the pair and the image of each way, for each face.
    """
    rows = []
    for kind, pair, images in strips:
        shown = {f"{kind}, {pair.coverage:.0%}" if way == OCCLUDED else way: image for way, image in images.items()}
        rows.append(side_by_side({**shown, "clean": pair.clean}))
    gap = np.full((GAP, rows[0].shape[1], 3), BACKGROUND, np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1])
