"""Count, mean and standard deviation, one batch at a time; moments of parts merge to those of the whole.

Suffix c: channel or feature.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    def from_sums(cls, count: int, sum_c: Sequence[int], square_c: Sequence[int]) -> Moments:
        """Start from the exact sums of whole numbers and of their squares.

        Python's whole numbers lose nothing where the two terms nearly cancel: equal values have exactly no spread.
        """
        spread_c = [count * square - total**2 for total, square in zip(sum_c, square_c, strict=True)]
        return cls(count, np.array(sum_c) / count, np.array([spread / count for spread in spread_c]))

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
