"""Masks laid on the face through six anchors, as MaskTheFace does: images, and drawn ones that are cut flat."""

from collections.abc import Mapping
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import (
    Draw,
    Occluded,
    Window,
    face_brightness,
    paste_cutout,
    unoccluded,
    warp,
    warped_corners,
)
from unveil.data.occlusion.fabric import STRAP, base_colour, fabric
from unveil.data.occlusion.frame import FaceFrame, FaceImage
from unveil.data.occlusion.library import Template
from unveil.data.occlusion.mask_shape import spline
from unveil.schemes.ibug68 import BETWEEN_EYES, BRIDGE, CHIN, LEFT_EAR, LOWER_LIP_MIDDLE, NOSE_TIP, RIGHT_EAR
from unveil.schemes.pose import five_points, head_pose
from unveil.schemes.scheme import IBUG68
from unveil.types import Points

TURNED = 13.0  # degrees of yaw beyond which MaskTheFace takes the template of a turned mask
SIDES = ("_left", "_right")
HEIGHT, WIDTH = 128, 160
ROOM = 0.3  # round the mask, for straps, in mask coordinates
ANCHORS = ((-1.0, 0.24), (0.0, 0.0), (1.0, 0.24), (-0.88, 0.7), (0.0, 1.0), (0.88, 0.7))


def template_occluder(templates: tuple[Template, ...]) -> Draw:
    """Return the occluder: a mask template, each base name equally likely.

    Args:
        templates: The templates; `NAME_left` and `NAME_right` are those of a turned head.

    Raises:
        ValueError: There are no templates.
    """
    if not templates:
        raise ValueError("occluder 'template': the library has no mask templates; read some with Library.read(folder)")
    by_name = {template.name: template for template in templates}
    fronts = sorted({name.removesuffix("_left").removesuffix("_right") for name in by_name})
    return partial(_occlude, by_name=by_name, fronts=fronts)


def _occlude(face: FaceImage, rng: np.random.Generator, by_name: Mapping[str, Template], fronts: list[str]) -> Occluded:
    front, yaw = fronts[rng.integers(len(fronts))], yaw_of(face.points_px)
    # `_left` is for a face turned to the image's left.
    side = "" if abs(yaw) <= TURNED else SIDES[int(yaw > 0)]
    wanted = (front + side, front, front + SIDES[0], front + SIDES[1])
    return lay_template(face, next(by_name[name] for name in wanted if name in by_name), rng)


def lay_template(face: FaceImage, template: Template, rng: np.random.Generator) -> Occluded:
    """Return a face under a mask template, in the image's light.

    Args:
        face: The face.
        template: The mask.
        rng: Jitters the anchors and the light.
    """
    image, points_px = face.image, face.points_px
    targets = six_points(points_px, bridge=rng.uniform(0.0, 0.9))
    targets += rng.normal(0, 0.02 * face.frame.size, targets.shape)
    matrix = _homography(template, targets)
    window = Window.around(warped_corners(template.pixels, matrix), image)
    if window.empty:
        return unoccluded(image)
    rgba = warp(template.pixels, matrix, window)
    opaque = rgba[..., 3] > 127
    own = float(rgba[opaque][:, :3].mean()) if opaque.any() else 128.0
    # A white mask stays brighter than skin, a black one darker: only a part of the difference is made up.
    match = (face_brightness(face) / max(own, 8.0)) ** rng.uniform(0.1, 0.6)
    gain = np.clip(match, 0.45, 1.5) * rng.uniform(0.92, 1.08) * rng.uniform(0.96, 1.04, 3)
    return paste_cutout(image, window, rgba, gain.astype(np.float32), shadow=rng.uniform(0, 0.35))


def yaw_of(points_px: Points) -> float:
    """Return the yaw in degrees, positive to the image's right.

    Args:
        points_px: Landmarks (68, 2).
    """
    return head_pose(five_points(IBUG68, points_px)).yaw


def six_points(points_px: Points, bridge: float = 0.5) -> NDArray[np.float64]:
    """Return the face's anchors a..f in pixels, (6, 2).

    Args:
        points_px: Landmarks (68, 2).
        bridge: How far down the nose bridge b lies, 0 to 1.
    """
    frame = FaceFrame.of(points_px)
    face = frame.to_face(points_px)
    left, right = face[LEFT_EAR : CHIN + 1], face[RIGHT_EAR : CHIN - 1 : -1]
    nose, lip = face[NOSE_TIP, 1], face[LOWER_LIP_MIDDLE, 1]
    b = (1 - bridge) * face[BETWEEN_EYES] + bridge * face[BRIDGE]
    places = (
        _at_height(left, nose),
        b,
        _at_height(right, nose),
        _at_height(left, lip),
        face[CHIN],
        _at_height(right, lip),
    )
    return frame.to_px(np.stack(places))


def _at_height(jaw: NDArray[np.float64], y: float) -> NDArray[np.float64]:
    """Return the point (2,) of one half of the jaw, ear to chin, at this height, or the nearer end."""
    heights = np.maximum.accumulate(jaw[:, 1])
    return np.array([np.interp(y, heights, jaw[:, 0]), np.clip(y, heights[0], heights[-1])])


def _homography(template: Template, targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 3x3 matrix from template to image; affine where perspective would turn the mask inside out."""
    source = template.anchors.astype(np.float64)
    matrix, _ = cv2.findHomography(source, targets, 0)
    height, width = template.pixels.shape[:2]
    frame = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1.0]])
    if matrix is not None:
        depth = frame @ matrix[2]
        if depth.min() > 0.3 and depth.max() < 3 and np.linalg.det(matrix) > 0:
            return np.asarray(matrix, np.float64)
    solution, *_ = np.linalg.lstsq(np.concatenate([source, np.ones((6, 1))], axis=1), targets, rcond=None)
    return np.concatenate([solution.T, [[0, 0, 1.0]]])


def flat_mask(face: FaceImage, rng: np.random.Generator) -> Occluded:
    """Return the face under a flat mask of random cut and fabric; its sides may lie outside or inside the jaw.

    Args:
        face: The face.
        rng: The random generator.
    """
    yaw = yaw_of(face.points_px)
    aside = 0.0 if abs(yaw) <= TURNED else float(np.sign(yaw)) * rng.uniform(0.2, 0.6)
    return lay_template(face, _draw_template(rng, aside), rng)


def _draw_template(rng: np.random.Generator, aside: float) -> Template:
    """Return a mask with its anchors; its middle lies at `aside`, -1 to 1, which is 0 for a frontal head."""
    size = np.array([WIDTH, HEIGHT])

    def to_px(points: NDArray[np.float64]) -> NDArray[np.float64]:
        turned = points + np.stack([aside * (1 - np.clip(points[:, 0], -1, 1) ** 2), np.zeros(len(points))], axis=1)
        low, high = np.array([-1 - ROOM, -ROOM]), np.array([1 + ROOM, 1 + ROOM])
        return np.asarray((turned - low) / (high - low) * size - 0.5)

    outline = _outline(rng)
    window = Window(0, 0, WIDTH, HEIGHT)
    alpha = window.fill(to_px(outline))
    (left, top), (right, bottom) = to_px(outline).min(axis=0), to_px(outline).max(axis=0)
    x = (np.arange(WIDTH, dtype=np.float32) - np.float32(left)) / np.float32(max(right - left, 1))
    y = (np.arange(HEIGHT, dtype=np.float32) - np.float32(top)) / np.float32(max(bottom - top, 1))
    flat = fabric(rng)
    across, down = np.meshgrid(x * (flat.shape[1] - 1), y * (flat.shape[0] - 1))
    paint = cv2.remap(flat, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.3:  # a hem in another shade
        hem = window.stroke(to_px(np.concatenate([outline, outline[:1]])), thickness=rng.uniform(1, 8))
        paint = paint * (1 + hem[..., None] * np.float32(rng.uniform(-0.4, 0.3)))
    if rng.random() < 0.6:
        lines = window.stroke(*(to_px(line) for line in _straps(rng, outline)), thickness=rng.uniform(2, 3.4))
        colour = STRAP if rng.random() < 0.7 else base_colour(rng)
        paint = paint + ((1 - alpha) * (lines > 0))[..., None] * (colour - paint)
        alpha = np.maximum(alpha, lines)
    rgb = np.clip(paint, 0, 255) * alpha[..., None]
    pixels = np.concatenate([rgb, 255 * alpha[..., None]], axis=2).astype(np.uint8)
    return Template("flat", pixels, to_px(np.array(ANCHORS)).astype(np.float32))


def _outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a closed line (N, 2) from the middle of the upper edge: pleated, cup, fold or cloth, or between them."""
    wide, low = rng.uniform(0.72, 1.16), rng.uniform(0.5, 1.08)
    corner, foot = rng.uniform(-0.04, 0.36), rng.uniform(0.62, 0.95)
    bridge, chin = rng.uniform(-0.14, 0.12), rng.uniform(0.93, 1.16)
    low = min(low, wide + 0.05)
    hollow, belly = rng.uniform(-0.06, 0.1), rng.uniform(0.0, 0.14)
    top = np.array([[0.22, bridge + 0.02 + hollow / 3], [0.6 * wide, (bridge + corner) / 2 + hollow], [wide, corner]])
    side = np.array([[(wide + low) / 2 + belly * rng.uniform(-0.4, 1), (corner + foot) / 2], [low, foot]])
    bottom = np.array([[0.55 * low, foot + (chin - foot) * rng.uniform(0.55, 0.95)], [0.2 * low, chin]])
    half = np.concatenate([top, side, bottom])
    skew = rng.normal(0, 0.03, (2, len(half), 2))
    right, left = half + skew[0], (half + skew[1]) * (-1, 1)
    edges = [np.array([[0.0, bridge]]), right, np.array([[0.0, chin]]), left[::-1], np.array([[0.0, bridge]])]
    corners = np.concatenate(edges)
    return corners if rng.random() < 0.35 else spline(corners, 96)


def _straps(rng: np.random.Generator, outline: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return four lines (2, 2) from the upper and lower corners to the ears or around the head."""
    lift, drop = rng.uniform(-0.25, 0.3), rng.uniform(-0.35, 0.15)
    lines = []
    for sign in (-1.0, 1.0):
        half = outline[sign * outline[:, 0] > 0.4] if (sign * outline[:, 0] > 0.4).any() else outline
        upper, lower = half[half[:, 1].argmin()], half[half[:, 1].argmax()]
        end = sign * (1 + ROOM)
        lines += [np.stack([upper, [end, upper[1] + lift]]), np.stack([lower, [end, lower[1] + drop]])]
    return lines
