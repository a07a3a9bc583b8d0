"""What occluders have in common: the photograph's light and camera, and hair. h, w: the window."""

import math
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import (
    Alpha,
    Occluded,
    Paint,
    Window,
    face_brightness,
    face_middle,
    match_saturation,
    paste,
    soften,
    unoccluded,
)
from unveil.data.occlusion.frame import FaceImage
from unveil.data.occlusion.textures import Colour, jitter, value_noise

MARGIN = 10  # pixels around an occluder that blur may reach
FINE_HAIR = 2  # hair is drawn this many times larger
KNOTS = 16  # of the curve of a lock
SHADES = 8  # brightness levels of the strands of a head
HAIR = (
    *((18, 15, 14), (30, 24, 20), (45, 34, 27), (28, 22, 18)),  # black and dark brown
    *((70, 48, 34), (95, 66, 44), (60, 40, 30)),  # brown
    *((150, 112, 70), (190, 155, 105), (215, 185, 140)),  # blond
    *((120, 60, 34), (90, 40, 26)),  # red
    *((125, 122, 120), (180, 178, 175), (225, 222, 218)),  # grey and white
)


def scene_light(face: FaceImage, window: Window, rng: np.random.Generator) -> Alpha:
    """Return the photograph's light on an occluder, (h, w): its brightness, and its gradient from side to side.

    Args:
        face: The face.
        window: Where the occluder lies.
        rng: The random generator.
    """
    dim = min(face_brightness(face) / 150, 1.15) ** rng.uniform(0.2, 0.9)
    small = cv2.resize(window.crop(face.image), (5, 5), interpolation=cv2.INTER_AREA).mean(axis=2).astype(np.float32)
    spread = cv2.resize(small / max(float(small.mean()), 8.0), window.size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(dim * (1 + np.float32(rng.uniform(0, 0.6)) * (np.clip(spread, 0.5, 1.5) - 1)), np.float32)


def photograph(
    face: FaceImage, window: Window, paint: Paint, alpha: Alpha, rng: np.random.Generator, shadow: float = 0.4
) -> Occluded:
    """Return a face under an occluder as a camera takes it: in its light, with its softness, grain and motion blur.

    Args:
        face: The face.
        window: Where the occluder lies, with `MARGIN` around it.
        paint: (h, w, 3) under neutral light.
        alpha: (h, w).
        rng: The random generator.
        shadow: The largest shadow, as for `paste`.
    """
    paint = np.asarray(paint * scene_light(face, window, rng)[..., None], np.float32)
    shadow = float(rng.uniform(0, shadow)) if shadow else 0.0
    if rng.random() < 0.12:
        paint, alpha = _motion_blur(paint, alpha, rng)
        shadow = 0.0
    else:
        sigma = rng.uniform(0.3, 0.9) if rng.random() < 0.7 else rng.uniform(0.9, 1.6)
        premultiplied = soften(np.asarray(paint * alpha[..., None], np.float32), sigma)
        alpha = soften(alpha, sigma)
        paint = np.asarray(premultiplied / np.maximum(alpha, 1e-3)[..., None], np.float32)
    grain = np.float32(rng.uniform(0, 4)) * rng.standard_normal((*paint.shape[:2], 1), np.float32)
    return paste(face.image, window, match_saturation(face.image, np.asarray(paint + grain, np.float32)), alpha, shadow)


def _motion_blur(paint: Paint, alpha: Alpha, rng: np.random.Generator) -> tuple[Paint, Alpha]:
    """Blur along a line of three to seven pixels."""
    length, angle = int(rng.choice((3, 5, 7))), rng.uniform(0, math.pi)
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    step = middle * np.array([math.cos(angle), math.sin(angle)])
    ends = [tuple(round(16 * float(middle + sign * value)) for value in step) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 4)
    kernel /= max(float(kernel.sum()), 1.0)
    blurred = cv2.filter2D(np.dstack([paint * alpha[..., None], alpha]).astype(np.float32), -1, kernel)
    alpha = np.ascontiguousarray(blurred[..., 3])
    return np.asarray(blurred[..., :3] / np.maximum(alpha, 1e-3)[..., None], np.float32), alpha


def skin_colour(face: FaceImage, otherwise: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean colour of the middle of the face, (3,).

    Args:
        face: The face.
        otherwise: The colour of a face outside the image.
    """
    cheeks = face_middle(face, 0.4)
    if cheeks.empty:
        return otherwise
    return np.asarray(np.maximum(cheeks.crop(face.image)[::2, ::2].mean(axis=(0, 1)), 8.0), np.float32)


def hair_colour(rng: np.random.Generator) -> Colour:
    """Return a natural hair colour, or a dyed one.

    Args:
        rng: The random generator.
    """
    if rng.random() < 0.04:
        return rng.uniform(20, 230, 3).astype(np.float32)
    return jitter(rng, HAIR[rng.integers(len(HAIR))], 10)


@dataclass(frozen=True, slots=True, eq=False)
class Lock:
    """A lock of hair: a curve with a width along it.

    Args:
        curve: (KNOTS, 2) in face coordinates, from the root to the tip.
        widths: Half the width at each point, (KNOTS,).
    """

    curve: NDArray[np.float64]
    widths: NDArray[np.float64]

    @classmethod
    def between(
        cls,
        root: NDArray[np.float64],
        tip: NDArray[np.float64],
        width: float,
        bend: NDArray[np.float64],
        rng: np.random.Generator,
        wave: float = 0.05,
    ) -> Self:
        """Return a lock that falls from a root to a tip and becomes narrower.

        Args:
            root: (2,).
            tip: (2,).
            width: Half the width at the root.
            bend: Offset (2,) of the curve's control point from the middle.
            rng: Draws the waves and the taper.
            wave: The largest height of the waves.
        """
        t = np.linspace(0, 1, KNOTS)[:, None]
        control = (root + tip) / 2 + bend
        curve = (1 - t) ** 2 * root + 2 * t * (1 - t) * control + t**2 * tip
        waves, phase, height = rng.uniform(0.5, 2.5), rng.uniform(0, math.tau), rng.uniform(0, wave)
        along = tip - root
        across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
        curve = curve + across * height * np.sin(math.tau * waves * t + phase) * t
        taper = (1 - t[:, 0] ** rng.uniform(1.2, 3)) * (0.6 + 0.4 * np.sin(math.pi * np.minimum(2 * t[:, 0], 1) / 2))
        return cls(curve, width * np.maximum(taper, 0.02))

    @property
    def outline(self) -> NDArray[np.float64]:
        """The closed outline, (2 KNOTS, 2)."""
        sides = self._normals * self.widths[:, None]
        return np.concatenate([self.curve + sides, (self.curve - sides)[::-1]])

    @property
    def _normals(self) -> NDArray[np.float64]:
        along = np.gradient(self.curve, axis=0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
        return np.stack([-along[:, 1], along[:, 0]], axis=1)

    def strands(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return single hairs, (count, KNOTS, 2); a few leave the lock.

        Args:
            count: How many.
            rng: The random generator.
        """
        place = rng.uniform(-1.25, 1.25, count)
        stray = rng.normal(0, 1.0, count) * (rng.random(count) < 0.2)
        t = np.linspace(0, 1, len(self.curve))
        offsets = place[:, None] * self.widths + (stray[:, None] * t**2) * self.widths.max()
        return np.asarray(self.curve + offsets[..., None] * self._normals)


def draw_hair(face: FaceImage, locks: list[Lock], rng: np.random.Generator) -> Occluded:
    """Return a face under locks of hair.

    Args:
        face: The face.
        locks: The locks, the lowest first.
        rng: The random generator.
    """
    image, frame, colour = face.image, face.frame, hair_colour(rng)
    outlines = [frame.to_px(lock.outline) for lock in locks]
    window = Window.around(np.concatenate(outlines), image, MARGIN)
    if window.empty:
        return unoccluded(image)
    strands = np.concatenate([lock.strands(int(np.clip(150 * lock.widths.max(), 5, 24)), rng) for lock in locks])
    places = (frame.to_px(strands.reshape(-1, 2)) - (window.x0, window.y0) + 0.5) * FINE_HAIR - 0.5
    lines = np.clip(places * 16, -(2**19), 2**19).astype(np.int32).reshape(len(strands), -1, 1, 2)
    shape = (FINE_HAIR * window.height, FINE_HAIR * window.width)
    paint = np.empty((*shape, 3), np.uint8)
    paint[:] = np.clip(colour * 0.75, 0, 255)
    ink = np.zeros(shape, np.uint8)
    thickness = max(1, round(FINE_HAIR * frame.size * rng.uniform(0.005, 0.014)))
    shades = np.exp(np.linspace(-1.6, 1.6, SHADES) * rng.uniform(0.12, 0.3))
    level = np.clip(rng.normal((SHADES - 1) / 2, SHADES / 5, len(lines)).round(), 0, SHADES - 1)
    for i in rng.permutation(SHADES):
        chosen = list(lines[level == i])
        cv2.polylines(paint, chosen, False, np.clip(colour * shades[i], 0, 255).tolist(), thickness, cv2.LINE_8, 4)
    cv2.polylines(ink, list(lines), False, 255, thickness, cv2.LINE_8, 4)
    small = cv2.resize(paint, window.size, interpolation=cv2.INTER_AREA).astype(np.float32)
    fine = cv2.resize(ink, window.size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    alpha = np.maximum(window.fill(*outlines) * rng.uniform(0.9, 1.0), np.minimum(fine * 1.3, 1))
    sheen = 1 + np.float32(rng.uniform(0.1, 0.6)) * (value_noise(rng, window.height, window.width, 4) - 0.4)
    return photograph(face, window, np.asarray(small * sheen[..., None], np.float32), alpha, rng)
