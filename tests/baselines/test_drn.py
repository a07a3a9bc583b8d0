"""Shape-indexed features, the linear and the deep regression on them, and the cascade of both."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from unveil.baselines.drn import Drn, DrnConfig
from unveil.baselines.sdm import LinearStage
from unveil.baselines.shape_indexed import cascade, sift_at
from unveil.data.synthetic import drawn_face
from unveil.schemes.scheme import IBUG68

HIDDEN = (24, 16, 12)


def crops_and_shapes(count: int, size: int = 96) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    faces = [drawn_face(np.random.default_rng((5, i)), size) for i in range(count)]
    points_unit = np.stack([(2 * points + 1) / size - 1 for _, points in faces])
    return np.stack([image for image, _ in faces]), points_unit.astype(np.float32)


def drn() -> Drn:
    torch.manual_seed(0)
    network = DrnConfig(hidden=HIDDEN).build(IBUG68)
    network.set_mean_shape(torch.rand(68, 2) - 0.5)
    return network


def test_features_are_those_of_the_landmark_and_of_no_other_face() -> None:
    crops, shapes = crops_and_shapes(3)
    features = sift_at(crops, shapes)
    assert features.shape == (3, 68, 128)
    np.testing.assert_array_equal(features[1:2], sift_at(crops[1:2], shapes[1:2]))
    swapped = shapes[:1, [1, 0, *range(2, 68)]]
    np.testing.assert_array_equal(sift_at(crops[:1], swapped)[0, 0], features[0, 1])
    np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, atol=0.1)


def test_features_follow_the_face_when_it_is_shifted() -> None:
    crops, shapes = crops_and_shapes(1)
    middle = np.abs(shapes[0]).max(axis=1) < 0.5
    moved = np.roll(crops, 8, axis=2)
    shifted = shapes + np.array([16 / 96, 0], np.float32)
    np.testing.assert_allclose(sift_at(moved, shifted)[0, middle], sift_at(crops, shapes)[0, middle], atol=0.02)


def test_landmarks_outside_the_crop_are_finite() -> None:
    crops, shapes = crops_and_shapes(1)
    assert np.isfinite(sift_at(crops, shapes * 1e4)).all()


@pytest.mark.parametrize("faces", [6, 300], ids=["fewer faces than features", "more"])
def test_ridge_regression_finds_the_map_that_made_the_offsets(faces: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(faces, 1, 128)).astype(np.float32)
    weights, bias = rng.normal(size=(128, 2)), rng.normal(size=2)
    offsets = (features[:, 0] @ weights + bias).reshape(-1, 1, 2).astype(np.float32)
    stage = LinearStage.fit(features, offsets, strength=1e-6)
    np.testing.assert_allclose(stage(features), offsets, atol=1e-3)


def test_fewer_faces_than_features_are_solved_to_the_same_map() -> None:
    rng = np.random.default_rng(1)
    features, offsets = rng.normal(size=(100, 1, 128)), rng.normal(size=(100, 3, 2))
    stage = LinearStage.fit(features.astype(np.float32), offsets.astype(np.float32), 0.1)
    x, y = features[:, 0] - features[:, 0].mean(axis=0), offsets.reshape(100, 6) - offsets.reshape(100, 6).mean(axis=0)
    penalty = 0.1 * np.square(x).sum() / 128
    np.testing.assert_allclose(stage.weights, np.linalg.solve(x.T @ x + penalty * np.eye(128), x.T @ y), atol=1e-4)
    with pytest.raises(ValueError, match="strength 0"):
        LinearStage.fit(features.astype(np.float32), offsets.astype(np.float32), 0)


def test_linear_stages_bring_shapes_nearer() -> None:
    crops, target = crops_and_shapes(24)
    start = np.repeat(target.mean(axis=0, keepdims=True), len(target), axis=0)
    stages: list[LinearStage] = []
    for _ in range(2):
        shapes = cascade(crops, start, stages)[-1]
        stages.append(LinearStage.fit(sift_at(crops, shapes), target - shapes, 1.0))
    errors = [float(np.abs(shape - target).mean()) for shape in cascade(crops, start, stages)]
    assert errors[2] < errors[1] < 0.7 * errors[0]


def test_restoration_runs_before_every_stage_on_the_crops_as_they_came() -> None:
    crops, shapes = crops_and_shapes(2)
    calls: list[tuple[NDArray[np.uint8], NDArray[np.float32]]] = []

    def restore(images: NDArray[np.uint8], points_unit: NDArray[np.float32]) -> NDArray[np.uint8]:
        calls.append((images, points_unit))
        return np.zeros_like(images)

    def move(features: NDArray[np.float32]) -> NDArray[np.float32]:
        assert np.ptp(features, axis=0).max() == 0  # nothing is left to see
        return np.ones((len(features), 68, 2), np.float32)

    found = cascade(crops, shapes, [move, move], restore)
    np.testing.assert_allclose(found, np.stack([shapes, shapes + 1, shapes + 2]))
    assert all(images is crops for images, _ in calls)
    np.testing.assert_allclose(np.stack([points for _, points in calls]), found[:2])


@pytest.mark.parametrize("faces", [1, 3])
def test_a_fresh_network_stays_where_it_is_and_every_weight_learns(faces: int) -> None:
    network = drn()
    offsets = network(torch.rand(3, faces, 68, 128))
    assert offsets.shape == (3, faces, 68, 2)
    assert not offsets.any()
    (offsets - 1).square().sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_hidden_sums_start_where_a_sigmoid_is_steep() -> None:
    stage = DrnConfig(stages=1).build(IBUG68).stages[0]
    features = torch.rand(40, 68, 128)
    stage.standardise(features)  # type: ignore[operator]
    x = (features.flatten(1) - stage.get_buffer("mean")) * stage.get_buffer("scale")
    with torch.no_grad():
        for layer in list(stage.layers)[:-1]:  # type: ignore[arg-type]
            x = layer(x)
            if isinstance(layer, torch.nn.Linear):
                assert float(x.mean().abs()) < 0.5
                assert 0.5 < float(x.std()) < 2


def test_stages_in_numpy_equal_torch_and_survive_saving() -> None:
    network, other = drn(), drn()
    torch.nn.init.normal_(network.stages[1].layers[-1].weight)  # type: ignore[index,union-attr]
    other.load_state_dict(load(save(network.state_dict())))
    features = torch.rand(2, 68, 128)
    expected = network(features.expand(3, -1, -1, -1))
    for stage, offsets in zip(other.as_stages(), expected, strict=True):
        np.testing.assert_array_equal(stage(features.numpy()), offsets.detach().numpy())
