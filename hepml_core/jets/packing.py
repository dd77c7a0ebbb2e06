"""Arrays of numbers as few bytes; the only door to pcodec and zstandard."""

from __future__ import annotations

from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray
from pcodec import ChunkConfig, DeltaSpec, ModeSpec, standalone

from hepml_core.errors import DataError

_CONFIG = ChunkConfig(compression_level=8)
_WHOLE = ChunkConfig(compression_level=8, mode_spec=ModeSpec.classic())
"""For whole numbers: to look for a common factor takes time and finds none in indices."""
_APART = ChunkConfig(compression_level=8, mode_spec=ModeSpec.classic(), delta_spec=DeltaSpec.no_op())
"""For whole numbers whose neighbours do not tell of them: to try their differences takes a fifth of the time."""


def pack(value_n: NDArray[Any], *, alike: bool = True) -> bytes:
    """Return whole or floating-point numbers as bytes, without loss.

    Args:
        value_n: The numbers.
        alike: Whether neighbours may be alike, which makes fewer bytes; else it is not tried for whole numbers.
    """
    if value_n.dtype.kind == "i" and len(value_n) and value_n.dtype.itemsize == 8:
        low, high = int(value_n.min()), int(value_n.max())
        if low >= -(1 << 31) and high < 1 << 31:
            value_n = value_n.astype(np.int32)  # half the work
    if value_n.dtype.itemsize < 2 or value_n.dtype.kind not in "iuf":
        return b"z" + zstandard.compress(value_n.tobytes())
    config = _CONFIG if value_n.dtype.kind == "f" else _WHOLE if alike else _APART
    return b"p" + bytes(standalone.simple_compress(np.ascontiguousarray(value_n), config))


def unpack(content: bytes, dtype: Any, count: int) -> NDArray[Any]:
    """Return the numbers again.

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
    if len(value_n) != count:
        raise DataError(f"packed numbers are damaged: {len(value_n)} in place of {count}")
    return value_n.astype(dtype, copy=False)
