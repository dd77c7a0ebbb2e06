from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.jets.rans import MOST_BITS, MOST_LANES, SYMBOLS_PER_LANE, Decoder, Encoder

IntArray = NDArray[np.int64]
UintArray = NDArray[np.uint64]
Call = tuple[IntArray, IntArray, int]


def tables(chance: np.random.Generator, symbols: int, bits: int) -> IntArray:
    """Return frequencies of some symbols, at least 1 each, very uneven, that add up to 2**bits."""
    free = (1 << bits) - symbols
    return 1 + chance.multinomial(free, chance.dirichlet(np.full(symbols, 0.2)))


def encode(calls: list[Call]) -> bytes:
    encoder = Encoder()
    for symbol_n, frequency_s, bits in calls:
        start_s = np.cumsum(frequency_s) - frequency_s
        encoder.add(start_s[symbol_n], frequency_s[symbol_n], bits)
    return encoder.finish()


def decode(content: bytes, calls: list[Call]) -> list[IntArray]:
    decoder = Decoder(content)

    def take(count: int, frequency_s: IntArray, bits: int) -> IntArray:
        stop_s = np.cumsum(frequency_s)

        def find(_: slice, slot_l: UintArray) -> tuple[IntArray, UintArray, UintArray]:
            symbol_l = np.searchsorted(stop_s, slot_l.astype(np.int64), side="right")
            start_l = (stop_s - frequency_s)[symbol_l]
            return symbol_l, start_l.astype(np.uint64), frequency_s[symbol_l].astype(np.uint64)

        return decoder.take(count, bits, find)

    return [take(len(symbol_n), frequency_s, bits) for symbol_n, frequency_s, bits in calls]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 2, 255, 1000, SYMBOLS_PER_LANE - 1, SYMBOLS_PER_LANE, 3 * SYMBOLS_PER_LANE + 1]),
            st.integers(1, 60),
            st.integers(6, MOST_BITS),
        ),
        max_size=8,
    ),
    st.integers(0, 2**32),
)
def test_any_calls_of_any_lengths_come_back(shapes: list[tuple[int, int, int]], seed: int) -> None:
    chance = np.random.default_rng(seed)
    calls = []
    for count, symbols, bits in shapes:
        frequency_s = tables(chance, symbols, bits)
        calls.append((chance.integers(0, symbols, count), frequency_s, bits))
    for (symbol_n, *_), decoded_n in zip(calls, decode(encode(calls), calls), strict=True):
        assert np.array_equal(decoded_n, symbol_n)


def test_a_certain_symbol_costs_nothing() -> None:
    certain = np.zeros(100_000, np.int64), np.array([1 << MOST_BITS]), MOST_BITS
    assert len(encode([certain])) == 4 + 8 * (1 + 100_000 // SYMBOLS_PER_LANE)
    assert len(encode([])) == 4 + 8


@pytest.mark.parametrize("symbols", [2, 40, 250])
def test_coded_numbers_take_their_entropy_and_a_constant(symbols: int) -> None:
    chance = np.random.default_rng(symbols)
    frequency_s = tables(chance, symbols, 13)
    probability_s = frequency_s / (1 << 13)
    symbol_n = chance.choice(symbols, 200_000, p=probability_s)
    information = -np.log2(probability_s)[symbol_n].sum() / 8
    written = len(encode([(symbol_n, frequency_s, 13)])) - 8 * MOST_LANES
    assert written <= 1.01 * information
    assert written >= 0.99 * information - 8 * MOST_LANES  # what the states hold is not counted


def test_content_that_is_cut_is_found_out() -> None:
    chance = np.random.default_rng(0)
    calls = [(chance.integers(0, 8, 5000), np.full(8, 1 << 10), 13)]
    content = encode(calls)
    for length in (0, 7, 4 + 8 * (1 + 5000 // SYMBOLS_PER_LANE) - 1, len(content) - 4, len(content) - 1):
        with pytest.raises(DataError, match="the coded numbers are cut"):
            decode(content[:length], calls)
