"""How well an occluded face is restored: the error inside the hole, and the overlap of the masks.

S pixels of a crop's side. Not imported with the other metrics: SSIM needs scikit-image, which alignment does without.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]
"""RGB from 0 to 255, (S, S, 3)."""

Hole: TypeAlias = NDArray[np.bool_]
"""The occluded pixels, (S, S)."""

MIN_SQUARED_ERROR = 1e-10  # 100 dB


@dataclass(frozen=True, slots=True)
class HoleMetrics:
    """Means over the pixels of a hole.

    Args:
        psnr: Peak signal-to-noise ratio in dB, at most 100.
        ssim: Structural similarity, -1 to 1. Source: Wang et al. 2004.
        error: Absolute error, 0 to 1.
    """

    psnr: float
    ssim: float
    error: float


def hole_metrics(clean: Pixels, restored: Pixels, hole: Hole) -> HoleMetrics:
    """Return the error of a restored image inside the hole.

    The windows of SSIM, 11 pixels wide, extend over the rim of the hole; the mean is over the pixels of the hole.

    Args:
        clean: The face without its occluder.
        restored: The restored face.
        hole: The occluded pixels.

    Raises:
        ValueError: If the hole is empty.
    """
    if not hole.any():
        raise ValueError("the hole is empty; give a face with an occluded pixel")
    errors = (restored[hole].astype(np.float32) - clean[hole]) / 255
    _, similarity = structural_similarity(  # type: ignore[no-untyped-call]
        clean.astype(np.float32),
        restored.astype(np.float32),
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    psnr = -10 * float(np.log10(max(float(np.square(errors).mean()), MIN_SQUARED_ERROR)))
    return HoleMetrics(psnr, float(similarity[hole].mean()), float(np.abs(errors).mean()))


def mask_iou(hole: Hole, predicted: Hole) -> float:
    """Return the intersection over union of two masks; 1 if both are empty.

    Args:
        hole: The occluded pixels.
        predicted: The predicted mask.
    """
    union = int((hole | predicted).sum())
    return float((hole & predicted).sum()) / union if union else 1.0


def gradient_energy(image: Pixels, hole: Hole) -> float:
    """Return the mean squared difference between neighbours inside the hole, in levels squared: a measure of sharpness.

    Args:
        image: RGB from 0 to 255.
        hole: The pixels that count; a difference counts if both neighbours are inside.
    """
    pixels = image.astype(np.float32)
    total, count = 0.0, 0
    for axis in (0, 1):
        first, second = np.delete(hole, -1, axis), np.delete(hole, 0, axis)
        inside = first & second
        total += float(np.square(np.diff(pixels, axis=axis)[inside]).sum())
        count += 3 * int(inside.sum())
    return total / max(count, 1)


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the Fréchet distance between two sets of feature vectors, taken as Gaussian.

    Args:
        first: Feature vectors (N, D).
        second: Feature vectors (M, D).

    Source: Heusel et al. 2017, equation 6.
    """
    means = first.mean(axis=0), second.mean(axis=0)
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    # The trace of the square root of a product of two covariances is the sum of the roots of its eigenvalues.
    eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1]).real
    root = float(np.sqrt(np.clip(eigenvalues, 0, None)).sum())
    distance = float(np.square(means[0] - means[1]).sum())
    return distance + float(np.trace(covariances[0]) + np.trace(covariances[1])) - 2 * root
