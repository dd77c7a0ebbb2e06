"""A number with its error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with its 68 % interval; NaN where it is not defined or its interval cannot be told."""

    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        """Show two digits of the error and as many of the value, as a multiple of a power of ten where it is small."""
        if math.isnan(self.value):
            return "undefined"
        if not self.error > 0:
            return f"{self.value:.4f}"
        digits = max(1 - math.floor(math.log10(self.error)), 0)
        power = math.floor(math.log10(max(abs(self.value), self.error)))
        if power >= -3 and digits <= 6:
            return f"{self.value:.{digits}f} ± {self.error:.{digits}f}"
        value, error = (f"{number / 10.0**power:.{digits + power}f}" for number in (self.value, self.error))
        return f"({value} ± {error})·10{str(power).translate(RAISED)}"
