"""Figures of a classifier.

Class names are shown as they are: shortened where they are long, never read as formulas.

Axes: e event, c class, b bin, p point on a curve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from hepml_core.errors import DataError
from hepml_core.metrics import AucSlice, ConfusionMatrix, FloatArray, Measured, RocCurve
from hepml_core.plots.style import COLOURS, curve_style, finish, panels, plain, styled


@styled
def plot_confusion(matrix: ConfusionMatrix, class_names: Sequence[str], *, label: str = "") -> Figure:
    """Draw a confusion matrix: rows true, columns predicted; in each cell the fraction of the row and the count."""
    classes = len(class_names)
    cell = max(4.4 / classes, 0.62 if classes <= 12 else 0.5)
    figure = Figure(figsize=(cell * classes + 2.6, cell * classes + 1.9), layout="compressed")
    axis = figure.subplots()
    blues = colormaps["Blues"].with_extremes(bad="0.92")
    image = axis.imshow(np.ma.masked_invalid(matrix.fraction_cc), cmap=blues, vmin=0, vmax=_highest(matrix))
    bar = axis.inset_axes((1 + 0.1 / (cell * classes), 0, 0.2 / (cell * classes), 1))
    figure.colorbar(image, cax=bar, label="Fraction of the true class")
    names = [plain(name) for name in class_names]
    slanted = classes > 4 or max(map(len, names)) * 0.11 > cell
    axis.set_xticks(range(classes), names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    for tick in axis.get_xticklabels():
        tick.set_rotation_mode("anchor" if slanted else "default")
    axis.set_yticks(range(classes), names)
    axis.tick_params(which="both", length=0)
    axis.set_xlabel("Predicted class", loc="center")
    axis.set_ylabel("True class", loc="center")
    if classes <= 30:
        _write_cells(axis, matrix, cell)
    return finish(figure, label)


def _highest(matrix: ConfusionMatrix) -> float:
    return float(np.nan_to_num(matrix.fraction_cc).max(initial=0.0)) or 1.0


def _write_cells(axis: Axes, matrix: ConfusionMatrix, cell: float) -> None:
    size = min(13.0, 19 * cell)
    line = size / (72 * cell)
    top = _highest(matrix)
    for (row, column), fraction in np.ndenumerate(matrix.fraction_cc):
        colour = "white" if fraction > top / 2 else "black"
        text = "-" if np.isnan(fraction) else f"{fraction:.2f}"
        count = _count_text(float(matrix.count_cc[row, column]), exact=len(matrix.count_cc) <= 8)
        place: dict[str, Any] = {"ha": "center", "color": colour, "in_layout": False}
        axis.text(column, row + 0.1 * line, text, va="bottom", fontsize=size, **place)
        axis.text(column, row + 0.3 * line, count, va="top", fontsize=0.75 * size, **place)


def _count_text(count: float, exact: bool) -> str:
    if abs(count) < 10_000 or exact:
        return f"{count:.0f}" if count.is_integer() or abs(count) >= 1000 else f"{count:.3g}"
    scale, unit = (1e3, "k") if abs(count) < 1e6 else (1e6, "M")
    return f"{count / scale:.3g}{unit}"


@styled
def plot_roc(
    curve_by_class: Mapping[str, RocCurve | None], auc_by_class: Mapping[str, Measured], *, label: str = ""
) -> Figure:
    """Draw each class's ROC curve and, beside it, its background rejection (one over the false positive rate).

    A class without a curve appears in the legend only.
    """
    names = [
        f"{plain(name, 20)}  {f'AUC {auc_by_class[name]}' if curve_by_class[name] else 'no curve'}"
        for name in curve_by_class
    ]
    columns = 1 + len(names) // 26
    small = len(names) > 8
    width = columns * (0.7 + (0.075 if small else 0.09) * max(map(len, names), default=0))
    figure = Figure(figsize=(10 + width, 5.4 if small else 5.0), layout="constrained")
    roc, rejection = figure.subplots(1, 2)
    for number, (name, curve) in enumerate(zip(names, curve_by_class.values(), strict=True)):
        false_p, true_p = _thinned(curve) if curve else (np.empty(0), np.empty(0))
        roc.plot(false_p, true_p, label=f" {name}", **curve_style(number))  # matplotlib hides labels that begin with _
        kept_p = false_p > 0
        rejection.plot(true_p[kept_p], 1 / false_p[kept_p], **curve_style(number))
    chance_p = np.linspace(0.01, 1, 100)
    roc.plot([0, 1], [0, 1], "--", color="0.5", lw=1, label=" chance")
    rejection.plot(chance_p, 1 / chance_p, "--", color="0.5", lw=1)
    roc.set(xlim=(0, 1), ylim=(0, 1), xlabel="False positive rate", ylabel="True positive rate")
    rejection.set(xlim=(0, 1), yscale="log", xlabel="True positive rate", ylabel="Background rejection, 1 / FPR")
    rejection.set_ylim(bottom=1)
    figure.legend(loc="outside right upper", ncols=columns, fontsize=9 if small else 10.5)
    return finish(figure, label)


def _thinned(curve: RocCurve, points: int = 1500) -> tuple[FloatArray, FloatArray]:
    """Keep as many points as an eye can see: half evenly along the curve, half evenly in the signal efficiency."""
    false_p, true_p = curve.false_positive_rate, curve.true_positive_rate
    if len(false_p) <= points:
        return false_p, true_p
    length_p = np.cumsum(np.abs(np.diff(false_p, prepend=0)) + np.abs(np.diff(true_p, prepend=0)))
    along_p = np.searchsorted(length_p, np.linspace(0, length_p[-1], points // 2))
    across_p = np.searchsorted(np.maximum.accumulate(true_p), np.linspace(0, 1, points // 2))
    kept_p = np.unique(np.concatenate([[0], along_p, across_p, [len(false_p) - 1]]).clip(max=len(false_p) - 1))
    return false_p[kept_p], true_p[kept_p]


@styled
def plot_scores(
    probability_ec: ArrayLike,
    label_e: ArrayLike,
    class_names: Sequence[str],
    weight_e: ArrayLike | None = None,
    *,
    label: str = "",
) -> Figure:
    """Draw how the probability of each class is distributed for the events of each true class, with statistical errors.

    With more than six classes each panel compares its class with all others together. With two, one panel says it all.
    """
    scores_ec = np.asarray(probability_ec, dtype=np.float64).clip(0, 1)  # a softmax may round beyond
    labels_e = np.asarray(label_e)
    weights_e = np.ones(len(labels_e)) if weight_e is None else np.asarray(weight_e, dtype=np.float64)
    classes, names = len(class_names), [plain(name) for name in class_names]
    shown = [1] if classes == 2 else list(range(classes))
    columns = 2 if classes == 4 else min(len(shown), 3 if classes <= 9 else 5)
    lines = math.ceil(len(shown) / columns)
    small = 3.0 if columns == 5 else 4.2
    figure = Figure(figsize=(max(small * columns, 5) + 2.4, max(0.82 * small * lines, 4) + 0.6), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    axes[0].set(xlim=(0, 1), yscale="log")
    axes[0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    lowest = 1.0
    for c, axis in zip(shown, axes, strict=False):
        for true, kind_e in enumerate(_kinds(labels_e, c, classes)):
            lowest = min(lowest, _draw_distribution(axis, scores_ec[kind_e, c], weights_e[kind_e], curve_style(true)))
        axis.set_title(f"Probability of {names[c]}", fontsize=10.5 if columns < 5 else 9, loc="left")
        if columns == 5:
            axis.minorticks_off()
    for axis in axes[max(len(shown) - columns, 0) :]:
        axis.tick_params(labelbottom=True)
    for axis in axes[len(shown) :]:
        axis.remove()
    axes[0].set_ylim(lowest / 3, 1.5)
    figure.supxlabel("Probability", fontsize=13)
    figure.supylabel("Fraction of events per bin", fontsize=13)
    legend = [f"true {name}" for name in names] if classes <= 6 else ["class of the panel", "all other classes"]
    handles = [Line2D([], [], **curve_style(true), label=name) for true, name in enumerate(legend)]
    figure.legend(handles=handles, loc="outside right upper")
    return finish(figure, label)


@styled
def plot_auc_slices(slices_by_title: Mapping[str, Sequence[AucSlice]], overall: Measured, *, label: str = "") -> Figure:
    """Draw the area under the ROC curve in slices of some quantities, over the area of all events and its error (band).

    Raises:
        DataError: There is nothing to draw.
    """
    if not slices_by_title:
        raise DataError("no slices whose areas could be drawn")
    figure, axes = panels(len(slices_by_title), (4.6, 3.8))
    for axis, (title, slices) in zip(axes, slices_by_title.items(), strict=True):
        axis.axhspan(overall.low, overall.high, color="0.88", label="all events")
        axis.axhline(overall.value, color="0.5", lw=1)
        defined = [one for one in slices if not math.isnan(one.auc.value)]
        centre = [(one.low + one.high) / 2 for one in defined]
        width = [(one.high - one.low) / 2 for one in defined]
        error = [one.auc.error for one in defined]
        bars: dict[str, Any] = {"fmt": "o", "ms": 4.5, "lw": 1.4, "color": COLOURS[0], "label": "slice"}
        axis.errorbar(centre, [one.auc.value for one in defined], error, width, **bars)
        axis.set_xlabel(title)
        axis.set_ylabel("Area under the ROC curve", fontsize=12)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2)
    return finish(figure, label)


def _kinds(label_e: NDArray[Any], c: int, classes: int) -> list[NDArray[np.bool_]]:
    return [label_e == true for true in range(classes)] if classes <= 6 else [label_e == c, label_e != c]


def _draw_distribution(axis: Axes, score_e: FloatArray, weight_e: FloatArray, line: Mapping[str, Any]) -> float:
    """Draw a histogram of unit sum as steps with error bars; return its lowest filled bin."""
    total = weight_e.sum()
    if not total > 0:
        return 1.0
    edges = np.linspace(0, 1, 26)
    height_b = np.histogram(score_e, edges, weights=weight_e)[0] / total
    error_b = np.sqrt(np.histogram(score_e, edges, weights=weight_e**2)[0]) / total
    axis.stairs(height_b, edges, baseline=None, **line)
    centre_b, filled_b = (edges[1:] + edges[:-1]) / 2, height_b > 0
    bars = (centre_b[filled_b], height_b[filled_b], np.minimum(error_b, 0.999 * height_b)[filled_b])
    axis.errorbar(*bars, fmt="none", ecolor=line["color"], elinewidth=0.8)
    return float(height_b[filled_b].min(initial=1.0))
