"""Benchmark of tracking: jitter, lag, error, recovery, frames per second. Run `python -m benchmarks.tracking`.

With `--tune` it prints the table from which the One-Euro settings were chosen. L landmarks, N frames.
"""

import itertools
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple

import cv2
import numpy as np
from benchmarks.clips import FPS, FULLY_OCCLUDED, MOVING, OCCLUDED, STILL, Clip, Shot, play, portrait
from benchmarks.command import run
from numpy.typing import NDArray

import unveil
from unveil.geometry import tight_box
from unveil.inference.smoothing import Motion, OneEuroConfig
from unveil.inference.tracking import TrackedFace, Tracker
from unveil.metrics import nme, normaliser_lengths, point_errors
from unveil.metrics.temporal import jitter, lag
from unveil.schemes.ibug68 import LOWER_LIP, UPPER_LIDS
from unveil.schemes.scheme import IBUG68
from unveil.types import Points

Found = NDArray[np.float32]
"""Landmarks frame by frame, (N, L, 2)."""

TEXTURES = 3  # of what covers the face, in turn
WARM = 15  # frames that do not count: the filter and the motion have to settle
SPEED_S = 10.0  # of the measurement of speed
NEAR = 0.05  # inter-ocular distances: a face that is found this well has come back
WAYS = ("detector in every frame", "tracked, raw", "tracked, One-Euro")


def main(tune: bool = False, threads: int = 2) -> None:
    """Print the figures of tracking.

    Args:
        tune: Print the table from which the One-Euro settings were chosen, and stop.
        threads: Processor threads.
    """
    cv2.setNumThreads(threads)
    pipeline = unveil.Pipeline(threads=threads)
    for part in (settings_table,) if tune else (quality, recovery, speed):
        part(pipeline)


def quality(pipeline: unveil.Pipeline) -> None:
    """Print jitter at rest, lag and error in motion, and error under occluders."""
    print(f"{'':<26}{'jitter %':>9}{'lag, frames':>19}{'NME % moving':>14}{'under occluders':>17}")
    for way in WAYS:
        still = follow(pipeline, STILL, way)
        moving = [follow(pipeline, clip, way) for clip in MOVING]
        occluded = [follow(pipeline, clip, way, seed) for clip in OCCLUDED for seed in range(TEXTURES)]
        lags = [lag(found, ground_truth, WARM) for found, ground_truth in moving]
        errors = [100 * np.mean([error(*pair) for pair in pairs]) for pairs in (moving, occluded)]
        delay = f"{np.mean(lags):.2f} (worst {max(lags):.1f})"
        print(
            f"{way:<26}{jitter(still[0][WARM:], ocular(still[1])):>9.3f}{delay:>19}{errors[0]:>14.2f}{errors[1]:>17.2f}"
        )


def recovery(pipeline: unveil.Pipeline) -> None:
    """Print the states while a face is occluded, and the time until it is tracked again."""
    print(f"\n{TEXTURES} panels: frames tracked, covered, lost; seconds to recover: median, worst; ids kept")
    for clip in FULLY_OCCLUDED:
        states: Counter[str] = Counter()
        waits, same = [], 0
        for seed in range(TEXTURES):
            shots, faces = zip(*watch(Tracker(pipeline), clip, seed), strict=True)
            nearest = [_nearest(found, shot.ground_truth_px) for shot, found in zip(shots, faces, strict=True)]
            states.update(face.state for shot, face in zip(shots, nearest, strict=True) if shot.occluded == 1 and face)
            free = 1 + max(i for i, shot in enumerate(shots) if shot.occluded > 0)
            back = [i for i in range(free, len(shots)) if _is_found(nearest[i], shots[i])]
            waits.append((back[0] - free) / FPS if back else math.inf)
            same += nearest[0] is not None and nearest[-1] is not None and nearest[0].id == nearest[-1].id
        counts = ", ".join(str(states[state]) for state in ("tracked", "covered", "lost"))
        print(f"{clip.name:<24}{counts:>16}{np.median(waits):>8.2f}{max(waits):>8.2f}{same:>6} of {TEXTURES}")


def speed(pipeline: unveil.Pipeline) -> None:
    """Print frames per second with one face by frame size, and the time relative to the landmark network alone.

    Other work on the machine slows both, so that the ratio is more reliable than the rate. No video is written.
    """
    print(f"\n{'frame':<12}{'frames/s':>10}{'p99 / median':>14}{'frame / network':>17}")
    small, points_px = portrait()
    for width, height in ((640, 480), (1920, 1080), (3840, 2160)):
        image = np.zeros((height, width, 3), np.uint8)
        image[:, :height] = cv2.resize(small, (height, height), interpolation=cv2.INTER_CUBIC)
        tracker, box = Tracker(pipeline), tight_box(points_px * np.float32(height / len(small)))
        tracker(image, 0.0)
        frames_s: list[float] = []
        network_s: list[float] = []
        while sum(frames_s) + sum(network_s) < SPEED_S / 3 or len(frames_s) < 30:
            start = time.perf_counter()
            tracker(image, (len(frames_s) + 1) / FPS)
            between = time.perf_counter()
            pipeline.model(image, [box])
            network_s.append(time.perf_counter() - between)
            frames_s.append(between - start)
        median = float(np.median(frames_s))
        worst, ratio = float(np.percentile(frames_s, 99)) / median, median / float(np.median(network_s))
        print(f"{f'{width}x{height}':<12}{1 / median:>10.1f}{worst:>14.2f}{ratio:>17.2f}")


def follow(pipeline: unveil.Pipeline, clip: Clip, way: str, seed: int = 0) -> tuple[Found, Found]:
    """Return the landmarks of a clip, predicted in one of the ways, and the true ones, (N, L, 2) each.

    Where no face is found, the landmarks of the frame before count. `seed` determines the occluder.
    """
    found: list[Points] = []
    ground_truth: list[Points] = []
    faces: Iterator[tuple[Shot, Sequence[TrackedFace]]]
    if way == WAYS[0]:
        faces = (
            (shot, [TrackedFace(0, face, "tracked") for face in pipeline(shot.image_rgb)]) for shot in play(clip, seed)
        )
    else:
        faces = watch(Tracker(pipeline, smooth=way == WAYS[2]), clip, seed)
    for shot, tracked in faces:
        face = _nearest(tracked, shot.ground_truth_px)
        found.append(face.face.landmarks if face else found[-1] if found else shot.ground_truth_px)
        ground_truth.append(shot.ground_truth_px)
    return np.stack(found), np.stack(ground_truth)


def watch(tracker: Tracker, clip: Clip, seed: int = 0) -> Iterator[tuple[Shot, Sequence[TrackedFace]]]:
    for shot in play(clip, seed):
        yield shot, tracker(shot.image_rgb, shot.time_s)


def _is_found(face: TrackedFace | None, shot: Shot) -> bool:
    return face is not None and face.state == "tracked" and error(face.face.landmarks, shot.ground_truth_px) < NEAR


def _nearest(faces: Sequence[TrackedFace], ground_truth_px: Points) -> TrackedFace | None:
    """Return the face of the portrait; the detector sometimes finds another one in the background."""
    near = [face for face in faces if error(face.face.landmarks, ground_truth_px) < 3]
    return min(near, key=lambda face: error(face.face.landmarks, ground_truth_px), default=None)


def ocular(points_px: NDArray[np.float32]) -> float:
    """Return the mean distance between the outer eye corners of (N, L, 2)."""
    return float(normaliser_lengths(points_px, IBUG68, "ocular").mean())


def error(points_px: Points, ground_truth_px: Points) -> float:
    """Return the mean error of (L, 2) or (N, L, 2) in inter-ocular distances."""
    shape = (-1, *points_px.shape[-2:])
    return float(nme(point_errors(points_px.reshape(shape), ground_truth_px.reshape(shape), IBUG68)).mean())


def settings_table(pipeline: unveil.Pipeline) -> None:
    """Print every setting on the same raw landmarks. A blink and a talking mouth are added to the face at rest."""
    raw = {clip: follow(pipeline, clip, "tracked, raw") for clip in (STILL, *MOVING)}
    print("min_cutoff_hz beta derivative_cutoff_hz  jitter %  worst lag  NME % moving  blink kept  mouth's lag")
    grid = itertools.product((0.5, 1, 2), (20, 40, 80, 160), (1, 3, 6))
    for settings in (None, *itertools.starmap(OneEuroConfig, grid)):
        smooth = {clip: (smoothed(found, settings), ground_truth) for clip, (found, ground_truth) in raw.items()}
        worst = max(lag(*smooth[clip], WARM) for clip in MOVING)
        moving = 100 * np.mean([error(*smooth[clip]) for clip in MOVING])
        blink, mouth = _local(raw[STILL][0], settings)
        name = "raw" if settings is None else " ".join(f"{value:g}" for value in astuple(settings))
        at_rest = jitter(smooth[STILL][0][WARM:], ocular(smooth[STILL][1]))
        print(f"{name:<30}{at_rest:>7.3f}{worst:>11.1f}{moving:>14.2f}{blink:>12.2f}{mouth:>13.1f}")


def smoothed(found: Found, settings: OneEuroConfig | None) -> Found:
    motions = [Motion.at_rest(found[0], 0.0)]
    for i in range(1, len(found)):
        motions.append(motions[-1].update(found[i], i / FPS, settings))
    return np.stack([motion.points_px for motion in motions])


def _local(found: Found, settings: OneEuroConfig | None) -> tuple[float, float]:
    """Return the remaining share of a blink of 0.2 s, and the lag in frames of a lip that moves at 3 Hz."""
    size, frames = ocular(portrait()[1][None]) * 1.5, np.arange(len(found))
    plain = smoothed(found, settings)
    lids, lip = [point for lid in UPPER_LIDS for point in lid], list(LOWER_LIP)
    closing = np.zeros(len(found), np.float32)
    closing[60:66] = 0.05 * size * np.sin(np.pi * (np.arange(6) + 0.5) / 6)
    blinking = found.copy()
    blinking[:, lids, 1] += closing[:, None]
    kept = (smoothed(blinking, settings) - plain)[:, lids, 1].mean(axis=1).max() / closing.max()
    opening = (0.1 * size * np.sin(math.tau * 3 * frames / FPS)).astype(np.float32)
    talking, ground_truth = found.copy(), np.zeros_like(found[:, lip])
    talking[:, lip, 1] += opening[:, None]
    ground_truth[..., 1] = opening[:, None]
    return float(kept), lag((smoothed(talking, settings) - plain)[:, lip], ground_truth, WARM)


if __name__ == "__main__":
    sys.exit(run(main))
