"""What the baselines give back is what the bytes say, within the bounds, and no baseline is given more bits than it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.jets_codecs import Bounded, Method, Quantized, guess_of
from benchmarks.jets_compressors import limit_of, methods, truncate, truncated, unzstd, zstd
from benchmarks.jets_samples import Sample
from benchmarks.measure import importable
from hepml_core.jets.bounds import Bound

METHODS = {method.name: method for method in methods()}


def through(method: Method, sample: Sample) -> Mapping[str, NDArray[Any]]:
    """Encode, and decode where the values are not to be seen."""
    if method.needs and not importable(method.needs):
        pytest.skip(f"{method.needs} is not installed; the extra bench brings it")
    method.tune(sample)
    parts = method.encode(sample)
    assert 0 < method.size(parts) < 2 * sample.raw_bytes
    blank = replace(sample, values={name: np.zeros_like(value_n) for name, value_n in sample.values.items()})
    return method.decode(parts, blank)


def errors(sample: Sample, kept: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Return the largest error of each variable, in units of its bound; of one without, whether it differs."""
    worst = {}
    for name, value_n in sample.values.items():
        bound, error_n = sample.bounds[name], np.abs(kept[name].astype(np.float64) - value_n)
        if not bound.size:
            worst[name] = float((error_n > 0).any()) * 2
        elif bound.relative:
            worst[name] = (
                float(np.max(error_n[value_n != 0] / np.abs(value_n[value_n != 0].astype(np.float64)))) / bound.size
            )
        else:
            worst[name] = float(error_n.max()) / bound.size
    return worst


@pytest.mark.parametrize("name", METHODS)
def test_every_baseline_holds_every_bound_on_27_variables(name: str, all27: Sample) -> None:
    worst = errors(all27, through(METHODS[name], all27))
    assert {variable: error for variable, error in worst.items() if error > 1} == {}


@pytest.mark.parametrize("name", METHODS)
def test_every_baseline_holds_every_bound_on_four_vectors(name: str, four: Sample) -> None:
    worst = errors(four, through(METHODS[name], four))
    assert {variable: error for variable, error in worst.items() if error > 1} == {}


@pytest.mark.parametrize("name", [name for name, one in METHODS.items() if not isinstance(one, (Bounded, Quantized))])
def test_what_is_called_lossless_is_without_loss(name: str, four: Sample) -> None:
    kept = through(METHODS[name], four)
    assert all(np.array_equal(kept[variable], value_n) for variable, value_n in four.values.items())


@pytest.mark.parametrize("name", [name for name, one in METHODS.items() if isinstance(one, (Bounded, Quantized))])
def test_masses_of_zero_stay_zero_and_those_below_keep_their_bound(name: str, all27: Sample) -> None:
    m_n = all27.values["m"].copy()
    m_n[::7], m_n[1::50] = 0, -0.25
    sample = replace(all27, values={**all27.values, "m": m_n})
    kept = through(METHODS[name], sample)
    assert not kept["m"][m_n == 0].any()
    assert max(errors(sample, kept).values()) <= 1


@given(st.floats(-(2.0**99), 2.0**99, width=32), st.integers(0, 23))
def test_a_truncated_float_is_the_nearest_with_so_few_bits(value: float, bits: int) -> None:
    value_n = np.array([value], np.float32)
    short_n = truncate(value_n, bits)
    mantissa, _ = np.frexp(short_n.astype(np.float64))
    assert float(mantissa[0] * 2 ** (bits + 1)).is_integer()
    if abs(value) > 2.0**-100:
        assert abs(float(short_n[0]) - float(value_n[0])) <= abs(float(value_n[0])) * 2.0 ** -(bits + 1)


@pytest.mark.parametrize("guessed", [False, True])
def test_truncation_keeps_no_bit_that_the_bound_does_not_need(four: Sample, guessed: bool) -> None:
    method = truncated("truncation", zstd, unzstd, guessed=guessed)
    method.tune(four)
    for name in ("pt", "eta", "phi"):
        fewer = {name: four.values[name]}
        shorter_n = truncate(fewer[name], method.chosen[name] - 1)
        assert errors(replace(four, values=fewer), {name: shorter_n})[name] > 1


def test_the_energy_of_massless_objects_is_guessed_from_pt_and_eta() -> None:
    pt_n, eta_n = np.array([20.0, 300.0], np.float32), np.array([-2.5, 0.3], np.float32)
    bounds = {"E": Bound(1e-3, True), "pt": Bound(1e-3, True), "eta": Bound(1e-3, False)}
    guess = guess_of("E", bounds, {"pt": pt_n, "eta": eta_n})
    assert guess is not None
    np.testing.assert_allclose(np.exp(guess), pt_n * np.cosh(eta_n), rtol=1e-6)


def test_arithmetic_saves_most_of_the_energy_and_nothing_of_the_rest(four: Sample) -> None:
    plain, guessed = (METHODS[name] for name in ("quantization, pcodec", "arithmetic, quantization, pcodec"))
    plain_parts, guessed_parts = ([len(part) for part in one.encode(four)] for one in (plain, guessed))
    assert guessed_parts[6] + guessed_parts[7] < plain_parts[6] - 0.5 * four.jets  # the energy comes last
    assert guessed_parts[:6] == plain_parts[:6]


@given(st.floats(1e-6, 0.5))
def test_the_error_of_a_logarithm_keeps_the_relative_bound_both_ways(size: float) -> None:
    limit = limit_of(Bound(size, True))
    assert np.exp(limit) - 1 <= size
    assert 1 - np.exp(-limit) <= size
