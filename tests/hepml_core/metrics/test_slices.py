"""Areas in slices: the right events in each, as scikit-learn counts them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hepml_core.errors import DataError
from hepml_core.metrics import auc_by_slice


def test_each_slice_has_its_share_of_events_and_the_area_that_scikit_learn_finds_in_it() -> None:
    generator = np.random.default_rng(0)
    signal_e, energy_e = generator.random(1000) < 0.4, generator.exponential(size=1000)
    score_e = generator.normal(size=1000) + signal_e * energy_e
    slices = auc_by_slice(score_e, signal_e, energy_e, 4, np.random.default_rng(1), replicas=50)
    assert [one.signal + one.background for one in slices] == [250] * 4
    for number, one in enumerate(slices):
        last = number == 3
        inside_e = (energy_e >= one.low) & ((energy_e <= one.high) if last else (energy_e < one.high))
        assert one.signal == signal_e[inside_e].sum()
        assert one.auc.value == pytest.approx(roc_auc_score(signal_e[inside_e], score_e[inside_e]))
        assert 0.01 < one.auc.error < 0.1
    assert slices[0].auc.value < slices[-1].auc.value


def test_events_of_unknown_value_are_in_no_slice() -> None:
    value_e = np.array([1.0, math.nan, 2.0, 3.0, 4.0])
    slices = auc_by_slice([0.1, 0.9, 0.2, 0.3, 0.4], [0, 1, 1, 0, 1], value_e, 2, np.random.default_rng(0), replicas=2)
    assert [(one.background, one.signal) for one in slices] == [(1, 1), (1, 1)]
    assert auc_by_slice([0.1], [1], [math.nan], 3, np.random.default_rng(0)) == ()


def test_equal_values_are_one_slice_and_one_class_alone_has_no_area() -> None:
    (one,) = auc_by_slice([0.1, 0.9], [0, 1], [7.0, 7.0], 5, np.random.default_rng(0), replicas=2)
    assert (one.low, one.high, one.signal, one.background, one.auc.value) == (7, 7, 1, 1, 1)
    slices = auc_by_slice([0.1, 0.9, 0.5, 0.6], [0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0], 2, np.random.default_rng(0))
    assert all(math.isnan(one.auc.value) for one in slices)


def test_a_quantity_of_other_length_is_refused() -> None:
    with pytest.raises(DataError, match="one value for each of 2 events"):
        auc_by_slice([0.1, 0.9], [0, 1], [1.0], 2, np.random.default_rng(0))
