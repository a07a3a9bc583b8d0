"""Faces tracked through a video: the landmarks of one frame give the crop of the next. L landmarks.

The detector only searches for new faces. The landmark model itself shows when it has lost a face: its mean uncertainty
rises. `docs/guides/video.md` has the figures. For a model that predicts no uncertainty, the detector decides.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.geometry import tight_box
from unveil.inference.face_search import FaceSearch, SearchResult
from unveil.inference.pipeline import Pipeline, check_image
from unveil.inference.scene_cuts import Scene, face_thumbnail
from unveil.inference.shape_memory import ShapeMemory
from unveil.inference.smoothing import Motion, OneEuroConfig, face_size
from unveil.inference.tiling import nms
from unveil.schemes.pose import five_points, head_pose, upright_crop
from unveil.schemes.scheme import Scheme
from unveil.types import Box, Detection, Face, Image, Points

State: TypeAlias = Literal["tracked", "covered", "lost"]

COVERED_FROM, TRACKED_BELOW = 0.07, 0.05  # mean uncertainty in diagonals of the box; in between the state stays
COVERED_S = 1.0  # after this time a covered face is lost
REMEMBERED_S = 5.0  # and after this time its id is gone
SEARCH_S, EAGER_SEARCH_S = 1.0, 0.2  # a new face is found within this time; the second if a face is missing
SEARCH_DELAY_S, EAGER_DELAY_S = 0.2, 0.1  # of it, the time that the detector has in the background
SEARCH_SIDE = 640  # pixels of the longer side; on a larger image the detectors would continue with tiles
REACH = 1.0  # diagonals of its box that a face may move while it is not tracked
LARGEST_CHANGE, LARGEST_CHANGE_LOST = 1.6, 2.5  # of a face's size in one frame, and while it is not tracked
SAME_FACE = 0.25  # diagonals between the landmarks of two tracks: below this they follow one face
INSIDE = 0.5  # of its box, along each axis, that must lie in the frame


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """A face of one frame.

    Args:
        id: Number of the face, from 1. It stays the same while the face is followed and is never used again.
        face: The face. Landmarks are smoothed and, where they are occluded, carried from earlier frames.
        state: `tracked`: the face was aligned in this frame. `covered`: it is wholly covered, for up to a second; its
            landmarks stay where they were, with visibility 0. `lost`: it has been covered for longer; its id may return
            for five more seconds.
    """

    id: int
    face: Face
    state: State


@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    """The state of a face after a frame; `tracked_s` is the time at which it was last tracked."""

    id: int
    face: Face
    state: State
    motion: Motion
    tracked_s: float
    memory: ShapeMemory | None

    def predict(self, time_s: float) -> Points:
        """Return the expected landmarks: a tracked face keeps its velocity, any other one stays."""
        return self.motion.predict(time_s) if self.state == "tracked" else self.motion.points_px


class Tracker:
    """Track the faces of a video, one frame after the other.

    Args:
        pipeline: A pipeline with a detector.
        smooth: One-Euro smoothing of the landmarks: True, False, or settings of your own.
        carry_occluded: Whether occluded landmarks are carried along with the visible ones from the frames in which they
            were visible. False returns the model's own estimate.
        search_s: Time in seconds within which a new face is found while all others are tracked.
        search_side: Longer side, in pixels, of the image in which new faces are searched. A larger one finds smaller
            faces in more time.
        background: Whether the detector runs in a thread of its own. If not, every search delays its frame.

    Raises:
        ValueError: The pipeline has no detector.

    Example:
        >>> import cv2, unveil
        >>> tracker = unveil.Tracker(unveil.Pipeline())
        >>> capture = cv2.VideoCapture("talk.mp4")
        >>> while True:
        ...     success, frame_bgr = capture.read()
        ...     if not success:
        ...         break
        ...     time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        ...     for tracked in tracker(frame_bgr[..., ::-1], time_s):
        ...         print(time_s, tracked.id, tracked.state, tracked.face.landmarks.mean(axis=0))
    """

    def __init__(
        self,
        pipeline: Pipeline,
        smooth: bool | OneEuroConfig = True,
        *,
        carry_occluded: bool = True,
        search_s: float = SEARCH_S,
        search_side: int = SEARCH_SIDE,
        background: bool = True,
    ) -> None:
        if pipeline.detector is None:
            raise ValueError("tracking needs a detector for new faces; build the pipeline with a detector's name")
        self.pipeline = pipeline
        self.smooth = OneEuroConfig() if smooth is True else smooth or None
        self.carry_occluded, self.search_s = carry_occluded, search_s
        self._search = FaceSearch(pipeline.detect, search_side, background)
        self._tracks: list[_Track] = []
        self._thumbnails: dict[int, NDArray[np.float32]] = {}
        self._scene: Scene | None = None
        self._ids = itertools.count(1)
        self._time_s = -math.inf

    def __call__(self, image_rgb: Image, time_s: float, *, flip_average: bool = False) -> list[TrackedFace]:
        """Track the faces of the next frame.

        A frame that raises an error changes nothing: the next call may have the same time.

        Args:
            image_rgb: RGB frame (H, W, 3) of uint8. It may be overwritten after the call.
            time_s: Time of the frame in seconds, after that of the frame before. The steps may vary.
            flip_average: Also align the mirrored faces and use the mean.

        Returns:
            The faces, in the order in which they appeared.

        Raises:
            ValueError: The frame is not an RGB image of 8 bits, or not later than the frame before.
        """
        if not time_s > self._time_s or not math.isfinite(time_s):
            raise ValueError(f"frame at {time_s} s after one at {self._time_s} s: frames come in order of time")
        check_image(image_rgb)
        scene = Scene.first(image_rgb) if self._scene is None else self._scene.update(image_rgb)
        tracks = self._follow(image_rgb, time_s, flip_average)
        thumbnails = {t.id: face_thumbnail(image_rgb, t.face.landmarks) for t in tracks if t.state == "tracked"}
        both = thumbnails.keys() & self._thumbnails.keys()
        is_cut = scene.is_cut([float((thumbnails[id_] * self._thumbnails[id_]).sum()) for id_ in both])
        if is_cut:
            tracks, thumbnails = [], {}
            self._search.abandon()
        first = self._scene is None or is_cut
        if result := self._searched(image_rgb, tracks, time_s, at_once=first):
            tracks = self._add_new(image_rgb, tracks, result, time_s, flip_average)
        self._tracks, self._thumbnails, self._scene = list(_aged(tracks, time_s)), thumbnails, scene
        self._time_s = time_s
        return [TrackedFace(track.id, track.face, track.state) for track in self._tracks]

    def _follow(self, image_rgb: Image, time_s: float, flip_average: bool) -> list[_Track]:
        """Align every track that is not lost or outside the frame, in the crop of its expected landmarks."""
        expected = {track.id: track.predict(time_s) for track in self._tracks if track.state != "lost"}
        expected = {
            id_: points_px for id_, points_px in expected.items() if _is_inside(tight_box(points_px), image_rgb)
        }
        aligned = self.pipeline.realign(image_rgb, list(expected.values()), flip_average) if expected else []
        faces = dict(zip(expected, aligned, strict=True))
        tracked: dict[int, Face] = {}
        for track in self._tracks:
            if track.id not in faces or (track.state != "tracked" and faces[track.id].uncertainty is None):
                continue  # without uncertainty, every covered face would be tracked again at once
            limit = COVERED_FROM if track.state == "tracked" else TRACKED_BELOW
            if self._is_plausible(faces[track.id], self._size(expected[track.id]), limit):
                tracked[track.id] = faces[track.id]
        for track in _duplicates([track for track in self._tracks if track.id in tracked], tracked, time_s):
            del tracked[track.id]
        return [
            self._updated(track, tracked[track.id], time_s)
            if track.id in tracked
            else _held(track, faces.get(track.id))
            for track in self._tracks
        ]

    def _searched(
        self, image_rgb: Image, tracks: Sequence[_Track], time_s: float, at_once: bool
    ) -> SearchResult | None:
        """Start a search if it is time for one, and return the result of one that is due."""
        result = self._search.result(time_s)
        eager = not tracks or any(track.state != "tracked" for track in tracks)
        delay_s = EAGER_DELAY_S if eager else SEARCH_DELAY_S
        if at_once or not self._search.background or time_s - self._time_s >= delay_s:
            delay_s = 0.0
        interval_s = min(self.search_s, EAGER_SEARCH_S if eager else math.inf) - delay_s
        if at_once or (not self._search.running and time_s - self._search.started_s >= interval_s - 1e-9):
            boxes = {track.id: track.face.box for track in tracks if track.state == "tracked"}
            self._search.start(image_rgb, time_s, delay_s, boxes)
            result = self._search.result(time_s) or result
        return result

    def _add_new(
        self, image_rgb: Image, tracks: Sequence[_Track], search: SearchResult, time_s: float, flip_average: bool
    ) -> list[_Track]:
        """Return the tracks with the detected faces that no track follows: lost ones return, new ones begin."""
        tracks = [track if _is_confirmed(track, search) else _held(track, None) for track in tracks]
        boxes = [*search.boxes.values(), *(track.face.box for track in tracks if track.state == "tracked")]
        known = [Detection(box, math.inf) for box in boxes]
        new = [detection for detection in nms([*known, *search.detections]) if detection.score < math.inf]
        new = [detection for detection in new if _is_inside(detection.box, image_rgb)]
        faces = self.pipeline.align(image_rgb, new, flip_average) if new else []
        after = {track.id: track for track in tracks}
        for detection, face in zip(new, faces, strict=True):
            if not self._is_plausible(face, _diagonal(detection.box), COVERED_FROM):
                continue
            if any(track.state == "tracked" and _distance(track.face, face) < SAME_FACE for track in after.values()):
                continue
            missing = [track for track in after.values() if track.state != "tracked" and _may_be(track.face, face)]
            nearest = min(missing, key=lambda track: _distance(track.face, face), default=None)
            id_ = next(self._ids) if nearest is None else nearest.id
            after[id_] = self._started(id_, face, time_s)
        return list(after.values())

    def _started(self, id_: int, face: Face, time_s: float) -> _Track:
        memory = None
        if self.carry_occluded and face.visibility is not None:
            memory = ShapeMemory.of(face.landmarks, face.visibility, time_s)
        motion = Motion.at_rest(face.landmarks, time_s)
        return _Track(id_, _moved(face, face.landmarks, self._scheme), "tracked", motion, time_s, memory)

    def _updated(self, track: _Track, face: Face, time_s: float) -> _Track:
        """Return the track after a frame in which its face was tracked."""
        face, memory = replace(face, score=track.face.score), track.memory
        if track.state != "tracked":
            return self._started(track.id, face, time_s)
        if memory is not None and face.visibility is not None and face.uncertainty is not None:
            points_px, unsure_px, memory = memory.complete(face.landmarks, face.visibility, face.uncertainty, time_s)
            face = replace(face, landmarks=points_px, uncertainty=unsure_px)
        motion = track.motion.update(face.landmarks, time_s, self.smooth)
        return _Track(track.id, _moved(face, motion.points_px, self._scheme), "tracked", motion, time_s, memory)

    def _is_plausible(self, face: Face, size_px: float, limit: float) -> bool:
        """Return whether there is a face: the model is certain enough, and it is about as large as expected."""
        change = self._size(face.landmarks) / size_px
        uncertain = face.uncertainty is not None and float(face.uncertainty.mean()) >= limit * size_px
        return not uncertain and 1 / LARGEST_CHANGE < change < LARGEST_CHANGE

    def _size(self, points_px: Points) -> float:
        """Return the diagonal of the tight box of the upright landmarks, which rotation does not change."""
        return max(upright_crop(points_px, self._scheme).side, 1e-6)

    @property
    def _scheme(self) -> Scheme:
        return self.pipeline.model.scheme


def _moved(face: Face, points_px: Points, scheme: Scheme) -> Face:
    """Return the face with these landmarks, and with the box, five points and pose that follow from them."""
    five = None if scheme.five_points is None else five_points(scheme, points_px)
    pose = None if five is None else head_pose(five)
    return replace(face, box=tight_box(points_px), landmarks=points_px, five_points=five, pose=pose)


def _held(track: _Track, face: Face | None) -> _Track:
    """Return the track after a frame in which its face was not tracked: where it was, with the larger uncertainty."""
    uncertainty = track.face.uncertainty
    if face is not None and face.uncertainty is not None and uncertainty is not None:
        uncertainty = np.maximum(face.uncertainty, uncertainty)
    visibility = np.zeros(len(track.face.landmarks), np.float32)
    held = replace(track.face, visibility=visibility, uncertainty=uncertainty)
    return replace(track, face=held, state="covered" if track.state == "tracked" else track.state)


def _aged(tracks: Sequence[_Track], time_s: float) -> Iterator[_Track]:
    """Yield the tracks whose ids may still return; those that were covered for too long are lost."""
    for track in tracks:
        missing_s = time_s - track.tracked_s
        if missing_s <= COVERED_S:
            yield track
        elif missing_s <= COVERED_S + REMEMBERED_S:
            yield replace(track, state="lost")


def _duplicates(tracks: Sequence[_Track], tracked: dict[int, Face], time_s: float) -> list[_Track]:
    """Return, of every two tracks that ended on one face, the one that is farther from its expected place."""
    duplicates = []
    for a, b in itertools.combinations(tracks, 2):
        if _distance(tracked[a.id], tracked[b.id]) < SAME_FACE:
            errors = {t.id: _mean_distance(tracked[t.id].landmarks, t.predict(time_s)) for t in (a, b)}
            duplicates.append(max(a, b, key=lambda track: errors[track.id]))
    return list({track.id: track for track in duplicates}.values())


def _is_confirmed(track: _Track, search: SearchResult) -> bool:
    """Return whether a face is still there: the model predicts uncertainty, or the detector has found the face."""
    if track.face.uncertainty is not None or track.id not in search.boxes:
        return True
    own = Detection(search.boxes[track.id], math.inf)
    return any(len(nms([own, detection])) == 1 for detection in search.detections)


def _may_be(missing: Face, face: Face) -> bool:
    """Return whether a face may be one that was lost: it is near and about as large."""
    change = face_size(face.landmarks) / face_size(missing.landmarks)
    return _distance(missing, face) < REACH and 1 / LARGEST_CHANGE_LOST < change < LARGEST_CHANGE_LOST


def _distance(a: Face, b: Face) -> float:
    """Return the mean distance between two faces' landmarks in diagonals of the larger one."""
    return _mean_distance(a.landmarks, b.landmarks) / max(face_size(face.landmarks) for face in (a, b))


def _mean_distance(a: Points, b: Points) -> float:
    return float(np.linalg.norm(a - b, axis=1).mean())


def _diagonal(box: Box) -> float:
    return max(math.hypot(box.x1 - box.x0, box.y1 - box.y0), 1e-6)


def _is_inside(box: Box, image_rgb: Image) -> bool:
    """Return whether the frame shows enough of the box to align a face there."""
    height, width = image_rgb.shape[:2]
    shown_x = min(box.x1, width - 1) - max(box.x0, 0)
    shown_y = min(box.y1, height - 1) - max(box.y0, 0)
    return bool(shown_x > INSIDE * (box.x1 - box.x0) and shown_y > INSIDE * (box.y1 - box.y0))
