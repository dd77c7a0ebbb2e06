"""Indices of a grid as tokens: bins of equal probability, and the place within the bin.

A token is coded by its probability, the place within its bin as equally likely; so a bin is narrow where values are many,
and a value that stands very often has a bin of its own. The last token is an escape: the index itself is stored.
Suffixes: n value, t token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepml_core.jets.rans import Decoder, Encoder

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TAILS = (1e-5, 1e-4, 1e-3, 4e-3)
"""Probabilities in the tails where bins end, besides those of equal probability."""
PLACE_BITS = 10
"""Bits of a place that share the coder's precision; those of wider bins below them are coded as they are."""
UNIFORM_BITS = 16
FEATURE_STEPS = 128
"""Steps from the middle of the distribution to either end, as the network sees a value."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins of the indices of one variable.

    Attributes:
        edge_t: Edges, rising; bin t holds indices from edge t up to, not including, edge t+1.
    """

    edge_t: IntArray

    @property
    def tokens(self) -> int:
        """Number of tokens, the escape included."""
        return len(self.edge_t)

    @property
    def escape(self) -> int:
        """The token of a value that no bin holds."""
        return len(self.edge_t) - 1

    def to_token(self, index_n: IntArray) -> IntArray:
        """Return the token of each index."""
        low, span = int(self.edge_t[0]), int(self.edge_t[-1] - self.edge_t[0])
        token_n: IntArray
        if span <= len(index_n):
            # A table of all indices, with an escape on either side, takes a tenth of the time of a search.
            token_i = np.pad(np.repeat(np.arange(self.escape), np.diff(self.edge_t)), 1, constant_values=self.escape)
            token_n = token_i.take(np.clip(index_n, low - 1, low + span) - (low - 1))
        else:
            token_n = np.searchsorted(self.edge_t, index_n, side="right") - 1
            token_n[token_n < 0] = self.escape
        return token_n

    def feature(self, index_n: IntArray, token_n: IntArray) -> IntArray:
        """Return where each index stands in its distribution: whole numbers from -FEATURE_STEPS to FEATURE_STEPS.

        Computed in whole numbers, so that every machine gets the same.
        """
        bin_n = np.minimum(token_n, self.escape - 1)
        bin_n[index_n < self.edge_t[0]] = 0
        low_n = self.edge_t[bin_n]
        width_n = self.edge_t[bin_n + 1] - low_n
        inside_n = 16 * (np.clip(index_n, low_n, low_n + width_n - 1) - low_n) // width_n
        feature_n: IntArray = (16 * bin_n + inside_n) * (2 * FEATURE_STEPS) // (16 * self.escape) - FEATURE_STEPS
        return feature_n

    def bits_inside(self, token_n: IntArray) -> NDArray[np.float64]:
        """Return the bits that places within the bins of tokens take."""
        width_t = np.append(np.diff(self.edge_t), 1)
        width_n: NDArray[np.float64] = np.log2(width_t.astype(np.float64))[token_n]
        return width_n

    def encode_places(self, index_n: IntArray, token_n: IntArray, encoder: Encoder) -> None:
        """Code the places within the bins."""
        low_t, raw_t, frequency_t = self._uniform()
        wide_n = frequency_t[token_n] < 1 << UNIFORM_BITS
        token_n, place_n = token_n[wide_n], index_n[wide_n] - low_t[token_n[wide_n]]
        raw_n, frequency_n = raw_t[token_n], frequency_t[token_n]
        encoder.add((place_n >> raw_n) * frequency_n, frequency_n, UNIFORM_BITS)
        for bits in range(int(raw_t.max()), 0, -UNIFORM_BITS):
            _add_raw(place_n, raw_n, bits, encoder)

    def decode_places(self, token_n: IntArray, decoder: Decoder) -> IntArray:
        """Return the indices of tokens, 0 for the escape; the inverse of ``encode_places``."""
        low_t, raw_t, frequency_t = self._uniform()
        index_n = low_t[token_n]
        wide_n = np.flatnonzero(frequency_t[token_n] < 1 << UNIFORM_BITS)
        raw_n, frequency_n = raw_t[token_n[wide_n]], frequency_t[token_n[wide_n]]
        unsigned_n = frequency_n.astype(np.uint64)

        def find(some: slice, slot_l: NDArray[np.uint64]) -> tuple[IntArray, NDArray[np.uint64], NDArray[np.uint64]]:
            place_l = slot_l // unsigned_n[some]
            return place_l.astype(np.int64), place_l * unsigned_n[some], unsigned_n[some]

        place_n = decoder.take(len(wide_n), UNIFORM_BITS, find) << raw_n
        for bits in range(int(raw_t.max()), 0, -UNIFORM_BITS):
            _take_raw(place_n, raw_n, bits, decoder)
        index_n[wide_n] += place_n
        return index_n

    def _uniform(self) -> tuple[IntArray, IntArray, IntArray]:
        """Return for each token the first index, the bits that are coded raw, and the frequency of each place above them."""
        width_t = np.append(np.diff(self.edge_t), 1)
        raw_t = np.maximum(0, np.ceil(np.log2(width_t)).astype(np.int64) - PLACE_BITS)
        frequency_t = (1 << UNIFORM_BITS) // -(-width_t >> raw_t)
        return np.append(self.edge_t[:-1], 0), raw_t, frequency_t


@dataclass(frozen=True, slots=True)
class Alphabet:
    """How the indices of a variable are written.

    Attributes:
        own: Bins of the indices, which are what the network sees of all jets.
        later: Bins of the differences to the jet before in the event, as which all but first jets are written; None: all
            are written by their own bins.
    """

    own: Bins
    later: Bins | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens, the escape included."""
        return max(bins.tokens for bins in (self.own, self.later) if bins)

    def of_rank(self, rank: int) -> Bins:
        """Return the bins of what the jets of a rank are written as; 0 is the first jet of an event."""
        return self.later if self.later and rank else self.own


def choose_bins(index_n: IntArray, tokens: int) -> Bins:
    """Choose bins of about equal probability for a sample; values that are frequent get bins of their own.

    Args:
        index_n: Indices of a sample, at least one.
        tokens: Number of bins to aim at, without those in the tails and of frequent values.
    """
    sorted_n = np.sort(index_n)
    shares = np.unique(np.concatenate([np.linspace(0, 1, tokens + 1), TAILS, 1 - np.array(TAILS)]))
    quantiles = sorted_n[np.minimum((shares * len(sorted_n)).astype(np.int64), len(sorted_n) - 1)]
    values, counts = np.unique(sorted_n, return_counts=True)
    # At most as many as there are bins, so that a token fits a byte.
    frequent = values[(counts > len(sorted_n) / (2 * tokens)) & (counts >= np.sort(counts)[-tokens:][0])][:tokens]
    spread = max(1, int(sorted_n[-1] - sorted_n[0]) // 8)
    ends = [sorted_n[0] - spread, sorted_n[0], sorted_n[-1] + 1, sorted_n[-1] + 1 + spread]
    return Bins(np.unique(np.concatenate([quantiles, frequent, frequent + 1, ends])))


def _add_raw(place_n: IntArray, raw_n: IntArray, bits: int, encoder: Encoder) -> None:
    """Code the bits from ``bits - 1`` down to ``bits - UNIFORM_BITS`` of the places that have them."""
    some_n, low, take = _raw_part(raw_n, bits)
    part_n = (place_n[some_n] >> low) & ((1 << take[some_n]) - 1)
    frequency_n = 1 << (UNIFORM_BITS - take[some_n])
    encoder.add(part_n * frequency_n, frequency_n, UNIFORM_BITS)


def _take_raw(place_n: IntArray, raw_n: IntArray, bits: int, decoder: Decoder) -> None:
    some_n, low, take = _raw_part(raw_n, bits)
    frequency_n = (1 << (UNIFORM_BITS - take[some_n])).astype(np.uint64)

    def find(some: slice, slot_l: NDArray[np.uint64]) -> tuple[IntArray, NDArray[np.uint64], NDArray[np.uint64]]:
        part_l = slot_l // frequency_n[some]
        return part_l.astype(np.int64), part_l * frequency_n[some], frequency_n[some]

    place_n[some_n] |= decoder.take(int(np.count_nonzero(some_n)), UNIFORM_BITS, find) << low


def _raw_part(raw_n: IntArray, bits: int) -> tuple[BoolArray, int, IntArray]:
    """Return which places have raw bits below ``bits``, the lowest bit of this part, and how many bits each has in it."""
    low = max(0, bits - UNIFORM_BITS)
    take_n = np.clip(raw_n - low, 0, bits - low)
    return take_n > 0, low, take_n
