"""Training scenes of the face detector, made from drawn faces."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from unveil.data.detection import MAX_FACES, FaceSource, GroupPhotos, SceneConfig, SceneSampler, degraded, write_groups
from unveil.data.detection.degrade import DegradeConfig
from unveil.data.detection.groups import GroupPhoto
from unveil.data.detection.labelling import label_photo
from unveil.data.occlusion import OcclusionConfig, OcclusionSampler
from unveil.data.synthetic import drawn_face
from unveil.io.files import DataError
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import IBUG68, Scheme
from unveil.types import Box, Detection, Image, Points

SIZE = 128
BARE = OcclusionConfig.of_kinds()
CLEAR = DegradeConfig.model_validate(dict.fromkeys(DegradeConfig.model_fields, 0.0))


@dataclass(frozen=True)
class DrawnFaces:
    """Eight drawn faces."""

    scheme: Scheme = IBUG68
    label: str = "drawn"
    visible: None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(str, range(8)))

    @property
    def points_px(self) -> NDArray[np.float32]:
        return np.stack([drawn_face(np.random.default_rng(i))[1] for i in range(8)])

    def __len__(self) -> int:
        return 8

    def image(self, index: int) -> Image:
        return drawn_face(np.random.default_rng(index))[0]


def sampler(kinds: tuple[float, float, float, float], groups: GroupPhotos | None = None) -> SceneSampler:
    config = SceneConfig(kinds=kinds, patch_fraction=0, degrade=CLEAR)
    scenes = [np.full((90, 120, 3), shade, np.uint8) for shade in (40, 200)]
    return SceneSampler([FaceSource(DrawnFaces(), np.arange(8), OcclusionSampler(BARE))], scenes, groups, config, SIZE)


@pytest.mark.parametrize("kinds", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)])
def test_the_same_generator_state_gives_the_same_scene(kinds: tuple[float, float, float, float]) -> None:
    compose = sampler(kinds)
    first, second = (compose(np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)


def test_an_empty_scene_has_no_face() -> None:
    scene = sampler((1, 0, 0, 0))(np.random.default_rng(0))
    assert scene.image.shape == (SIZE, SIZE, 3)
    assert len(scene.boxes) == len(scene.points) == 0


@pytest.mark.parametrize("kinds", [(0, 1, 0, 0), (0, 0, 1, 0)])
def test_five_points_lie_in_the_tight_box_and_boxes_mostly_in_the_scene(
    kinds: tuple[float, float, float, float],
) -> None:
    compose, faces = sampler(kinds), 0
    for seed in range(20):
        scene = compose(np.random.default_rng(seed))
        for box, points in zip(scene.boxes, scene.points, strict=True):
            faces += 1
            assert (points >= box[:2] - 1e-3).all()
            assert (points <= box[2:] + 1e-3).all()
            inside = np.clip(box, 0, SIZE - 1)
            assert np.prod(inside[2:] - inside[:2]) > 0.4 * np.prod(box[2:] - box[:2])
    assert faces > 10


def test_a_mirrored_face_keeps_the_order_of_its_eyes() -> None:
    compose = sampler((0, 0, 1, 0))
    for seed in range(12):
        for points in compose(np.random.default_rng(seed)).points:
            down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
            right = points[1] - points[0]
            assert (
                right[0] * down[1] - right[1] * down[0] > 0
            )  # the left eye is left of the right one in the upright view


def test_a_small_face_is_ignored_instead_of_negative() -> None:
    config = SceneConfig(kinds=(0, 1, 0, 0), sizes_px=(4, 5), patch_fraction=0, degrade=CLEAR)
    scenes = [np.full((90, 120, 3), 40, np.uint8)]
    compose = SceneSampler([FaceSource(DrawnFaces(), np.arange(8), OcclusionSampler(BARE))], scenes, None, config, SIZE)
    ignored = sum(len(compose(np.random.default_rng(seed)).ignored) for seed in range(6))
    assert ignored > 0


def test_a_scheme_without_five_points_and_a_missing_background_are_refused() -> None:
    with pytest.raises(ValueError, match="name their folder with --scenes"):
        SceneSampler([FaceSource(DrawnFaces(), np.arange(8), OcclusionSampler(BARE))], [])


def test_degrading_keeps_size_and_depends_on_the_generator_alone(portrait_free_image: Image) -> None:
    strong = DegradeConfig.model_validate(dict.fromkeys(DegradeConfig.model_fields, 0.5))
    first, second = (degraded(portrait_free_image, strong, np.random.default_rng(5)) for _ in range(2))
    assert first.shape == portrait_free_image.shape
    assert np.array_equal(first, second)
    assert np.array_equal(degraded(portrait_free_image, CLEAR, np.random.default_rng(5)), portrait_free_image)


@pytest.fixture
def portrait_free_image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


# Group photographs


def group_file(path: Path) -> GroupPhotos:
    image, points = drawn_face(np.random.default_rng(1))
    photo = GroupPhoto(
        "group", np.asarray(np.hstack([image, image]), np.uint8), (points,), ((170.0, 10.0, 300.0, 150.0),)
    )
    assert write_groups([photo], IBUG68, path) == 1
    return GroupPhotos(path)


def test_group_photographs_return_from_their_file(tmp_path: Path) -> None:
    photos = group_file(tmp_path / "groups.npz")
    assert photos.names == ("group",)
    photo = photos[0]
    assert photo.image.shape[1] == 320
    assert np.allclose(photo.landmarks[0], drawn_face(np.random.default_rng(1))[1])
    assert photo.ignored == ((170.0, 10.0, 300.0, 150.0),)


def test_faces_of_a_large_group_beyond_the_limit_are_ignored_instead_of_negative(tmp_path: Path) -> None:
    image, points = drawn_face(np.random.default_rng(1))
    small = (points - points.min(axis=0)) / 8
    landmarks = tuple(small + np.array([20 * column, 20 * row]) for row in range(4) for column in range(5))
    pixels = np.asarray(cv2.resize(image, (110, 90)), np.uint8)
    photo = GroupPhoto("group", pixels, landmarks, ((900.0, 900.0, 950.0, 950.0),))
    assert write_groups([photo], IBUG68, tmp_path / "groups.npz") == 1
    compose = sampler((0, 0, 0, 1), GroupPhotos(tmp_path / "groups.npz"))
    scenes = [compose(np.random.default_rng(seed)) for seed in range(30)]
    full = [scene for scene in scenes if len(scene.boxes) == MAX_FACES]
    assert any(len(scene.ignored) for scene in full)
    for scene in scenes:
        assert (scene.ignored[:, :2] < SIZE).all()
        assert (scene.ignored[:, 2:] >= 0).all()


def test_a_group_scene_has_its_faces_and_ignored_boxes(tmp_path: Path) -> None:
    compose = sampler((0, 0, 0, 1), group_file(tmp_path / "groups.npz"))
    found = [compose(np.random.default_rng(seed)) for seed in range(10)]
    assert sum(len(scene.boxes) for scene in found) > 0
    assert any(len(scene.ignored) >= 1 for scene in found)


def test_another_file_is_no_file_of_group_photographs(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(DataError, match=r"text\.npz: not a file of group photographs"):
        GroupPhotos(tmp_path / "text.npz")


def test_a_face_that_several_views_contain_is_labelled_and_another_one_ignored() -> None:
    image, points = drawn_face(np.random.default_rng(1))

    def detect(view: Image) -> list[Detection]:
        """A detector that depends on the marker in the view's corner: the face everywhere, a ghost upright only."""
        marked = [
            tuple(corner) for corner in ((0, 0), (0, -1), (-1, -1), (-1, 0)) if view[corner].tolist() == [255, 0, 0]
        ]
        turns = ((0, 0), (-1, 0), (-1, -1), (0, -1)).index(marked[0])
        scale = max(view.shape) / max(image.shape)
        size = view.shape[0] / scale
        (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        corners = np.array([[x0, y0], [x1, y1]])
        for _ in range(turns):
            corners = np.stack([corners[:, 1], size - 1 - corners[:, 0]], axis=1)
        low, high = corners.min(axis=0), corners.max(axis=0)
        box = Box(*((value + 0.5) * scale - 0.5 for value in (*low, *high)))
        ghost = [Detection(Box(2, 2, 20, 20), 0.9)] if turns == 0 and scale == 1 else []
        return [Detection(box, 0.8), *ghost]

    def align(_: Image, detection: Detection) -> Points:
        assert detection.box == pytest.approx((*points.min(axis=0), *points.max(axis=0)), abs=1.5)
        return points

    marked = image.copy()
    marked[0, 0] = (255, 0, 0)
    photo = label_photo("drawn", marked, detect, align, scales=(1.0,))
    assert len(photo.landmarks) == 1
    assert photo.ignored == ((2, 2, 20, 20),)
    assert five_points(IBUG68, photo.landmarks[0]).shape == (5, 2)
