"""Numbers of several candidates, each measured more than once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from hepml_core.errors import DataError
from hepml_core.plots.style import COLOURS, finish, plain, styled


@styled
def plot_comparison(values: Mapping[str, Sequence[float]], quantity: str, *, label: str = "") -> Figure:
    """Draw a row of points for each candidate, with the mean and, of two and more points, their standard deviation.

    Args:
        values: Values of each candidate, by its name; the first one stands at the top.
        quantity: What was measured.
        label: Text beside the project's name.

    Raises:
        DataError: There is no candidate, or one has no values.
    """
    if not values or not all(values.values()):
        raise DataError("a comparison needs candidates with at least one value each")
    figure = Figure(figsize=(7.5, 0.55 * len(values) + 1.5), layout="constrained")
    axis = figure.subplots()
    for row, found in enumerate(values.values()):
        spread = float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
        colour = COLOURS[row % len(COLOURS)]
        axis.errorbar(np.mean(found), row, xerr=spread, fmt="|", color=colour, markersize=16, capsize=4, zorder=2)
        axis.plot(found, np.full(len(found), row), "o", color=colour, markersize=5, alpha=0.6, zorder=3)
    axis.set_yticks(range(len(values)), [plain(name, 40) for name in values])
    axis.set_ylim(len(values) - 0.4, -0.6)
    axis.set_xlabel(quantity)
    axis.tick_params(axis="y", which="both", length=0)
    axis.grid(axis="x", alpha=0.3)
    return finish(figure, label)
