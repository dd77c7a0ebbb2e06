from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.jets.packing import pack, pack_indices, unpack, unpack_indices

IntArray = NDArray[np.int64]
KINDS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


@settings(deadline=None)
@given(st.sampled_from(KINDS).flatmap(lambda kind: hnp.arrays(np.dtype(kind), st.integers(0, 50))))
def test_all_numbers_come_back_bit_by_bit(value_n: NDArray[Any]) -> None:
    back_n = unpack(pack(value_n), value_n.dtype, len(value_n))
    assert back_n.dtype == value_n.dtype
    assert back_n.tobytes() == value_n.tobytes()


def test_a_column_with_gaps_in_memory_is_packed_like_any_other() -> None:
    value_nf = np.arange(40, dtype=np.float32).reshape(10, 4)
    assert np.array_equal(unpack(pack(value_nf[:, 1]), np.float32, 10), value_nf[:, 1])


def test_running_numbers_take_few_bytes() -> None:
    assert len(pack(np.arange(1 << 40, (1 << 40) + 100_000))) < 200


@pytest.mark.parametrize("kind", ["i8", "f4", "u1"])
def test_damage_is_told_and_never_another_error(kind: str) -> None:
    value_n = np.random.default_rng(0).integers(0, 100, 300).astype(kind)
    content = pack(value_n)
    for cut in range(0, len(content), 7):
        with pytest.raises(DataError, match="packed numbers are damaged"):
            unpack(content[:cut], kind, len(value_n))
    found = 0
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 0x55
        try:
            assert len(unpack(bytes(flipped), kind, len(value_n))) == len(value_n)
        except DataError:
            found += 1
    assert found > 0
    with pytest.raises(DataError, match="300 in place of 299"):
        unpack(content, kind, 299)


@settings(deadline=None)
@given(hnp.arrays(np.int64, st.integers(0, 50)), st.data())
def test_all_indices_come_back(index_n: IntArray, data: st.DataObject) -> None:
    later_n = data.draw(hnp.arrays(bool, len(index_n)))
    later_n[:1] = False
    assert np.array_equal(unpack_indices(pack_indices(index_n, later_n), later_n), index_n)


@pytest.mark.parametrize("spread", [1 << 8, 1 << 25, 1 << 32], ids=["narrow", "wide", "beyond_32_bits"])
def test_indices_that_fall_in_their_events_take_fewer_bytes_and_others_no_more(spread: int) -> None:
    apart_ej = np.rint(np.random.default_rng(0).normal(0, spread, (5000, 4))).astype(np.int64)
    apart_n, falling_n = apart_ej.ravel(), np.sort(apart_ej, axis=1)[:, ::-1].ravel()
    later_n, alone_n = np.arange(20_000) % 4 > 0, np.zeros(20_000, bool)
    for index_n in (apart_n, falling_n):
        assert np.array_equal(unpack_indices(pack_indices(index_n, later_n), later_n), index_n)
    plain = len(pack(apart_n))
    assert len(pack_indices(apart_n, later_n)) == len(pack_indices(apart_n, alone_n)) <= 1.02 * plain
    assert len(pack_indices(falling_n, alone_n)) <= 1.02 * plain
    # The order of four says log2(4!) bits an event.
    assert len(pack_indices(falling_n, later_n)) < len(pack_indices(falling_n, alone_n)) - 0.5 * np.log2(24) / 8 * 5000


@pytest.mark.parametrize("limit", [1 << bits for bits in (14, 15, 30, 31, 40)])
def test_the_largest_indices_of_a_type_and_their_differences_come_back(limit: int) -> None:
    for index_n in ([-limit, limit - 1] * 10, [-limit - 1, limit] * 10, [0, limit], [limit, -limit] * 10):
        for later_n in (np.arange(len(index_n)) % 2 > 0, np.arange(len(index_n)) > 0):
            assert unpack_indices(pack_indices(np.array(index_n), later_n), later_n).tolist() == index_n


def test_damage_to_indices_is_told_and_never_another_error() -> None:
    index_n, later_n = np.sort(np.random.default_rng(0).integers(0, 1000, 300)), np.arange(300) > 0
    content = pack_indices(index_n, later_n)
    for cut in range(0, len(content), 7):
        with pytest.raises(DataError, match="packed numbers are damaged"):
            unpack_indices(content[:cut], later_n)
    for place in range(5):
        flipped = bytearray(content)
        flipped[place] ^= 0x55
        with pytest.raises(DataError, match="packed numbers are damaged"):
            unpack_indices(bytes(flipped), later_n)
    with pytest.raises(DataError, match="299 in place of 300"):
        unpack_indices(content, np.arange(301) > 0)
