"""Occluded landmarks in videos, carried along or predicted anew. Run `python -m benchmarks.carried_landmarks PACK`.

Clips are made from the validation faces of a pack: each face sways, tilts and comes nearer; in half of the clips it
also turns its head, as a curved surface. From 1 s to 3 s a panel occludes one half or two thirds of it. L landmarks.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import tyro
from benchmarks.command import run
from numpy.typing import NDArray

import unveil
from unveil.data.pack import Pack
from unveil.data.splits import split_by_name
from unveil.geometry import tight_box
from unveil.inference.smoothing import face_size
from unveil.inference.tracking import Tracker
from unveil.metrics import normaliser_lengths, point_errors
from unveil.metrics.temporal import jitter
from unveil.schemes.scheme import IBUG68
from unveil.types import Box, Image, Points

FPS, SECONDS = 15, 4.0
SIDE, FACE = 360, 130.0  # pixels of a frame and of a face's diagonal in it
OCCLUDED_S = (1.0, 3.0)
PANELS = {"lower 60 %": (0, 0.4, 1, 1), "left 60 %": (0, 0, 0.6, 1), "upper 50 %": (0, 0, 1, 0.5)}
DEPTH = 0.35  # of the face's curved surface, in face sizes


@dataclass(frozen=True, slots=True)
class Clip:
    """How a face moves and what covers it.

    Args:
        yaw_deg: Amplitude of the head's turn, during the occlusion.
        panel: The part of the face's box that is occluded: left, top, right, bottom as fractions of its sides.
        seed: Seed of the motion and of the panel's texture.
    """

    yaw_deg: float
    panel: tuple[float, float, float, float]
    seed: int


def main(path: Annotated[Path, tyro.conf.Positional], faces: int = 4) -> None:
    """Print the errors of occluded and visible landmarks, and the jitter.

    Args:
        path: A pack of faces.
        faces: The number of validation faces.
    """
    pack = Pack.read(path)
    chosen = [int(i) for i in split_by_name(pack.names, 0.05).val][:faces]
    pipeline = unveil.Pipeline()
    print(f"{pack.label}: {len(chosen)} validation faces; errors and jitter in % of the inter-ocular distance")
    print(f"{'':<34}{'occluded':>10}{'first':>8}{'last':>8}{'visible':>9}{'jitter':>8}")
    for yaw_deg in (0.0, 25.0):
        for name, panel in PANELS.items():
            for carry_occluded in (False, True):
                rows = [_measure(pipeline, pack, i, Clip(yaw_deg, panel, i), carry_occluded) for i in chosen]
                label = f"turn {yaw_deg:.0f}°, {name}, {'carried' if carry_occluded else 'model'}"
                print(f"{label:<34}" + "".join(f"{number:>9.2f}" for number in np.mean(rows, axis=0)), flush=True)


def _measure(pipeline: unveil.Pipeline, pack: Pack, face: int, clip: Clip, carry_occluded: bool) -> list[float]:
    """Return the error of occluded landmarks (all, first and last third of the time), of visible ones, and jitter."""
    tracker = Tracker(pipeline, carry_occluded=carry_occluded, background=False)
    predictions, frames = list[Points](), list(_frames(pack.image(face), pack.points_px[face], clip))
    for i, (image_rgb, points_px, _) in enumerate(frames):
        tracked = (tracked.face.landmarks for tracked in tracker(image_rgb, i / FPS))
        before = predictions[-1] if predictions else points_px
        predictions.append(min(tracked, key=lambda found: np.abs(found - points_px).mean(), default=before))
    predicted, ground_truth = np.stack(predictions), np.stack([points_px for _, points_px, _ in frames])
    errors = 100 * point_errors(predicted, ground_truth, IBUG68)
    occluded = np.stack([flags for _, _, flags in frames])
    per_frame = [float(one[flags].mean()) for one, flags in zip(errors, occluded, strict=True) if flags.any()]
    third = max(1, len(per_frame) // 3)
    means = [np.mean(per_frame), np.mean(per_frame[:third]), np.mean(per_frame[-third:]), errors[~occluded].mean()]
    length = float(normaliser_lengths(ground_truth, IBUG68, "ocular").mean())
    return [*(float(mean) for mean in means), jitter(predicted, length, ground_truth)]


def _frames(image_rgb: Image, points_px: Points, clip: Clip) -> Iterator[tuple[Image, Points, NDArray[np.bool_]]]:
    """Yield the frames of a clip with the true landmarks (L, 2) and which of them are occluded (L,)."""
    rng = np.random.default_rng(clip.seed)
    zoom = FACE / face_size(points_px)
    centre = points_px.mean(axis=0)
    size, phase = face_size(points_px), rng.uniform(0, math.tau, 3)
    texture = cv2.resize(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    for i in range(round(SECONDS * FPS)):
        time_s = i / FPS
        turning = min(max(time_s - OCCLUDED_S[0], 0), OCCLUDED_S[1] - OCCLUDED_S[0])
        yaw = math.radians(clip.yaw_deg) * math.sin(math.pi * turning / (OCCLUDED_S[1] - OCCLUDED_S[0]))
        waves = np.sin(math.tau * np.array([0.4, 0.3, 0.25]) * time_s + phase)
        scale, roll = zoom * (1 + 0.15 * waves[1]), 0.2 * waves[2]
        rotation = scale * np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
        shift = np.array([SIDE / 2 + 40 * waves[0], SIDE / 2]) - rotation @ centre
        turned, warped = _turned(image_rgb, points_px, centre, size, yaw)
        ground_truth = (turned @ rotation.T + shift).astype(np.float32)
        matrix = np.column_stack([rotation, shift])
        frame = cv2.warpAffine(warped, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        occluded = np.zeros(len(ground_truth), np.bool_)
        if OCCLUDED_S[0] <= time_s < OCCLUDED_S[1]:
            box = _part(tight_box(ground_truth), clip.panel)
            x0, y0, x1, y1 = (int(np.clip(edge, 0, SIDE)) for edge in box)
            frame[y0:y1, x0:x1] = texture[: y1 - y0, : x1 - x0]
            occluded = ((ground_truth > (x0, y0)) & (ground_truth < (x1, y1))).all(axis=1)
        noisy = np.clip(frame + rng.normal(0, 4, frame.shape), 0, 255).astype(np.uint8)
        yield noisy, ground_truth, occluded


def _part(box: Box, part: tuple[float, float, float, float]) -> Box:
    """Return a part of a box, with a margin of 4 % where the part reaches the edge."""
    width, height = box.x1 - box.x0, box.y1 - box.y0
    x0, y0, x1, y1 = (edge - 0.04 if edge == 0 else edge + 0.04 if edge == 1 else edge for edge in part)
    return Box(box.x0 + x0 * width, box.y0 + y0 * height, box.x0 + x1 * width, box.y0 + y1 * height)


def _turned(
    image_rgb: Image, points_px: Points, centre: NDArray[np.float32], size: float, yaw: float
) -> tuple[NDArray[np.float64], Image]:
    """Turn a face as a curved surface: its landmarks and its image."""
    if yaw == 0:
        return points_px.astype(np.float64), image_rgb

    def turn(points: NDArray[np.float64]) -> NDArray[np.float64]:
        offset = points - centre
        depth = DEPTH * size * np.maximum(0, 1 - (offset**2).sum(axis=-1) / size**2)
        x = centre[0] + offset[..., 0] * math.cos(yaw) + depth * math.sin(yaw)
        return np.stack([x, points[..., 1]], axis=-1)

    height, width = image_rgb.shape[:2]
    target = np.stack(np.meshgrid(np.arange(0, width, 4), np.arange(0, height, 4)), axis=-1).astype(np.float64)
    source = target.copy()
    for _ in range(8):  # a fixed point: the source whose turned place is the target
        source += target - turn(source)
    source_map: NDArray[Any] = cv2.resize(source.astype(np.float32), (target.shape[1] * 4, target.shape[0] * 4))[
        :height, :width
    ]
    image = cv2.remap(
        image_rgb, source_map[..., 0], source_map[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return turn(points_px.astype(np.float64)), np.asarray(image, np.uint8)


if __name__ == "__main__":
    sys.exit(run(main))
