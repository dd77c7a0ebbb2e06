"""Accuracy and confusion matrix: their intervals, their rows, negative weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from hepml_core.errors import DataError
from hepml_core.metrics import (
    accuracy,
    confusion_matrix,
    log_loss,
)

BoolArray = np.ndarray[tuple[int], np.dtype[np.bool_]]


def test_rows_of_the_confusion_matrix_sum_to_one_and_an_absent_class_has_no_row() -> None:
    generator = np.random.default_rng(0)
    label_e = generator.choice([0, 1, 3], size=500)
    matrix = confusion_matrix(label_e, generator.integers(4, size=500), 4)
    assert matrix.count_cc.sum() == 500
    np.testing.assert_allclose(matrix.fraction_cc.sum(axis=1)[[0, 1, 3]], 1)
    assert np.isnan(matrix.fraction_cc[2]).all()


def test_rows_of_the_confusion_matrix_are_true_classes() -> None:
    assert confusion_matrix([0, 0, 1], [1, 1, 0], 2).count_cc.tolist() == [[0, 2], [1, 0]]


def test_the_accuracy_interval_is_wilsons_and_never_leaves_zero_to_one() -> None:
    found = accuracy([1] * 100, [1] * 90 + [0] * 10)
    assert found.value == 0.9
    centre, half = (0.9 + 0.005) / 1.01, math.sqrt(0.09 / 100 + 0.25 / 1e4) / 1.01
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))
    perfect = accuracy([1] * 20, [1] * 20)
    assert perfect.high == 1
    assert perfect.low == pytest.approx(20 / 21)


def test_the_accuracy_interval_covers_the_truth_in_two_of_three_experiments() -> None:
    generator = np.random.default_rng(0)
    found = [accuracy(np.ones(200, int), generator.random(200) < 0.8) for _ in range(1000)]
    assert 0.63 < np.mean([one.low <= 0.8 <= one.high for one in found]) < 0.73


def test_negative_weights_do_not_break_the_accuracy() -> None:
    found = accuracy([0, 0, 1], [0, 0, 0], [2.0, 2.0, -1.0])
    assert found.value == pytest.approx(4 / 3)
    assert math.isfinite(found.error)
    with pytest.raises(DataError, match="more than zero"):
        accuracy([0, 1], [0, 1], [1.0, -1.0])


def test_what_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(DataError, match="0 to 1, got 0 to 2"):
        confusion_matrix([0, 2], [0, 0], 2)
    with pytest.raises(DataError, match="each of 2 events"):
        confusion_matrix([0, 1], [0], 2)
    with pytest.raises(DataError, match="whole numbers"):
        accuracy([0.5], [0])
    with pytest.raises(DataError, match="not finite"):
        accuracy([0], [0], [math.inf])


def test_the_logarithmic_loss_is_that_of_scikit_learn_and_stays_finite() -> None:
    generator = np.random.default_rng(0)
    probability_ec = generator.dirichlet(np.ones(3), size=500)
    label_e = generator.integers(3, size=500)
    found = log_loss(probability_ec, label_e)
    assert found.value == pytest.approx(sklearn_metrics.log_loss(label_e, probability_ec))
    assert found.error == pytest.approx(1 / math.sqrt(500), rel=0.3)  # -log of a uniform number has the variance 1
    assert log_loss([[0.0, 1.0], [0.0, 1.0]], [0, 1]).value == pytest.approx(-math.log(1e-15) / 2)
    with pytest.raises(DataError, match="needs events"):
        log_loss(np.empty((0, 2)), np.empty(0, int))
