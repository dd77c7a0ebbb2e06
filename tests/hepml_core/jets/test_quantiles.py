"""Quantile maps: flat or normal, one to one, and exact where the sample has the value."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepml_core.jets.quantiles import FloatArray, Quantile, Target

TARGETS: tuple[Target, ...] = ("uniform", "gauss")

samples = st.lists(
    st.one_of(st.integers(-3, 3).map(float), st.floats(-1e4, 1e4, width=32)), min_size=2, max_size=60
).map(lambda values: np.sort(np.array(values, np.float64)))


def heavy_tailed(count: int) -> FloatArray:
    return np.sort(20 * np.random.default_rng(0).random(count) ** -0.25).astype(np.float32).astype(np.float64)


@given(samples, st.sampled_from(TARGETS))
def test_every_value_of_the_sample_comes_back_exactly(sample_i: FloatArray, target: Target) -> None:
    quantile = Quantile(sample_i, target)
    assert quantile.inverse(quantile.forward(sample_i)) == pytest.approx(sample_i, rel=1e-12, abs=1e-300)


@given(samples, st.sampled_from(TARGETS), st.lists(st.floats(-2e4, 2e4, width=32), min_size=1, max_size=30))
def test_every_other_value_comes_back_too_and_order_is_kept(
    sample_i: FloatArray, target: Target, values: list[float]
) -> None:
    quantile, value_n = Quantile(sample_i, target), np.sort(np.array(values, np.float64))
    scaled_n = quantile.forward(value_n)
    assert (np.diff(scaled_n) >= 0).all()
    span = np.abs([*sample_i, *values]).max()
    # A distance far below the span has fewer digits: they are lost in scaled values of order 1.
    np.testing.assert_allclose(quantile.inverse(scaled_n), value_n, rtol=1e-9, atol=1e-9 * span)


def test_a_value_that_occurs_often_owns_its_quantiles_and_sits_in_their_middle() -> None:
    quantile = Quantile(np.array([0.0, 0, 0, 1, 2]), "uniform")  # quantiles 1/6 … 5/6, scaled to -2/3 … 2/3
    assert quantile.forward(np.array([0.0, 1, 2])) == pytest.approx([-1 / 3, 1 / 3, 2 / 3])
    assert quantile.inverse(np.array([-2 / 3, -0.5, -1 / 3, -0.1, 0.0])).tolist() == [0] * 5
    assert quantile.forward(np.array([0.5])) == pytest.approx([1 / 6])


def test_zeros_of_a_float32_come_back_as_zeros() -> None:
    quantile = Quantile(np.sort(np.concatenate([np.zeros(500), heavy_tailed(500)])), "uniform")
    scaled_n = quantile.forward(np.zeros(1)).astype(np.float32).astype(np.float64)
    assert quantile.inverse(scaled_n).tolist() == [0.0]


@pytest.mark.parametrize(("target", "mean", "std"), [("uniform", 0, 3**-0.5), ("gauss", 0, 1)])
def test_a_falling_spectrum_becomes_flat_or_normal(target: Target, mean: float, std: float) -> None:
    sample_i = heavy_tailed(20_001)
    scaled_n = Quantile(sample_i[::2], target).forward(sample_i[1::2])
    assert scaled_n.mean() == pytest.approx(mean, abs=0.005)
    assert scaled_n.std() == pytest.approx(std, rel=0.01)
    edges = {"uniform": [-0.5, 0, 0.5], "gauss": [-0.6744898, 0, 0.6744898]}[target]
    assert np.searchsorted(np.sort(scaled_n), edges) / len(scaled_n) == pytest.approx([0.25, 0.5, 0.75], abs=0.002)


@pytest.mark.parametrize("target", TARGETS)
def test_beyond_the_sample_the_map_goes_on_as_it_was(target: Target) -> None:
    sample_i = heavy_tailed(1000)
    quantile, last = Quantile(sample_i, target), sample_i[-1]
    beyond_n = np.array([last, last + 1, last + 1000, 1e6])
    scaled_n = quantile.forward(beyond_n)
    slope_n = np.diff(scaled_n) / np.diff(beyond_n)
    part_n = quantile.forward(sample_i[[-1 - 1000 // 100, -1]])
    assert slope_n == pytest.approx([(part_n[1] - part_n[0]) / (last - sample_i[-1 - 1000 // 100])] * 3, rel=1e-6)
    assert quantile.inverse(scaled_n) == pytest.approx(beyond_n, rel=1e-9)


@pytest.mark.parametrize("target", TARGETS)
def test_float32_keeps_what_its_step_allows(target: Target) -> None:
    """The error is the step of float32 at the scaled value times d(value)/d(scaled), and no more."""
    sample_i = heavy_tailed(10_000)
    quantile = Quantile(sample_i, target)
    value_n = np.random.default_rng(1).uniform(20, 100, 20_000)
    scaled_n = quantile.forward(value_n)
    error_n = np.abs(quantile.inverse(scaled_n.astype(np.float32).astype(np.float64)) - value_n)
    step_n = np.abs(np.spacing(scaled_n.astype(np.float32))).astype(np.float64)
    bound_n = quantile.inverse(scaled_n + step_n) - quantile.inverse(scaled_n - step_n)
    assert (error_n <= bound_n).all()
    dense_n = value_n < 25
    assert np.median(error_n[dense_n] / value_n[dense_n]) < 1e-6


def test_a_constant_variable_is_moved_and_not_scaled() -> None:
    quantile, value_n = Quantile(np.full(9, 7.0), "uniform"), np.array([5.0, 7, 7.5])
    assert quantile.forward(np.array([7.0])).tolist() == [0]
    assert quantile.inverse(quantile.forward(value_n)) == pytest.approx(value_n)


@pytest.mark.parametrize("target", TARGETS)
def test_plain_json_gives_the_same_map_back(target: Target) -> None:
    quantile = Quantile(heavy_tailed(1000), target)
    again = Quantile.from_json(json.loads(json.dumps(quantile.to_json())))
    assert np.array_equal(again.sample_i, quantile.sample_i)
    assert again.target == target


@pytest.mark.parametrize(
    "damaged",
    [
        {"target": "uniform", "sample": "no"},
        {"target": "uniform", "sample": "c$_"},
        {**Quantile(heavy_tailed(10), "uniform").to_json(), "target": "flat"},
    ],
)
def test_damaged_parameters_are_a_value_error(damaged: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"damaged|base85|unknown target"):
        Quantile.from_json(damaged)


@pytest.mark.parametrize("sample", [[1.0], [2.0, 1.0], [0.0, np.nan], [0.0, np.inf]])
def test_a_sample_out_of_order_is_no_map(sample: list[float]) -> None:
    with pytest.raises(ValueError, match=r"two or more finite values"):
        Quantile(np.array(sample), "uniform")
