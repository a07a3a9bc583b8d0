import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import unveil
from unveil import OneEuroConfig, Pipeline, TrackedFace, Tracker
from unveil.geometry import tight_box
from unveil.inference import tracking
from unveil.inference.smoothing import Motion, face_size
from unveil.schemes.scheme import IBUG68
from unveil.types import Box, Detection, Face, Image, Points

FPS = 30
FRAME = np.zeros((480, 640, 3), np.uint8)
SHAPE = np.stack([np.cos(np.arange(68)) * 50, np.sin(np.arange(68)) * 50], axis=1).astype(np.float32)


class Stage(Pipeline):
    """A pipeline whose faces are given: the place of each, and whether it is covered."""

    def __init__(self) -> None:
        self.places: dict[str, tuple[float, float]] = {}
        self.hidden: set[str] = set()
        self.scale, self.stretch, self.noise = 1.0, np.ones(2), 0.0
        self.looked: list[tuple[int, ...]] = []
        self.boxes: list[Box] = []
        self.rng = np.random.default_rng(0)
        self.gate: threading.Event | None = None  # the detector waits for it
        self.occluded = np.zeros(68, np.bool_)  # landmarks that the model cannot see and estimates badly
        self.detector: Any = self.detect
        self.model: Any = SimpleNamespace(scheme=IBUG68)

    def points(self, name: str) -> Points:
        return (SHAPE * self.scale * self.stretch + self.places[name]).astype(np.float32)

    def visible(self) -> list[str]:
        return [name for name in self.places if name not in self.hidden]

    def detect(self, image_rgb: Image) -> list[Detection]:
        """Return the visible faces in the pixels of the image, which may be reduced."""
        if self.gate is not None:
            assert self.gate.wait(5)
        self.looked.append(image_rgb.shape)
        shrunk = image_rgb.shape[1] / FRAME.shape[1] if image_rgb.shape[1] < FRAME.shape[1] else 1.0
        boxes = [np.array(tight_box(self.points(name))) for name in self.visible()]
        return [Detection(Box(*((box + 0.5) * shrunk - 0.5)), 0.9) for box in boxes]

    def align(
        self,
        image_rgb: Image,
        detections: Sequence[Detection],
        flip_average: bool = False,  # noqa: ARG002
        check: Callable[[], None] | None = None,  # noqa: ARG002
    ) -> list[Face]:
        assert image_rgb.shape == FRAME.shape
        return [replace(self.face(detection.box), score=detection.score) for detection in detections]

    def realign(self, image_rgb: Image, landmarks_px: Sequence[Points], flip_average: bool = False) -> list[Face]:  # noqa: ARG002
        assert image_rgb.shape == FRAME.shape
        return [self.face(tight_box(points_px)) for points_px in landmarks_px]

    def face(self, box: Box) -> Face:
        self.boxes.append(box)
        middle, size = np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2, np.hypot(box.x1 - box.x0, box.y1 - box.y0)
        near = min(self.visible(), key=lambda name: np.hypot(*(self.places[name] - middle)), default="")
        seen = near and np.hypot(*(self.places[near] - middle)) < 0.3 * size
        points = self.points(near) if seen else (SHAPE + middle).astype(np.float32)
        points = points + self.rng.normal(0, self.noise, points.shape).astype(np.float32)
        unsure = np.full(68, (0.015 if seen else 0.11) * size, np.float32)
        points[self.occluded] += np.float32(0.1 * size)
        unsure[self.occluded] = 0.04 * size
        visibility = np.where(self.occluded, 0.05, 0.99).astype(np.float32)
        return Face(box, 1.0, points, visibility, unsure, None, None)


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.places["a"] = (200.0, 200.0)
    return stage


@pytest.fixture
def tracker(stage: Stage) -> Tracker:
    return Tracker(stage)


@pytest.fixture
def clock() -> Iterator[float]:
    return (i / FPS for i in itertools.count())


def run(tracker: Tracker, clock: Iterator[float], seconds: float) -> list[list[TrackedFace]]:
    return [tracker(FRAME, next(clock)) for _ in range(round(seconds * FPS))]


def states(faces: Sequence[TrackedFace]) -> list[tuple[int, str]]:
    return [(face.id, face.state) for face in faces]


def test_the_detector_runs_once_a_second_while_all_faces_are_tracked(stage: Stage, clock: Iterator[float]) -> None:
    run(Tracker(stage, background=False), clock, 3)
    assert len(stage.looked) == 3


def test_a_frame_does_not_wait_for_the_detector(stage: Stage, tracker: Tracker, clock: Iterator[float]) -> None:
    run(tracker, clock, 0.1)
    stage.gate = threading.Event()  # from now on the detector does not answer
    stage.places["b"] = (450.0, 300.0)
    run(tracker, clock, 0.85)
    stage.gate.set()
    assert [len(faces) for faces in run(tracker, clock, 0.2)][-1] == 2


@pytest.mark.parametrize("wait_s", [0.0, 0.02])
def test_the_result_does_not_depend_on_the_speed_of_the_detector(stage: Stage, wait_s: float) -> None:
    def slow(image_rgb: Image) -> list[Detection]:
        threading.Event().wait(wait_s)
        return stage.detect(image_rgb)

    stage.detector = slow
    tracker, counts = Tracker(stage), []
    for i in range(45):
        if i == 3:
            stage.places["b"] = (450.0, 300.0)
        counts.append(len(tracker(FRAME, i / FPS)))
    assert counts == [1] * 30 + [2] * 15  # the search that starts at 0.8 s is used at 1.0 s


def test_a_frame_that_is_refused_changes_nothing(tracker: Tracker, clock: Iterator[float]) -> None:
    run(tracker, clock, 0.5)
    time_s = next(clock)
    with pytest.raises(ValueError, match="expected an RGB image"):
        tracker(FRAME[..., :1], time_s)
    assert states(tracker(FRAME, time_s)) == [(1, "tracked")]
    with pytest.raises(ValueError, match="frames come in order"):
        tracker(FRAME, time_s)


def scene(seed: int) -> Image:
    rng = np.random.default_rng(seed)
    return np.repeat(np.repeat(rng.integers(0, 256, (12, 16, 3)), 40, 0), 40, 1).astype(np.uint8)


def test_a_scene_cut_resets_the_identities(tracker: Tracker, clock: Iterator[float]) -> None:
    for shot, id_ in ((0, 1), (1, 2), (0, 3)):
        for _ in range(10):
            assert states(tracker(scene(shot), next(clock))) == [(id_, "tracked")]


def test_motion_and_a_flash_are_no_cuts(stage: Stage, tracker: Tracker, clock: Iterator[float]) -> None:
    for i in range(20):
        image, stage.places["a"] = np.roll(scene(0), 12 * i, axis=1), (200.0 + 12 * i, 200.0)
        if i == 10:
            image = np.clip(image * 1.5 + 40, 0, 255).astype(np.uint8)
        assert states(tracker(image, next(clock))) == [(1, "tracked")]


def test_occluded_landmarks_move_with_the_visible_ones(stage: Stage) -> None:
    errors = {}
    for carry_occluded in (True, False):
        tracker = Tracker(stage, smooth=False, carry_occluded=carry_occluded)
        for i in range(60):
            stage.places["a"] = (200 + 2.5 * i, 200 + 30 * float(np.sin(i / 8)))
            stage.occluded = (SHAPE[:, 1] > 5) & (i > 20)
            (face,) = tracker(FRAME, i / FPS)
        errors[carry_occluded] = np.linalg.norm(face.face.landmarks - stage.points("a"), axis=1)[stage.occluded].mean()
    assert errors[True] < 0.2 * errors[False]


def test_a_changed_shape_is_not_carried(stage: Stage) -> None:
    """When the visible landmarks no longer fit the remembered shape, the model's own estimate is returned."""
    errors = {}
    for carry_occluded in (True, False):
        tracker = Tracker(stage, smooth=False, carry_occluded=carry_occluded)
        for i in range(90):
            stage.stretch = np.array([1 - 0.4 * min(max(i - 30, 0) / 20, 1), 1])  # as by a head that turns
            stage.occluded = (SHAPE[:, 1] > 5) & (i > 20)
            (face,) = tracker(FRAME, i / FPS)
        errors[carry_occluded] = np.linalg.norm(face.face.landmarks - stage.points("a"), axis=1)[stage.occluded].mean()
    assert errors[True] < 1.05 * errors[False]


def test_a_face_keeps_its_id_while_it_moves(stage: Stage, tracker: Tracker, clock: Iterator[float]) -> None:
    for x in range(200, 500, 5):  # a face's width in less than a second
        stage.places["a"] = (float(x), 200.0)
        (face,) = tracker(FRAME, next(clock))
        assert states([face]) == [(1, "tracked")]
        assert face.face.landmarks[:, 0].mean() == pytest.approx(stage.points("a")[:, 0].mean(), abs=6)
    assert face.face.score == pytest.approx(0.9)


def test_several_faces_have_ids_of_their_own_and_a_new_one_is_found_within_a_second(
    stage: Stage, tracker: Tracker, clock: Iterator[float]
) -> None:
    stage.places["b"] = (450.0, 300.0)
    assert states(tracker(FRAME, next(clock))) == [(1, "tracked"), (2, "tracked")]
    stage.places["c"] = (450.0, 100.0)
    assert states(run(tracker, clock, 1.05)[-1]) == [(1, "tracked"), (2, "tracked"), (3, "tracked")]


def test_a_covered_face_is_held_for_a_second_and_lost_after_it(
    stage: Stage, tracker: Tracker, clock: Iterator[float]
) -> None:
    before = run(tracker, clock, 0.5)[-1][0].face
    stage.hidden.add("a")
    hidden = run(tracker, clock, 2)
    assert [face.state for (face,) in hidden] == ["covered"] * 30 + ["lost"] * 30
    for (face,) in hidden:
        assert np.array_equal(face.face.landmarks, before.landmarks)
        assert face.face.visibility is not None
        assert not face.face.visibility.any()
        assert face.face.uncertainty is not None
        assert before.uncertainty is not None
        assert face.face.uncertainty.mean() > 5 * before.uncertainty.mean()


@pytest.mark.parametrize("hidden_s", [0.5, 2.0, 4.0])
def test_a_face_that_comes_back_near_has_its_id_again(
    stage: Stage, tracker: Tracker, clock: Iterator[float], hidden_s: float
) -> None:
    run(tracker, clock, 0.5)
    stage.hidden.add("a")
    run(tracker, clock, hidden_s)
    stage.hidden.clear()
    stage.places["a"], stage.scale = (260.0, 230.0), 1.5
    assert states(run(tracker, clock, 0.25)[-1]) == [(1, "tracked")]


def test_a_face_that_appears_far_from_a_lost_one_is_another(
    stage: Stage, tracker: Tracker, clock: Iterator[float]
) -> None:
    run(tracker, clock, 0.5)
    stage.places["a"] = (500.0, 300.0)
    assert states(run(tracker, clock, 0.5)[-1]) == [(1, "covered"), (2, "tracked")]


def test_a_lost_face_is_forgotten_in_the_end_and_its_id_is_not_given_again(
    stage: Stage, tracker: Tracker, clock: Iterator[float]
) -> None:
    run(tracker, clock, 0.5)
    stage.hidden.add("a")
    run(tracker, clock, tracking.COVERED_S + tracking.REMEMBERED_S + 0.1)
    assert tracker(FRAME, next(clock)) == []
    stage.hidden.clear()
    assert states(run(tracker, clock, 0.25)[-1]) == [(2, "tracked")]


def test_two_tracks_never_follow_one_face(stage: Stage, tracker: Tracker, clock: Iterator[float]) -> None:
    stage.places["b"] = (340.0, 200.0)
    run(tracker, clock, 0.5)
    for x in range(340, 200, -4):  # b goes behind a
        stage.places["b"] = (float(x), 200.0)
        stage.hidden = {"b"} if x < 290 else set()
        faces = tracker(FRAME, next(clock))
        assert [face.id for face in faces] == [1, 2]
    assert states(faces) == [(1, "tracked"), (2, "covered")]


def test_a_face_outside_the_image_is_not_tracked(stage: Stage, tracker: Tracker, clock: Iterator[float]) -> None:
    for x in range(560, 720, 4):
        stage.places["a"] = (float(x), 200.0)
        faces = tracker(FRAME, next(clock))
    assert all((box.x0 + box.x1) / 2 < 660 for box in stage.boxes)
    assert states(faces) == [(1, "covered")]


def test_large_frames_are_searched_small_and_boxes_come_back_in_their_pixels(stage: Stage) -> None:
    tracker = Tracker(stage, search_side=320)
    (face,) = tracker(FRAME, 0.0)
    assert stage.looked == [(240, 320, 3)]
    assert stage.boxes[0] == pytest.approx(tight_box(stage.points("a")), abs=1e-3)
    assert face.face.landmarks == pytest.approx(stage.points("a"))


@pytest.mark.parametrize("time_s", [0.5, 0.4, float("nan"), float("inf")])
def test_frames_come_in_order_of_time(tracker: Tracker, time_s: float) -> None:
    tracker(FRAME, 0.5)
    with pytest.raises(ValueError, match="frames come in order"):
        tracker(FRAME, time_s)


def test_a_pipeline_without_a_detector_is_refused(stage: Stage) -> None:
    stage.detector = None
    with pytest.raises(ValueError, match="needs a detector"):
        Tracker(stage)


def test_smoothing_takes_most_of_the_jitter_and_can_be_switched_off(stage: Stage) -> None:
    stage.noise = 0.3

    def jitter(smooth: bool | OneEuroConfig) -> float:
        faces = run(Tracker(stage, smooth), (i / FPS for i in itertools.count()), 2)
        return float(np.diff([face.face.landmarks for (face,) in faces[15:]], axis=0).std())

    raw = jitter(False)
    assert raw == pytest.approx(0.3 * 2**0.5, rel=0.1)
    assert jitter(True) < 0.5 * raw
    assert jitter(OneEuroConfig(min_cutoff_hz=1e6)) == pytest.approx(raw, rel=0.1)


def moving(speed_px_s: float, count: int, fps: float) -> NDArray[np.float32]:
    return np.stack([SHAPE + np.float32(speed_px_s * i / fps) for i in range(count)])


@settings(max_examples=20)
@given(fps=st.floats(15, 120), speed=st.floats(0.3, 5))
def test_a_steadily_moving_face_is_less_than_a_frame_late(fps: float, speed: float) -> None:
    found = moving(speed * face_size(SHAPE), 60, fps)
    motion = Motion.at_rest(found[0], 0.0)
    for i in range(1, 60):
        motion = motion.update(found[i], i / fps, OneEuroConfig())
    late_px = float((found[-1] - motion.points_px).mean())
    assert 0 <= late_px < speed * face_size(SHAPE) / fps


@settings(max_examples=20)
@given(scale=st.floats(0.1, 20))
def test_smoothing_does_not_depend_on_resolution(scale: float) -> None:
    rng = np.random.default_rng(0)
    found = moving(40, 20, FPS) + rng.normal(0, 1, (20, 68, 2)).astype(np.float32)

    def smoothed(points: NDArray[np.float32]) -> Points:
        motion = Motion.at_rest(points[0], 0.0)
        for i in range(1, 20):
            motion = motion.update(points[i], i / FPS, OneEuroConfig())
        return motion.points_px

    assert smoothed(found * np.float32(scale)) == pytest.approx(smoothed(found) * scale, rel=1e-3, abs=1e-3 * scale)


def test_the_shipped_model_shows_when_a_face_is_covered_and_when_it_is_back(portrait: Image) -> None:
    tracker = Tracker(unveil.Pipeline())
    covered = portrait.copy()
    covered[50:220, 140:300] = (120, 110, 100)
    frames = [portrait] * 3 + [covered] * 3 + [portrait] * 2
    seen = [states(tracker(frame, i / FPS)) for i, frame in enumerate(frames)]
    assert seen == [[(1, "tracked")]] * 3 + [[(1, "covered")]] * 3 + [[(1, "tracked")]] * 2
