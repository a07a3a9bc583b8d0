"""Metrics against values worked out by hand, and what must hold for any faces."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unveil import metrics
from unveil.data.synthetic import frontal_shape
from unveil.metrics.timing import median_milliseconds
from unveil.schemes.scheme import COFW29, IBUG68, SCHEMES, Scheme

Floats = NDArray[np.float64]


def known_face() -> Floats:
    """68 points: outer eye corners 100 px apart, eye means 80 px apart, tight box 180 x 80 px, sqrt(w h) = 120."""
    points_px = np.zeros((68, 2))
    points_px[36:42, 0] = [0, 12, 12, 12, 12, 12]
    points_px[42:48, 0] = [88, 88, 88, 100, 88, 88]
    points_px[0], points_px[16], points_px[8] = (-40, 0), (140, 0), (50, 80)
    return points_px


def random_faces(seed: int, count: int = 4, scheme: Scheme = IBUG68) -> tuple[Floats, Floats]:
    """Predictions and truth, (N, L, 2) each."""
    rng = np.random.default_rng(seed)
    true_px = rng.uniform(0, 200, (count, scheme.points, 2))
    return true_px + rng.normal(0, 8, true_px.shape), true_px


@pytest.mark.parametrize(("normaliser", "fraction"), [("ocular", 5 / 100), ("pupil", 5 / 80), ("box", 5 / 120)])
def test_a_known_offset_gives_the_known_error_by_every_normaliser(normaliser: str, fraction: float) -> None:
    true_px = np.stack([known_face(), 3 * known_face() + 7])
    predicted_px = true_px + np.array([[[3, 4]], [[9, -12]]])
    errors = metrics.point_errors(predicted_px, true_px, IBUG68, normaliser)
    np.testing.assert_allclose(errors, np.full((2, 68), fraction))
    percent = metrics.summarise(predicted_px, true_px, IBUG68).percent
    assert percent[f"nme_{normaliser}"] == pytest.approx(100 * fraction)
    assert percent[f"nrmse_{normaliser}"] == pytest.approx(100 * fraction)


def test_nrmse_punishes_the_one_landmark_that_is_far_off() -> None:
    predicted_px = known_face()
    predicted_px[30] += (68, 0)
    errors = metrics.point_errors(predicted_px[None], known_face()[None], IBUG68)
    assert metrics.nme(errors) == pytest.approx([0.01])
    assert metrics.nrmse(errors) == pytest.approx([np.sqrt(0.68**2 / 68)])


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.1, 50), shift=st.tuples(*2 * [st.floats(-1e4, 1e4)]))
def test_errors_stay_when_face_and_prediction_are_scaled_and_moved(
    scheme: Scheme, seed: int, scale: float, shift: tuple[float, float]
) -> None:
    predicted_px, true_px = random_faces(seed, 3, scheme)
    for normaliser in metrics.normaliser_names(scheme):
        moved = metrics.point_errors(scale * predicted_px + shift, scale * true_px + shift, scheme, normaliser)
        np.testing.assert_allclose(
            moved, metrics.point_errors(predicted_px, true_px, scheme, normaliser), rtol=1e-5, atol=1e-6
        )


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations(range(6)))
def test_a_summary_does_not_depend_on_the_order_of_the_faces(seed: int, order: list[int]) -> None:
    predicted_px, true_px = random_faces(seed, 6)
    visible = np.random.default_rng(seed).random((6, 68)) < 0.8
    one = metrics.summarise(predicted_px, true_px, IBUG68, visible=visible)
    other = metrics.summarise(predicted_px[order], true_px[order], IBUG68, visible=visible[order])
    assert other.flat() == pytest.approx(one.flat())


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_the_ground_truth_itself_has_no_error_no_failure_and_the_whole_area(scheme: Scheme) -> None:
    _, true_px = random_faces(0, 3, scheme)
    for name, value in metrics.summarise(true_px, true_px, scheme).percent.items():
        assert value == (100 if name.startswith("auc") else 0), name


def test_the_error_splits_into_visible_and_occluded_landmarks() -> None:
    predicted_px, true_px = random_faces(5)
    visible = np.random.default_rng(5).random((4, 68)) < 0.7
    percent = metrics.summarise(predicted_px, true_px, IBUG68, visible=visible).percent
    fraction = visible.mean()
    both = fraction * percent["nme_ocular_visible"] + (1 - fraction) * percent["nme_ocular_occluded"]
    assert both == pytest.approx(percent["nme_ocular"])
    errors = metrics.point_errors(predicted_px, true_px, IBUG68)
    assert percent["nme_ocular_occluded"] == pytest.approx(100 * metrics.nme_over(errors, ~visible))
    assert percent["occluded_fraction"] == pytest.approx(100 * (1 - fraction))
    assert (
        "nme_ocular_occluded" not in metrics.summarise(true_px, true_px, IBUG68, visible=np.ones((4, 68), bool)).percent
    )


def test_an_error_in_the_mouth_is_the_mouths_alone() -> None:
    predicted_px = known_face()
    predicted_px[48:] += (0, 10)
    regions = metrics.nme_by_region(metrics.point_errors(predicted_px[None], known_face()[None], IBUG68), IBUG68)
    assert {name: float(value[0]) for name, value in regions.items()} == pytest.approx(
        {"left cheek": 0, "right cheek": 0, "brows": 0, "nose": 0, "eyes": 0, "mouth": 0.1}
    )


def test_a_summary_names_normaliser_threshold_and_region_and_is_in_per_cent() -> None:
    predicted_px, true_px = random_faces(1)
    flat = metrics.summarise(
        predicted_px, true_px, IBUG68, thresholds=(0.1, 0.075), visible=np.zeros((4, 68), bool),
        visibility=np.full((4, 68), 0.25, np.float32), rng=np.random.default_rng(0), repeats=20,
    ).flat()  # fmt: skip
    assert flat["n"] == 4
    assert {"nme_ocular", "nrmse_pupil", "fr10_box", "auc7.5_ocular", "nme_box_region_left_cheek"} <= flat.keys()
    assert flat["nme_ocular_ci95_low"] <= flat["nme_ocular"] <= flat["nme_ocular_ci95_high"]
    assert flat["occluded_fraction"] == flat["occlusion_recall_at_precision80"] == 100
    assert flat["visibility_ece"] == pytest.approx(25)


@pytest.mark.parametrize(("normaliser", "points"), [("ocular", [36, 45]), ("pupil", range(36, 48)), ("box", range(68))])
def test_a_length_of_zero_is_an_error_that_names_the_face(normaliser: str, points: list[int]) -> None:
    true_px = np.stack([known_face(), known_face()])
    true_px[1, points] = 0.1
    complaint = f"the {normaliser} length of its ground truth is zero"
    with pytest.raises(ValueError, match=rf"^face 1 \('b'\): {complaint}"):
        metrics.point_errors(true_px, true_px, IBUG68, normaliser, names=["a", "b"])
    assert list(metrics.degenerate_faces(true_px, IBUG68, normaliser)) == [1]


def test_what_cannot_be_measured_is_refused_in_one_line() -> None:
    true_px = known_face()[None]
    bad = true_px.copy()
    bad[0, 5, 1] = np.nan
    for predicted, true, scheme, normaliser, complaint in (
        (bad, true_px, IBUG68, "ocular", "face 0: landmark 5 of the prediction is not a finite number"),
        (true_px, bad, IBUG68, "ocular", "face 0: landmark 5 of the ground truth is not a finite number"),
        (
            true_px[:, :5],
            true_px,
            IBUG68,
            "ocular",
            "predictions of shape (1, 5, 2), but ground truth of shape (1, 68, 2)",
        ),
        (
            true_px,
            true_px,
            COFW29,
            "ocular",
            "landmarks of shape (1, 68, 2), but scheme 'cofw29' takes (N, 29, 2)",
        ),
        (true_px[:0], true_px[:0], IBUG68, "ocular", "landmarks of shape (0, 68, 2)"),
        (
            true_px,
            true_px,
            IBUG68,
            "eyes",
            "unknown normaliser 'eyes': scheme 'ibug68' has ocular, pupil, box",
        ),
    ):
        with pytest.raises(ValueError, match="^" + re.escape(complaint)):
            metrics.point_errors(predicted, true, scheme, normaliser)
    with pytest.raises(ValueError, match="2 names for 1 faces"):
        metrics.normaliser_lengths(true_px, IBUG68, "ocular", ["a", "b"])
    with pytest.raises(ValueError, match=r"visibility of shape \(68,\)"):
        metrics.summarise(true_px, true_px, IBUG68, visible=np.ones(68, bool))
    with pytest.raises(ValueError, match="no landmark is chosen"):
        metrics.nme_over(np.zeros((1, 68)), np.zeros((1, 68), bool))


def test_an_error_along_the_jaw_is_not_one_across_it() -> None:
    shape = frontal_shape().astype(np.float64) * 60 + 100
    true_px = np.stack([shape, shape])
    jaw = slice(1, 16)
    tangents = np.gradient(shape[:17], axis=0)[jaw]
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    predicted_px = true_px.copy()
    predicted_px[0, jaw] += 5 * tangents
    predicted_px[1, jaw] += 5 * tangents[:, ::-1] * (-1, 1)
    split = metrics.contour_errors(predicted_px, true_px, IBUG68)
    assert split is not None
    length = metrics.normaliser_lengths(true_px, IBUG68, "ocular")[0]
    along, across = (values.mean(axis=1) * length for values in split)
    np.testing.assert_allclose(along, [5 * 15 / 17, 0], atol=0.01)
    np.testing.assert_allclose(across, [0, 5 * 15 / 17], atol=0.01)
    percent = metrics.summarise(predicted_px, true_px, IBUG68).percent
    assert percent["nme_ocular_outline_across"] == pytest.approx(100 * across.mean() / length)
    assert (
        metrics.contour_errors(np.zeros((1, 29, 2)), np.random.default_rng(0).normal(size=(1, 29, 2)), COFW29) is None
    )


def test_errors_are_separated_by_yaw() -> None:
    frontal, turned = frontal_shape() * 60 + 100, frontal_shape() * 60 + 100
    turned[27:36, 0] += 15  # the nose moves to a side
    true_px = np.stack([frontal, turned]).astype(np.float64)
    bins = metrics.yaw_bins(true_px, IBUG68)
    assert list(bins) == ["0_15", "15_30", "30_45", "45_up"]
    assert np.sum(list(bins.values()), axis=0).tolist() == [1, 1]
    assert bins["0_15"].tolist() == [True, False]
    predicted_px = true_px + np.array([[[1.0, 0]], [[4.0, 0]]])
    percent = metrics.summarise(predicted_px, true_px, IBUG68).percent
    found = [percent[name] for name in percent if name.startswith("nme_ocular_yaw_")]
    assert len(found) == 2
    assert found[0] == pytest.approx(100 / metrics.normaliser_lengths(true_px, IBUG68, "ocular")[0])


def test_occlusion_is_measured_by_region_and_without_the_outline() -> None:
    _, true_px = random_faces(0, 3)
    visible = np.ones((3, 68), bool)
    visible[:, 48:] = False  # the mouths
    visible[0, :9] = False
    visibility = np.where(visible, 0.9, 0.8)
    visibility[:, 48:58] = 0.1
    percent = metrics.summarise(true_px, true_px, IBUG68, visible=visible, visibility=visibility).percent
    assert percent["occlusion_recall50_region_mouth"] == pytest.approx(50)
    assert percent["occlusion_precision50_region_mouth"] == percent["occlusion_precision50"] == 100
    assert percent["occlusion_recall50"] == pytest.approx(100 * 30 / 69)
    assert percent["occlusion_recall50_without_outline"] == pytest.approx(50)
    assert percent["occlusion_auroc"] == percent["occlusion_auroc_without_outline"] == 100
    assert percent["occlusion_recall50_region_left_cheek"] == 0
    assert "occlusion_auroc_region_mouth" not in percent  # all of it is occluded
    assert "occlusion_precision50_region_nose" not in percent


def test_calls_are_timed_in_turns_without_the_warmup() -> None:
    order: list[str] = []
    clock = iter(range(100))
    first, second = median_milliseconds(
        [lambda: order.append("a"), lambda: order.append("b")], runs=3, warmup=1, clock=lambda: next(clock) / 1000
    )
    assert "".join(order) == "ab" * 4
    assert [first, second] == pytest.approx([1, 1])
