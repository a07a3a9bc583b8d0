"""One-Euro smoothing of landmarks: a face at rest stands still, a moving one is not late. L landmarks.

Casiez, Roussel and Vogel, *1€ Filter*, CHI 2012: a low-pass filter whose cutoff rises with the speed. Speeds are in
face sizes a second, so that neither resolution nor distance nor frame rate changes what the settings mean.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from unveil.geometry import tight_box
from unveil.types import Points


def face_size(points_px: Points) -> float:
    """The diagonal of the tight landmark box in pixels: the unit of everything that must not depend on resolution."""
    box = tight_box(points_px)
    return max(math.hypot(box.x1 - box.x0, box.y1 - box.y0), 1e-6)


@dataclass(frozen=True, slots=True)
class OneEuro:
    """The paper's three settings; `docs/video.md` says how these were chosen."""

    rest_hz: float = 0.5
    """Cutoff of a landmark at rest: lower means less jitter. The paper's f_cmin."""
    hz_per_speed: float = 80.0
    """What one face size a second adds to the cutoff: higher means less lag. The paper's beta."""
    speed_hz: float = 3.0
    """Cutoff of the speed itself. The paper's dcutoff."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Landmarks at a time, (L, 2), and their velocities in pixels a second, (L, 2)."""

    time_s: float
    points_px: Points
    velocity: NDArray[np.float32]

    @classmethod
    def start(cls, points_px: Points, time_s: float) -> Self:
        """A face that has just been found: nothing is known of its motion."""
        return cls(time_s, points_px, np.zeros_like(points_px))

    def at(self, time_s: float) -> Points:
        """Where the landmarks will be if the face as a whole goes on as it does."""
        ahead_s = np.float32(time_s - self.time_s)
        ahead: Points = self.points_px + self.velocity.mean(axis=0) * ahead_s
        return ahead

    def followed_by(self, points_px: Points, time_s: float, settings: OneEuro | None) -> "Motion":
        """The motion after landmarks found at a later time; without settings they are taken as they are."""
        elapsed_s = time_s - self.time_s
        speed_hz = (settings or OneEuro()).speed_hz
        share = _share(np.float32(speed_hz), elapsed_s)
        velocity = self.velocity + share * ((points_px - self.points_px) / np.float32(elapsed_s) - self.velocity)
        if settings is None:
            return Motion(time_s, points_px, velocity)
        speed = np.linalg.norm(velocity, axis=1, keepdims=True) / np.float32(face_size(points_px))  # L 1
        share = _share(np.float32(settings.rest_hz) + np.float32(settings.hz_per_speed) * speed, elapsed_s)
        return Motion(time_s, self.points_px + share * (points_px - self.points_px), velocity)


def _share(cutoff_hz: NDArray[np.float32] | np.float32, elapsed_s: float) -> NDArray[np.float32]:
    """The share of the new in an exponential mean of this cutoff: equations 2 and 3 of the paper."""
    turns = np.float32(math.tau * elapsed_s) * cutoff_hz
    return np.asarray(turns / (1 + turns), np.float32)
