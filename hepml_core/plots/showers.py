"""Showers in a calorimeter: their energies and times, crystal by crystal.

Images are shown around their middle crystal, (rows // 2, columns // 2); rows follow eta, columns phi. Energies are in GeV,
times in ns; crystals without a hit (energy 0) are white.

Suffixes: y/x crystal, h hit, b bin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.plots.movies import ENERGY_COLOURS, ETA, PHI
from hepml_core.plots.style import curve_style, finish, log_ticks, plain, short, styled

TIME_COLOURS: Colormap = colormaps["coolwarm"]
"""Its middle is grey, which is no white: that is a crystal without a hit."""
LINEAR_TIME_NS = 1.0
"""Colours follow times linearly up to here, and their logarithms beyond: weak hits are late or early by tens of ns."""
SHOWN_TIME_NS = (1e-2, 1e2)


@dataclass(frozen=True, slots=True)
class Shower:
    """An event."""

    energy_yx: NDArray[Any]
    """Energies in GeV."""
    time_yx: NDArray[Any]
    """Times in ns."""
    lines: tuple[str, ...]
    """Text above."""


@styled
def plot_showers(showers: Sequence[Shower], *, columns: int = 4, label: str = "") -> Figure:
    """Draw the energies of each shower and, below, the times of its hits; all share their colours.

    Raises:
        DataError: There are no showers.
    """
    figure, grid = _open(showers, columns, (2.55, 2.55))
    energies, times = _energy_scale([shower.energy_yx for shower in showers]), _time_scale(showers)
    for shower, (upper, lower) in zip(showers, grid, strict=True):
        _draw_image(upper, shower.energy_yx, energies)
        _draw_image(lower, np.ma.masked_where(shower.energy_yx == 0, shower.time_yx), times)
        upper.set_title("\n".join(plain(line, 32) for line in shower.lines), fontsize=9.5, loc="left")
        upper.tick_params(labelbottom=False)
        lower.set_xlabel(PHI, fontsize=10)
    _finish_rows(figure, grid, columns, (energies, times), (ETA, ETA))
    return finish(figure, label)


@styled
def plot_spacetime(showers: Sequence[Shower], *, columns: int = 4, label: str = "") -> Figure:
    """Draw the hits of each shower in (phi, eta) and (phi, time): areas follow energies, colours times.

    Raises:
        DataError: There are no showers.
    """
    figure, grid = _open(showers, columns, (2.55, 2.55))
    times, limit = _time_scale(showers), _time_limit(showers)
    for shower, (upper, lower) in zip(showers, grid, strict=True):
        row_h, column_h = np.nonzero(shower.energy_yx)
        order_h = np.argsort(-shower.energy_yx[row_h, column_h], kind="stable")  # small ones are drawn over large ones
        row_h, column_h = row_h[order_h], column_h[order_h]
        energy_h, time_h = shower.energy_yx[row_h, column_h], shower.time_yx[row_h, column_h]
        rows, columns_of_image = shower.energy_yx.shape
        eta_h, phi_h = row_h - rows // 2, column_h - columns_of_image // 2
        look: dict[str, Any] = {"s": 4 + 6 * energy_h, "c": time_h, "cmap": times.cmap, "norm": times.norm}
        look |= {"alpha": 0.85, "edgecolors": "0.25", "linewidths": 0.5}
        upper.scatter(phi_h, eta_h, **look)
        lower.scatter(phi_h, time_h, **look)
        upper.set(xlim=_limits(columns_of_image), ylim=_limits(rows))
        lower.set(xlim=_limits(columns_of_image), ylim=(-1.3 * limit, 1.3 * limit))
        lower.set_yscale("symlog", linthresh=LINEAR_TIME_NS)
        _tidy(upper)
        _tidy(lower)
        _symlog_ticks(lower.yaxis, LINEAR_TIME_NS, limit)
        upper.set_title("\n".join(plain(line, 32) for line in shower.lines), fontsize=9.5, loc="left")
        upper.tick_params(labelbottom=False)
        lower.set_xlabel(PHI, fontsize=10)
    _finish_rows(figure, grid, columns, (times, times), (ETA, "Time [ns]"))
    return finish(figure, label)


@styled
def plot_mean_showers(mean_by_class: Mapping[str, NDArray[Any]], *, label: str = "") -> Figure:
    """Draw the mean energies (y, x) of two classes and how the second differs from the first.

    Raises:
        DataError: There are not two classes, or their images differ in size.
    """
    if len(mean_by_class) != 2 or len({np.shape(mean_yx) for mean_yx in mean_by_class.values()}) != 1:
        raise DataError(
            f"the means of two classes are compared, got {[np.shape(one) for one in mean_by_class.values()]}"
        )
    names, (first_yx, second_yx) = [plain(name) for name in mean_by_class], mean_by_class.values()
    figure = Figure(figsize=(12.6, 3.9), layout="constrained")
    axes = list(figure.subplots(1, 3))
    energies = _energy_scale([first_yx, second_yx], decades=5)
    for axis, name, mean_yx in zip(axes, names, (first_yx, second_yx), strict=False):
        _draw_image(axis, mean_yx, energies)
        axis.set_title(f"mean {name}", fontsize=11, loc="left")
    _add_bar(figure, axes[:2], energies, "Mean energy [GeV]")
    difference_yx = second_yx - first_yx
    top = float(np.abs(difference_yx).max()) or 1.0
    linear = 10.0 ** math.floor(math.log10(top) - 2)
    differences = ScalarMappable(SymLogNorm(linear, vmin=-top, vmax=top), colormaps["RdBu_r"])
    axes[2].imshow(difference_yx, extent=_extent(difference_yx), origin="lower", **_scale(differences))
    _tidy(axes[2])
    axes[2].set_title(f"{names[1]} - {names[0]}", fontsize=11, loc="left")
    _add_bar(figure, axes[2:], differences, "Difference [GeV]")
    for axis in axes:
        axis.set_xlabel(PHI, fontsize=11)
    axes[0].set_ylabel(ETA, fontsize=11)
    return finish(figure, label)


@dataclass(frozen=True, slots=True)
class TimedHits:
    """The hits of a class."""

    time_h: NDArray[Any]
    """Times in ns."""
    energy_h: NDArray[Any]
    """Energies in GeV."""


@styled
def plot_time_spectra(hits_by_class: Mapping[str, TimedHits], *, bins: int = 60, label: str = "") -> Figure:
    """Draw how the absolute times of each class are distributed: of hits and of energy, by bin and summed up from 0.

    Raises:
        DataError: There are no classes.
    """
    if not hits_by_class:
        raise DataError("no classes whose times could be drawn")
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    edges = np.geomspace(*SHOWN_TIME_NS, bins + 1)
    for number, (name, hits) in enumerate(hits_by_class.items()):
        absolute_h = np.abs(hits.time_h).astype(np.float64)
        for column, weight_h in enumerate((np.ones(len(absolute_h)), hits.energy_h)):
            part_b = np.histogram(absolute_h, [0, *edges], weights=weight_h)[0] / (float(weight_h.sum()) or 1)
            look = {**curve_style(number), "label": plain(name)}
            axes[0, column].stairs(part_b[1:], edges, baseline=None, **look)
            axes[1, column].plot(edges, np.cumsum(part_b), **look)
    for column, what in enumerate(("hits", "energy")):
        axes[0, column].set(xscale="log", xlim=SHOWN_TIME_NS)
        axes[0, column].set_ylim(bottom=0)
        axes[0, column].set_ylabel(f"Fraction of {what} per bin", fontsize=12)
        axes[1, column].set(ylim=(0, 1.02))
        axes[1, column].set_ylabel(f"Fraction of {what} below", fontsize=12)
        axes[1, column].set_xlabel("Absolute time [ns]")
        log_ticks(axes[1, column].xaxis)
    axes[0, 1].legend()
    return finish(figure, label)


def _open(showers: Sequence[Shower], columns: int, size: tuple[float, float]) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Open a figure with two panels for each shower, one above the other."""
    if not showers:
        raise DataError("no showers to draw")
    columns = min(columns, len(showers))
    rows = -(-len(showers) // columns)
    text = 0.2 * max(len(shower.lines) for shower in showers)
    figure = Figure(figsize=(size[0] * columns + 1.1, (2 * size[1] + text + 0.2) * rows + 0.4), layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for axis in axes.reshape(rows, 2, columns).swapaxes(1, 2).reshape(-1, 2)[len(showers) :].ravel():
        axis.remove()
    grid = [
        (axes[2 * (n // columns), n % columns], axes[2 * (n // columns) + 1, n % columns]) for n in range(len(showers))
    ]
    return figure, grid


def _finish_rows(
    figure: Figure,
    grid: Sequence[tuple[Axes, Axes]],
    columns: int,
    scales: tuple[ScalarMappable, ScalarMappable],
    names: tuple[str, str],
) -> None:
    """Put names to the left of each row of panels and colour bars to its right."""
    for start in range(0, len(grid), columns):
        row = grid[start : start + columns]
        for part, (scale, name) in enumerate(zip(scales, names, strict=True)):
            axes = [pair[part] for pair in row]
            axes[0].set_ylabel(name, fontsize=10)
            for axis in axes[1:]:
                axis.tick_params(labelleft=False)
            _add_bar(figure, axes, scale, "Energy [GeV]" if scale.cmap is ENERGY_COLOURS else "Time [ns]")


def _add_bar(figure: Figure, axes: Sequence[Axes], scale: ScalarMappable, name: str) -> None:
    bar = figure.colorbar(scale, ax=list(axes), fraction=0.06, pad=0.01, aspect=25)
    if isinstance(scale.norm, SymLogNorm):
        _symlog_ticks(bar.ax.yaxis, scale.norm.linthresh, float(scale.norm.vmax or 1))
    else:
        log_ticks(bar.ax.yaxis)
    bar.ax.tick_params(which="both", labelsize=9, length=3)
    bar.set_label(name, fontsize=10)


def _energy_scale(images: Sequence[NDArray[Any]], decades: float = 4) -> ScalarMappable:
    highest = max(float(image_yx.max(initial=0)) for image_yx in images) or 1.0
    positive = [image_yx[image_yx > 0] for image_yx in images]
    lowest = min((float(part.min()) for part in positive if len(part)), default=highest / 10)
    return ScalarMappable(
        LogNorm(min(max(lowest, highest / 10**decades), highest / 2), highest, clip=True), ENERGY_COLOURS
    )


def _time_scale(showers: Sequence[Shower]) -> ScalarMappable:
    limit = _time_limit(showers)
    return ScalarMappable(SymLogNorm(LINEAR_TIME_NS, vmin=-limit, vmax=limit), TIME_COLOURS)


def _time_limit(showers: Sequence[Shower]) -> float:
    """Return the largest absolute time of a hit, at least 2 ns."""
    limits = [float(np.abs(shower.time_yx[shower.energy_yx != 0]).max(initial=0)) for shower in showers]
    return max(*limits, 2 * LINEAR_TIME_NS)


def _draw_image(axis: Axes, image_yx: NDArray[Any], scale: ScalarMappable) -> None:
    shown_yx = np.ma.masked_equal(image_yx, 0) if scale.cmap is ENERGY_COLOURS else image_yx
    axis.imshow(shown_yx, extent=_extent(image_yx), origin="lower", **_scale(scale))
    _tidy(axis)


def _tidy(axis: Axes) -> None:
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(4, integer=True))
    axis.minorticks_off()
    axis.tick_params(labelsize=9, length=3)


def _symlog_ticks(axis: XAxis | YAxis, linear: float, limit: float) -> None:
    """Put numbers at 0 and at the powers of ten from ``linear`` on, on both sides."""
    powers = 10.0 ** np.arange(round(math.log10(linear)), math.floor(math.log10(limit) + 1e-9) + 1)
    axis.set_ticks([*-powers[::-1], 0, *powers])
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(short))


def _scale(scale: ScalarMappable) -> dict[str, Any]:
    return {"cmap": scale.cmap, "norm": scale.norm, "interpolation": "nearest"}


def _extent(image_yx: NDArray[Any]) -> tuple[float, float, float, float]:
    rows, columns = image_yx.shape
    return *_limits(columns), *_limits(rows)


def _limits(crystals: int) -> tuple[float, float]:
    return -0.5 - crystals // 2, crystals - crystals // 2 - 0.5
