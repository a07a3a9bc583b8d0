"""Validation of landmark networks: fixed examples, normalisers, calibration, sample images.

B faces, L landmarks, S pixels a side, N landmarks of many faces.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from unveil.data.augment import Example, extract_crop
from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import OcclusionSampler, is_occluded
from unveil.data.self_occlusion import self_occluded
from unveil.geometry import Crop, tight_box, unit_to_crop_px
from unveil.metrics.errors import BOX, normaliser_names
from unveil.schemes.scheme import Scheme
from unveil.training.batches import as_tensors, to_device
from unveil.training.task import Batch

CONDITIONS = ("clean", "occluded")
GROUND_TRUTH, PREDICTION = (255, 255, 255), (255, 40, 40)  # RGB


def val_examples(
    faces: Faces, indices: NDArray[np.int64], size: int, sampler: OcclusionSampler | None, margin: float = 1.0
) -> dict[str, list[Example]]:
    """Return examples for each condition: the unchanged faces, and each under one occluder, the same in every run.

    Args:
        faces: The faces.
        indices: Which of them.
        size: The crop's side, pixels.
        sampler: The occluders; None for none.
        margin: The crop's side in diagonals of the tight box.
    """

    def example(index: int, condition: str) -> Example:
        points_px = faces.points_px[index]
        crop = Crop.around(tight_box(points_px), margin)
        image, points_unit = extract_crop(faces.image(index), points_px, crop, faces.scheme, size)
        visible = ~self_occluded(faces.scheme, points_unit)
        if faces.visible is not None:
            visible &= faces.visible[index]
        if condition == "occluded" and sampler is not None and sampler.kinds:
            points = unit_to_crop_px(points_unit, size)
            occluded = sampler.cover(image, points, np.random.default_rng((0, index)))
            image, visible = occluded.image, visible & ~is_occluded(points, occluded.mask)
        return Example(image, points_unit, visible)

    return {condition: [example(int(i), condition) for i in indices] for condition in CONDITIONS}


def example_batches(examples: Sequence[Example], size: int, device: torch.device) -> Iterator[Batch]:
    """Yield the examples in order, in batches on the device.

    Args:
        examples: The examples.
        size: Examples of a batch; the last batch may have fewer.
        device: The device.
    """
    for start in range(0, len(examples), size):
        chunk = [as_tensors(example) for example in examples[start : start + size]]
        yield to_device({key: torch.stack([item[key] for item in chunk]) for key in chunk[0]}, device)


def training_normaliser(scheme: Scheme) -> str:
    """Return the normaliser of training: `ocular` if the scheme has it, else its first one, else `box`.

    Args:
        scheme: The landmark scheme.
    """
    names = normaliser_names(scheme)
    return "ocular" if "ocular" in names else names[0]


def face_lengths(points: Float[Tensor, "B L 2"], scheme: Scheme, normaliser: str) -> Float[Tensor, "B"]:
    """Return the faces' normalisers in the unit of the points, as `unveil.metrics` does with numpy.

    Args:
        points: Ground truth.
        scheme: Its scheme.
        normaliser: A name of the scheme (the distance between the means of two landmark sets), or `box`, sqrt(w h).
    """
    if normaliser == BOX:
        return (points.amax(dim=1) - points.amin(dim=1)).prod(dim=-1).sqrt()
    one, other = (points[:, list(side)].mean(dim=1) for side in scheme.normalisers[normaliser])
    lengths: Tensor = (one - other).norm(dim=-1)
    return lengths


def calibrate_visibility(
    logits: Float[Tensor, "N"], visible: Bool[Tensor, "N"], occluded_weight: float = 1.0
) -> tuple[float, float]:
    """Return gain and offset of the logits with the largest likelihood of the ground truth.

    Args:
        logits: Visibility logits of many landmarks.
        visible: Ground truth.
        occluded_weight: Weight of an occluded landmark against a visible one.

    Source: Platt 1999.
    """
    values = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    x, y = logits.double(), visible.double()
    weights = torch.where(visible, 1.0, occluded_weight).double()
    optimiser = torch.optim.LBFGS([values], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        # A weak penalty on any change keeps the fit finite where a threshold separates the landmarks without error.
        likelihood = F.binary_cross_entropy_with_logits(x * values[0] + values[1], y, weights)
        total = likelihood + 1e-3 * ((values[0] - 1) ** 2 + values[1] ** 2)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    gain, offset = values.tolist()
    return float(gain), float(offset)


def calibrate_scale(scale: Float[Tensor, "N"], error: Float[Tensor, "N"]) -> float:
    """Return the factor that makes the mean of the predicted distances equal to the mean error.

    Args:
        scale: Predicted distances of many landmarks.
        error: True distances, in the same unit.
    """
    return float(error.mean() / scale.mean())


def draw_landmarks(images: Tensor, points_unit: Tensor, predicted_unit: Tensor) -> Tensor:
    """Draw ground truth in white and prediction in red.

    Args:
        images: RGB in [0, 1], (B, 3, S, S).
        points_unit: Ground truth (B, L, 2) in unit coordinates.
        predicted_unit: Prediction (B, L, 2).

    Returns:
        The faces side by side, (3, S, B S), uint8.
    """
    pixels = (images * 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    faces = []
    for image, *shapes in zip(pixels, points_unit.float().cpu(), predicted_unit.float().cpu(), strict=True):
        face = np.ascontiguousarray(image)
        for shape, colour in zip(shapes, (GROUND_TRUTH, PREDICTION), strict=True):
            px = unit_to_crop_px(shape.numpy(), len(face))
            for x, y in px[np.isfinite(px).all(axis=1)].round().astype(int):
                cv2.circle(face, (int(x), int(y)), 1, colour, -1)
        faces.append(face)
    return torch.from_numpy(np.concatenate(faces, axis=1)).permute(2, 0, 1)
