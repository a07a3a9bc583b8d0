"""Tracking measured: jitter, lag, error, coming back, frames a second. Run `python -m benchmarks.tracking`.

With `--tune` the table that One-Euro's settings were chosen from, with `--memory` what memory carried from frame to
frame is worth (`benchmarks/carried_memory.py`). L landmarks, N frames.
"""

import argparse
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from benchmarks.clips import FPS, HIDDEN, MOVING, OCCLUDED, STILL, Clip, Shot, play, portrait
from numpy.typing import NDArray

import unveil
from unveil.inference.smoothing import Motion, OneEuroConfig
from unveil.inference.tracking import TrackedFace, Tracker
from unveil.schemes.scheme import IBUG68
from unveil.types import Points

Found = NDArray[np.float32]
"""Landmarks frame by frame, (N, L, 2)."""

TEXTURES = 3  # of what covers the face, in turn
WARM = 15  # frames that do not count: the filter and the motion have to settle
LAGS = np.arange(-1.0, 4.01, 0.1)  # in frames
NEAR = 0.05  # inter-ocular distances: a face that is found this well has come back
WAYS = ("detector in every frame", "tracked, raw", "tracked, One-Euro")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tune", action="store_true", help="print the table that One-Euro was tuned by, and stop")
    parser.add_argument("--memory", action="store_true", help="measure memory carried across frames, and stop")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    if options.memory:
        from benchmarks.carried_memory import compare

        compare()
        return
    pipeline = unveil.Pipeline(threads=options.threads)
    if options.tune:
        tune(pipeline)
        return
    quality(pipeline)
    coming_back(pipeline)
    speed(pipeline)


def quality(pipeline: unveil.Pipeline) -> None:
    """Jitter on the face at rest, lag and error on moving ones, error on moving ones under occluders."""
    print(f"{'':<26}{'jitter %':>9}{'lag, frames':>19}{'NME % moving':>14}{'under occluders':>17}")
    for way in WAYS:
        still = follow(pipeline, STILL, way)
        moving = [follow(pipeline, clip, way) for clip in MOVING]
        occluded = [follow(pipeline, clip, way, seed) for clip in OCCLUDED for seed in range(TEXTURES)]
        lags = [lag(found, truth) for found, truth in moving]
        errors = [np.mean([nme(*pair) for pair in pairs]) for pairs in (moving, occluded)]
        delay = f"{np.mean(lags):.2f} (worst {max(lags):.1f})"
        print(f"{way:<26}{jitter(*still):>9.3f}{delay:>19}{errors[0]:>14.2f}{errors[1]:>17.2f}")


def coming_back(pipeline: unveil.Pipeline) -> None:
    """States while a face is hidden, and the time from its last landmark being freed to its being followed again."""
    print(
        f"\n{TEXTURES} panels: frames tracked, covered, lost while hidden; seconds until back: median, worst; ids kept"
    )
    for clip in HIDDEN:
        states: Counter[str] = Counter()
        waits, same = [], 0
        for seed in range(TEXTURES):
            shots, faces = zip(*watch(Tracker(pipeline), clip, seed), strict=True)
            nearest = [_nearest(found, shot.truth_px) for shot, found in zip(shots, faces, strict=True)]
            states.update(face.state for shot, face in zip(shots, nearest, strict=True) if shot.hidden == 1 and face)
            free = 1 + max(i for i, shot in enumerate(shots) if shot.hidden > 0)
            back = [i for i in range(free, len(shots)) if _is_found(nearest[i], shots[i])]
            waits.append((back[0] - free) / FPS if back else math.inf)
            same += nearest[0] is not None and nearest[-1] is not None and nearest[0].id == nearest[-1].id
        told = ", ".join(str(states[state]) for state in ("tracked", "covered", "lost"))
        print(f"{clip.name:<24}{told:>16}{np.median(waits):>8.2f}{max(waits):>8.2f}{same:>6} of {TEXTURES}")


def speed(pipeline: unveil.Pipeline, seconds: float = 10.0) -> None:
    """Frames a second at 640x480, and of how much the model alone would be capable at the same moments.

    Other work on the machine slows both alike, so that their ratio holds where the figures do not.
    """
    shots = list(play(MOVING[0]))
    tracker, box = Tracker(pipeline), pipeline(shots[0].image_rgb)[0].box
    tracking_s = model_s = 0.0
    count = 0
    while tracking_s + model_s < seconds:
        image = shots[count % len(shots)].image_rgb
        start = time.perf_counter()
        tracker(image, count / FPS)
        between = time.perf_counter()
        pipeline.model(image, [box])
        model_s += time.perf_counter() - between
        tracking_s += between - start
        count += 1
    ratio = tracking_s / model_s
    print(f"\n640x480, one face: {count / tracking_s:.1f} frames/s; {ratio:.2f} times the model's own time")


def follow(pipeline: unveil.Pipeline, clip: Clip, way: str, seed: int = 0) -> tuple[Found, Found]:
    """The clip's landmarks as that way finds them, and as they are; where no face is found, the last ones.

    The seed is the occluder's.
    """
    found: list[Points] = []
    truth: list[Points] = []
    faces: Iterator[tuple[Shot, Sequence[TrackedFace]]]
    if way == WAYS[0]:
        faces = (
            (shot, [TrackedFace(0, face, "tracked") for face in pipeline(shot.image_rgb)]) for shot in play(clip, seed)
        )
    else:
        faces = watch(Tracker(pipeline, smooth=way == WAYS[2]), clip, seed)
    for shot, tracked in faces:
        face = _nearest(tracked, shot.truth_px)
        found.append(face.face.landmarks if face else found[-1] if found else shot.truth_px)
        truth.append(shot.truth_px)
    return np.stack(found), np.stack(truth)


def watch(tracker: Tracker, clip: Clip, seed: int = 0) -> Iterator[tuple[Shot, Sequence[TrackedFace]]]:
    for shot in play(clip, seed):
        yield shot, tracker(shot.image_rgb, shot.time_s)


def _is_found(face: TrackedFace | None, shot: Shot) -> bool:
    return face is not None and face.state == "tracked" and _nme(face.face.landmarks, shot.truth_px) < NEAR


def _nearest(faces: Sequence[TrackedFace], truth_px: Points) -> TrackedFace | None:
    """The face that is the portrait's: the detector sees another in the background now and then."""
    near = [face for face in faces if _nme(face.face.landmarks, truth_px) < 3]
    return min(near, key=lambda face: _nme(face.face.landmarks, truth_px), default=None)


def ocular(points_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """The distance between the outer eye corners, of (..., L, 2)."""
    left, right = (points_px[..., list(side), :].mean(axis=-2) for side in IBUG68.normalisers["ocular"])
    return np.asarray(np.linalg.norm(right - left, axis=-1), np.float32)


def _nme(found: Points, truth: Points) -> float:
    return float(np.linalg.norm(found - truth, axis=-1).mean() / ocular(truth))


def nme(found: Found, truth: Found) -> float:
    """Mean error in percent of the inter-ocular distance."""
    return 100 * float((np.linalg.norm(found - truth, axis=2).mean(axis=1) / ocular(truth)).mean())


def jitter(found: Found, truth: Found) -> float:
    """Root mean square of the landmarks' motion from frame to frame in percent of the inter-ocular distance."""
    steps = np.diff(found[WARM:], axis=0)
    return 100 * float(np.sqrt((steps**2).sum(axis=2).mean()) / ocular(truth).mean())


def lag(found: Found, truth: Found) -> float:
    """By how many frames the truth has to be delayed to go best with what was found."""
    frames = np.arange(len(truth), dtype=np.float64)
    paths = truth.reshape(len(truth), -1)
    centred = found.reshape(len(found), -1)[WARM:] - found.reshape(len(found), -1)[WARM:].mean(axis=0)
    scores = []
    for delay in LAGS:
        late = np.stack([np.interp(frames[WARM:-2] - delay, frames, path) for path in paths.T], axis=1)
        late = late - late.mean(axis=0)
        scores.append(float((late * centred[:-2]).sum() / np.linalg.norm(late)))
    return float(LAGS[int(np.argmax(scores))])


def tune(pipeline: unveil.Pipeline) -> None:
    """Every setting on the same raw landmarks. A blink and a talking mouth are added to the face at rest."""
    raw = {clip: follow(pipeline, clip, "tracked, raw") for clip in (STILL, *MOVING)}
    print("min_cutoff_hz beta derivative_cutoff_hz  jitter %  worst lag  NME % moving  blink kept  mouth's lag")
    grid = itertools.product((0.5, 1, 2), (20, 40, 80, 160), (1, 3, 6))
    for settings in (None, *itertools.starmap(OneEuroConfig, grid)):
        smooth = {clip: (smoothed(found, settings), truth) for clip, (found, truth) in raw.items()}
        worst = max(lag(*smooth[clip]) for clip in MOVING)
        error = np.mean([nme(*smooth[clip]) for clip in MOVING])
        blink, mouth = _local(raw[STILL][0], settings)
        name = "raw" if settings is None else f"{settings.min_cutoff_hz:g} {settings.beta:g} {settings.derivative_cutoff_hz:g}"
        print(f"{name:<30}{jitter(*smooth[STILL]):>7.3f}{worst:>11.1f}{error:>14.2f}{blink:>12.2f}{mouth:>13.1f}")


def smoothed(found: Found, settings: OneEuroConfig | None) -> Found:
    motions = [Motion.at_rest(found[0], 0.0)]
    for i in range(1, len(found)):
        motions.append(motions[-1].update(found[i], i / FPS, settings))
    return np.stack([motion.points_px for motion in motions])


def _local(found: Found, settings: OneEuroConfig | None) -> tuple[float, float]:
    """The share that is left of a blink of 0.2 s; by how many frames a lip that moves three times a second is late."""
    size, frames = float(ocular(portrait()[1])) * 1.5, np.arange(len(found))
    plain = smoothed(found, settings)
    lids, lip = [37, 38, 43, 44], [55, 56, 57, 58, 59, 65, 66, 67]
    closing = np.zeros(len(found), np.float32)
    closing[60:66] = 0.05 * size * np.sin(np.pi * (np.arange(6) + 0.5) / 6)
    blinking = found.copy()
    blinking[:, lids, 1] += closing[:, None]
    kept = (smoothed(blinking, settings) - plain)[:, lids, 1].mean(axis=1).max() / closing.max()
    opening = (0.1 * size * np.sin(math.tau * 3 * frames / FPS)).astype(np.float32)
    talking, truth = found.copy(), np.zeros_like(found[:, lip])
    talking[:, lip, 1] += opening[:, None]
    truth[..., 1] = opening[:, None]
    return float(kept), lag((smoothed(talking, settings) - plain)[:, lip], truth)


if __name__ == "__main__":
    main()
