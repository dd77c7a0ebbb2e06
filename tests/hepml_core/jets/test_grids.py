from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hepml_core.errors import SettingError
from hepml_core.jets.bounds import Bound
from hepml_core.jets.grids import ZERO, Grid, check_grid, to_type

FLOATS = [np.dtype(np.float32), np.dtype(np.float64)]
INTEGERS = [np.dtype(kind) for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")]


def through(grid: Grid, value_n: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return values as the grid keeps them, and which of them a codec may leave to it."""
    index_n, held_n = grid.to_held_index(value_n)
    return grid.to_value(index_n, value_n.dtype), held_n


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("factor", [1.0, 1e-3])
@pytest.mark.parametrize("size", [1e-1, 1e-3, 1e-5])
def test_a_relative_bound_is_kept_for_all_ordinary_momenta(size: float, factor: float, dtype: np.dtype[Any]) -> None:
    value_n = np.geomspace(1e-3, 1e7, 50_001).astype(dtype)
    kept_n, good_n = through(Grid("pt", Bound(size, True), factor), value_n)
    # Near 1e-5 the rounding of float32 alone takes a little more than what the grid leaves for it, a few times.
    assert good_n.all() if size > 1e-4 else good_n.mean() > 0.99
    error_n = np.abs(kept_n.astype(float) - value_n.astype(float))[good_n]
    assert (error_n <= size * value_n[good_n].astype(float)).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("factor", [1.0, 1e-3])
def test_an_absolute_bound_is_one_in_the_unit_of_the_variable(factor: float, dtype: np.dtype[Any]) -> None:
    value_n = (np.linspace(-50, 50, 50_001) / factor).astype(dtype)
    kept_n, good_n = through(Grid("NegativeE", Bound(0.01, False), factor), value_n)
    assert good_n.all()
    error_n = np.abs(kept_n.astype(float) - value_n.astype(float)) * factor
    assert error_n.max() <= 0.01
    assert error_n.max() > 0.0095  # the whole bound is used


@given(
    hnp.arrays(np.float64, 20, elements=st.floats(width=64)),
    st.floats(1e-6, 10),
    st.booleans(),
    st.sampled_from([1.0, 1e-3]),
    st.sampled_from([*FLOATS, np.dtype(np.float16)]),
)
def test_what_the_grid_claims_to_hold_is_within_the_bound(
    value_n: NDArray[np.float64], size: float, relative: bool, factor: float, dtype: np.dtype[Any]
) -> None:
    with np.errstate(over="ignore"):
        value_n = value_n.astype(dtype)
    kept_n, good_n = through(Grid("pt", Bound(size, relative), factor), value_n)
    given_n, got_n = value_n[good_n].astype(float), kept_n[good_n].astype(float)
    assert np.isfinite(given_n).all()
    with np.errstate(over="ignore"):  # a bound beyond all numbers is infinite
        limit_n = size * np.abs(given_n) if relative else size / factor
        assert (np.abs(got_n - given_n) <= limit_n).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("relative", [True, False])
def test_values_as_far_from_the_grid_as_can_be_are_held_where_it_says_so(relative: bool, dtype: np.dtype[Any]) -> None:
    chance = np.random.default_rng(0)
    for most in np.geomspace(100, 2e6, 2000):
        grid = Grid("pt", Bound(10 ** chance.uniform(-4.6, -2.5), relative))
        edge_n = (
            grid.step
            * (chance.integers(int(chance.uniform(0, 0.99) * most), int(most), 1000) + 0.5)
            * chance.choice([-1, 1], 1000)
        )
        edge_n = np.exp(edge_n[edge_n < 88]) if relative else edge_n
        value_n = np.concatenate([np.nextafter(edge_n, 0), edge_n]).astype(dtype)
        kept_n, held_n = through(grid, value_n)
        assert grid.holds(value_n, kept_n)[held_n].all()


def test_zero_stays_zero_and_what_has_no_logarithm_has_no_index() -> None:
    grid = Grid("m", Bound(1e-3, True))
    index_n, has_n = grid.to_index(np.array([0.0, -0.0, -5.0, np.nan, np.inf, -np.inf, 1.0]))
    assert has_n.tolist() == [True, True, False, False, False, False, True]
    assert index_n[:2].tolist() == [ZERO, ZERO]
    assert grid.to_value(index_n, np.dtype(float)).tolist() == [0, 0, 1, 1, 1, 1, 1]


def test_the_index_of_zero_is_never_mistaken_for_a_tiny_number() -> None:
    grid = Grid("m", Bound(1e-4, True))
    tiny_n = np.exp(np.array([ZERO - 1, ZERO, ZERO + 1]) * grid.step)
    kept_n, good_n = through(grid, tiny_n)
    assert good_n.tolist() == [True, False, True]
    assert kept_n[1] == 0


@pytest.mark.parametrize("dtype", INTEGERS)
def test_whole_numbers_are_kept_as_they_are_to_the_ends_of_their_type(dtype: np.dtype[Any]) -> None:
    limits = np.iinfo(dtype)
    value_n = np.array([limits.min, limits.min + 1, 0, 1, 97, limits.max - 1, limits.max], dtype)
    kept_n, good_n = through(Grid("N90Constituents", Bound(0, False)), value_n)
    assert np.array_equal(kept_n[good_n], value_n[good_n])
    assert good_n[2:5].all()
    assert good_n.all() == (limits.bits < 64)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("bound", [Bound(0.3, True), Bound(3.0, False)])
def test_rounding_never_leaves_the_type_of_whole_numbers(dtype: np.dtype[Any], bound: Bound) -> None:
    limits = np.iinfo(dtype)
    value_n = np.array([limits.max, limits.max - 1, limits.max // 2, 1, 0, limits.min], dtype)
    kept_n, good_n = through(Grid("N90Constituents", bound), value_n)
    error_n = np.abs(kept_n[good_n].astype(float) - value_n[good_n].astype(float))
    limit_n = bound.size * np.abs(value_n[good_n].astype(float)) if bound.relative else bound.size
    assert (error_n <= limit_n).all()
    assert good_n[3:5].all()
    assert good_n[0] or limits.bits == 64


def test_numbers_beyond_a_type_become_its_ends_and_halves_are_rounded() -> None:
    value_n = np.array([-1e30, -1.4, 2.5, 3.6, 1e30, np.inf])
    assert to_type(value_n, np.dtype(np.uint8)).tolist() == [0, 0, 2, 4, 255, 255]
    assert to_type(value_n, np.dtype(np.int64))[[0, 4]].tolist() == [-(1 << 63), (1 << 63) - 1024]
    assert to_type(np.array([1e300]), np.dtype(np.float32)).tolist() == [np.inf]


def test_grids_that_cannot_keep_a_bound_are_refused() -> None:
    with pytest.raises(SettingError, match="pt is not a whole number"):
        check_grid("pt", Bound(0, True), np.dtype(np.float32))
    with pytest.raises(SettingError, match="the bound 1e-07 of pt is finer than float32; ask for pt=exact"):
        check_grid("pt", Bound(1e-7, True), np.dtype(np.float32))
    check_grid("N90Constituents", Bound(0, False), np.dtype(np.float32))
    check_grid("pt", Bound(0, True), np.dtype(np.int32))
