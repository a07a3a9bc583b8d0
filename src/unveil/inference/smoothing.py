"""One-Euro smoothing of landmarks: low jitter at rest, low lag in motion. L landmarks.

Speeds are in face sizes per second. So the same settings fit every resolution, distance and frame rate.

Source: Casiez, Roussel and Vogel, "1€ Filter", CHI 2012.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from unveil.geometry import tight_box
from unveil.types import Points


def face_size(points_px: Points) -> float:
    """Return the diagonal of the tight landmark box, the unit of every length that must not depend on resolution.

    Args:
        points_px: Landmarks (L, 2) in pixels.

    Returns:
        The diagonal in pixels, at least 1e-6.
    """
    box = tight_box(points_px)
    return max(math.hypot(box.x1 - box.x0, box.y1 - box.y0), 1e-6)


@dataclass(frozen=True, slots=True)
class OneEuroConfig:
    """Settings of the One-Euro filter. `docs/guides/video.md` shows how the defaults were chosen.

    Args:
        min_cutoff_hz: Cutoff frequency of a landmark at rest. A lower value gives less jitter.
        beta: Increase of the cutoff in Hz for each face size per second. A higher value gives less lag.
        derivative_cutoff_hz: Cutoff frequency of the speed itself.

    Source: f_cmin, beta and dcutoff of section 2 of the paper.
    """

    min_cutoff_hz: float = 0.5
    beta: float = 80.0
    derivative_cutoff_hz: float = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Landmarks at one time, and their velocities.

    Args:
        time_s: Time in seconds.
        points_px: Landmarks (L, 2) in pixels.
        velocity_px_s: Velocities (L, 2) in pixels per second.
    """

    time_s: float
    points_px: Points
    velocity_px_s: NDArray[np.float32]

    @classmethod
    def at_rest(cls, points_px: Points, time_s: float) -> Self:
        """Return the motion of a face that was just detected: velocity 0.

        Args:
            points_px: Landmarks (L, 2) in pixels.
            time_s: Time in seconds.
        """
        return cls(time_s, points_px, np.zeros_like(points_px))

    def predict(self, time_s: float) -> Points:
        """Extrapolate the landmarks with the mean velocity of the face.

        Args:
            time_s: Time in seconds, not before the motion's own.

        Returns:
            Landmarks (L, 2) in pixels.
        """
        ahead_s = np.float32(time_s - self.time_s)
        ahead: Points = self.points_px + self.velocity_px_s.mean(axis=0) * ahead_s
        return ahead

    def update(self, points_px: Points, time_s: float, config: OneEuroConfig | None) -> "Motion":
        """Filter the landmarks of a later frame.

        Args:
            points_px: Landmarks (L, 2) in pixels.
            time_s: Time in seconds, after the motion's own.
            config: Settings of the filter, or None to take the landmarks unchanged.

        Returns:
            The motion at `time_s`.
        """
        elapsed_s = time_s - self.time_s
        cutoff_hz = (config or OneEuroConfig()).derivative_cutoff_hz
        alpha = _alpha(np.float32(cutoff_hz), elapsed_s)
        measured = (points_px - self.points_px) / np.float32(elapsed_s)
        velocity = self.velocity_px_s + alpha * (measured - self.velocity_px_s)
        if config is None:
            return Motion(time_s, points_px, velocity)
        speed = np.linalg.norm(velocity, axis=1, keepdims=True) / np.float32(face_size(points_px))  # L 1
        alpha = _alpha(np.float32(config.min_cutoff_hz) + np.float32(config.beta) * speed, elapsed_s)
        return Motion(time_s, self.points_px + alpha * (points_px - self.points_px), velocity)


def _alpha(cutoff_hz: NDArray[np.float32] | np.float32, elapsed_s: float) -> NDArray[np.float32]:
    """Return the weight of the new value in an exponential mean. Source: equations 2 and 3 of the paper."""
    ratio = np.float32(math.tau * elapsed_s) * cutoff_hz
    return np.asarray(ratio / (1 + ratio), np.float32)
