"""What a compressed variable costs and keeps: response, spread against latent size, bits.

Suffixes: m model, f variable, b bin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hepml_core.errors import DataError
from hepml_core.metrics import Measured, Profile
from hepml_core.plots.style import COLOURS, finish, log_ticks, panels, plain, short_ticks, styled


@dataclass(frozen=True, slots=True)
class Response:
    """Output over input in bins of something."""

    of: str
    """What the horizontal axis says, with its unit; formulas are read as such."""
    title: str
    """What the vertical axis says."""
    found: Profile
    logarithmic: bool = False
    """Whether the horizontal axis is."""


@styled
def plot_response(responses: Sequence[Response], *, label: str = "") -> Figure:
    """Draw mean responses and the intervals of 68 % around them; bins without entries are left out.

    Raises:
        DataError: There is nothing to draw.
    """
    if not responses:
        raise DataError("no responses to draw")
    figure, axes = panels(len(responses), (4.6, 3.3), columns=2)
    for axis, response in zip(axes, responses, strict=True):
        edges, found = response.found.edges, response.found
        centre_b = np.sqrt(edges[1:] * edges[:-1]) if response.logarithmic else (edges[1:] + edges[:-1]) / 2
        axis.stairs(found.high_b, edges, baseline=found.low_b, fill=True, color=COLOURS[1], alpha=0.35, label="68 %")
        axis.plot(centre_b, found.mean_b, "o", ms=4, color=COLOURS[2], label="mean")
        axis.axhline(1, color="0.5", lw=0.8, ls="--")
        axis.set(xscale="log" if response.logarithmic else "linear", xlim=(edges[0], edges[-1]))
        if response.logarithmic:
            log_ticks(axis.xaxis)
        axis.set_xlabel(response.of, fontsize=12)
        axis.set_ylabel(response.title, fontsize=12)
        short_ticks(axis.yaxis, 5)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside upper right", ncols=2)
    return finish(figure, label)


@styled
def plot_latent_scan(
    latent_m: Sequence[int], sigma_m_by_title: Mapping[str, Sequence[Measured]], *, label: str = ""
) -> Figure:
    """Draw the spread of each variable's residuals against the number of latent variables of some models.

    Raises:
        DataError: There are no models or variables.
    """
    if not latent_m or not sigma_m_by_title:
        raise DataError("no models to compare")
    order = np.argsort(latent_m, kind="stable")
    figure, axes = panels(len(sigma_m_by_title), (3.8, 2.9))
    for axis, (title, sigma_m) in zip(axes, sigma_m_by_title.items(), strict=True):
        value_m = np.array([sigma_m[m].value for m in order])
        error_m = np.nan_to_num([sigma_m[m].error for m in order])
        axis.errorbar(np.asarray(latent_m)[order], value_m, error_m, fmt="o-", ms=4, color=COLOURS[0], capsize=2)
        axis.set_ylim(bottom=0, top=1.15 * float(np.nanmax([*value_m, 1e-12])))
        axis.set_xlabel("Latent variables", fontsize=12)
        axis.set_ylabel(rf"$\sigma$({title})", fontsize=12)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.tick_params(axis="x", which="minor", bottom=False, top=False)
        short_ticks(axis.yaxis, 5)
    return finish(figure, label)


@styled
def plot_bits(bits_by_name: Mapping[str, float], *, label: str = "") -> Figure:
    """Draw the mean number of bits that each variable takes.

    Raises:
        DataError: There are no variables.
    """
    if not bits_by_name:
        raise DataError("no variables to draw")
    names, bits_f = [plain(name, 30) for name in bits_by_name], np.array(list(bits_by_name.values()))
    figure = Figure(figsize=(7.0, 0.32 * len(names) + 1.6), layout="constrained")
    axis = figure.subplots()
    bars = axis.barh(range(len(names)), bits_f, color=COLOURS[0], alpha=0.7)
    axis.bar_label(bars, [f"{bits:.2f}" for bits in bits_f], padding=3, fontsize=10)
    axis.set_yticks(range(len(names)), names)
    axis.margins(y=0.02)
    axis.invert_yaxis()
    axis.tick_params(axis="y", which="both", length=0)
    axis.set_xlim(0, 1.15 * float(max(bits_f.max(), 1e-3)))
    axis.set_xlabel("Mean bits per value")
    return finish(figure, label)
