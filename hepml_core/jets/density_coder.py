"""Code jets by a learned density: each variable by its probability given those before it.

The jets of a rank (the first ones of all events, then the second ones, …) are coded together, variable by variable, so
that the decoder knows what the network looks at. Suffixes: e event, n jet, v variable in coding order, k context, t token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepml_core.jets.density import FREQUENCY_BITS, FURTHER_INPUTS, MOST_PLACES, ExactNetwork
from hepml_core.jets.grids import Grid
from hepml_core.jets.packing import pack, unpack
from hepml_core.jets.rans import Decoder, Encoder
from hepml_core.jets.relations import coding_order, first_guess, index_of, residuals
from hepml_core.jets.tokens import FEATURE_STEPS, Bins

IntArray = NDArray[np.int64]
UintArray = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Jets as tokens and places within bins, with what the network sees.

    Attributes:
        token_nv: Tokens.
        residual_nv: Indices less the first guesses.
        input_nd: Inputs of the network: whole numbers of 1/FEATURE_STEPS.
    """

    token_nv: IntArray
    residual_nv: IntArray
    input_nd: NDArray[np.float32]


@dataclass(frozen=True)
class DensityCoder:
    """A density, ready to code.

    Attributes:
        grids: Grid of each variable.
        bins: Bins of each variable's residual indices.
        network: Chooses contexts.
        frequency_vkt: Frequency of each token in each context; unused tokens have 0.
    """

    grids: Mapping[str, Grid]
    bins: Mapping[str, Bins]
    network: ExactNetwork
    frequency_vkt: IntArray

    @cached_property
    def order(self) -> list[str]:
        """The variables in coding order."""
        return coding_order(list(self.grids))

    def encode(self, values: Mapping[str, NDArray[Any]], count_e: IntArray) -> list[bytes]:
        """Return jets as bytes: one part of coded numbers, then for each variable the values that escaped."""
        prepared = prepare(self.grids, self.bins, values, count_e)
        context_vn = self.network.contexts(prepared.input_nd)
        start_vkt = np.cumsum(self.frequency_vkt, axis=2) - self.frequency_vkt
        encoder = Encoder()
        for rank_n in ranks(count_e):
            for number, name in enumerate(self.order):
                token_n, context_n = prepared.token_nv[rank_n, number], context_vn[number][rank_n]
                frequency_n = self.frequency_vkt[number, context_n, token_n]
                encoder.add(start_vkt[number, context_n, token_n], frequency_n, FREQUENCY_BITS)
                self.bins[name].encode_places(prepared.residual_nv[rank_n, number], token_n, encoder)
        escaped = [
            values[name][prepared.token_nv[:, number] == self.bins[name].escape]
            for number, name in enumerate(self.order)
        ]
        return [encoder.finish(), *(pack(value_n) for value_n in escaped)]

    def decode(
        self, parts: Sequence[bytes], count_e: IntArray, dtypes: Mapping[str, np.dtype[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Return the jets of what ``encode`` returned.

        Raises:
            DataError: The content is damaged.
        """
        count, variables = int(count_e.sum()), len(self.order)
        decoder = Decoder(parts[0])
        # All in the order of decoding, in which what is worked on at once are neighbours.
        order_n = np.concatenate([np.empty(0, np.int64), *ranks(count_e)])
        input_nd = self.network.arranged(_places(count_e, variables)[order_n])
        known = {name: np.empty(count, np.int64) for name in self.order}
        escaped = {name: np.empty(count, np.bool_) for name in self.order}
        first, before_n, before_nd = 0, order_n[:0], input_nd[:0]
        for rank_n in ranks(count_e):
            some = slice(first, first + len(rank_n))
            seen_nd = input_nd[some]
            if first:
                seen_nd[:, :variables] = before_nd[np.searchsorted(before_n, rank_n - 1), -variables:]
            own: dict[str, IntArray] = {}
            for number, name in enumerate(self.order):
                bins = self.bins[name]
                token_n = self._decode_tokens(number, self.network.contexts_of(number, seen_nd), decoder)
                residual_n = bins.decode_places(token_n, decoder)
                index_n = index_of(name, self.grids[name], residual_n, first_guess(name, self.grids, own))
                escaped_n = token_n == bins.escape
                own[name] = np.where(escaped_n, 0, index_n)
                seen_nd[:, number - variables] = torch.from_numpy(bins.feature(residual_n, token_n))
                known[name][some], escaped[name][some] = own[name], escaped_n
            first, before_n, before_nd = some.stop, rank_n, seen_nd
        values = {name: np.empty(count, dtypes[name]) for name in self.grids}
        for name, part in zip(self.order, parts[1:], strict=True):
            values[name][order_n] = self.grids[name].to_value(known[name], dtypes[name])
            place_n = np.sort(order_n[escaped[name]])
            values[name][place_n] = unpack(part, dtypes[name], len(place_n))
        return values

    def bits(self, values: Mapping[str, NDArray[Any]], count_e: IntArray) -> dict[str, float]:
        """Return the mean number of bits of each variable; an escaped value counts as all bits of its type."""
        prepared = prepare(self.grids, self.bins, values, count_e)
        context_vn = self.network.contexts(prepared.input_nd)
        bits = {}
        for number, name in enumerate(self.order):
            token_n = prepared.token_nv[:, number]
            frequency_n = self.frequency_vkt[number, context_vn[number], token_n]
            escaped = np.count_nonzero(token_n == self.bins[name].escape) * values[name].dtype.itemsize * 8
            coded = FREQUENCY_BITS - np.log2(frequency_n) + self.bins[name].bits_inside(token_n)
            bits[name] = float((coded.sum() + escaped) / max(1, len(token_n)))
        return bits

    def _decode_tokens(self, number: int, context_n: IntArray, decoder: Decoder) -> IntArray:
        token_ks, start_kt, frequency_kt = self._tables[number]
        first_slot_n, first_cell_n = context_n * token_ks.shape[1], context_n * start_kt.shape[1]

        def find(some: slice, slot_l: UintArray) -> tuple[NDArray[np.integer], UintArray, UintArray]:
            token_l = token_ks.take(first_slot_n[some] + slot_l.view(np.int64))
            cell_l = first_cell_n[some] + token_l
            return token_l, start_kt.take(cell_l), frequency_kt.take(cell_l)

        return decoder.take(len(context_n), FREQUENCY_BITS, find)

    @cached_property
    def _tables(self) -> list[tuple[NDArray[np.unsignedinteger], UintArray, UintArray]]:
        """For each variable: the token of each context and slot, and the start and frequency of each token."""
        tables = []
        for frequency_kt in self.frequency_vkt:
            tokens = np.arange(frequency_kt.shape[1], dtype=np.min_scalar_type(frequency_kt.shape[1]))
            table_ks = np.stack([np.repeat(tokens, frequency_t) for frequency_t in frequency_kt])
            start_kt = np.cumsum(frequency_kt, axis=1) - frequency_kt
            tables.append((table_ks, start_kt.astype(np.uint64), frequency_kt.astype(np.uint64)))
        return tables


def prepare(
    grids: Mapping[str, Grid], bins: Mapping[str, Bins], values: Mapping[str, NDArray[Any]], count_e: IntArray
) -> Prepared:
    """Turn values into tokens; what the grid, the bins or another machine would not give back within bounds escapes."""
    order = coding_order(list(grids))
    count, variables = int(count_e.sum()), len(order)
    token_nv, residual_nv = np.empty((2, count, variables), np.int64)
    input_nd = _places(count_e, variables)
    known: dict[str, IntArray] = {}
    for number, (name, residual_n, index_n, sure_n) in enumerate(residuals(grids, values, known)):
        token_n = bins[name].to_token(residual_n, sure_n)
        known[name] = np.where(token_n == bins[name].escape, 0, index_n)
        token_nv[:, number], residual_nv[:, number] = token_n, residual_n
        input_nd[:, number] = bins[name].feature(residual_n, token_n)
    later_n = np.flatnonzero(_position(count_e))
    input_nd[later_n, variables : 2 * variables] = input_nd[later_n - 1, :variables]
    return Prepared(token_nv, residual_nv, input_nd)


def ranks(count_e: IntArray) -> Iterator[IntArray]:
    """Yield the jets that are the first of their events, then the second ones, and so on."""
    first_e = np.cumsum(count_e) - count_e
    for rank in range(int(count_e.max(initial=0))):
        yield first_e[count_e > rank] + rank


def _position(count_e: IntArray) -> IntArray:
    first_e = np.cumsum(count_e) - count_e
    return np.arange(int(count_e.sum())) - np.repeat(first_e, count_e)


def _places(count_e: IntArray, variables: int) -> NDArray[np.float32]:
    """Return inputs that hold nothing yet but the places of the jets in their events."""
    input_nd = np.zeros((int(count_e.sum()), 2 * variables + FURTHER_INPUTS), np.float32)
    step = 2 * FEATURE_STEPS // (MOST_PLACES + 1)
    position_n = _position(count_e)
    input_nd[:, -3] = np.minimum(position_n, MOST_PLACES) * step - FEATURE_STEPS
    input_nd[:, -2] = np.where(position_n == 0, FEATURE_STEPS, 0)
    input_nd[:, -1] = np.repeat(np.minimum(count_e, MOST_PLACES) * step - FEATURE_STEPS, count_e)
    return input_nd
