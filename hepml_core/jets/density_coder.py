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

from hepml_core.errors import DataError
from hepml_core.jets.codecs import pack_exceptions, unpack_exceptions
from hepml_core.jets.density import FREQUENCY_BITS, FURTHER_INPUTS, MOST_PLACES, ExactNetwork
from hepml_core.jets.grids import Grid
from hepml_core.jets.neighbours import differences, is_later
from hepml_core.jets.packing import pack, unpack
from hepml_core.jets.rans import Decoder, Encoder
from hepml_core.jets.relations import coding_order, first_guess, index_of, residuals
from hepml_core.jets.tokens import FEATURE_STEPS, Alphabet

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
UintArray = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Jets as tokens and places within bins, with what the network sees.

    Attributes:
        token_vn: Tokens.
        written_vn: What they stand for: residual indices, or their differences to the jet before.
        escaped_vn: Which of these no bin holds.
        bad_vn: Which values an index cannot give back within their bounds; their residual index is 0.
        input_nd: A one, and the inputs of the network: whole numbers of 1/FEATURE_STEPS.
    """

    token_vn: IntArray
    written_vn: IntArray
    escaped_vn: BoolArray
    bad_vn: BoolArray
    input_nd: NDArray[np.float32]


@dataclass(frozen=True)
class DensityCoder:
    """A density, ready to code.

    Attributes:
        grids: Grid of each variable.
        alphabets: How each variable's residual indices are written.
        network: Chooses contexts.
        frequency_vkt: Frequency of each token in each context; unused tokens have 0.
    """

    grids: Mapping[str, Grid]
    alphabets: Mapping[str, Alphabet]
    network: ExactNetwork
    frequency_vkt: IntArray

    @cached_property
    def order(self) -> list[str]:
        """The variables in coding order."""
        return coding_order(list(self.grids))

    def encode(self, values: Mapping[str, NDArray[Any]], count_e: IntArray) -> list[bytes]:
        """Return jets as bytes: one part of coded numbers, then for each variable what escaped, and exceptions."""
        made = prepare(self.grids, self.alphabets, values, count_e)
        context_vn = self.network.contexts(made.input_nd)
        start_vkt = np.cumsum(self.frequency_vkt, axis=2) - self.frequency_vkt
        encoder = Encoder()
        for rank, rank_n in enumerate(ranks(count_e)):
            for number, name in enumerate(self.order):
                token_n, context_n = made.token_vn[number][rank_n], context_vn[number][rank_n]
                frequency_n = self.frequency_vkt[number, context_n, token_n]
                encoder.add(start_vkt[number, context_n, token_n], frequency_n, FREQUENCY_BITS)
                self.alphabets[name].of_rank(rank).encode_places(made.written_vn[number][rank_n], token_n, encoder)
        parts, order_n = [encoder.finish()], _order_of_decoding(count_e)
        for number, name in enumerate(self.order):
            escaped_n = order_n[made.escaped_vn[number][order_n]]
            parts += [pack(made.written_vn[number][escaped_n]), pack_exceptions(values[name], made.bad_vn[number])]
        return parts

    def decode(
        self, parts: Sequence[bytes], count_e: IntArray, dtypes: Mapping[str, np.dtype[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Return the jets of what ``encode`` returned.

        Raises:
            DataError: The content is damaged.
        """
        count, variables = int(count_e.sum()), len(self.order)
        decoder, order_n = Decoder(parts[0]), _order_of_decoding(count_e)
        values = {name: np.empty(count, dtypes[name]) for name in self.grids}
        columns = [
            _Column.of(name, content, exceptions, values[name], order_n)
            for name, content, exceptions in zip(self.order, parts[1::2], parts[2::2], strict=True)
        ]
        # All in the order of decoding, in which what is worked on at once are neighbours.
        input_nd = torch.from_numpy(_places(count_e, variables)[order_n]).double()
        some, seen_nd, before_n = slice(0, 0), input_nd[:0], order_n[:0]
        for rank, rank_n in enumerate(ranks(count_e)):
            # Of the jets of the rank before, those that have one after them.
            before_l = some.start + np.searchsorted(before_n, rank_n - 1)
            some = slice(some.stop, some.stop + len(rank_n))
            seen_nd = input_nd[some]
            if rank:
                seen_nd[:, 1 : 1 + variables] = input_nd[before_l, -variables:]
            own: dict[str, IntArray] = {}
            for number, column in enumerate(columns):
                name, alphabet = column.name, self.alphabets[column.name]
                bins = alphabet.of_rank(rank)
                token_n = self._decode_tokens(number, self.network.contexts_of(number, seen_nd), decoder)
                if token_n.max(initial=0) > bins.escape:
                    raise DataError("the coded numbers are damaged: a token that there is not")
                residual_n = bins.decode_places(token_n, decoder)
                column.fill(residual_n, token_n == bins.escape)
                if bins is not alphabet.own:
                    residual_n += column.residual_n[before_l]
                    token_n = alphabet.own.to_token(residual_n)
                index_n = index_of(name, self.grids[name], residual_n, first_guess(name, self.grids, own))
                own[name] = np.where(column.bad_n[some], 0, index_n)
                seen_nd[:, number - variables] = torch.from_numpy(alphabet.own.feature(residual_n, token_n))
                column.residual_n[some], column.index_n[some] = residual_n, index_n
            before_n = rank_n
        for column in columns:
            if len(column.escaped_n):
                raise DataError(
                    f"the coded numbers are damaged: {len(column.escaped_n)} of {column.name} are left over"
                )
            kept_n = ~column.bad_n
            value_n = self.grids[column.name].to_value(column.index_n, dtypes[column.name])
            values[column.name][order_n[kept_n]] = value_n[kept_n]
        return values

    def bits(self, values: Mapping[str, NDArray[Any]], count_e: IntArray) -> dict[str, float]:
        """Return the mean number of bits of each variable; what escaped and exceptions count as all bits of their type."""
        made = prepare(self.grids, self.alphabets, values, count_e)
        context_vn = self.network.contexts(made.input_nd)
        later_n = is_later(count_e)
        bits = {}
        for number, name in enumerate(self.order):
            token_n, alphabet = made.token_vn[number], self.alphabets[name]
            frequency_n = self.frequency_vkt[number, context_vn[number], token_n]
            stored_n = made.escaped_vn[number] | made.bad_vn[number]
            total = np.count_nonzero(stored_n) * values[name].dtype.itemsize * 8
            total += (FREQUENCY_BITS - np.log2(frequency_n)).sum()
            for rank, some_n in enumerate((~later_n, later_n)):
                total += alphabet.of_rank(rank).bits_inside(token_n[some_n]).sum()
            bits[name] = float(total / max(1, len(token_n)))
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


@dataclass(slots=True)
class _Column:
    """A variable while it is decoded, in the order of decoding.

    Attributes:
        name: The variable.
        escaped_n: Escaped numbers that are still to come.
        bad_n: Which values are exceptions.
        residual_n: Residual indices, as far as they are known.
        index_n: Indices.
    """

    name: str
    escaped_n: IntArray
    bad_n: BoolArray
    residual_n: IntArray
    index_n: IntArray

    @classmethod
    def of(cls, name: str, content: bytes, exceptions: bytes, value_n: NDArray[Any], order_n: IntArray) -> _Column:
        """Start with what escaped and exceptions; the values of these are put into their places."""
        bad_n = np.zeros(len(order_n), np.bool_)
        bad_n[unpack_exceptions(exceptions, value_n)] = True
        residual_n, index_n = np.empty((2, len(order_n)), np.int64)
        return cls(name, unpack(content, np.int64, None), bad_n[order_n], residual_n, index_n)

    def fill(self, written_n: IntArray, escaped_n: BoolArray) -> None:
        """Put the next escaped numbers into their places."""
        (place_n,) = escaped_n.nonzero()
        if len(place_n) > len(self.escaped_n):
            raise DataError(f"the escaped numbers of {self.name} are cut")
        written_n[place_n] = self.escaped_n[: len(place_n)]
        self.escaped_n = self.escaped_n[len(place_n) :]


def prepare(
    grids: Mapping[str, Grid], alphabets: Mapping[str, Alphabet], values: Mapping[str, NDArray[Any]], count_e: IntArray
) -> Prepared:
    """Turn values into tokens; what the grid, or another machine, would not give back within bounds is an exception."""
    order = coding_order(list(grids))
    count, variables = int(count_e.sum()), len(order)
    token_vn, written_vn = np.empty((2, variables, count), np.int64)
    escaped_vn, bad_vn = np.empty((2, variables, count), np.bool_)
    input_nd = _places(count_e, variables)
    later_n = is_later(count_e)
    known: dict[str, IntArray] = {}
    for number, (name, residual_n, index_n, good_n) in enumerate(residuals(grids, values, known)):
        own, later = alphabets[name].own, alphabets[name].later
        residual_n, known[name] = np.where(good_n, residual_n, 0), np.where(good_n, index_n, 0)
        token_n, written_n = own.to_token(residual_n), residual_n
        escaped_n = token_n == own.escape
        input_nd[:, number - variables] = own.feature(residual_n, token_n)
        if later:
            written_n = differences(residual_n, later_n)
            token_n[later_n] = later_token_n = later.to_token(written_n[later_n])
            escaped_n[later_n] = later_token_n == later.escape
        token_vn[number], written_vn[number] = token_n, written_n
        escaped_vn[number], bad_vn[number] = escaped_n, ~good_n
    (place_n,) = later_n.nonzero()
    input_nd[place_n, 1 : 1 + variables] = input_nd[place_n - 1, -variables:]
    return Prepared(token_vn, written_vn, escaped_vn, bad_vn, input_nd)


def ranks(count_e: IntArray) -> Iterator[IntArray]:
    """Yield the jets that are the first of their events, then the second ones, and so on."""
    first_e = np.cumsum(count_e) - count_e
    for rank in range(int(count_e.max(initial=0))):
        yield first_e[count_e > rank] + rank


def _order_of_decoding(count_e: IntArray) -> IntArray:
    """Return the jets rank by rank."""
    return np.concatenate([np.empty(0, np.int64), *ranks(count_e)])


def _position(count_e: IntArray) -> IntArray:
    first_e = np.cumsum(count_e) - count_e
    return np.arange(int(count_e.sum())) - np.repeat(first_e, count_e)


def _places(count_e: IntArray, variables: int) -> NDArray[np.float32]:
    """Return inputs that hold nothing yet but the places of the jets in their events."""
    input_nd = np.zeros((int(count_e.sum()), 1 + 2 * variables + FURTHER_INPUTS), np.float32)
    further_nd = input_nd[:, 1 + variables :]
    step = 2 * FEATURE_STEPS // (MOST_PLACES + 1)
    position_n = _position(count_e)
    input_nd[:, 0] = 1
    further_nd[:, 0] = np.minimum(position_n, MOST_PLACES) * step - FEATURE_STEPS
    further_nd[:, 1] = np.where(position_n == 0, FEATURE_STEPS, 0)
    further_nd[:, 2] = np.repeat(np.minimum(count_e, MOST_PLACES) * step - FEATURE_STEPS, count_e)
    return input_nd
