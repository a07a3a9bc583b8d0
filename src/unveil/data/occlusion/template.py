"""Mask templates that are laid on the face through six anchors, as MaskTheFace does."""

from collections.abc import Mapping
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import (
    Occluded,
    Occluder,
    Window,
    face_brightness,
    paste_cutout,
    unoccluded,
    warp,
    warped_corners,
)
from unveil.data.occlusion.frame import FaceFrame, require_ibug68
from unveil.data.occlusion.library import Template
from unveil.schemes.ibug68 import BETWEEN_EYES, BRIDGE, CHIN, LEFT_EAR, LOWER_LIP_MIDDLE, NOSE_TIP, RIGHT_EAR
from unveil.schemes.pose import five_points, head_pose
from unveil.schemes.scheme import IBUG68
from unveil.types import Image, Points

TURNED = 13.0  # degrees of yaw beyond which MaskTheFace takes the template of a turned mask
SIDES = ("_left", "_right")


def template_occluder(templates: tuple[Template, ...]) -> Occluder:
    """Build the occluder: a mask template, each base name equally likely.

    Args:
        templates: The templates; `NAME_left` and `NAME_right` are those of a turned head.

    Returns:
        The occluder.

    Raises:
        ValueError: There are no templates.
    """
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
    return lay_template(image, points_px, _for_pose(by_name, fronts[rng.integers(len(fronts))], points_px), rng)


def lay_template(image: Image, points_px: Points, template: Template, rng: np.random.Generator) -> Occluded:
    """Put a mask template on the face, in the image's light.

    Args:
        image: RGB, (H, W, 3).
        points_px: The 68 landmarks of ibug68, (68, 2), in pixels.
        template: The mask.
        rng: Jitters the anchors and the light.

    Returns:
        The masked image.
    """
    frame = FaceFrame.of(points_px)
    targets = six_points(points_px, bridge=rng.uniform(0.0, 0.9))
    targets += rng.normal(0, 0.02 * frame.size, targets.shape)
    matrix = _homography(template, targets)
    window = Window.around(warped_corners(template.pixels, matrix), image)
    if window.empty:
        return unoccluded(image)
    rgba = warp(template.pixels, matrix, window)
    opaque = rgba[..., 3] > 127
    own = float(rgba[opaque][:, :3].mean()) if opaque.any() else 128.0
    # A white mask stays brighter than skin, a black one darker: only a part of the difference is made up.
    match = (face_brightness(image, frame) / max(own, 8.0)) ** rng.uniform(0.1, 0.6)
    gain = np.clip(match, 0.45, 1.5) * rng.uniform(0.92, 1.08) * rng.uniform(0.96, 1.04, 3)
    return paste_cutout(image, window, rgba, gain.astype(np.float32), shadow=rng.uniform(0, 0.35))


def _for_pose(by_name: Mapping[str, Template], front: str, points_px: Points) -> Template:
    """Return the template for the yaw, if there is one; `_left` is for a face turned to the image's left."""
    yaw = yaw_of(points_px)
    side = "" if abs(yaw) <= TURNED else SIDES[int(yaw > 0)]
    wanted = (front + side, front, front + SIDES[0], front + SIDES[1])
    return next(by_name[name] for name in wanted if name in by_name)


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
