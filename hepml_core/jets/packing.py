"""Arrays of numbers as few bytes; the only door to pcodec and zstandard."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray
from pcodec import ChunkConfig, DeltaSpec, ModeSpec, standalone

from hepml_core.errors import DataError
from hepml_core.jets.neighbours import are_alike, sums

_CONFIG = ChunkConfig(compression_level=8)
_OF_INDICES = ChunkConfig(compression_level=7, mode_spec=ModeSpec.classic(), delta_spec=DeltaSpec.no_op())
"""To look for a common factor, and to try differences, takes as long again and finds nothing in indices; the next level
takes a quarter more time, and 0.2 % fewer bytes."""
_APART, _DIFFERENCES = b"a", b"d"
_LENGTH = struct.Struct("<I")


def pack(value_n: NDArray[Any]) -> bytes:
    """Return whole or floating-point numbers as bytes, without loss."""
    if value_n.dtype.itemsize < 2 or value_n.dtype.kind not in "iuf":
        return b"z" + zstandard.compress(value_n.tobytes())
    return _compress(_narrow(value_n), _CONFIG)


def pack_indices(index_n: NDArray[np.int64], later_n: NDArray[np.bool_]) -> bytes:
    """Return the indices of jets as bytes, without loss: where neighbours in events are alike, by their differences.

    Args:
        index_n: Indices.
        later_n: Which jets are not the first of their event.
    """
    own_n = _narrow(index_n)
    if not are_alike(own_n, later_n):
        return _APART + _compress(own_n, _OF_INDICES)
    first = _compress(own_n[~later_n], _OF_INDICES)
    return _DIFFERENCES + _LENGTH.pack(len(first)) + first + _compress(np.diff(own_n)[later_n[1:]], _OF_INDICES)


def unpack_indices(content: bytes, later_n: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the indices again.

    Raises:
        DataError: The content is damaged, or holds another number of jets.
    """
    kind, count = content[:1], len(later_n)
    if kind == _APART:
        return unpack(content[1:], np.int64, count)
    if kind != _DIFFERENCES or len(content) < 1 + _LENGTH.size:
        raise DataError(f"packed numbers are damaged: they begin with {kind!r}")
    start = 1 + _LENGTH.size
    middle = start + _LENGTH.unpack_from(content, 1)[0]
    difference_n = np.empty(count, np.int64)
    later = int(np.count_nonzero(later_n))
    difference_n[~later_n] = unpack(content[start:middle], np.int64, count - later)
    difference_n[later_n] = unpack(content[middle:], np.int64, later)
    return sums(difference_n, later_n)


def _narrow(value_n: NDArray[Any]) -> NDArray[Any]:
    """Return numbers of 64 bits as ones of fewer if these hold them and their differences: less work and fewer bytes."""
    if value_n.dtype.kind == "i" and len(value_n) and value_n.dtype.itemsize == 8:
        low, high = int(value_n.min()), int(value_n.max())
        for bits, dtype in ((16, np.int16), (32, np.int32)):
            if -(1 << bits - 2) <= low <= high < 1 << bits - 2:
                return value_n.astype(dtype)
    return value_n


def _compress(value_n: NDArray[Any], config: ChunkConfig) -> bytes:
    return b"p" + bytes(standalone.simple_compress(np.ascontiguousarray(value_n), config))


def unpack(content: bytes, dtype: Any, count: int | None) -> NDArray[Any]:
    """Return the numbers again.

    Args:
        content: What ``pack`` made.
        dtype: Type of the numbers.
        count: How many there are; None takes as many as come.

    Raises:
        DataError: The content is damaged, or holds another count of numbers.
    """
    try:
        if content[:1] == b"z":
            value_n = np.frombuffer(zstandard.decompress(content[1:]), dtype)
        else:
            found = standalone.simple_decompress(content[1:])
            value_n = np.empty(0, dtype) if found is None else np.asarray(found)
    except Exception as error:
        # pcodec raises RuntimeError, zstandard an error of its own.
        raise DataError(f"packed numbers are damaged: {error}") from error
    if count is not None and len(value_n) != count:
        raise DataError(f"packed numbers are damaged: {len(value_n)} in place of {count}")
    return value_n.astype(dtype, copy=False)
