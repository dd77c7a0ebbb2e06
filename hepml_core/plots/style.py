"""What all figures share: the field's style, how they are finished, and how they become PNG and PDF.

Nothing touches pyplot or leaves a trace in matplotlib's settings. A figure that ``finish`` returns is laid out, and its
layout is frozen.
"""

from __future__ import annotations

import functools
import io
import math
import unicodedata
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import mplhep
from matplotlib import font_manager
from matplotlib import style as settings
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

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


def styled(draw: Callable[Parameters, Drawn]) -> Callable[Parameters, Drawn]:
    """Run in the style of this module, whatever the user's own settings are, and put those back."""

    @functools.wraps(draw)
    def styled(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Drawn:
        with settings.context(STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return styled


@styled
def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


@styled
def to_pdf(figure: Figure) -> bytes:
    """Return a figure as PDF; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    dateless = {"CreationDate": None, "Creator": "hepml"}
    figure.savefig(buffer, format="pdf", dpi=160, bbox_inches="tight", metadata=dateless)
    return buffer.getvalue()


def panels(count: int, size: tuple[float, float], columns: int = 3) -> tuple[Figure, list[Axes]]:
    """Open a figure with a grid of so many panels of the given width and height in inches."""
    columns = 2 if count == 4 else min(count, columns)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows + 0.4), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def short_ticks(axis: XAxis | YAxis, count: int) -> None:
    """Put about so many numbers at an axis, without a common factor beside it that would need a place of its own."""
    axis.set_major_locator(MaxNLocator(count))
    axis.set_major_formatter(FuncFormatter(short))


def log_ticks(axis: XAxis | YAxis) -> None:
    """Put numbers at a logarithmic axis: at 1, 2 and 5 where it spans less than two decades, else at powers of ten."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(short))
    axis.set_minor_formatter(NullFormatter())


def short(value: float, _: int | None = None) -> str:
    """Write a number at an axis: without a factor, without zeros."""
    return f"{value:.6g}".replace("e-0", "e-")


def curve_style(number: int) -> dict[str, Any]:
    """Return the look of the n-th curve: forty differ."""
    return {"color": COLOURS[number % 10], "linestyle": STROKES[number // 10 % 4]}


def finish(figure: Figure, label: str) -> Figure:
    """Lay the figure out, write the project's name and the label above its first panel, and freeze the layout."""
    name = figure.suptitle("hepml", fontweight="bold", fontsize=15, ha="left", x=0.01)
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)
    name.set_x(figure.axes[0].get_position().x0)
    figure.set_layout_engine("none")
    if label:
        beside: dict[str, Any] = {"xy": (1, 0), "xycoords": name, "xytext": (6, 1), "textcoords": "offset points"}
        figure.axes[0].annotate(plain(label, 80), **beside, va="bottom", fontstyle="italic", annotation_clip=False)
    return figure


def plain(text: str, limit: int = 24) -> str:
    """Make any text safe to draw: one line, no control characters, no formulas, no missing letters, not too long."""
    shown = " ".join("".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text).split())
    shown = "".join(letter if ord(letter) in _letters() else f"\\u{ord(letter):04x}" for letter in shown)
    if len(shown) > limit:
        shown = f"{shown[: limit - limit // 3 - 1]}…{shown[-(limit // 3) :]}"
    return shown.replace("$", r"\$")


@functools.cache
def _letters() -> frozenset[int]:
    return frozenset().union(*(FT2Font(font_manager.findfont(name)).get_charmap() for name in FONTS))
