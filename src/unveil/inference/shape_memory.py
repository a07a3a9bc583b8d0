"""Occluded landmarks of a tracked face, carried from the frames in which they were visible. L landmarks.

While a part of a face is occluded, the visible landmarks give the similarity transform from the remembered shape of the
face to the current frame, and the transform gives the occluded landmarks. When the head turns or the expression
changes, the visible landmarks no longer fit that transform. The residual then raises the expected error of the carried
landmarks, and the model's own estimate prevails.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unveil.inference.smoothing import face_size
from unveil.types import Points

VISIBLE_LOW, VISIBLE_HIGH = (
    0.4,
    0.7,
)  # visibility between which a landmark passes from the carried to the model's position
MIN_VISIBLE = 6  # landmarks that determine a similarity transform well enough
SETTLE_S = 0.25  # time constant in which the remembered shape follows the visible one
STALE_MISFIT, STALE_S = 0.05, 1.0  # in face sizes: a shape that fits worse for so long is remembered anew
MODEL_ERROR = 2.5  # actual over predicted error of the model on occluded landmarks
LEAST_ERROR = 0.004  # of a carried landmark if the visible ones fit perfectly, in face sizes
CORRELATED = 4.0  # neighbouring landmarks err together: so many count as one


@dataclass(frozen=True, slots=True, eq=False)
class ShapeMemory:
    """The shape of one face when it was last fully visible.

    Args:
        shape_px: Remembered landmarks (L, 2), in pixels of the frame in which they were remembered.
        known: Landmarks that were visible then, (L,).
        time_s: Time of the latest update in seconds.
        stale_s: For how long the remembered shape has not fitted the visible landmarks, in seconds.
    """

    shape_px: Points
    known: NDArray[np.bool_]
    time_s: float
    stale_s: float = 0.0

    @classmethod
    def of(cls, points_px: Points, visibility: NDArray[np.float32], time_s: float) -> "ShapeMemory":
        """Remember the visible landmarks of a face.

        Args:
            points_px: Landmarks (L, 2) in pixels.
            visibility: Probabilities (L,) that the landmarks are visible.
            time_s: Time of the frame in seconds.

        Returns:
            The memory.
        """
        return cls(points_px, visibility > VISIBLE_HIGH, time_s)

    def complete(
        self, points_px: Points, visibility: NDArray[np.float32], uncertainty_px: NDArray[np.float32], time_s: float
    ) -> tuple[Points, NDArray[np.float32], "ShapeMemory"]:
        """Replace occluded landmarks of a frame by the carried ones, as far as these are more certain.

        Args:
            points_px: The model's landmarks (L, 2) in pixels.
            visibility: The model's visibility (L,).
            uncertainty_px: The model's expected errors (L,) in pixels.
            time_s: Time of the frame in seconds.

        Returns:
            The landmarks (L, 2), their expected errors (L,) in pixels, and the memory after the frame.
        """
        visible = visibility > VISIBLE_HIGH
        anchors = visible & self.known
        if anchors.sum() < MIN_VISIBLE:
            return points_px, uncertainty_px, replace(self, time_s=time_s)
        elapsed_s, size_px = time_s - self.time_s, face_size(points_px)
        carried_px = _moved(self.shape_px, points_px, anchors, uncertainty_px)
        if not (self.known & ~visible).any():  # nothing that was visible is occluded
            settle = np.where(self.known, 1 - math.exp(-elapsed_s / SETTLE_S), 1).astype(np.float32)
            shape_px = carried_px + settle[:, None] * (points_px - carried_px)
            return points_px, uncertainty_px, ShapeMemory(shape_px, self.known | visible, time_s)
        misfit_px = float(np.sqrt(((carried_px - points_px)[anchors] ** 2).sum(axis=1).mean()))
        stale_s = self.stale_s + elapsed_s if misfit_px > STALE_MISFIT * size_px else 0.0
        if stale_s > STALE_S:
            return points_px, uncertainty_px, ShapeMemory.of(points_px, visibility, time_s)
        carry_px = _carry_error(self.shape_px, anchors, max(misfit_px, LEAST_ERROR * size_px))
        model_px = MODEL_ERROR * uncertainty_px
        trust = model_px**2 / (model_px**2 + carry_px**2)
        shown = np.clip((visibility - VISIBLE_LOW) / (VISIBLE_HIGH - VISIBLE_LOW), 0, 1)
        weight = np.where(self.known, (1 - shown) * trust, 0).astype(np.float32)
        combined_px = np.minimum(uncertainty_px, np.sqrt(trust) * carry_px)
        uncertainty_px = np.where(weight > 0, combined_px, uncertainty_px).astype(np.float32)
        completed = points_px + weight[:, None] * (carried_px - points_px)
        return completed, uncertainty_px, replace(self, time_s=time_s, stale_s=stale_s)


def _moved(
    shape_px: Points, points_px: Points, anchors: NDArray[np.bool_], uncertainty_px: NDArray[np.float32]
) -> Points:
    """Return the shape (L, 2) under the similarity transform that fits its anchors to the frame's landmarks best.

    The second of two fits gives less weight to anchors with a large residual: a mouth that opened, an eye that closed.
    """
    source, target = shape_px.astype(np.float64) @ (1, 1j), points_px.astype(np.float64) @ (1, 1j)
    weight = np.where(anchors, 1 / np.maximum(uncertainty_px, 1e-3).astype(np.float64) ** 2, 0)
    moved = target
    for _ in range(2):
        weight = weight / weight.sum()
        centred, mean = source - weight @ source, weight @ target
        rotation = (weight * centred.conj()) @ (target - mean) / max(float(weight @ np.abs(centred) ** 2), 1e-12)
        moved = rotation * centred + mean
        residual = np.abs(moved - target)
        weight = weight / (1 + (residual / max(2 * float(np.median(residual[anchors])), 1e-3)) ** 2)
    return np.stack([moved.real, moved.imag], axis=1).astype(np.float32)


def _carry_error(shape_px: Points, anchors: NDArray[np.bool_], misfit_px: float) -> NDArray[np.float32]:
    """Return the expected error (L,) of the carried landmarks in pixels. It grows with the distance to the anchors."""
    squared = ((shape_px - shape_px[anchors].mean(axis=0)) ** 2).sum(axis=1)
    leverage = CORRELATED * (1 / anchors.sum() + squared / max(float(squared[anchors].sum()), 1e-6))
    return np.asarray(misfit_px * np.sqrt(1 + leverage), np.float32)
