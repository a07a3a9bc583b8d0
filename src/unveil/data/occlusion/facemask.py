"""Drawn face masks: a patch from the landmarks, covered with fabric, in the image's own light. h, w: the window."""

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import (
    MIN_THICKNESS,
    Occluded,
    Paint,
    Window,
    face_brightness,
    match_saturation,
    paste,
    soften,
    unoccluded,
)
from unveil.data.occlusion.fabric import STRAP, base_colour, fabric
from unveil.data.occlusion.frame import FaceImage
from unveil.data.occlusion.mask_shape import ACROSS, DOWN, MaskFit, Patch, fit_patch, spline
from unveil.data.occlusion.scene import scene_light
from unveil.data.occlusion.textures import Colour
from unveil.schemes.ibug68 import LEFT_EAR, RIGHT_EAR

COARSE = 16  # the patch is inverted on a grid of this many points a side and interpolated


def face_mask(face: FaceImage, rng: np.random.Generator) -> Occluded:
    """Return the face under a mask of random cut, fabric and fit.

    Args:
        face: The face.
        rng: The random generator.
    """
    image, frame, points = face.image, face.frame, face.points
    patch = fit_patch(points, MaskFit.draw(rng))
    nodes_px = frame.to_px(patch.nodes.reshape(-1, 2)).reshape(DOWN, ACROSS, 2)
    patch_px = Patch(nodes_px)
    straps = [frame.to_px(line) for line in _straps(points, patch, rng)]
    window = Window.around(np.concatenate([patch_px.outline, *straps]), image)
    if window.empty:
        return unoccluded(image)
    alpha = window.fill(spline(np.concatenate([patch_px.outline, patch_px.outline[:1]]), 200))
    alpha = soften(alpha, rng.uniform(0.4, 0.9))
    paint = _lay_fabric(patch_px, window, fabric(rng))
    _trim(patch_px, window, paint, frame.size, rng)
    paint *= scene_light(face, window, rng)[..., None]
    if straps:
        colour = (STRAP if rng.random() < 0.7 else base_colour(rng)) * min(face_brightness(face) / 150, 1.0)
        lines = window.stroke(*straps, thickness=max(MIN_THICKNESS, frame.size * rng.uniform(0.01, 0.035)))
        paint += (lines * (1 - alpha))[..., None] * (colour - paint)
        alpha = np.maximum(alpha, lines)
    return paste(image, window, match_saturation(image, _finish(paint, rng)), alpha, shadow=rng.uniform(0, 0.5))


def _lay_fabric(patch: Patch, window: Window, flat: Paint) -> Paint:
    """Warp the flat fabric to the patch, (h, w, 3): u and v are cubics of x and y, fitted to the patch's nodes."""
    u, v = np.meshgrid(np.linspace(0, 1, ACROSS), np.linspace(0, 1, DOWN))
    nodes = patch.nodes.reshape(-1, 2)
    middle, spread = nodes.mean(axis=0), max(float(np.ptp(nodes, axis=0).max()) / 2, 1e-3)
    targets = np.stack([u.ravel(), v.ravel()], axis=1)
    weights, *_ = np.linalg.lstsq(_cubics((nodes - middle) / spread), targets, rcond=None)
    x = window.x0 + (np.arange(COARSE) + 0.5) * window.width / COARSE - 0.5
    y = window.y0 + (np.arange(COARSE) + 0.5) * window.height / COARSE - 0.5
    coarse = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    places = (_cubics((coarse - middle) / spread) @ weights).clip(-0.5, 1.5).astype(np.float32)
    size = (window.width, window.height)
    fine = cv2.resize(places.reshape(COARSE, COARSE, 2), size, interpolation=cv2.INTER_LINEAR)
    height, width = flat.shape[:2]
    fine *= np.array([width - 1, height - 1], np.float32)
    x_map, y_map = cv2.split(fine)
    return np.asarray(cv2.remap(flat, x_map, y_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _cubics(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ten monomials of x and y up to the third degree, (N, 10)."""
    x, y = points.T
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3], axis=1)


def _trim(patch: Patch, window: Window, paint: Paint, size: float, rng: np.random.Generator) -> None:
    """Draw a hem along the edges: a line of stitches, or a band in another shade or colour."""
    draw = rng.random()
    if draw < 0.3:
        return
    inset = rng.uniform(0.02, 0.09)
    lines = [patch.row(inset), patch.row(1 - inset)]
    if rng.random() < 0.6:
        lines += [patch.column(-1 + inset), patch.column(1 - inset)]
    lines = [spline(line, 40) for line in lines]
    if draw < 0.55:  # stitches: every other short piece of the line
        lines = [stitch for line in lines for stitch in line[:39].reshape(13, 3, 2)[:, :2]]
        ink = window.stroke(*lines, thickness=max(0.5, 0.012 * size)) * np.float32(rng.uniform(0.3, 0.9))
        paint *= 1 - ink[..., None] * np.float32(rng.uniform(-0.25, 0.4))
        return
    edges = [patch.nodes[0], patch.nodes[-1], patch.nodes[:, 0], patch.nodes[:, -1]]
    band = window.stroke(*(spline(edge, 40) for edge in edges[: 1 if draw > 0.85 else 4]), thickness=2 * inset * size)
    if draw < 0.75:
        paint *= 1 + band[..., None] * np.float32(rng.uniform(-0.25, 0.15))
    else:
        trim: Colour = base_colour(rng)
        paint += band[..., None] * (trim - paint)


def _finish(paint: Paint, rng: np.random.Generator) -> Paint:
    """Add gloss where the fabric is bright, and the camera's softness and grain."""
    if rng.random() < 0.15:
        bright = paint.max(axis=2, keepdims=True) / 255
        paint = paint + np.float32(rng.uniform(20, 70)) * bright**4
    if rng.random() < 0.4:
        paint = soften(paint, rng.uniform(0.4, 1.3))
    grain = np.float32(rng.uniform(0, 4.5)) * rng.standard_normal((*paint.shape[:2], 1), np.float32)
    return np.asarray(paint + grain, np.float32)


def _straps(face: NDArray[np.float64], patch: Patch, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return lines (7, 2) in face coordinates from corners to ears, on the sides where the mask ends before the ear."""
    if rng.random() < 0.45:
        return []
    straps = []
    lift = rng.uniform(-0.2, 0.05)
    for side, ear, sign in ((patch.nodes[:, 0], face[LEFT_EAR], -1.0), (patch.nodes[:, -1], face[RIGHT_EAR], 1.0)):
        if sign * (ear[0] - side[0, 0]) < -0.02:
            continue
        away = ear + np.array([sign * rng.uniform(0.02, 0.12), 0.0])
        top_of_ear, lobe = away - np.array([0, lift]), away + np.array([0, 0.35 - lift / 2])
        for corner, place in ((side[0], top_of_ear), (side[-2], lobe)):
            bend = (corner + place) / 2 + np.array([0.0, rng.uniform(-0.02, 0.05)])
            straps.append(spline(np.stack([corner, bend, place]), 7))
    return straps
