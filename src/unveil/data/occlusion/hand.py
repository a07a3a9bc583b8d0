"""A hand with its arm before the face: a cut-out hand from a library, a drawn forearm or sleeve behind it."""

import math
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Draw, Occluded, Window, unoccluded, warp, warped_corners
from unveil.data.occlusion.fabric import fabric
from unveil.data.occlusion.frame import FaceFrame, FaceImage
from unveil.data.occlusion.library import Sprite
from unveil.data.occlusion.scene import MARGIN, photograph, skin_colour
from unveil.data.occlusion.sprite import HANDS, place_sprite, target_on_face

ARM = 6.0  # length of the arm in face sizes: it leaves the crop


def hand_occluder(sprites: tuple[Sprite, ...]) -> Draw:
    """Return the occluder: a hand from the group "hands" with an arm.

    Args:
        sprites: The cut-outs.

    Raises:
        ValueError: There are no hands.
    """
    hands = tuple(sprite for sprite in sprites if sprite.group == HANDS)
    if not hands:
        raise ValueError("occluder 'hand': the library has no folder of hands; read one with Library.read(folder)")
    return partial(_occlude, hands=hands)


def _occlude(face: FaceImage, rng: np.random.Generator, hands: tuple[Sprite, ...]) -> Occluded:
    image, frame = face.image, face.frame
    sprite = hands[rng.integers(len(hands))]
    centre = target_on_face(face, rng)
    # The wrist is at the sprite's lower edge: the arm comes from below or from a side, rarely from above.
    upright = math.atan2(frame.right[1], frame.right[0])
    angle = upright + (rng.normal(0, 0.55) if rng.random() < 0.75 else rng.uniform(-math.pi, math.pi))
    longest = frame.size * rng.uniform(1.7, 3.0)
    matrix = place_sprite(sprite, centre, longest, angle, mirrored=bool(rng.integers(2)))
    arm = _arm(sprite, matrix, frame)
    window = Window.around(np.concatenate([warped_corners(sprite.pixels, matrix), arm]), image, MARGIN)
    if window.empty:
        return unoccluded(image)
    rgba = warp(sprite.pixels, matrix, window).astype(np.float32)
    hand_alpha = rgba[..., 3] / np.float32(255)
    hand_paint = rgba[..., :3] / np.maximum(hand_alpha, 1 / 255)[..., None]
    own = rgba[rgba[..., 3] > 127][:, :3]
    own_colour = np.maximum(own.mean(axis=0), 8.0) if len(own) else np.array([200, 160, 140], np.float32)
    gain = np.clip((skin_colour(face, own_colour) / own_colour) ** rng.uniform(0.5, 1.1), 0.35, 1.8)
    skin = _wrist_colour(sprite, own_colour) * gain
    arm_alpha = window.fill(arm)
    arm_paint = _forearm(window, arm, skin, rng)
    if rng.random() < 0.6:
        arm_paint, arm_alpha = _sleeve(window, arm, arm_paint, arm_alpha, frame, rng)
    alpha = np.maximum(hand_alpha, arm_alpha)
    paint = arm_paint + hand_alpha[..., None] * (np.minimum(hand_paint * gain, 255) - arm_paint)
    return photograph(face, window, np.asarray(paint, np.float32), alpha, rng, shadow=0.5)


def _wrist(sprite: Sprite) -> NDArray[np.float64]:
    """Return the ends of the wrist in the sprite's pixels, (2, 2): the opaque part of its lowest rows."""
    opaque = sprite.pixels[..., 3] > 127
    rows = np.flatnonzero(opaque.any(axis=1))
    if not len(rows):
        height, width = opaque.shape
        return np.array([[0.3 * width, height], [0.7 * width, height]])
    low = int(rows[-1])
    columns = np.flatnonzero(opaque[max(low - 2, 0) : low + 1].any(axis=0))
    return np.array([[columns[0], low - 1], [columns[-1], low - 1]], np.float64)


def _wrist_colour(sprite: Sprite, otherwise: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = np.flatnonzero((sprite.pixels[..., 3] > 127).any(axis=1))
    strip = sprite.pixels[max(int(rows[-1]) - 12, 0) : int(rows[-1]) + 1].reshape(-1, 4) if len(rows) else None
    opaque = None if strip is None else strip[strip[:, 3] > 200, :3]
    return otherwise if opaque is None or not len(opaque) else opaque.mean(axis=0).astype(np.float32)


def _arm(sprite: Sprite, matrix: NDArray[np.float64], frame: FaceFrame) -> NDArray[np.float64]:
    """Return the arm's outline (4, 2) in pixels: from the wrist away from the hand, wider towards the elbow."""
    left, right = (np.append(_wrist(sprite), np.ones((2, 1)), axis=1) @ matrix.T)[:, :2]
    across = right - left
    width = max(float(np.linalg.norm(across)), 0.35 * frame.size)
    away = (matrix[:2, :2] @ np.array([0.0, 1.0])) / max(float(np.linalg.norm(matrix[:2, 1])), 1e-6)
    side = np.array([-away[1], away[0]])
    if side @ across < 0:
        side = -side
    middle = (left + right) / 2 - 0.1 * width * away
    far = middle + ARM * frame.size * away
    return np.stack([middle - 0.5 * width * side, middle + 0.5 * width * side, far + width * side, far - width * side])


def _across(window: Window, arm: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each pixel's place in the arm, (h, w): -1 to 1 from side to side, and pixels along it from the wrist."""
    start, end = arm[:2].mean(axis=0), arm[2:].mean(axis=0)
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
    y, x = np.mgrid[window.y0 : window.y1, window.x0 : window.x1].astype(np.float32)
    x, y = x - np.float32(start[0]), y - np.float32(start[1])
    length = x * np.float32(along[0]) + y * np.float32(along[1])
    half = max(float(np.linalg.norm(arm[1] - arm[0])) / 2, 1.0)
    widths = half * (1 + np.clip(length / max(float(np.linalg.norm(end - start)), 1.0), 0, 1))
    return (x * np.float32(-along[1]) + y * np.float32(along[0])) / np.asarray(widths, np.float32), length


def _forearm(
    window: Window, arm: NDArray[np.float64], skin: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return skin that is shaded around the arm, (h, w, 3)."""
    across, _ = _across(window, arm)
    light = rng.uniform(-0.5, 0.5)
    shade = 1 - np.float32(rng.uniform(0.15, 0.4)) * np.clip(np.abs(across - np.float32(light)), 0, 1.5) ** 2
    return np.asarray(np.minimum(skin, 255).astype(np.float32) * np.clip(shade, 0.3, 1.1)[..., None], np.float32)


def _sleeve(
    window: Window,
    arm: NDArray[np.float64],
    paint: NDArray[np.float32],
    alpha: NDArray[np.float32],
    frame: FaceFrame,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lay a sleeve over the arm, from a random place between wrist and elbow on."""
    across, length = _across(window, arm)
    start = frame.size * rng.uniform(0.0, 1.4)
    wide = np.float32(rng.uniform(1.15, 1.7))
    sleeve = np.clip((length - np.float32(start)) / 1.5, 0, 1) * np.clip((wide - np.abs(across)) * 12, 0, 1)
    cloth = cv2.resize(fabric(rng), window.size, interpolation=cv2.INTER_LINEAR)
    shade = 1 - np.float32(0.3) * np.clip(np.abs(across) / wide, 0, 1) ** 2
    shade *= 1 - np.float32(0.4) * np.exp(-(((length - np.float32(start)) / (0.08 * frame.size)) ** 2))
    paint = paint + sleeve[..., None] * (cloth * shade[..., None] - paint)
    return np.asarray(paint, np.float32), np.maximum(alpha, sleeve.astype(np.float32))
