"""Jets beside each other in their events: what differs little from one to the next, above all pt where it falls.

Suffixes: e event, n jet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SEEN = 4096
"""Jets by which it is told whether neighbours are alike."""
ALIKE = 0.8
"""Spread of the differences over that of the variable below which neighbours are alike: 0.3 to 0.6 for the pt of jets in
falling order, 1 and more where one jet does not tell of the next, and where the differences would take more bytes."""


def is_later(count_e: IntArray) -> BoolArray:
    """Tell which jets are not the first of their event."""
    later_n = np.ones(int(count_e.sum()), np.bool_)
    later_n[(np.cumsum(count_e) - count_e)[count_e > 0]] = False
    return later_n


def are_alike(index_n: NDArray[Any], later_n: BoolArray) -> bool:
    """Tell by the first jets whether differences to the jet before are much smaller than what the variable spans."""
    seen_n = index_n[:SEEN].astype(np.float64)
    difference_n = np.diff(seen_n)[later_n[1:SEEN]]
    return len(difference_n) > 1 and _spread(difference_n) < ALIKE * _spread(seen_n)


def _spread(value_n: NDArray[np.float64]) -> float:
    return float(np.abs(value_n - value_n.mean()).mean())


def differences(index_n: IntArray, later_n: BoolArray) -> IntArray:
    """Return each index less that of the jet before in its event; those of first jets as they are."""
    difference_n = index_n.copy()
    difference_n[1:] -= index_n[:-1] * later_n[1:]
    return difference_n


def sums(difference_n: IntArray, later_n: BoolArray) -> IntArray:
    """Return the indices of their ``differences``."""
    index_n = np.cumsum(difference_n)
    first_n = np.flatnonzero(~later_n)
    before_e = index_n[first_n] - difference_n[first_n]
    index_n -= np.repeat(before_e, np.diff(first_n, append=len(index_n)))
    return index_n
