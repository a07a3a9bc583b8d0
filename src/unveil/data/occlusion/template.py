"""Mask templates laid on the face through six anchors: the method of MaskTheFace."""

from collections.abc import Mapping
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Occluded, Occluder, Window, face_brightness, untouched
from unveil.data.occlusion.frame import Frame, require_ibug68
from unveil.data.occlusion.library import Template
from unveil.data.occlusion.warp import corners, lay, warp
from unveil.schemes.ibug68 import BETWEEN_EYES, BRIDGE, CHIN, LEFT_EAR, LOWER_LIP_MIDDLE, NOSE_TIP, RIGHT_EAR
from unveil.schemes.pose import five_points, head_pose
from unveil.schemes.scheme import IBUG68
from unveil.types import Image, Points

TURNED = 13.0  # degrees of yaw beyond which MaskTheFace takes the template of a turned mask
SIDES = ("_left", "_right")


def template_occluder(templates: tuple[Template, ...]) -> Occluder:
    """A mask template, each base name equally likely. ValueError if there are none."""
    if not templates:
        raise ValueError("occluder 'template': the library has no mask templates; read some with Library.read(folder)")
    by_name = {template.name: template for template in templates}
    fronts = sorted({name.removesuffix("_left").removesuffix("_right") for name in by_name})
    return partial(_occlude, by_name=by_name, fronts=fronts)


def _occlude(
    image: Image,
    points_px: Points,
    rng: np.random.Generator,
    by_name: Mapping[str, Template],
    fronts: list[str],
) -> Occluded:
    require_ibug68("template", points_px)
    return laid(image, points_px, _for_pose(by_name, fronts[rng.integers(len(fronts))], points_px), rng)


def laid(image: Image, points_px: Points, template: Template, rng: np.random.Generator) -> Occluded:
    """The picture with this mask on the face, in the picture's light."""
    frame = Frame.of(points_px)
    targets = six_points(points_px, bridge=rng.uniform(0.0, 0.9))
    targets += rng.normal(0, 0.02 * frame.size, targets.shape)
    matrix = _homography(template, targets)
    window = Window.round(corners(template.pixels, matrix), image)
    if window.empty:
        return untouched(image)
    rgba = warp(template.pixels, matrix, window)
    opaque = rgba[..., 3] > 127
    own = float(rgba[opaque][:, :3].mean()) if opaque.any() else 128.0
    # A white mask stays brighter than skin, a black one darker: only a part of the difference is made up.
    match = (face_brightness(image, frame) / max(own, 8.0)) ** rng.uniform(0.1, 0.6)
    gain = np.clip(match, 0.45, 1.5) * rng.uniform(0.92, 1.08) * rng.uniform(0.96, 1.04, 3)
    return lay(image, window, rgba, gain.astype(np.float32), shadow=rng.uniform(0, 0.35))


def _for_pose(by_name: Mapping[str, Template], front: str, points_px: Points) -> Template:
    """The template for the yaw, as far as there is one; `_left` is for a face turned to the image's left."""
    yaw = yaw_of(points_px)
    side = "" if abs(yaw) <= TURNED else SIDES[int(yaw > 0)]
    wanted = (front + side, front, front + SIDES[0], front + SIDES[1])
    return next(by_name[name] for name in wanted if name in by_name)


def yaw_of(points_px: Points) -> float:
    """Degrees to the image's right, from 68 landmarks."""
    return head_pose(five_points(IBUG68, points_px)).yaw


def six_points(points_px: Points, bridge: float = 0.5) -> NDArray[np.float64]:
    """The face's points a..f in pixels, (6, 2); `bridge` says how far down the nose's first bone b lies, 0 to 1."""
    frame = Frame.of(points_px)
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
    """The point (2,) of one half of the jaw, ear to chin, at this height, or its end where it does not reach it."""
    heights = np.maximum.accumulate(jaw[:, 1])
    return np.array([np.interp(y, heights, jaw[:, 0]), np.clip(y, heights[0], heights[-1])])


def _homography(template: Template, targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 3x3 matrix from template to picture; an affine one where perspective would turn the mask inside out."""
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
