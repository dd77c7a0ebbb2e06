"""The history of a fit.

Axes: e epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hepml_core.errors import DataError
from hepml_core.metrics import FloatArray
from hepml_core.plots.style import COLOURS, finish, plain, styled

LARGE_SPAN = 20
"""Values that fall by more than this factor are drawn on a logarithmic axis: on a linear one their end would be flat."""


@styled
def plot_history(rows: Sequence[Mapping[str, Any]], *, best_epoch: int | None = None, label: str = "") -> Figure:
    """Draw loss, accuracy and learning rate against the epoch.

    Args:
        rows: One per epoch, of ``epoch``, ``train_loss``, ``valid_loss``, ``train_accuracy``, ``valid_accuracy``,
            ``learning_rate`` and ``phase``; a value may be missing or not finite, a panel without values is left out.
        best_epoch: The epoch whose weights were kept.
        label: Free text behind the project's name.

    Raises:
        DataError: There are no epochs.
    """
    if not rows:
        raise DataError("a history without epochs cannot be drawn")
    epoch_e = [int(row.get("epoch", number)) for number, row in enumerate(rows, start=1)]
    panels = [panel for panel in ("loss", "accuracy", "learning_rate") if _has(rows, panel)] or ["loss"]
    heights = [1.4 if panel == "learning_rate" else 2.6 for panel in panels]
    figure = Figure(figsize=(8.5, sum(heights) + 0.9), layout="constrained")
    axes = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    for panel, axis in zip(panels, axes, strict=True):
        _draw_history_panel(axis, panel, epoch_e, rows)
    handles = [*axes[0].get_lines(), *_mark_phases(axes, epoch_e, [str(row.get("phase", "")) for row in rows])]
    if best_epoch is not None:
        best = [axis.axvline(best_epoch, color="0.35", lw=1, label=f"best epoch: {best_epoch}") for axis in axes]
        handles.append(best[0])
    axes[-1].set_xlabel("Epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes[-1].set_xlim(min(epoch_e) - 0.5, max(epoch_e) + 0.5)
    figure.align_ylabels(axes)
    figure.legend(handles=handles, loc="outside right upper")
    return finish(figure, label)


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> FloatArray:
    values_e = np.array([math.nan if row.get(name) is None else float(row[name]) for row in rows])
    return np.where(np.isfinite(values_e), values_e, np.nan)


def _has(rows: Sequence[Mapping[str, Any]], panel: str) -> bool:
    return any(np.isfinite(_values(rows, name)).any() for name in (panel, f"train_{panel}", f"valid_{panel}"))


def _draw_history_panel(axis: Axes, panel: str, epoch_e: Sequence[int], rows: Sequence[Mapping[str, Any]]) -> None:
    axis.tick_params(axis="x", which="minor", bottom=False, top=False)
    axis.set_ylabel(panel.replace("_", " ").capitalize())
    marker = "o" if len(rows) <= 40 else ""
    if panel == "learning_rate":
        axis.plot(epoch_e, _values(rows, panel), color="0.25", marker=marker, ms=3, drawstyle="steps-mid")
        axis.set_yscale("log")
        return
    curves = {part: _values(rows, f"{part}_{panel}") for part in ("train", "valid")}
    for part, name, colour, stroke in (("train", "training", 0, "--"), ("valid", "validation", 2, "-")):
        axis.plot(epoch_e, curves[part], stroke, color=COLOURS[colour], marker=marker, ms=4, label=name)
    drawn = np.concatenate([values_e[np.isfinite(values_e)] for values_e in curves.values()])
    if len(drawn) and 0 < drawn.min() < drawn.max() / LARGE_SPAN:
        axis.set_yscale("log")


def _mark_phases(axes: Sequence[Axes], epoch_e: Sequence[int], phase_e: Sequence[str]) -> list[Patch]:
    """Shade every other phase and draw the boundaries between them; return what the legend says of it."""
    starts = [0, *(i for i in range(1, len(phase_e)) if phase_e[i] != phase_e[i - 1])]
    if len(starts) < 2:
        return []
    handles = []
    for number, (start, stop) in enumerate(zip(starts, [*starts[1:], len(phase_e)], strict=True)):
        shade = ("white", "0.95")[number % 2]
        handles.append(Patch(facecolor=shade, edgecolor="0.5", label=f"phase: {plain(phase_e[start], 20)}"))
        for axis in axes:
            axis.axvspan(epoch_e[start] - 0.5, epoch_e[stop - 1] + 0.5, color=shade, zorder=0, lw=0)
            if start:
                axis.axvline(epoch_e[start] - 0.5, color="0.5", ls=":", lw=1.2)
    return handles
