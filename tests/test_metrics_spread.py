"""Curves, intervals and visibility against values worked out by hand, and what must hold for any errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from unveil.metrics import (
    auc,
    auc_contribution,
    auroc,
    bootstrap_counts,
    bootstrap_interval,
    ced,
    error_deciles,
    failure_rate,
    failures,
    precision_recall,
    recall_at_precision,
    reliability,
)
from unveil.metrics.distribution import simpson_weights

Floats = NDArray[np.float64]

face_errors = arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 0.3))
thresholds = st.sampled_from([0.05, 0.07, 0.08, 0.1, 0.12345])
judgements = st.integers(1, 40).flatmap(
    lambda n: st.tuples(arrays(np.bool_, n), arrays(np.float64, n, elements=st.floats(0, 1)))
)


@given(face_errors, thresholds)
def test_failures_curve_and_area_agree(errors: Floats, threshold: float) -> None:
    curve = ced(errors, threshold)
    assert curve.errors[0] == 0
    assert curve.errors[-1] == threshold
    assert (np.diff(curve.errors) <= 1e-4 * (1 + 1e-9)).all()
    assert (np.diff(curve.fractions) >= 0).all()
    assert failure_rate(errors, threshold) == pytest.approx(1 - curve.fractions[-1])
    area = auc(errors, threshold)
    assert 0 <= area <= 1
    assert area == pytest.approx(np.average(curve.fractions, weights=simpson_weights(len(curve.fractions))))
    exact = np.mean(np.maximum(0, 1 - errors / threshold))
    assert area == pytest.approx(exact, abs=2e-4 / threshold)
    assert auc_contribution(errors, threshold)[failures(errors, threshold)].sum() == 0


def test_simpsons_weights_integrate_a_cubic_exactly() -> None:
    x = np.linspace(0, 2, 5)
    assert simpson_weights(5) @ (x**3 - x**2 + 1) * 0.5 / 3 == pytest.approx(4 - 8 / 3 + 2)


def test_recall_counts_equal_scores_together_and_needs_the_precision() -> None:
    true = np.array([1, 1, 1, 1, 0, 0, 1, 0], bool)
    score = np.array([9, 8, 7, 6, 6, 5, 4, 3])
    assert recall_at_precision(true, score / 10) == 4 / 5  # down to 6: four of five are true
    assert recall_at_precision(true, score / 10, precision=0.9) == 3 / 5  # 6 would bring in a false one
    assert recall_at_precision(~true, score / 10) == 0


@given(judgements)
def test_recall_stays_when_the_scores_are_stretched_and_falls_with_the_precision(judged: tuple[Floats, Floats]) -> None:
    true, score = judged[0].astype(bool), np.round(judged[1], 3)
    if true.any():
        assert recall_at_precision(true, 2 * score + 1) == recall_at_precision(true, score)
        assert 0 <= recall_at_precision(true, score, 0.95) <= recall_at_precision(true, score, 0.5) <= 1
        assert recall_at_precision(true, score, 0) == 1


def test_calibration_is_the_gap_between_predicted_and_actual_frequency() -> None:
    true, probability = np.array([1, 1, 1, 0, 0], bool), np.array([0.95, 0.95, 1.0, 0.92, 0.25])
    judged = reliability(true, probability)
    assert judged.count.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0, 4]
    assert judged.frequency[[2, 9]].tolist() == [0, 0.75]
    assert judged.ece == pytest.approx((4 * (3.82 / 4 - 0.75) + 0.25) / 5)


def test_an_interval_is_seeded_holds_the_mean_and_narrows_with_more_faces() -> None:
    rng = np.random.default_rng(3)
    few, many = rng.exponential(size=50), rng.exponential(size=2000)
    one, two = (bootstrap_interval(few, bootstrap_counts(50, np.random.default_rng(0))) for _ in range(2))
    narrow = bootstrap_interval(many, bootstrap_counts(2000, np.random.default_rng(0)))
    assert one == two
    assert one.low < few.mean() < one.high
    assert narrow.high - narrow.low < one.high - one.low
    assert narrow.high - narrow.low == pytest.approx(2 * 1.96 * many.std() / np.sqrt(2000), rel=0.1)


def test_a_face_of_no_weight_does_not_move_the_interval() -> None:
    values, weights = np.array([1.0, 1.0, 99.0]), np.array([2.0, 1.0, 0.0])
    assert bootstrap_interval(values, bootstrap_counts(3, np.random.default_rng(0), 50), weights) == (1, 1)


def test_what_has_no_curve_no_recall_and_no_calibration_is_refused() -> None:
    with pytest.raises(ValueError, match="face 1: its error is not a finite number"):
        failure_rate(np.array([0, np.inf]), 0.1)
    with pytest.raises(ValueError, match="threshold 0: give"):
        auc(np.zeros(1), 0)
    with pytest.raises(ValueError, match="nothing is true"):
        recall_at_precision(np.zeros(3, bool), np.zeros(3))
    with pytest.raises(ValueError, match="not a number from 0 to 1"):
        reliability(np.zeros(1, bool), np.array([1.5]))


@given(judgements)
def test_auroc_counts_the_pairs_that_are_in_order(judged: tuple[Floats, Floats]) -> None:
    true, score = judged[0].astype(bool), np.round(judged[1], 1)
    if true.any() and not true.all():
        pairs = score[true][:, None] - score[~true][None]
        assert auroc(true, score) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
        assert auroc(true, 3 * score - 1) == auroc(true, score)
    else:
        with pytest.raises(ValueError, match="no ROC curve"):
            auroc(true, score)


def test_precision_and_recall_are_absent_where_nothing_is_predicted_or_true() -> None:
    true, none = np.array([1, 1, 0, 0], bool), np.zeros(4, bool)
    assert precision_recall(true, np.array([1, 0, 1, 0], bool)) == (0.5, 0.5)
    assert precision_recall(true, none) == (None, 0)
    assert precision_recall(none, true) == (0, None)


def test_calibrated_errors_have_no_deviation_by_decile() -> None:
    rng = np.random.default_rng(0)
    actual = rng.uniform(1, 9, (50, 68))
    assert error_deciles(actual, actual).deviation == 0
    twice = error_deciles(2 * actual, actual)
    assert twice.deviation == pytest.approx(1)
    assert (np.diff(twice.predicted) > 0).all()
    assert error_deciles(rng.permutation(actual.ravel()).reshape(actual.shape), actual).actual == pytest.approx(
        5, abs=0.5
    )
    with pytest.raises(ValueError, match="give 10 or more"):
        error_deciles(np.ones(3), np.ones(3))
