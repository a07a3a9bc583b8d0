"""How well a covered face is restored: what is wrong inside the hole, and whether the hole was found.

S pixels of a crop's side. Not imported with the other metrics: SSIM needs scikit-image, which aligning does without.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Picture: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]
"""RGB from 0 to 255, (S, S, 3)."""

Hole: TypeAlias = NDArray[np.bool_]
"""Which pixels are covered, (S, S)."""

LEAST = 1e-10  # squared error; less counts as this, which is 100 dB


@dataclass(frozen=True, slots=True)
class HoleFigures:
    """PSNR in dB, SSIM (Wang et al. 2004) and mean absolute error, from 0 to 1, over the pixels of a hole."""

    psnr: float
    ssim: float
    error: float


def hole_figures(clean: Picture, picture: Picture, hole: Hole) -> HoleFigures:
    """A picture beside the clean one, inside the hole alone. ValueError if the hole is empty.

    SSIM's windows, of 11 pixels, reach over the rim; its map is averaged over the hole.
    """
    if not hole.any():
        raise ValueError("nothing is covered, so there is no hole to look into")
    errors = (picture[hole].astype(np.float32) - clean[hole]) / 255
    _, similar = structural_similarity(  # type: ignore[no-untyped-call]
        clean.astype(np.float32),
        picture.astype(np.float32),
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    psnr = -10 * float(np.log10(max(float(np.square(errors).mean()), LEAST)))
    return HoleFigures(psnr, float(similar[hole].mean()), float(np.abs(errors).mean()))


def overlap(hole: Hole, found: Hole) -> float:
    """Intersection over union of the true hole and the one that was found; 1 if there is neither."""
    union = int((hole | found).sum())
    return float((hole & found).sum()) / union if union else 1.0
