"""How far a reconstruction is from its input: residuals, their means and spreads with errors, correlations, response.

Suffixes: n row, f variable, b bin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.metrics.measured import BoolArray, FloatArray, IntArray, Measured

Kind = Literal["relative", "difference", "angle"]
"""(out - in)/in, out - in, or the difference of two angles between -pi and pi."""
Numbers = NDArray[Any]

ROWS_PER_BLOCK = 1 << 16
"""Rows that are held in double precision at a time."""
MAD = 1.482602218505602
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How residuals are distributed.

    Attributes:
        rows: Number of residuals.
        undefined: Rows without one: relative to zero, or not finite.
        mean: Mean and its error, sigma/sqrt(N).
        sigma: Standard deviation and its error, sigma/sqrt(2N), that of a normal distribution.
        low: 16 % quantile.
        median: 50 % quantile.
        high: 84 % quantile.
        core: Spread that tails do not move: median absolute deviation, scaled to be sigma for a normal distribution.
        tail: Part of the residuals that is more than five sigma away from the mean.
    """

    rows: int
    undefined: int
    mean: Measured
    sigma: Measured
    low: float
    median: float
    high: float
    core: float
    tail: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Values in bins of another one; NaN in a bin without values."""

    edges: FloatArray
    count_b: IntArray
    mean_b: FloatArray
    low_b: FloatArray
    """16 % quantile."""
    high_b: FloatArray
    """84 % quantile."""


def residual(input_n: Numbers, output_n: Numbers, kind: Kind) -> NDArray[np.float32]:
    """Return the residual of each row, calculated in double precision; NaN where it is relative to zero.

    Raises:
        DataError: The lengths differ.
    """
    if np.shape(input_n) != np.shape(output_n):
        raise DataError(f"{np.shape(output_n)} reconstructed values cannot be compared with {np.shape(input_n)}")
    given_n = np.asarray(input_n, np.float64)
    difference_n = np.asarray(output_n, np.float64) - given_n
    if kind == "angle":
        difference_n = wrap_angle(difference_n)
    elif kind == "relative":
        difference_n = np.divide(difference_n, given_n, out=np.full_like(given_n, np.nan), where=given_n != 0)
    with np.errstate(over="ignore"):  # what exceeds single precision becomes infinite, and is counted as undefined
        return difference_n.astype(np.float32)


def wrap_angle(angle_n: FloatArray) -> FloatArray:
    """Return angles turned by whole circles into (-pi, pi]."""
    wrapped_n: FloatArray = angle_n - 2 * math.pi * np.ceil((angle_n - math.pi) / (2 * math.pi))
    return wrapped_n


def measure_spread(residual_n: Numbers) -> Spread:
    """Measure how residuals (n,) are distributed; all numbers are NaN where there are none."""
    finite_n = residual_n[np.isfinite(residual_n)]
    rows, undefined = len(finite_n), len(residual_n) - len(finite_n)
    if not rows:
        nothing = Measured(math.nan, math.nan, math.nan)
        return Spread(0, undefined, nothing, nothing, *[math.nan] * 5)
    mean, sigma = float(finite_n.mean(dtype=np.float64)), float(finite_n.std(dtype=np.float64))
    tail = float(np.mean(np.abs(finite_n - mean) > 5 * sigma))
    low, median, high = map(float, np.quantile(finite_n, (0.16, 0.5, 0.84)))
    core = MAD * float(np.median(np.abs(finite_n - median), overwrite_input=True))
    mean_error, sigma_error = sigma / math.sqrt(rows), sigma / math.sqrt(2 * rows)
    return Spread(
        rows,
        undefined,
        Measured(mean, mean - mean_error, mean + mean_error),
        Measured(sigma, sigma - sigma_error, sigma + sigma_error),
        low,
        median,
        high,
        core,
        tail,
    )


def correlations(residual_nf: Numbers) -> FloatArray:
    """Return the correlation coefficients (f, f) over the rows where all variables have a residual.

    NaN stands where a variable's residuals are all the same.
    """
    complete_n: BoolArray = np.logical_and.reduce(np.isfinite(residual_nf), axis=1)
    count, variables = int(complete_n.sum()), residual_nf.shape[1]
    sum_f, square_ff = np.zeros(variables), np.zeros((variables, variables))
    near_f = residual_nf[complete_n.argmax()] if count else sum_f  # small numbers lose less in sums of squares
    for start in range(0, len(residual_nf), ROWS_PER_BLOCK):
        some = slice(start, start + ROWS_PER_BLOCK)
        block_nf = residual_nf[some][complete_n[some]].astype(np.float64) - near_f
        sum_f += block_nf.sum(axis=0)
        square_ff += block_nf.T @ block_nf
    covariance_ff = square_ff - np.outer(sum_f, sum_f) / max(count, 1)
    # What is left of equal numbers is rounding.
    sigma_f = np.sqrt(np.where(covariance_ff.diagonal() > 1e-12 * square_ff.diagonal(), covariance_ff.diagonal(), 0))
    scale_ff = np.outer(sigma_f, sigma_f)
    correlation_ff: FloatArray = np.full_like(scale_ff, np.nan)
    np.divide(covariance_ff, scale_ff, out=correlation_ff, where=scale_ff > 0)
    return correlation_ff.clip(-1, 1)


def profile(value_n: Numbers, of_n: Numbers, edges: FloatArray) -> Profile:
    """Describe ``value_n`` in bins of ``of_n``; values that are not finite, or beyond the edges, do not count."""
    bin_n = np.searchsorted(edges, of_n, side="right") - 1
    bin_n[of_n == edges[-1]] = len(edges) - 2
    kept_n = (bin_n >= 0) & (bin_n < len(edges) - 1) & np.isfinite(value_n)
    value_n, bin_n = value_n[kept_n], bin_n[kept_n].astype(np.int16)
    value_n = value_n[np.argsort(bin_n, kind="stable")]
    count_b = np.bincount(bin_n, minlength=len(edges) - 1)
    mean_b, low_b, high_b = np.full((3, len(count_b)), np.nan)
    stop_b = np.cumsum(count_b)
    for b in np.flatnonzero(count_b):
        inside_n = value_n[stop_b[b] - count_b[b] : stop_b[b]]
        mean_b[b] = inside_n.mean(dtype=np.float64)
        low_b[b], high_b[b] = np.quantile(inside_n, (0.16, 0.84))
    return Profile(edges, count_b, mean_b, low_b, high_b)
