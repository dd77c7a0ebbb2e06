from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hepml_core.jets.neighbours import SEEN, are_alike, differences, is_later, sums

IntArray = NDArray[np.int64]
COUNTS = st.lists(st.integers(0, 5), max_size=20).map(lambda counts: np.array(counts, np.int64))


def falling(events: int, seed: int = 0) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return indices that fall within their events of four jets, and which jets are not the first of theirs."""
    index_ej = np.sort(np.random.default_rng(seed).normal(0, 1000, (events, 4)).astype(np.int64), axis=1)[:, ::-1]
    return index_ej.ravel().copy(), is_later(np.full(events, 4))


def test_the_first_jet_of_each_event_that_has_one_is_not_later() -> None:
    assert is_later(np.array([2, 0, 1, 3])).tolist() == [False, True, False, False, True, True]
    assert is_later(np.zeros(3, np.int64)).tolist() == []


def test_a_difference_is_to_the_jet_before_in_the_same_event() -> None:
    assert differences(np.array([50, 40, 7, 90, 60, 61]), is_later(np.array([2, 1, 3]))).tolist() == [
        50,
        -10,
        7,
        90,
        -30,
        1,
    ]


@given(st.data())
def test_indices_are_the_sums_of_their_differences(data: st.DataObject) -> None:
    later_n = is_later(data.draw(COUNTS))
    index_n = data.draw(hnp.arrays(np.int64, len(later_n), elements=st.integers(-(1 << 41), 1 << 41)))
    given_n = index_n.copy()
    assert sums(differences(index_n, later_n), later_n).tolist() == index_n.tolist()
    assert np.array_equal(index_n, given_n), "the given indices were changed"


def test_jets_in_falling_order_are_alike_and_those_in_any_order_are_not() -> None:
    index_n, later_n = falling(500)
    assert are_alike(index_n, later_n)
    assert not are_alike(np.random.default_rng(1).permutation(index_n), later_n)


def test_an_index_that_is_the_same_for_all_jets_of_an_event_makes_them_alike() -> None:
    count_e = np.full(500, 3)
    shift_e = np.random.default_rng(0).integers(-50, 50, 500)
    assert are_alike(np.repeat(shift_e, count_e), is_later(count_e))


def test_only_jets_of_one_event_are_compared() -> None:
    index_n = np.arange(2000)[::-1].copy()
    assert not are_alike(index_n, is_later(np.ones(2000, np.int64)))


def test_what_comes_behind_the_first_jets_is_not_looked_at() -> None:
    index_n, later_n = falling(2 * SEEN)
    index_n[SEEN:] = np.random.default_rng(1).permutation(index_n[SEEN:])
    assert are_alike(index_n, later_n)


@pytest.mark.parametrize("counts", [[], [1], [2], [0, 0]])
def test_too_few_jets_are_never_alike(counts: list[int]) -> None:
    later_n = is_later(np.array(counts, np.int64))
    assert not are_alike(np.zeros(len(later_n), np.int64), later_n)
