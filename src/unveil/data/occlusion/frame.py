"""Where a face lies in an image: its axes, its size, its region. L landmarks; H and W are the image's sides."""

import math
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.schemes.pose import five_points
from unveil.schemes.scheme import IBUG68, SCHEMES
from unveil.types import Points

FOREHEAD = 1.15  # hairline above the eyes, in eye-to-mouth distances (the face's thirds are equal)
SCHEME_OF_COUNT = {scheme.points: scheme for scheme in SCHEMES.values()}


def require_ibug68(kind: str, points_px: Points) -> None:
    """Check that the landmarks are the 68 that some kinds of occluder are drawn from.

    Args:
        kind: The kind of occluder, for the message.
        points_px: Landmarks (L, 2).

    Raises:
        ValueError: They are not.
    """
    if points_px.shape != (IBUG68.points, 2):
        raise ValueError(
            f"occluder {kind!r}: {len(points_px)} points, but it is drawn from the {IBUG68.points} of scheme 'ibug68'"
        )


@dataclass(frozen=True, slots=True, eq=False)
class FaceFrame:
    """A face's own coordinate frame.

    Args:
        centre: Between eyes and mouth, (2,), in pixels.
        right: Unit vector to the right of the face as the image shows it, (2,).
        down: Unit vector from the eyes to the mouth, (2,).
        size: The eye-to-mouth distance in pixels, or that between the eyes on a face that looks far up or down.
    """

    centre: NDArray[np.float64]
    right: NDArray[np.float64]
    down: NDArray[np.float64]
    size: float

    @classmethod
    def of(cls, points_px: Points) -> Self:
        """Compute the frame of a face.

        Args:
            points_px: Landmarks (L, 2). A face of an unknown scheme is taken to be upright and to fill its box.

        Returns:
            The frame.
        """
        scheme = SCHEME_OF_COUNT.get(len(points_px))
        if scheme is None or scheme.five_points is None:
            centre = (points_px.min(axis=0) + points_px.max(axis=0)) / 2.0
            size = max(float(np.ptp(points_px, axis=0).max()) * 0.4, 1.0)
            return cls(centre.astype(np.float64), np.array([1.0, 0.0]), np.array([0.0, 1.0]), size)
        five = five_points(scheme, points_px).astype(np.float64)
        eyes, mouth = five[:2].mean(axis=0), five[3:].mean(axis=0)
        height, between = math.dist(eyes, mouth), math.dist(five[0], five[1])
        down = (mouth - eyes) / height if height > 1e-3 else np.array([0.0, 1.0])
        right = np.array([down[1], -down[0]])
        return cls((eyes + mouth) / 2, right, down, max(height, 0.9 * between, 1.0))

    def to_face(self, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Convert pixels to face coordinates.

        Args:
            points_px: (N, 2).

        Returns:
            (N, 2): x right and y down, in sizes from the centre.
        """
        return (points_px - self.centre) @ np.stack([self.right, self.down], axis=1) / self.size

    def to_px(self, points_face: NDArray[np.floating]) -> NDArray[np.float64]:
        """Convert face coordinates to pixels.

        Args:
            points_face: (N, 2), as `to_face` returns them.

        Returns:
            (N, 2) in pixels.
        """
        return points_face @ np.stack([self.right, self.down]) * self.size + self.centre


def face_outline(points_px: Points) -> NDArray[np.float64]:
    """Return the convex outline of the landmarks and the forehead, (N, 2), in pixels.

    Args:
        points_px: Landmarks (L, 2) in pixels.
    """
    frame = FaceFrame.of(points_px)
    face = frame.to_face(points_px)
    scheme = SCHEME_OF_COUNT.get(len(points_px))
    if scheme is not None and scheme.five_points is not None:
        five = frame.to_face(five_points(scheme, points_px))
        eyes_y, height = float(five[:2, 1].mean()), float(np.ptp(five[:, 1]))
    else:
        eyes_y, height = float(face[:, 1].min()), 0.6
    left, right = float(face[:, 0].min()), float(face[:, 0].max())
    middle, radius = (left + right) / 2, (right - left) / 2
    angles = np.linspace(0, math.pi, 17)
    top = np.stack([middle + 0.95 * radius * np.cos(angles), eyes_y - FOREHEAD * height * np.sin(angles)], axis=1)
    hull = cv2.convexHull(np.concatenate([face, top]).astype(np.float32))[:, 0]
    return frame.to_px(np.asarray(hull, np.float64))


def face_region(points_px: Points, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels (H, W) of the face: the convex hull of the landmarks, extended over the forehead.

    Args:
        points_px: Landmarks (L, 2) in pixels.
        shape: The image's, (H, W) or (H, W, 3).
    """
    region = np.zeros(shape[:2], np.uint8)
    outline = np.clip(face_outline(points_px), -8000, 8000)
    cv2.fillConvexPoly(region, np.round(outline * 16).astype(np.int32), 1, shift=4)
    return region.astype(np.bool_)


def coverage_of(mask: NDArray[np.bool_], points_px: Points) -> float:
    """Return the fraction of the face's region, 0 to 1, that a mask covers.

    Args:
        mask: (H, W).
        points_px: Landmarks (L, 2) in pixels.
    """
    region = face_region(points_px, mask.shape)
    return float((mask & region).sum() / max(int(region.sum()), 1))
