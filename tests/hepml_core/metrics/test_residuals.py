"""Residuals of known smearing, shifts and scales; numpy and closed formulas are the oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hepml_core.errors import DataError
from hepml_core.metrics import correlations, measure_spread, profile, residual, wrap_angle
from hepml_core.metrics.residuals import Kind

values = arrays.arrays(np.float32, st.integers(1, 30), elements=st.floats(-1e4, 1e4, width=32))


@given(values, st.sampled_from(["relative", "difference", "angle"]))
def test_an_exact_reconstruction_has_no_residual_of_any_kind(value_n: np.ndarray, kind: Kind) -> None:
    residual_n = residual(value_n, value_n.copy(), kind)
    zero_n = (value_n == 0) & (kind == "relative")
    np.testing.assert_array_equal(np.isnan(residual_n), zero_n)
    assert not residual_n[~zero_n].any()


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.integers(-3, 3))
def test_whole_turns_do_not_change_the_residual_of_an_angle(difference: list[float], turns: int) -> None:
    input_n = np.linspace(-3, 3, len(difference))
    straight_n = residual(input_n, input_n + difference, "angle")
    turned_n = residual(input_n, input_n + difference + 2 * math.pi * turns, "angle")
    # On the edge between -pi and pi rounding decides the sign.
    assert np.allclose(np.exp(1j * straight_n), np.exp(1j * turned_n), atol=1e-6)
    assert (np.abs(straight_n) <= np.float32(math.pi)).all()


def test_angles_on_both_sides_of_pi_are_close_and_pi_itself_is_kept() -> None:
    assert residual(np.array([3.1]), np.array([-3.1]), "angle")[0] == pytest.approx(2 * math.pi - 6.2)
    assert wrap_angle(np.array([math.pi, -math.pi, 0.0, 2 * math.pi])).tolist() == [math.pi, math.pi, 0, 0]


def test_relative_residuals_are_of_the_input_and_differences_are_out_minus_in() -> None:
    input_n, output_n = np.array([2.0, -4.0]), np.array([3.0, -3.0])
    assert residual(input_n, output_n, "relative").tolist() == [0.5, -0.25]
    assert residual(input_n, output_n, "difference").tolist() == [1, 1]
    with pytest.raises(DataError, match="cannot be compared"):
        residual(input_n, output_n[:1], "relative")


def test_gaussian_smearing_comes_back_with_its_width_and_errors_that_cover() -> None:
    generator = np.random.default_rng(0)
    pulls = []
    for _ in range(400):
        pt_n = generator.exponential(50, size=500) + 20
        spread = measure_spread(residual(pt_n, pt_n * (1.01 + 0.003 * generator.normal(size=500)), "relative"))
        pulls.append(
            [(spread.mean.value - 0.01) / spread.mean.error, (spread.sigma.value - 0.003) / spread.sigma.error]
        )
    assert np.abs(np.mean(pulls, axis=0)).max() < 5 / math.sqrt(400) + 0.1  # the plain sigma is a little too small
    assert np.std(pulls, axis=0) == pytest.approx([1, 1], abs=0.15)


def test_quantiles_core_and_tail_are_those_of_the_distribution() -> None:
    generator = np.random.default_rng(1)
    residual_n = generator.normal(1, 2, size=200_000)
    spread = measure_spread(residual_n)
    assert (spread.low, spread.median, spread.high) == pytest.approx((1 - 1.989, 1, 1 + 1.989), abs=0.03)
    assert spread.core == pytest.approx(2, abs=0.03)
    assert spread.tail < 1e-4
    residual_n[::100] = 1000
    tailed = measure_spread(residual_n)
    assert tailed.core == pytest.approx(2, abs=0.06)
    assert tailed.sigma.value > 50
    assert tailed.tail == pytest.approx(0.01)


def test_what_has_no_residual_is_counted_and_does_not_spoil_the_rest() -> None:
    spread = measure_spread(np.array([math.nan, 1.0, 3.0, math.inf], np.float32))
    assert (spread.rows, spread.undefined, spread.mean.value, spread.sigma.value) == (2, 2, 2, 1)
    nothing = measure_spread(np.array([math.nan], np.float32))
    assert nothing.rows == 0
    assert math.isnan(nothing.sigma.value)
    assert math.isnan(nothing.core)


def test_a_value_that_explodes_is_counted_and_warns_of_nothing() -> None:
    assert measure_spread(residual(np.array([1e-30, 1.0]), np.array([1e30, 1.0]), "relative")).undefined == 1


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(3, 40), st.just(3)), elements=st.floats(-100, 100)),
    st.floats(-1e6, 1e6),
)
def test_correlations_are_those_of_numpy_wherever_the_residuals_lie(residual_nf: np.ndarray, shift: float) -> None:
    residual_nf = residual_nf + np.random.default_rng(0).normal(size=residual_nf.shape)
    np.testing.assert_allclose(correlations(residual_nf + shift), np.corrcoef(residual_nf.T), atol=1e-6)


def test_correlations_leave_out_rows_without_a_residual_and_know_when_they_are_undefined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hepml_core.metrics.residuals.ROWS_PER_BLOCK", 7)
    residual_nf = np.random.default_rng(0).normal(size=(50, 2))
    residual_nf[:, 1] += residual_nf[:, 0]
    expected = np.corrcoef(residual_nf[1:].T)
    residual_nf[0, 1] = math.nan
    np.testing.assert_allclose(correlations(residual_nf), expected)
    residual_nf[:, 1] = 0.1
    assert np.isnan(correlations(residual_nf)).tolist() == [[False, True], [True, True]]
    assert np.isnan(correlations(np.full((3, 2), math.nan))).all()
    assert correlations(np.empty((0, 2))).shape == (2, 2)


def test_the_response_to_a_scaled_pt_is_the_scale_in_every_bin() -> None:
    generator = np.random.default_rng(0)
    pt_n = generator.uniform(20, 100, size=20_000)
    response_n = 1.02 * (1 + 0.01 * pt_n / 100 * generator.normal(size=20_000))
    found = profile(response_n, pt_n, np.linspace(20, 100, 5))
    assert found.count_b.sum() == 20_000
    np.testing.assert_allclose(found.mean_b, 1.02, atol=1e-3)
    np.testing.assert_allclose(
        (found.high_b - found.low_b) / 2, 1.02 * 0.01 * 0.994 * np.arange(30, 110, 20) / 100, rtol=0.1
    )


def test_the_last_edge_belongs_to_its_bin_and_what_lies_outside_to_none() -> None:
    found = profile(np.arange(6.0), np.array([0, 1, 2, 2.1, -0.1, 1]), np.array([0.0, 1.0, 2.0]))
    assert found.count_b.tolist() == [1, 3]
    assert found.mean_b.tolist() == pytest.approx([0, 8 / 3])
    empty = profile(np.array([math.nan]), np.array([0.5]), np.array([0.0, 1.0]))
    assert math.isnan(empty.mean_b[0])
