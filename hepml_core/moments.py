"""Count, mean and standard deviation, one batch at a time; moments of parts merge to those of the whole.

Suffix c: channel or feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of ``count`` values a channel.

    Attributes:
        count: Number of values.
        mean_c: Their mean.
        m2_c: Sum of squared distances from the mean.
    """

    count: int
    mean_c: FloatArray
    m2_c: FloatArray

    @classmethod
    def from_sums(cls, count: int, sum_c: FloatArray, square_c: FloatArray) -> Moments:
        """Start from exact sums of values and of their squares, as whole numbers allow them."""
        mean_c = sum_c / count
        return cls(count, mean_c, np.maximum(square_c - sum_c * mean_c, 0))

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of values (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        step_c = other.mean_c - self.mean_c
        mean_c = self.mean_c + step_c * (other.count / count)
        m2_c = self.m2_c + other.m2_c + step_c**2 * (self.count * other.count / count)
        return Moments(count, mean_c, m2_c)

    def scaled(self, factor: float) -> Moments:
        """Return the moments of all values times ``factor``."""
        return Moments(self.count, self.mean_c * factor, self.m2_c * factor**2)

    @property
    def std_c(self) -> FloatArray:
        """Standard deviation (of the population, not n - 1)."""
        deviation_c: FloatArray = np.sqrt(self.m2_c / self.count)
        return deviation_c
