"""Figures of a classifier in the field's style; the only door to matplotlib and mplhep.

Every function returns a matplotlib ``Figure`` that is laid out and ready for ``to_png`` and ``to_pdf``. Nothing
touches pyplot or leaves a trace in matplotlib's settings. Class names are shown as they are: shortened where they are
long, never read as formulas. ``label`` is free text behind the project's name, such as ``simulation``.

Axes: e event, c class, b bin, p point on a curve, y/x pixel.
"""

from __future__ import annotations

import functools
import io
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepml_core.errors import DataError, DependencyError
from hepml_core.metrics import ConfusionMatrix, FloatArray, Measured, RocCurve

try:
    import mplhep
    from matplotlib import colormaps, font_manager, style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError as error:
    raise DependencyError("matplotlib and mplhep", "report", "drawing figures") from error

FONTS = ["TeX Gyre Heros", "DejaVu Sans"]
"""Both come with mplhep and matplotlib; the second has the letters that the first lacks."""

COLOURS = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]
"""Ten colours that colour-blind readers can tell apart (arXiv:2107.02270)."""

STROKES = ["-", "--", "-.", ":"]
"""One for each ten curves."""

STYLE: dict[str, Any] = {
    **mplhep.style.CMS,
    "font.family": FONTS,
    "font.size": 13,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 6,
    "ytick.major.size": 6,
    "xtick.minor.size": 3,
    "ytick.minor.size": 3,
    "axes.linewidth": 1,
    "legend.fontsize": 10.5,
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.6,
}

Parameters = ParamSpec("Parameters")
Drawn = TypeVar("Drawn")


@dataclass(frozen=True, slots=True)
class Picture:
    """An event's picture and the lines of text above it."""

    image_yxc: NDArray[Any]
    """Grey, RGB or RGBA; whole numbers up to their type's maximum, or floats from 0 to 1."""
    lines: tuple[str, ...]


def _styled(draw: Callable[Parameters, Drawn]) -> Callable[Parameters, Drawn]:
    """Run in the style of this module, whatever the user's own settings are, and put those back."""

    @functools.wraps(draw)
    def styled(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Drawn:
        with style.context(STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return styled


@_styled
def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


@_styled
def to_pdf(figure: Figure) -> bytes:
    """Return a figure as PDF; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    dateless = {"CreationDate": None, "Creator": "hepml"}
    figure.savefig(buffer, format="pdf", dpi=160, bbox_inches="tight", metadata=dateless)
    return buffer.getvalue()


@_styled
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
    return _finish(figure, label)


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
    for part, name, colour, stroke in (("train", "training", 0, "--"), ("valid", "validation", 2, "-")):
        values_e = _values(rows, f"{part}_{panel}")
        axis.plot(epoch_e, values_e, stroke, color=COLOURS[colour], marker=marker, ms=4, label=name)


def _mark_phases(axes: Sequence[Axes], epoch_e: Sequence[int], phase_e: Sequence[str]) -> list[Patch]:
    """Shade every other phase and draw the boundaries between them; return what the legend says of it."""
    starts = [0, *(i for i in range(1, len(phase_e)) if phase_e[i] != phase_e[i - 1])]
    if len(starts) < 2:
        return []
    handles = []
    for number, (start, stop) in enumerate(zip(starts, [*starts[1:], len(phase_e)], strict=True)):
        shade = ("white", "0.95")[number % 2]
        handles.append(Patch(facecolor=shade, edgecolor="0.5", label=f"phase: {_plain(phase_e[start], 20)}"))
        for axis in axes:
            axis.axvspan(epoch_e[start] - 0.5, epoch_e[stop - 1] + 0.5, color=shade, zorder=0, lw=0)
            if start:
                axis.axvline(epoch_e[start] - 0.5, color="0.5", ls=":", lw=1.2)
    return handles


@_styled
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
    names = [_plain(name) for name in class_names]
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
    return _finish(figure, label)


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


@_styled
def plot_roc(
    curve_by_class: Mapping[str, RocCurve | None], auc_by_class: Mapping[str, Measured], *, label: str = ""
) -> Figure:
    """Draw each class's ROC curve and, beside it, its background rejection (one over the false positive rate).

    A class without a curve appears in the legend only.
    """
    names = [
        f"{_plain(name, 20)}  {f'AUC {auc_by_class[name]}' if curve_by_class[name] else 'no curve'}"
        for name in curve_by_class
    ]
    columns = 1 + len(names) // 26
    small = len(names) > 8
    width = columns * (0.7 + (0.075 if small else 0.09) * max(map(len, names), default=0))
    figure = Figure(figsize=(10 + width, 5.4 if small else 5.0), layout="constrained")
    roc, rejection = figure.subplots(1, 2)
    for number, (name, curve) in enumerate(zip(names, curve_by_class.values(), strict=True)):
        false_p, true_p = _thinned(curve) if curve else (np.empty(0), np.empty(0))
        roc.plot(false_p, true_p, label=f" {name}", **_line(number))  # matplotlib hides labels that begin with _
        kept_p = false_p > 0
        rejection.plot(true_p[kept_p], 1 / false_p[kept_p], **_line(number))
    chance_p = np.linspace(0.01, 1, 100)
    roc.plot([0, 1], [0, 1], "--", color="0.5", lw=1, label=" chance")
    rejection.plot(chance_p, 1 / chance_p, "--", color="0.5", lw=1)
    roc.set(xlim=(0, 1), ylim=(0, 1), xlabel="False positive rate", ylabel="True positive rate")
    rejection.set(xlim=(0, 1), yscale="log", xlabel="True positive rate", ylabel="Background rejection, 1 / FPR")
    rejection.set_ylim(bottom=1)
    figure.legend(loc="outside right upper", ncols=columns, fontsize=9 if small else 10.5)
    return _finish(figure, label)


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


@_styled
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
    classes, names = len(class_names), [_plain(name) for name in class_names]
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
            lowest = min(lowest, _draw_distribution(axis, scores_ec[kind_e, c], weights_e[kind_e], _line(true)))
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
    handles = [Line2D([], [], **_line(true), label=name) for true, name in enumerate(legend)]
    figure.legend(handles=handles, loc="outside right upper")
    return _finish(figure, label)


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


@_styled
def plot_pictures(pictures: Sequence[Picture], *, columns: int = 4, label: str = "") -> Figure:
    """Draw pictures of events in a grid, each under its lines of text.

    Raises:
        DataError: There are no pictures, or one is neither grey, RGB nor RGBA.
    """
    if not pictures:
        raise DataError("no pictures to draw")
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    text = 0.2 * max(len(picture.lines) for picture in pictures)
    figure = Figure(figsize=(max(2.7 * columns, 3), (2.7 + text) * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for picture, axis in zip(pictures, axes, strict=False):
        axis.imshow(_to_rgb(picture.image_yxc))
        axis.set_title("\n".join(_plain(line, 34) for line in picture.lines), fontsize=9.5, loc="left")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.set_axis_off()
    return _finish(figure, label)


def _to_rgb(image_yxc: NDArray[Any]) -> FloatArray:
    if image_yxc.ndim == 2:
        image_yxc = image_yxc[:, :, None]
    if image_yxc.ndim != 3 or image_yxc.shape[2] not in (1, 3, 4):
        raise DataError(f"a picture must be grey, RGB or RGBA (height x width x 1, 3 or 4), got {image_yxc.shape}")
    top = np.iinfo(image_yxc.dtype).max if image_yxc.dtype.kind in "iu" else 1
    scaled_yxc = np.nan_to_num(image_yxc.astype(np.float64) / top, posinf=1).clip(0, 1)
    rgb_yxc: FloatArray = np.broadcast_to(scaled_yxc[:, :, :3], (*scaled_yxc.shape[:2], 3))
    return rgb_yxc


def _line(number: int) -> dict[str, Any]:
    """Return the look of the n-th curve: forty differ."""
    return {"color": COLOURS[number % 10], "linestyle": STROKES[number // 10 % 4]}


def _finish(figure: Figure, label: str) -> Figure:
    """Lay the figure out, write the project's name and the label above its first panel, and freeze the layout."""
    name = figure.suptitle("hepml", fontweight="bold", fontsize=15, ha="left", x=0.01)
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)
    name.set_x(figure.axes[0].get_position().x0)
    figure.set_layout_engine("none")
    if label:
        beside: dict[str, Any] = {"xy": (1, 0), "xycoords": name, "xytext": (6, 1), "textcoords": "offset points"}
        figure.axes[0].annotate(_plain(label, 80), **beside, va="bottom", fontstyle="italic", annotation_clip=False)
    return figure


def _plain(text: str, limit: int = 24) -> str:
    """Make any text safe to draw: one line, no control characters, no formulas, no missing letters, not too long."""
    shown = " ".join("".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text).split())
    shown = "".join(letter if ord(letter) in _letters() else f"\\u{ord(letter):04x}" for letter in shown)
    if len(shown) > limit:
        shown = f"{shown[: limit - limit // 3 - 1]}…{shown[-(limit // 3) :]}"
    return shown.replace("$", r"\$")


@functools.cache
def _letters() -> frozenset[int]:
    return frozenset().union(*(FT2Font(font_manager.findfont(name)).get_charmap() for name in FONTS))
