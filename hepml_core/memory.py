"""Memory that is used again, where the system's habit of clearing it anew costs time."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
"""Parameters of glibc's mallopt."""
_LARGE = 32 << 20
"""Of what is larger, glibc gives the memory back: its threshold rises up to this by itself, until one is set."""


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let the C library keep what is freed, until the end.

    Else it gives each large array back to the system, which clears the memory of the next one: a tenth of a step of 3-D
    convolutions, a sixth of coding jets. Only glibc can be told so; others do as they do. Not to be nested: the end of one
    is the end of all.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(_M_MMAP_MAX, 0)
    library.mallopt(_M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        library.mallopt(_M_MMAP_MAX, 65536)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE)
        library.malloc_trim(0)
