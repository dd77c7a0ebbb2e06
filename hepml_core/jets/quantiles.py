"""Quantile mapping: a variable to a flat or normal distribution, by the order of a sample of it.

The sorted sample of N values stands for the quantiles i/(N + 1); between neighbours the map is a line. A value that
occurs k times in the sample owns its k quantiles: it goes to the middle of them, and whatever lies between them comes
back as exactly this value. So a map of whole numbers, or of zeros for objects that are not there, has an exact inverse
and bears the noise of a network.

A float32 holds a scaled value y to |y| 2**-24, and neighbours of the sample stand about 2/N apart: of a sample of 10**6,
a value between two neighbours is lost to a 30th of their distance, of 10**4 to a 3000th. That is far below 1e-6 of the
value where the sample is dense, and above it in thin tails and for what stands between frequent values.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Target = Literal["uniform", "gauss"]

TAIL = 100
"""Beyond its ends the map goes on as steep as it is on average over this part of the sample at that end."""


@dataclass(frozen=True, slots=True, eq=False)
class Quantile:
    """Maps values to the quantiles of a target distribution.

    Attributes:
        sample_i: The fit sample, sorted, with all its ties.
        target: ``uniform`` between -1 and 1, or ``gauss`` with mean 0 and spread 1.
    """

    sample_i: FloatArray
    target: Target
    _target_i: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.sample_i) < 2 or not np.isfinite(self.sample_i).all() or (np.diff(self.sample_i) < 0).any():
            raise ValueError("a quantile map needs two or more finite values in their order")
        object.__setattr__(self, "_target_i", _quantiles_of(self.target, len(self.sample_i)))

    def forward(self, value_n: FloatArray) -> FloatArray:
        """Return scaled values (n,) of values (n,)."""
        return _in_order(self._forward, value_n)

    def inverse(self, scaled_n: FloatArray) -> FloatArray:
        """Return values (n,) of scaled values (n,)."""
        return _in_order(self._inverse, scaled_n)

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as plain JSON values; the sample as float32, which it was made of."""
        # The bytes of equal weight together: of sorted numbers those of high weight hardly change, and pack well.
        planes = np.ascontiguousarray(self.sample_i.astype("<f4").view(np.uint8).reshape(-1, 4).T).tobytes()
        return {"target": self.target, "sample": base64.b85encode(zlib.compress(planes)).decode()}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Quantile:
        """Build from what ``to_json`` returned.

        Raises:
            ValueError: It is damaged.
        """
        try:
            planes = np.frombuffer(zlib.decompress(base64.b85decode(plain["sample"])), np.uint8)
        except zlib.error as error:
            raise ValueError(f"the sample is damaged ({error})") from error
        sample_i = np.ascontiguousarray(planes.reshape(4, -1).T).view("<f4")[:, 0].astype(np.float64)
        return cls(sample_i, plain["target"])

    def _forward(self, value_n: FloatArray) -> FloatArray:
        sample_i, target_i = self.sample_i, self._target_i
        left_n = np.searchsorted(sample_i, value_n, side="left")
        right_n = np.searchsorted(sample_i, value_n, side="right")
        # Where the sample has the value, left to right - 1 are its quantiles; elsewhere both lie above the value.
        low_n, high_n = np.clip(left_n - 1, 0, None), np.clip(right_n, None, len(sample_i) - 1)
        step_n = sample_i[high_n] - sample_i[low_n]
        part_n = (value_n - sample_i[low_n]) / np.where(step_n > 0, step_n, 1)
        scaled_n = target_i[low_n] + (target_i[high_n] - target_i[low_n]) * part_n
        found_n = right_n > left_n
        scaled_n[found_n] = (target_i[left_n[found_n]] + target_i[right_n[found_n] - 1]) / 2
        for end, slope, outside_n in self._outside(value_n, sample_i):
            scaled_n[outside_n] = target_i[end] + (value_n[outside_n] - sample_i[end]) * slope
        return scaled_n

    def _inverse(self, scaled_n: FloatArray) -> FloatArray:
        value_n: FloatArray = np.interp(scaled_n, self._target_i, self.sample_i)
        for end, slope, outside_n in self._outside(scaled_n, self._target_i):
            value_n[outside_n] = self.sample_i[end] + (scaled_n[outside_n] - self._target_i[end]) / slope
        return value_n

    def _outside(self, place_n: FloatArray, knot_i: FloatArray) -> list[tuple[int, float, NDArray[np.bool_]]]:
        """Return for both ends: its index, the slope d(scaled)/d(value) beyond it, and what lies beyond it."""
        count = len(self.sample_i)
        first, last = self.sample_i[0], self.sample_i[-1]
        inner_low = max(count // TAIL, int(np.searchsorted(self.sample_i, first, side="right")))
        inner_high = min(count - 1 - count // TAIL, int(np.searchsorted(self.sample_i, last, side="left")) - 1)
        flat = first == last
        slopes = (1.0, 1.0) if flat else (self._slope(0, inner_low), self._slope(inner_high, count - 1))
        return [(0, slopes[0], place_n < knot_i[0]), (-1, slopes[1], place_n > knot_i[-1])]

    def _slope(self, low: int, high: int) -> float:
        rise, run = self._target_i[high] - self._target_i[low], self.sample_i[high] - self.sample_i[low]
        return float(rise / run)


def _in_order(function: Callable[[FloatArray], FloatArray], given_n: FloatArray) -> FloatArray:
    """Apply a function to sorted numbers: neighbours look at the same part of the sample, which is in the cache then."""
    order_n = np.argsort(given_n)
    made_n = np.empty_like(given_n)
    made_n[order_n] = function(given_n[order_n])
    return made_n


@lru_cache(maxsize=2)
def _quantiles_of(target: str, count: int) -> FloatArray:
    """Return the target's quantiles i/(count + 1) for i from 1 to ``count``."""
    share_i = np.arange(1, count + 1) / (count + 1)
    if target == "uniform":
        return 2 * share_i - 1
    if target == "gauss":
        return np.fromiter(map(NormalDist().inv_cdf, share_i.tolist()), np.float64, count)
    raise ValueError(f"unknown target {target!r}")
