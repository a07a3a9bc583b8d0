"""Shape-indexed features, and the cascade of regressors on them: S_{t+1} = S_t + Φ_t(φ(I, S_t)). Needs no torch.

N faces, L landmarks, S pixels of a crop's side, T stages. φ is OpenCV's SIFT (Lowe 2004) at each landmark, upright and
of one scale, as in the supervised descent method (Xiong and De la Torre 2013), DRDA and GAN-IA.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

DESCRIPTOR = 128
PATCH = 0.25  # side of the patch of a descriptor, in crop sides

Crops: TypeAlias = NDArray[np.uint8]
"""RGB, (N, S, S, 3)."""

Shapes: TypeAlias = NDArray[np.float32]
"""Unit coordinates of the crops, (N, L, 2)."""

Features: TypeAlias = NDArray[np.float32]
"""(N, L, 128)."""

Stage: TypeAlias = Callable[[Features], Shapes]
"""Features (N, L, 128) to offsets (N, L, 2) in unit coordinates: a network, a linear map, an ONNX session."""

Restore: TypeAlias = Callable[[Crops, Shapes], Crops]
"""Images and the current shapes (N, L, 2) to crops (N, S, S, 3) without occluders.

The images are the crops themselves, or wider crops, since a restorer's window is larger than the face.
"""


def sift_at(crops: Crops, points_unit: Shapes) -> Features:
    """Return the descriptor of every landmark, each of length about one.

    Args:
        crops: The crops.
        points_unit: The landmarks; those outside the crop are moved to its edge.
    """
    size = crops.shape[1]
    # OpenCV's descriptor has 4x4 cells of 1.5 keypoint sizes a side.
    diameter = PATCH * size / 6
    points_px = np.clip((points_unit.astype(np.float64) + 1) * size / 2 - 0.5, 0, size - 1)
    features = np.empty((*points_unit.shape[:2], DESCRIPTOR), np.float32)
    for face, (crop, points) in enumerate(zip(crops, points_px, strict=True)):
        keypoints = [cv2.KeyPoint(float(x), float(y), diameter, 0.0) for x, y in points]
        found, descriptors = _sift().compute(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), keypoints)
        if len(found) != len(keypoints):
            raise RuntimeError(f"OpenCV described {len(found)} of {len(keypoints)} landmarks")
        features[face] = descriptors
    features /= 512  # OpenCV scales to bytes
    return features


@cache
def _sift() -> cv2.SIFT:
    created: cv2.SIFT = cv2.SIFT_create()  # type: ignore[attr-defined]
    return created


def cascade(
    crops: Crops,
    start: Shapes,
    stages: Sequence[Stage],
    restore: Restore | Sequence[Restore] | None = None,
) -> NDArray[np.float32]:
    """Return the start and the shape after each stage, (T + 1, N, L, 2).

    Args:
        crops: The crops.
        start: The shapes to start from, (N, L, 2).
        stages: The stages.
        restore: Runs before every stage on the original crops with the latest shapes; None for no restoration. One for
            all stages, or one for each, where the last one also serves the stages after it.

    Source: GAN-IA, section 3.4.
    """
    shapes = [np.asarray(start, np.float32)]
    restores = (restore,) if callable(restore) else tuple(restore or ())
    for number, stage in enumerate(stages):
        seen = restores[min(number, len(restores) - 1)](crops, shapes[-1]) if restores else crops
        shapes.append(shapes[-1] + stage(sift_at(seen, shapes[-1])))
    return np.stack(shapes)
