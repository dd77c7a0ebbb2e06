"""Residuals of a reconstruction: their distributions, and how they move together.

Titles of axes are ours and may hold formulas; names of kinds come from data and may not.

Suffixes: n row, f variable, b bin.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.metrics import FloatArray, Spread
from hepml_core.plots.style import COLOURS, curve_style, finish, panels, plain, short_ticks, styled

BINS = 120
BOX = {"facecolor": "white", "alpha": 0.7, "pad": 1.5, "lw": 0}
"""What stands behind a text."""
LIMITS = (0.0025, 0.9925)
"""Quantiles between which the axes of a corner plot run."""


@dataclass(frozen=True, slots=True)
class Residuals:
    """The residuals of a variable."""

    title: str
    """What the axis says, with its unit; formulas are read as such."""
    residual_n: NDArray[Any]
    spread: Spread


@styled
def plot_residuals(residuals: Sequence[Residuals], *, label: str = "") -> Figure:
    """Draw the distribution of each variable's residuals, with mean, sigma and their errors, and the 68 % interval.

    Raises:
        DataError: There is nothing to draw.
    """
    if not residuals:
        raise DataError("no residuals to draw")
    figure, axes = panels(len(residuals), (4.0, 3.6) if len(residuals) > 1 else (5.6, 4.4))
    for axis, shown in zip(axes, residuals, strict=True):
        limit = _limit(shown.residual_n)
        edges = np.linspace(-limit, limit, BINS + 1)
        axis.stairs(np.histogram(shown.residual_n, edges)[0], edges, fill=True, color=COLOURS[0], alpha=0.6)
        axis.axvspan(shown.spread.low, shown.spread.high, color=COLOURS[1], alpha=0.18, lw=0)
        axis.axvline(0, color="0.4", lw=0.8, ls="--")
        _name_axes(axis, shown.title, limit, "Entries per bin")
        axis.set_ylim(top=1.5 * axis.get_ylim()[1])
        axis.text(
            0.03, 0.97, _describe(shown.spread), transform=axis.transAxes, va="top", fontsize=9.5, linespacing=1.4
        )
    return finish(figure, label)


@styled
def plot_residuals_by_kind(
    residual_by_kind_by_title: Mapping[str, Mapping[str, NDArray[Any]]], *, label: str = ""
) -> Figure:
    """Draw, for each variable, the residuals of each kind of object over one another, each of unit sum.

    Raises:
        DataError: There is nothing to draw.
    """
    if not residual_by_kind_by_title:
        raise DataError("no residuals to draw")
    figure, axes = panels(len(residual_by_kind_by_title), (4.2, 3.2))
    kinds = list(next(iter(residual_by_kind_by_title.values())))
    for axis, (title, residual_by_kind) in zip(axes, residual_by_kind_by_title.items(), strict=True):
        limit = max(_limit(residual_n) for residual_n in residual_by_kind.values())
        edges = np.linspace(-limit, limit, 81)
        counts = [max(1, int(np.isfinite(residual_n).sum())) for residual_n in residual_by_kind.values()]
        for number, residual_n in enumerate(residual_by_kind.values()):
            height_b = np.histogram(residual_n, edges)[0] / counts[number]
            axis.stairs(height_b, edges, baseline=None, **curve_style(number))
        axis.set(ylim=(0.5 / max(counts), 1.5), yscale="log")
        _name_axes(axis, title, limit, "Part per bin")
    handles = [Line2D([], [], **curve_style(number), label=f" {plain(kind)}") for number, kind in enumerate(kinds)]
    figure.legend(handles=handles, loc="outside right upper")
    return finish(figure, label)


def _limit(residual_n: NDArray[Any]) -> float:
    """Return where a symmetric axis ends that shows the residuals without their last tails."""
    finite_n = residual_n[np.isfinite(residual_n)]
    if not len(finite_n):
        return 1.0
    low, high = np.quantile(finite_n, LIMITS)
    return 1.4 * float(max(-low, high)) or 1.1 * float(np.abs(finite_n).max()) or 1e-6


def _name_axes(axis: Axes, title: str, limit: float, entries: str) -> None:
    axis.set_xlim(-limit, limit)
    short_ticks(axis.xaxis, 5)
    axis.set_xlabel(title, fontsize=12)
    axis.set_ylabel(entries, fontsize=11)


def _describe(spread: Spread) -> str:
    return (
        f"mean {spread.mean}\n\N{GREEK SMALL LETTER SIGMA} {spread.sigma}\n68 %: {spread.low:.2g} … {spread.high:.2g}"
    )


@styled
def plot_correlations(names: Sequence[str], correlation_ff: FloatArray, *, label: str = "") -> Figure:
    """Draw correlation coefficients as a heat map: the lower triangle, with two digits; a dash where undefined.

    Raises:
        DataError: There are fewer than two variables.
    """
    count = len(names)
    if count < 2:
        raise DataError("correlations need two variables")
    cell = 0.46 if count > 8 else 0.85
    figure = Figure(figsize=(cell * count + 3.2, cell * count + 2.2), layout="compressed")
    axis = figure.subplots()
    shown_ff = np.ma.masked_array(correlation_ff, np.triu(np.ones((count, count), bool), 1) | np.isnan(correlation_ff))
    image = axis.imshow(shown_ff, cmap=colormaps["RdBu_r"].with_extremes(bad="white"), vmin=-1, vmax=1)
    figure.colorbar(image, cax=axis.inset_axes((1.02, 0, 0.03, 1)), label="Correlation of residuals")
    names = [plain(name, 30) for name in names]
    axis.set_xticks(range(count), names, rotation=90 if count > 8 else 0, fontsize=9 if count > 8 else 12)
    axis.set_yticks(range(count), names, fontsize=9 if count > 8 else 12)
    axis.tick_params(which="both", length=0, top=False, right=False)
    axis.minorticks_off()
    axis.spines[:].set_visible(False)
    for column, row in itertools.combinations_with_replacement(range(count), 2):
        value = correlation_ff[row, column]
        text = "-" if np.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00")
        colour = "white" if abs(value) > 0.6 else "black"
        axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=7.5 if count > 8 else 11)
    return finish(figure, label)


@styled
def plot_corner(
    titles: Sequence[str], residual_nf: NDArray[Any], correlation_ff: FloatArray, *, label: str = ""
) -> Figure:
    """Draw the residuals of some variables against one another, and each by itself with its 16, 50 and 84 % quantiles.

    The background of a pair is the darker, the more its residuals are correlated.

    Raises:
        DataError: There are no residuals.
    """
    complete_nf = residual_nf[np.isfinite(residual_nf).all(axis=1)]
    if not complete_nf.size:
        raise DataError("no residuals to draw")
    count = len(titles)
    figure = Figure(figsize=(2.4 * count + 0.9, 2.4 * count + 0.9), layout="constrained")
    axes = figure.subplots(count, count, squeeze=False)
    limits = [_corner_limits(complete_nf[:, f]) for f in range(count)]
    for row in range(count):
        for column in range(count):
            axis = axes[row, column]
            if column > row:
                axis.remove()
                continue
            if column == row:
                _draw_alone(axis, complete_nf[:, row], limits[row])
            else:
                pair = (complete_nf[:, column], complete_nf[:, row])
                _draw_pair(axis, *pair, (limits[column], limits[row]), float(correlation_ff[row, column]))
            _name_corner_axes(axis, titles, row, column)
    figure.align_labels()
    return finish(figure, label)


def _corner_limits(residual_n: NDArray[Any]) -> tuple[float, float]:
    low, high = (float(edge) for edge in np.quantile(residual_n, LIMITS))
    return (low, high) if high > low else (low - (abs(low) or 1e-6), high + (abs(high) or 1e-6))


def _draw_alone(axis: Axes, residual_n: NDArray[Any], limits: tuple[float, float]) -> None:
    edges = np.linspace(*limits, 61)
    axis.stairs(np.histogram(residual_n, edges)[0], edges, color="black", lw=1.2)
    low, middle, high = (float(quantile) for quantile in np.quantile(residual_n, (0.16, 0.5, 0.84)))
    for quantile in (low, middle, high):
        axis.axvline(quantile, color=COLOURS[0], lw=1, ls="--")
    axis.set_title(_with_interval(low, middle, high), fontsize=10.5)
    axis.set_xlim(limits)
    axis.set_ylim(bottom=0)


def _with_interval(low: float, middle: float, high: float) -> str:
    """Write a median and what leads from it to the ends of the interval, with two digits of these."""
    largest = max(high - middle, middle - low, abs(middle))
    if not largest:
        return "$0^{+0}_{-0}$"
    power = math.floor(math.log10(largest))
    factor = 10.0**power if not -2 <= power <= 3 else 1.0
    digits = min(max(1 - math.floor(math.log10(max((high - low) / 2, 1e-30) / factor)), 0), 4)
    shown, up, down = (
        f"{round(number / factor, digits) + 0.0:.{digits}f}" for number in (middle, high - middle, middle - low)
    )
    unit = "" if factor == 1 else rf"\times 10^{{{power}}}"
    return rf"${shown}^{{+{up}}}_{{-{down}}}{unit}$"


def _draw_pair(
    axis: Axes, x_n: NDArray[Any], y_n: NDArray[Any], limits: Sequence[tuple[float, float]], correlation: float
) -> None:
    count_bb, x_edges, y_edges = np.histogram2d(x_n, y_n, bins=50, range=limits)
    axis.set_facecolor(colormaps["Oranges"](0.7 * np.nan_to_num(abs(correlation))))
    shown_bb = np.ma.masked_less(count_bb.T, 1)
    axis.pcolormesh(x_edges, y_edges, np.ma.log(shown_bb), cmap=colormaps["Blues"], vmin=-0.5, rasterized=True)
    axis.set(xlim=limits[0], ylim=limits[1])
    if not np.isnan(correlation):
        text = f"{correlation:.2f}".replace("-0.00", "0.00")
        axis.text(0.96, 0.95, text, transform=axis.transAxes, ha="right", va="top", fontsize=9, bbox=BOX)


def _name_corner_axes(axis: Axes, titles: Sequence[str], row: int, column: int) -> None:
    """Name the axes at the left and at the bottom; a distribution's own axis counts entries, and shows no numbers."""
    bottom, left = row == len(titles) - 1, column == 0 < row
    for side in (axis.xaxis, axis.yaxis):
        short_ticks(side, 3)
    axis.tick_params(which="both", labelsize=9, labelbottom=bottom, labelleft=left)
    if bottom:
        axis.set_xlabel(titles[column], fontsize=11, loc="center")
    if left:
        axis.set_ylabel(titles[row], fontsize=11, loc="center")
