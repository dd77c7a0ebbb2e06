"""Input over output: how a reconstruction's distributions compare with those of what went in.

Suffixes: n row, b bin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.metrics import FloatArray
from hepml_core.plots.style import COLOURS, finish, log_ticks, panels, styled

BINS = 200
SHOWN = (0.0005, 0.9995)
"""Quantiles of the input between which a linear axis runs."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """A quantity before and after; values that are not finite are not drawn."""

    title: str
    """What the axis says, with its unit; formulas are read as such."""
    input_n: NDArray[Any]
    output_n: NDArray[Any]


@styled
def plot_overlays(overlays: Sequence[Overlay], *, label: str = "") -> Figure:
    """Draw each quantity's input and output on common bins, in logarithmic scale, and their ratio beneath.

    The band in the ratio is the statistical error of the input. The axis of a positive quantity that spans more than a
    factor of twenty is logarithmic and runs over all values; others leave out a thousandth at the ends.

    Raises:
        DataError: There is nothing to draw.
    """
    if not overlays:
        raise DataError("no distributions to draw")
    columns = 2 if len(overlays) == 4 else min(len(overlays), 3)
    rows = math.ceil(len(overlays) / columns)
    width, height = (4.0, 3.7) if len(overlays) > 1 else (6.4, 5.2)
    figure = Figure(figsize=(width * columns, height * rows + 0.4), layout="constrained")
    outer = figure.add_gridspec(rows, columns)
    for place, overlay in zip(outer, overlays, strict=False):  # type: ignore[call-overload]
        upper, lower = place.subgridspec(2, 1, height_ratios=(3, 1), hspace=0).subplots(sharex=True)
        _draw_overlay(upper, lower, overlay)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2)
    return finish(figure, label)


def _draw_overlay(upper: Axes, lower: Axes, overlay: Overlay) -> None:
    input_n = overlay.input_n[np.isfinite(overlay.input_n)]
    output_n = overlay.output_n[np.isfinite(overlay.output_n)]
    edges, logarithmic = bins_of(input_n)
    input_b, output_b = (np.histogram(value_n, edges)[0] for value_n in (input_n, output_n))
    upper.stairs(input_b, edges, fill=True, color=COLOURS[0], alpha=0.45, label="input")
    upper.stairs(output_b, edges, color=COLOURS[2], lw=1.2, label="output")
    top = max(input_b.max(), output_b.max(), 1)
    upper.set(ylim=(0.5, 3 * top), yscale="log", xlim=(edges[0], edges[-1]))
    upper.set_ylabel("Entries per bin", fontsize=11)
    filled_b = input_b > 0
    ratio_b = np.divide(output_b, input_b, out=np.full(len(input_b), np.nan), where=filled_b)
    error_b = np.divide(1, np.sqrt(input_b), out=np.zeros(len(input_b)), where=filled_b)
    lower.stairs(1 + error_b, edges, baseline=1 - error_b, fill=True, color="0.85")
    lower.axhline(1, color="0.5", lw=0.8)
    lower.plot((edges[1:] + edges[:-1]) / 2, ratio_b, "o", ms=1.6, color=COLOURS[2])
    lower.set_ylim(0.5, 1.5)
    lower.set_yticks([0.5, 1], ["0.5", "1"])
    lower.set_ylabel("out / in", fontsize=11, loc="center")
    lower.set_xlabel(overlay.title, fontsize=12)
    if logarithmic:
        upper.set_xscale("log")
        log_ticks(lower.xaxis)
    else:
        lower.xaxis.set_major_locator(MaxNLocator(5))
    figure = upper.get_figure(root=True)
    assert figure is not None
    figure.align_ylabels([upper, lower])


def bins_of(value_n: NDArray[Any], bins: int = BINS) -> tuple[FloatArray, bool]:
    """Return edges of bins that show a distribution, and whether they are evenly spaced in the logarithm.

    Few whole numbers have a bin each.
    """
    if not len(value_n):
        return np.linspace(0, 1, bins + 1), False
    low, high = (float(edge) for edge in np.quantile(value_n, SHOWN))
    lowest, highest = float(value_n.min()), float(value_n.max())
    if lowest > 0 and high > 20 * low:
        return np.geomspace(lowest * 0.999, highest * 1.001, bins + 1), True
    if high - low < bins and (value_n == np.rint(value_n)).all():
        return np.arange(math.floor(low) - 0.5, math.ceil(high) + 1), False
    margin = 0.05 * (high - low) or 0.5 * abs(low) or 0.5
    low, high = max(low - margin, lowest - margin / 5), min(high + margin, highest + margin / 5)
    return np.linspace(low, high, bins + 1), False


@styled
def plot_distributions(value_by_title: Mapping[str, NDArray[Any]], *, label: str = "") -> Figure:
    """Draw the distribution of each quantity (n,), such as the latent variables.

    Raises:
        DataError: There is nothing to draw.
    """
    if not value_by_title:
        raise DataError("no distributions to draw")
    figure, axes = panels(len(value_by_title), (3.2, 2.5), columns=4)
    for axis, (title, value_n) in zip(axes, value_by_title.items(), strict=True):
        finite_n = value_n[np.isfinite(value_n)]
        edges, logarithmic = bins_of(finite_n, 100)
        count_b = np.histogram(finite_n, edges)[0]
        axis.stairs(count_b, edges, fill=True, color=COLOURS[0], alpha=0.6)
        axis.set(ylim=(0.5, 3 * max(count_b.max(), 1)), yscale="log", xlim=(edges[0], edges[-1]))
        axis.set_xlabel(title, fontsize=12)
        axis.set_ylabel("Entries per bin", fontsize=11)
        if logarithmic:
            axis.set_xscale("log")
            log_ticks(axis.xaxis)
        else:
            axis.xaxis.set_major_locator(MaxNLocator(4))
    return finish(figure, label)
