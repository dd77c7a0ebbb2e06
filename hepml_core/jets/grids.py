"""Values as whole numbers on a grid that keeps an asked bound.

A relative bound ``e`` makes a grid in the logarithm with step 2 ln(1 + e), an absolute one ``d`` a grid with step 2 d, no
bound on whole numbers the numbers themselves. Suffix n: value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.errors import SettingError
from hepml_core.jets.bounds import Bound
from hepml_core.jets.variables import VARIABLES

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

ZERO = -(1 << 20)
"""Index of zero on a logarithmic grid; below those of all numbers that float32 and float64 hold at bounds above 4e-4."""
LARGEST = 1 << 40
MARGIN = 1 - 2e-3
"""Part of the bound that the grid uses; the rest is for the rounding of float32."""
LARGEST_LOGARITHM = 80.0
"""Of numbers that float32 holds with all its bits, and of their inverses."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of one variable.

    Attributes:
        name: The variable.
        bound: Largest error, in the variable's unit; its size 0 means whole numbers, kept as they are.
        factor: From the unit of the given values to the variable's.
    """

    name: str
    bound: Bound
    factor: float = 1.0

    @property
    def step(self) -> float:
        """Distance of neighbours, in the variable's unit or its logarithm."""
        if not self.bound.size:
            return 1.0
        size = self.bound.size * MARGIN
        return 2 * math.log1p(size) if self.bound.relative else 2 * size

    def to_index(self, value_n: NDArray[Any]) -> tuple[IntArray, BoolArray]:
        """Return the index of each value, and which values have one: finite ones, above zero on a logarithmic grid."""
        index_n, has_n, _ = self._to_index(value_n)
        return index_n, has_n

    def _to_index(self, value_n: NDArray[Any]) -> tuple[IntArray, BoolArray, float]:
        """Return indices, which values have one, and the largest absolute index."""
        logarithmic = self.bound.size > 0 and self.bound.relative
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            own_n = self._own(value_n)
            if logarithmic:
                np.log(own_n, out=own_n)
            own_n /= self.step
            np.rint(own_n, out=own_n)
            largest = max(-own_n.min(initial=0), own_n.max(initial=0))
            if largest < LARGEST:  # which nothing is that is not a number
                return own_n.astype(np.int64), np.ones(len(own_n), np.bool_), float(largest)
            has_n = np.abs(own_n) < LARGEST
            own_n[~has_n] = 0
            index_n = own_n.astype(np.int64)
            if logarithmic:
                zero_n = self._own(value_n) == 0
                index_n[zero_n] = ZERO
                has_n |= zero_n
        return index_n, has_n, float(np.abs(index_n).max(initial=0))

    def _own(self, value_n: NDArray[Any]) -> NDArray[np.float64]:
        """Return values in the variable's unit."""
        own_n = value_n.astype(np.float64)
        if self.factor != 1:
            own_n *= self.factor
        return own_n

    def to_held_index(self, value_n: NDArray[Any]) -> tuple[IntArray, BoolArray]:
        """Return the index of each value, and which values it gives back within the bound."""
        index_n, held_n, largest = self._to_index(value_n)
        if not self._surely_holds(value_n.dtype, largest):
            held_n &= self.holds(value_n, self.to_value(index_n, value_n.dtype))
        return index_n, held_n

    def _surely_holds(self, dtype: np.dtype[Any], largest_index: float) -> bool:
        """Tell whether what the grid leaves of the bound is enough for the rounding of all values up to an index."""
        if dtype not in (np.float32, np.float64) or not self.bound.size:
            return False
        # On the way to the file's type doubles are rounded as well, and the logarithm's are multiplied by 80.
        rounding, rest = float(np.finfo(dtype).eps) / 2 + 1e-13, self.bound.size * (1 - MARGIN)
        largest = (largest_index + 1) * self.step
        if self.bound.relative:
            return largest < LARGEST_LOGARITHM and rounding * (1 + self.bound.size) < rest
        return rounding * largest < rest

    def to_value(self, index_n: IntArray, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the values of indices, in the unit of the values that were given to ``to_index``."""
        own_n = index_n * self.step
        if self.bound.size and self.bound.relative:
            with np.errstate(over="ignore"):
                np.exp(own_n, out=own_n)
            own_n[index_n == ZERO] = 0
        with np.errstate(over="ignore"):
            own_n /= self.factor
        return to_type(own_n, dtype)

    def holds(self, value_n: NDArray[Any], kept_n: NDArray[Any]) -> BoolArray:
        """Tell which values are kept within the bound."""
        with np.errstate(invalid="ignore", over="ignore"):
            own_n = value_n.astype(np.float64)
            error_n = np.abs(kept_n.astype(np.float64) - own_n)
            if not self.bound.size:
                return np.asarray(error_n == 0)
            limit = self.bound.size * np.abs(own_n) if self.bound.relative else self.bound.size / self.factor
            return np.asarray(error_n <= limit)


def to_type(value_n: NDArray[np.floating], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers in a file's type; in one of whole numbers rounded, and kept within what it can hold."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            # The largest 64-bit number has no double, and the double above it no 64-bit number.
            most = float(limits.max) if limits.bits < 64 else math.nextafter(float(limits.max), 0)
            value_n = np.clip(np.rint(value_n.astype(np.float64)), float(limits.min), most)
        return value_n.astype(dtype)


def check_grid(name: str, bound: Bound, dtype: np.dtype[Any]) -> None:
    """Refuse bounds that a grid cannot keep.

    Raises:
        SettingError: Exact values were asked of what is not whole numbers, or a bound is finer than the file's numbers.
    """
    if not bound.size and not (VARIABLES[name].integer or dtype.kind in "iu"):
        raise SettingError(f"{name} is not a whole number, so it has no grid without a bound: ask for codec=columns")
    if bound.relative and 0 < bound.size < 1e-6:
        raise SettingError(f"the bound {bound.size:g} of {name} is finer than float32; ask for {name}=exact")
