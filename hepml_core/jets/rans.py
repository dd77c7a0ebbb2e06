"""Entropy coding: a range asymmetric numeral system (Duda, arXiv:1311.2540) in many lanes, vectorized.

A symbol is an interval ``[start, start + frequency)`` of ``2**bits``. Of L lanes, lane i codes symbols i, i + L, … of each
call; each costs eight bytes, so there are as many as the symbols are worth. What was coded last is decoded first, so the
encoder takes the calls of the decoder in reverse; ``Encoder`` collects them and does so itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hepml_core.errors import DataError

UintArray = NDArray[np.uint64]

MOST_LANES = 512
SYMBOLS_PER_LANE = 2048
_LOW = np.uint64(1 << 31)
"""A state lies in [2**31, 2**63) between symbols; 32-bit words go in and out."""
_WORD = np.uint64(32)
MOST_BITS = 16


class Encoder:
    """Collects symbols in the order in which the decoder will ask for them."""

    def __init__(self) -> None:
        self._calls: list[tuple[UintArray, UintArray, int]] = []

    def add(self, start_n: NDArray[np.integer], frequency_n: NDArray[np.integer], bits: int) -> None:
        """Add a symbol for each of some values, with probability ``frequency / 2**bits``."""
        self._calls.append((start_n.astype(np.uint64), frequency_n.astype(np.uint64), bits))

    def finish(self) -> bytes:
        """Return all symbols as bytes."""
        lanes = min(MOST_LANES, 1 + sum(len(start_n) for start_n, _, _ in self._calls) // SYMBOLS_PER_LANE)
        state_l = np.full(lanes, _LOW, np.uint64)
        words: list[NDArray[np.uint32]] = []
        for start_n, frequency_n, bits in reversed(self._calls):
            shift, limit = np.uint64(bits), np.uint64(63 - bits)
            for first in range((len(start_n) - 1) // lanes * lanes, -1, -lanes):
                start_l, frequency_l = start_n[first : first + lanes], frequency_n[first : first + lanes]
                own_l = state_l[: len(start_l)]
                full_l = own_l >> limit >= frequency_l
                words.append(own_l[full_l].astype(np.uint32))
                own_l[full_l] >>= _WORD
                quotient_l, rest_l = np.divmod(own_l, frequency_l)
                quotient_l <<= shift
                np.add(quotient_l, rest_l, out=own_l)
                own_l += start_l
        words.reverse()
        return np.concatenate([np.array([lanes]), state_l.view(np.uint32), *words]).astype("<u4").tobytes()


class Decoder:
    """Gives back, call by call, what an ``Encoder`` collected."""

    def __init__(self, content: bytes) -> None:
        """Start reading.

        Raises:
            DataError: The content is too short.
        """
        words = np.frombuffer(content[: len(content) // 4 * 4], "<u4").astype(np.uint32)
        end = 1 + 2 * int(words[0]) if len(words) else 0
        if not 1 < end <= min(len(words), 1 + 2 * MOST_LANES):
            raise DataError("the coded numbers are cut")
        self._state_l = words[1:end].copy().view(np.uint64)
        self._words, self._next = words[end:].astype(np.uint64), 0

    def take(
        self,
        count: int,
        bits: int,
        find: Callable[[slice, UintArray], tuple[NDArray[np.integer], UintArray, UintArray]],
    ) -> NDArray[np.int64]:
        """Return ``count`` symbols.

        Args:
            count: How many.
            bits: As in ``Encoder.add``.
            find: For some of the values and a number below ``2**bits`` for each, returns the symbols whose intervals
                hold them, with start and frequency.

        Raises:
            DataError: The content ends too early.
        """
        symbol_n = np.empty(count, np.int64)
        shift, mask = np.uint64(bits), np.uint64((1 << bits) - 1)
        lanes = len(self._state_l)
        for first in range(0, count, lanes):
            some = slice(first, min(first + lanes, count))
            own_l = self._state_l[: some.stop - first]
            slot_l = own_l & mask
            symbol_n[some], start_l, frequency_l = find(some, slot_l)
            own_l >>= shift
            own_l *= frequency_l
            own_l += slot_l
            own_l -= start_l
            (empty,) = (own_l < _LOW).nonzero()
            fresh = self._words[self._next : self._next + len(empty)]
            if len(fresh) < len(empty):
                raise DataError("the coded numbers are cut")
            own_l[empty] = (own_l[empty] << _WORD) | fresh
            self._next += len(empty)
        return symbol_n
