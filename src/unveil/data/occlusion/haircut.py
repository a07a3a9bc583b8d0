"""Hair that is cut out of portraits by GrabCut and laid over other faces' brows, temples and cheeks.

The cut-outs are made once, when a library is built (`unveil prepare-hair`). L is 68 landmarks.
"""

from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.data.occlusion.compose import Draw, Occluded, Window, unoccluded, warp, warped_corners
from unveil.data.occlusion.frame import FaceFrame, FaceImage, require_ibug68
from unveil.data.occlusion.library import HairCutout
from unveil.data.occlusion.scene import MARGIN, photograph
from unveil.geometry import Crop, tight_box
from unveil.schemes.ibug68 import BROWS
from unveil.types import Image, Points

SIDE = 192  # pixels of a cut-out
WIDE = 2.2  # its side in diagonals of the landmark box
ITERATIONS = 4
MIN_HAIR, MAX_HAIR = 0.25, 2.5  # area of usable hair, in areas of the face
MIN_CONTRAST = 28.0  # least difference of the mean colours of hair and skin, in levels


def cut_hair(name: str, image: Image, points_px: Points) -> HairCutout | None:
    """Cut a person's hair out of a portrait.

    Args:
        name: The portrait's name.
        image: RGB, (H, W, 3).
        points_px: The 68 landmarks of ibug68, (68, 2), in pixels.

    Returns:
        The hair with the landmarks of the face below it; None if there is too little hair, if it has the colour of the
        skin, or if the image is cut off above the face.
    """
    require_ibug68("haircut", points_px)
    face = FaceImage(image, points_px)
    outline = face.frame.to_px(face.head.arc(np.linspace(0.15, np.pi - 0.15, 9)))
    if (outline < 0).any() or (outline >= image.shape[1::-1]).any():
        return None
    crop = Crop.around(tight_box(points_px), WIDE)
    pixels = crop.extract(image, SIDE)
    points = np.asarray((crop.to_unit(points_px) + 1) * (SIDE / 2) - 0.5, np.float32)
    seeds, skin = _seeds(FaceImage(pixels, points))
    found, background, foreground = seeds.copy(), np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(pixels, found, (0, 0, SIDE, SIDE), background, foreground, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    hair = ((found == cv2.GC_FGD) | (found == cv2.GC_PR_FGD)).astype(np.uint8)
    hair &= _like_hair(pixels, seeds == cv2.GC_FGD, skin)
    hair = cv2.morphologyEx(hair, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hair)
    large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 0.02 * SIDE * SIDE]
    hair = np.isin(labels, large).astype(np.uint8)
    area = float(hair.sum()) / max(float(skin.sum()), 1.0)
    if not MIN_HAIR <= area <= MAX_HAIR:
        return None
    colours = [pixels[mask > 0].astype(np.float32).mean(axis=0) for mask in (hair, skin)]
    if float(np.linalg.norm(colours[0] - colours[1])) < MIN_CONTRAST:
        return None
    alpha = cv2.GaussianBlur(hair.astype(np.float32), (0, 0), 1.2)
    rgba = np.concatenate([pixels * alpha[..., None], 255 * alpha[..., None]], axis=2)
    return HairCutout(name, np.clip(rgba + 0.5, 0, 255).astype(np.uint8), points)


def _like_hair(pixels: Image, hair: NDArray[np.bool_], skin: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels (SIDE, SIDE) whose colour is nearer to that of the hair than to that of the skin."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32)
    distances = []
    for seeds in (hair, skin):
        colours = lab[seeds] if seeds.any() else lab.reshape(-1, 3)
        spread = np.maximum(colours.std(axis=0), 8.0)
        distances.append((((lab - np.median(colours, axis=0)) / spread) ** 2).sum(axis=2))
    return np.asarray(distances[0] < distances[1])


def _seeds(face: FaceImage) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return GrabCut's seeds and the certain skin, (SIDE, SIDE) each."""
    head, frame, window = face.head, face.frame, Window.whole(face.image)
    angles = np.linspace(0, np.pi, 40)
    around = head.arc(angles, 1.6, 1.45)
    low = head.chin + 0.6
    outer = np.concatenate([around, [[around[-1, 0], low], [around[0, 0], low]]])
    inner = np.concatenate([head.face[:17], head.face[BROWS][::-1] - np.array([0, 0.08])])
    cap = head.arc(angles, 1.12, 1.0)
    sides = [
        np.array(
            [
                [head.middle + sign * x * head.radius, y]
                for x, y in ((1.04, head.eyes), (1.3, head.eyes), (1.3, low), (1.08, low))
            ]
        )
        for sign in (-1.0, 1.0)
    ]
    forehead = np.concatenate([head.arc(angles, 0.8, 0.55), head.face[BROWS][::-1]])
    middle = angles[8:-8]
    strip = np.concatenate([head.arc(middle, 0.85, 0.86), head.arc(middle, 0.85, 0.74)[::-1]])
    near, skin = window.fill(frame.to_px(outer)) > 0.5, window.fill(frame.to_px(inner)) > 0.5
    skin &= ~(cv2.dilate((~skin).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)
    seeds = np.full(near.shape, cv2.GC_BGD, np.uint8)
    seeds[near] = cv2.GC_PR_BGD
    for likely in (cap, *sides):
        seeds[near & (window.fill(frame.to_px(likely)) > 0.5)] = cv2.GC_PR_FGD
    seeds[window.fill(frame.to_px(forehead)) > 0.5] = cv2.GC_PR_BGD
    seeds[window.fill(frame.to_px(strip)) > 0.5] = cv2.GC_FGD
    seeds[skin] = cv2.GC_BGD
    return seeds, skin


def _fringe(cutout: HairCutout, frame: FaceFrame) -> float:
    """Return the lower edge of the hair above the face, in face coordinates, without the hair beside the face."""
    rows, columns = np.nonzero(cutout.pixels[..., 3] > 127)
    if not len(rows):
        return 0.0
    places = frame.to_face(np.stack([columns, rows], axis=1).astype(np.float64))
    middle = places[np.abs(places[:, 0]) < 0.7]
    return float(np.quantile((middle if len(middle) else places)[:, 1], 0.98))


def haircut_occluder(cutouts: tuple[HairCutout, ...]) -> Draw:
    """Return the occluder: another person's hair, lowered so that it covers brows and temples.

    Args:
        cutouts: The hair, of `cut_hair`.

    Raises:
        ValueError: There is no hair.
    """
    if not cutouts:
        raise ValueError("occluder 'haircut': the library has no hair; make some with `unveil prepare-hair`")
    return partial(_occlude, cutouts=cutouts)


def _occlude(face: FaceImage, rng: np.random.Generator, cutouts: tuple[HairCutout, ...]) -> Occluded:
    cutout = cutouts[rng.integers(len(cutouts))]
    source, target = FaceFrame.of(cutout.points), face.frame
    widths = [float(np.ptp(points[:, 0])) for points in (source.to_face(cutout.points), face.points)]
    across = widths[1] / max(widths[0], 1e-3) * rng.uniform(0.78, 1.08)
    down, aside = rng.uniform(0.9, 1.3), rng.normal(0, 0.15)
    brows = float(face.points[BROWS, 1].mean())
    lower = brows + rng.uniform(-0.2, 0.6) - down * _fringe(cutout, source)
    mirror = float(rng.choice((-1.0, 1.0)))
    to_face = np.eye(3)
    to_face[:2, :2] = np.stack([source.right, source.down]) / source.size
    to_face[:2, 2] = -to_face[:2, :2] @ source.centre
    place = np.array([[mirror * across, 0, aside], [0, down, lower], [0, 0, 1.0]])
    to_px = np.eye(3)
    to_px[:2, :2] = np.stack([target.right, target.down], axis=1) * target.size
    to_px[:2, 2] = target.centre
    matrix = to_px @ place @ to_face
    window = Window.around(warped_corners(cutout.pixels, matrix), face.image, MARGIN)
    if window.empty:
        return unoccluded(face.image)
    rgba = warp(cutout.pixels, matrix, window).astype(np.float32)
    alpha = rgba[..., 3] / np.float32(255)
    paint = rgba[..., :3] / np.maximum(alpha, 1 / 255)[..., None] * np.float32(np.exp(rng.normal(0, 0.25)))
    return photograph(face, window, np.asarray(paint, np.float32), alpha, rng, shadow=0.5)
