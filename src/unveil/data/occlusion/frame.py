"""A face in an image: its axes, its size, its region, its head. L landmarks; H and W are the image's sides."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.schemes.ibug68 import BROWS, CHIN, LEFT_EAR, LEFT_EYE, MOUTH, RIGHT_EAR, RIGHT_EYE
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import IBUG68, SCHEME_OF_COUNT
from unveil.types import Image, Points

FOREHEAD = 1.15  # hairline above the eyes, in eye-to-mouth distances (the face's thirds are equal)
CROWN = 1.9  # top of the head above the eyes, in eye-to-mouth distances


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
        """Return the frame of a face.

        Args:
            points_px: Landmarks (L, 2). A face of an unknown scheme is taken to be upright and to fill its box.
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
        """Return points in face coordinates, (N, 2): x right and y down, in sizes from the centre.

        Args:
            points_px: (N, 2) in pixels.
        """
        return (points_px - self.centre) @ np.stack([self.right, self.down], axis=1) / self.size

    def to_px(self, points_face: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return points in pixels, (N, 2).

        Args:
            points_face: (N, 2), as `to_face` returns them.
        """
        return points_face @ np.stack([self.right, self.down]) * self.size + self.centre


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The shape of a head in face coordinates (`FaceFrame.to_face`).

    Args:
        face: The 68 landmarks, (68, 2).
        middle: x of the head's axis.
        radius: Half the width at the ears.
        ears: y of the ears.
        eyes: y of the eyes.
        brows: y of the brows.
        mouth: y of the mouth.
        chin: y of the chin.
    """

    face: NDArray[np.float64]
    middle: float
    radius: float
    ears: float
    eyes: float
    brows: float
    mouth: float
    chin: float

    @classmethod
    def of(cls, face: NDArray[np.float64]) -> Self:
        """Return the head of a face.

        Args:
            face: Landmarks (68, 2) in face coordinates.
        """
        left, right = face[LEFT_EAR], face[RIGHT_EAR]
        x = np.array([left[0], right[0], face[:, 0].min(), face[:, 0].max()])
        eyes = float(np.concatenate([face[LEFT_EYE, 1], face[RIGHT_EYE, 1]]).mean())
        return cls(
            face=face,
            middle=float((x[2] + x[3]) / 2),
            radius=max(float(x[3] - x[2]) / 2, 0.3),
            ears=float(left[1] + right[1]) / 2,
            eyes=eyes,
            brows=float(face[BROWS, 1].mean()),
            mouth=float(face[MOUTH, 1].mean()),
            chin=float(face[CHIN, 1]),
        )

    @property
    def hairline(self) -> float:
        """The y of the hairline."""
        return self.eyes - FOREHEAD

    @property
    def crown(self) -> float:
        """The y of the top of the head."""
        return self.eyes - CROWN

    def arc(self, angles: NDArray[np.float64], width: float = 1.0, height: float = 1.0) -> NDArray[np.float64]:
        """Return points of the skull's outline, (N, 2).

        Args:
            angles: 0 is the right ear, π/2 the crown, π the left ear.
            width: Factor of the half width.
            height: Factor of the height above the ears.
        """
        x = self.middle + width * self.radius * np.cos(angles)
        y = self.ears - height * (self.ears - self.crown) * np.sin(angles)
        return np.stack([x, y], axis=1)


@dataclass(frozen=True, eq=False)
class FaceImage:
    """A face that occluders are drawn on.

    Args:
        image: RGB, (H, W, 3).
        points_px: Landmarks (L, 2) in pixels.
    """

    image: Image
    points_px: Points

    @cached_property
    def frame(self) -> FaceFrame:
        """The face's coordinate frame."""
        return FaceFrame.of(self.points_px)

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """The landmarks in face coordinates, (L, 2)."""
        return self.frame.to_face(self.points_px)

    @cached_property
    def head(self) -> Head:
        """The shape of the head, of a face of ibug68."""
        return Head.of(self.points)


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
