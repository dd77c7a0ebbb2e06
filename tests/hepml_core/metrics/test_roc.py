"""ROC curves and their areas, against pair counting, scikit-learn and published formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from hepml_core.errors import DataError
from hepml_core.metrics import (
    FloatArray,
    IntArray,
    accuracy,
    auc_one_vs_rest,
    confusion_matrix,
    measure_auc,
    measure_rejection,
    roc_curve,
    roc_one_vs_rest,
    working_points,
)

BoolArray = np.ndarray[tuple[int], np.dtype[np.bool_]]


def scores(events: int, separation: float, seed: int = 0) -> tuple[FloatArray, BoolArray]:
    """Draw Gaussian scores of as much signal as background, ``separation`` standard deviations apart."""
    generator = np.random.default_rng(seed)
    signal_e = np.arange(events) % 2 == 0
    return generator.normal(size=events) + separation * signal_e, signal_e


def classified(events: int, classes: int, seed: int = 0) -> tuple[FloatArray, IntArray]:
    """Draw softmax probabilities that lean to the true class."""
    generator = np.random.default_rng(seed)
    label_e = generator.integers(classes, size=events)
    logit_ec = generator.normal(size=(events, classes)) + 1.2 * (label_e[:, None] == np.arange(classes))
    probability_ec = np.exp(logit_ec)
    return probability_ec / probability_ec.sum(axis=1, keepdims=True), label_e


def count_pairs(score_e: FloatArray, signal_e: BoolArray, weight_e: FloatArray) -> float:
    """Area under the ROC curve by its meaning: the part of signal-background pairs in right order (Mann-Whitney)."""
    above_sb = score_e[signal_e][:, None] - score_e[~signal_e]
    right_sb = np.where(above_sb > 0, 1.0, np.where(above_sb == 0, 0.5, 0.0))
    pair_sb = weight_e[signal_e][:, None] * weight_e[~signal_e]
    return float((right_sb * pair_sb).sum() / pair_sb.sum())


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_the_area_is_the_part_of_pairs_in_right_order_with_ties_counted_half(decimals: int) -> None:
    score_e, signal_e = scores(300, 1.0)
    score_e = score_e.round(decimals)
    weight_e = np.random.default_rng(1).normal(1, 0.7, size=300)
    assert (weight_e < 0).any()
    for weights_e in (np.ones(300), weight_e):
        area = count_pairs(score_e, signal_e, weights_e)
        assert roc_curve(score_e, signal_e, weights_e).auc == pytest.approx(area)
        both_ec = np.stack([-score_e, score_e], axis=1)
        found = auc_one_vs_rest(both_ec, signal_e, np.random.default_rng(), weight_e=weights_e, replicas=2)
        assert [auc.value for auc in found.auc_c] == pytest.approx([area, area])


def test_curve_and_area_are_those_of_scikit_learn() -> None:
    score_e, signal_e = scores(500, 1.0)
    score_e, weight_e = score_e.round(1), np.random.default_rng(1).random(500)
    curve = roc_curve(score_e, signal_e, weight_e)
    false_p, true_p, threshold_p = sklearn_metrics.roc_curve(
        signal_e, score_e, sample_weight=weight_e, drop_intermediate=False
    )
    np.testing.assert_allclose(curve.false_positive_rate, false_p, atol=1e-12)
    np.testing.assert_allclose(curve.true_positive_rate, true_p, atol=1e-12)
    np.testing.assert_array_equal(curve.threshold, threshold_p)
    assert curve.auc == pytest.approx(sklearn_metrics.roc_auc_score(signal_e, score_e, sample_weight=weight_e))


def test_areas_of_many_classes_are_those_of_scikit_learn() -> None:
    probability_ec, label_e = classified(1000, 5)
    found = auc_one_vs_rest(probability_ec, label_e, np.random.default_rng(), replicas=2)
    expected = sklearn_metrics.roc_auc_score(label_e, probability_ec, multi_class="ovr", average=None)
    assert [auc.value for auc in found.auc_c] == pytest.approx(list(expected))
    assert found.macro.value == pytest.approx(np.mean(expected))


def test_the_curve_does_not_change_under_a_rising_transform_of_the_score() -> None:
    score_e, signal_e = scores(400, 1.0)
    curve, transformed = roc_curve(score_e, signal_e), roc_curve(np.exp(3 * score_e), signal_e)
    assert transformed.auc == curve.auc
    np.testing.assert_array_equal(transformed.true_positive_rate, curve.true_positive_rate)


def test_a_perfect_and_a_reversed_score_have_area_one_and_zero() -> None:
    signal_e = np.array([True, True, False])
    assert roc_curve([3, 2, 1], signal_e).auc == 1
    assert roc_curve([1, 2, 3], signal_e).auc == 0
    assert roc_curve([1, 1, 1], signal_e).auc == 0.5


def test_random_scores_have_an_area_of_one_half_within_the_error() -> None:
    generator = np.random.default_rng(0)
    found = auc_one_vs_rest(generator.random((4000, 3)), generator.integers(3, size=4000), generator)
    for auc in (*found.auc_c, found.macro):
        assert abs(auc.value - 0.5) < 4 * auc.error


@pytest.mark.parametrize("separation", [0.0, 1.0, 2.0])
def test_the_bootstrap_error_is_that_of_hanley_and_mcneil(separation: float) -> None:
    """Radiology 143 (1982) 29; its formula for Gaussian scores is good to some per cent."""
    score_e, signal_e = scores(3000, separation)
    found = auc_one_vs_rest(np.stack([-score_e, score_e], axis=1), signal_e, np.random.default_rng(1), replicas=600)
    area, events = found.auc_c[1].value, 1500
    twice, once = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (events - 1) * (twice - area**2 + once - area**2)) / events**2
    assert found.auc_c[1].error == pytest.approx(math.sqrt(variance), rel=0.2)


def test_the_bootstrap_error_is_the_spread_of_repeated_experiments() -> None:
    areas = [
        auc_one_vs_rest(*classified(500, 3, seed), np.random.default_rng(), replicas=2).macro.value
        for seed in range(1, 201)
    ]
    found = auc_one_vs_rest(*classified(500, 3), np.random.default_rng(0), replicas=400)
    assert found.macro.error == pytest.approx(np.std(areas), rel=0.2)


def test_the_same_generator_gives_the_same_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    probability_ec, label_e = classified(300, 3)
    found = auc_one_vs_rest(probability_ec, label_e, np.random.default_rng(7))
    monkeypatch.setattr("hepml_core.metrics.roc.EVENTS_PER_BATCH", 1000)
    again = auc_one_vs_rest(probability_ec, label_e, np.random.default_rng(7))
    assert [auc.error for auc in again.auc_c] == pytest.approx([auc.error for auc in found.auc_c], rel=1e-12)


def test_a_class_without_events_has_no_area_and_a_reason() -> None:
    probability_ec, label_e = classified(300, 3)
    label_e[label_e == 1] = 0
    found = auc_one_vs_rest(probability_ec, label_e, np.random.default_rng())
    assert math.isnan(found.auc_c[1].value)
    assert found.reason_c == ("", "there are no events of this class", "")
    assert found.macro.value == pytest.approx((found.auc_c[0].value + found.auc_c[2].value) / 2)
    assert found.macro.error > 0
    assert [curve is None for curve in roc_one_vs_rest(probability_ec, label_e)] == [False, True, False]


def test_events_of_one_class_alone_have_no_areas() -> None:
    found = auc_one_vs_rest(np.eye(2)[[0, 0, 0]], [0, 0, 0], np.random.default_rng())
    assert [str(auc) for auc in found.auc_c] == ["undefined", "undefined"]
    assert found.reason_c == ("there are no events of any other class", "there are no events of this class")
    assert math.isnan(found.macro.value)


def test_a_single_event_of_a_class_has_an_area_but_no_error() -> None:
    probability_ec, label_e = classified(50, 2)
    label_e[:] = 0
    label_e[3] = 1
    found = auc_one_vs_rest(probability_ec, label_e, np.random.default_rng())
    assert 0 <= found.auc_c[1].value <= 1
    assert math.isnan(found.auc_c[1].error)
    assert found.reason_c[1] == "a single event gives no error"


def test_a_class_of_negative_weight_has_no_area_and_a_reason() -> None:
    probability_ec, label_e = classified(100, 3)
    found = auc_one_vs_rest(
        probability_ec, label_e, np.random.default_rng(), weight_e=np.where(label_e == 2, -1.0, 3.0)
    )
    assert "do not sum to more than zero" in found.reason_c[2]
    assert found.reason_c[0] == ""


def test_a_weight_of_two_is_an_event_seen_twice() -> None:
    probability_ec, label_e = classified(200, 3)
    predicted_e = probability_ec.argmax(axis=1)
    weight_e = np.where(np.arange(200) < 50, 2.0, 1.0)
    twice = np.repeat(np.arange(200), weight_e.astype(int))
    np.testing.assert_array_equal(
        confusion_matrix(label_e, predicted_e, 3, weight_e).count_cc,
        confusion_matrix(label_e[twice], predicted_e[twice], 3).count_cc,
    )
    assert accuracy(label_e, predicted_e, weight_e).value == accuracy(label_e[twice], predicted_e[twice]).value
    weighted = roc_one_vs_rest(probability_ec, label_e, weight_e)
    repeated = roc_one_vs_rest(probability_ec[twice], label_e[twice])
    for one, other in zip(weighted, repeated, strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one.true_positive_rate, other.true_positive_rate)
        assert one.auc == pytest.approx(other.auc)


def test_a_working_point_is_the_tightest_cut_that_keeps_the_signal() -> None:
    score_e, signal_e = scores(1000, 1.5)
    for point, asked in zip(working_points(roc_curve(score_e, signal_e)), (0.5, 0.7, 0.9), strict=True):
        assert point.signal_efficiency == np.mean(score_e[signal_e] >= point.threshold)
        assert asked <= point.signal_efficiency < asked + 0.003
        assert 1 / point.background_rejection == pytest.approx(np.mean(score_e[~signal_e] >= point.threshold))
    assert working_points(roc_curve([2, 1], [True, False]), [0.5])[0].background_rejection == math.inf


def test_one_area_and_its_error_are_those_of_the_same_class_among_all() -> None:
    score_e, signal_e = scores(400, 1.0)
    alone = measure_auc(score_e, signal_e, np.random.default_rng(3), replicas=100)
    both_ec = np.stack([-score_e, score_e], axis=1)
    among = auc_one_vs_rest(both_ec, signal_e, np.random.default_rng(3), replicas=100).auc_c[1]
    assert (alone.value, alone.error) == pytest.approx((among.value, among.error))
    assert math.isnan(measure_auc(score_e, np.ones(400, bool), np.random.default_rng()).value)


def test_the_error_of_a_rejection_is_the_spread_of_repeated_experiments() -> None:
    def experiment(seed: int) -> float:
        point = working_points(roc_curve(*scores(2000, 1.5, seed=seed)), [0.8])[0]
        return point.background_rejection

    (found,) = measure_rejection(*scores(2000, 1.5), np.random.default_rng(0), signal_efficiencies=[0.8], replicas=200)
    assert found.value == experiment(0)
    assert found.error == pytest.approx(np.std([experiment(seed) for seed in range(1, 300)], ddof=1), rel=0.25)


def test_without_background_left_the_rejection_is_infinite_and_has_no_error() -> None:
    signal_e = np.arange(20) < 10
    for found in measure_rejection(signal_e.astype(float), signal_e, np.random.default_rng(0), replicas=10):
        assert found.value == math.inf
        assert math.isnan(found.error)


def test_rejections_of_weighted_events_are_those_of_events_seen_as_often() -> None:
    score_e, signal_e = scores(300, 1.0)
    weight_e = np.where(np.arange(300) < 50, 2.0, 1.0)
    twice = np.repeat(np.arange(300), weight_e.astype(int))
    weighted, repeated = (
        [found.value for found in measure_rejection(*each, np.random.default_rng(0), weight_e=weights, replicas=2)]
        for each, weights in (((score_e, signal_e), weight_e), ((score_e[twice], signal_e[twice]), None))
    )
    assert weighted == pytest.approx(repeated)


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 scores are not a number"):
        roc_curve([0.5, math.nan], [True, False])
    with pytest.raises(DataError, match="not a number"):
        auc_one_vs_rest([[0.5, math.nan], [0.5, 0.5]], [0, 1], np.random.default_rng())


def test_what_has_no_curve_is_refused_in_words() -> None:
    with pytest.raises(DataError, match="no events of any other class"):
        roc_curve([0.5, 0.6], [True, True])
    with pytest.raises(DataError, match="events x classes"):
        roc_one_vs_rest([0.5, 0.5], [0, 1])
