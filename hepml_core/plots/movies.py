"""Movies of energy that arrives crystal by crystal, as animated GIFs.

Axes: k frame, y/x crystal.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from hepml_core.errors import DataError
from hepml_core.metrics import FloatArray
from hepml_core.plots.style import COLOURS, log_ticks, plain, styled

FRAME_MS = 250
LAST_FRAME_MS = 1500
INCHES = (3.8, 4.6)
DPI = 100
ETA, PHI = r"$\eta$ [crystals]", r"$\phi$ [crystals]"
ENERGY_COLOURS: Colormap = ListedColormap(colormaps["inferno_r"](np.linspace(0.08, 0.95, 160)), "energy")
"""Light to dark, and even the lightest is no white: that is a crystal without a hit."""


@dataclass(frozen=True, slots=True)
class Movie:
    """An event, frame by frame."""

    energy_kyx: NDArray[Any]
    """Energy of the crystals in GeV in each frame; rows follow eta, columns phi; 0 where there is no hit."""
    edge_k: FloatArray
    """Edges of the frames in ns, one more than frames."""
    window_k: Sequence[str]
    """What times each frame shows."""
    lines: tuple[str, ...]
    """Text above: at most two lines."""
    origin: str = "the trigger"
    """What times are measured against."""


@styled
def movie_gifs(movies: Sequence[Movie], *, lowest: float) -> list[bytes]:
    """Draw each movie as an animated GIF; all show the same part of the image, around its centre, that holds every hit.

    The colours of a movie run, logarithmically, from ``lowest`` (GeV) to the largest energy of the event. Below, the sum
    of each frame. The same movies give the same bytes.

    Raises:
        DataError: A movie has no frames, or not one window and one more edge for each.
    """
    for movie in movies:
        frames = len(movie.energy_kyx)
        if not frames or len(movie.window_k) != frames or len(movie.edge_k) != frames + 1:
            raise DataError(
                f"a movie needs a window for each frame and one more edge, got {frames} frames, "
                f"{len(movie.window_k)} windows and {len(movie.edge_k)} edges"
            )
    reach = max((_reach(movie.energy_kyx.max(0)) for movie in movies), default=0)
    return [_draw(movie, reach, lowest) for movie in movies]


def _reach(energy_yx: NDArray[Any]) -> int:
    """Return how many crystals the farthest hit is from the centre."""
    row_h, column_h = np.nonzero(energy_yx)
    rows, columns = energy_yx.shape
    far_h = np.maximum(np.abs(row_h - rows // 2), np.abs(column_h - columns // 2))
    return int(far_h.max(initial=4)) + 1


def _draw(movie: Movie, reach: int, lowest: float) -> bytes:
    """Draw axes and text once, and only what changes for each frame: ten times as fast as drawing everything."""
    figure = Figure(figsize=INCHES, dpi=DPI)
    canvas: Any = FigureCanvasAgg(figure)
    picture, strip = figure.add_axes((0.15, 0.31, 0.66, 0.56)), figure.add_axes((0.15, 0.105, 0.66, 0.085))
    for number, line in enumerate(movie.lines):
        figure.text(0.03, 0.955 - 0.047 * number, plain(line, 52), fontsize=11 if number else 12, va="center")
    highest = max(float(movie.energy_kyx.max()), 2 * lowest)
    rows, columns = movie.energy_kyx.shape[1:]
    extent = (-0.5 - columns // 2, columns - columns // 2 - 0.5, -0.5 - rows // 2, rows - rows // 2 - 0.5)
    norm = LogNorm(lowest, highest, clip=True)
    image = picture.imshow(
        movie.energy_kyx[0], ENERGY_COLOURS, norm, origin="lower", extent=extent, interpolation="nearest", animated=True
    )
    picture.set(xlim=(max(extent[0], -reach - 0.5), min(extent[1], reach + 0.5)))
    picture.set(ylim=(max(extent[2], -reach - 0.5), min(extent[3], reach + 0.5)))
    moving = [image, *_draw_grid(picture), *picture.spines.values()]
    bar = figure.add_axes((0.83, 0.31, 0.03, 0.56))
    figure.colorbar(image, cax=bar)
    log_ticks(bar.yaxis)
    bar.tick_params(which="both", labelsize=8, length=2)
    bar.set_ylabel("Energy [GeV]", fontsize=9)
    filled, now = _draw_strip(strip, movie)
    moving += [filled, now]
    text = picture.text(0.03, 0.97, "", transform=picture.transAxes, va="top", fontsize=11, animated=True)
    text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2})
    canvas.draw()
    empty = canvas.copy_from_bbox(figure.bbox)
    frames = []
    sum_k = movie.energy_kyx.sum((1, 2))
    for number, energy_yx in enumerate(movie.energy_kyx):
        canvas.restore_region(empty)
        image.set_data(np.ma.masked_equal(energy_yx, 0))
        filled.set_data(np.where(np.arange(len(sum_k)) <= number, sum_k, 0), movie.edge_k)
        now.set_xdata([movie.edge_k[number + 1]] * 2)
        text.set_text(movie.window_k[number])
        for artist in [*moving, text]:
            artist.axes.draw_artist(artist)
        frames.append(Image.fromarray(np.array(canvas.buffer_rgba())[:, :, :3]))
    return _to_gif(frames)


def _draw_grid(axis: Axes) -> list[Any]:
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    line: dict[str, Any] = {"colors": "0.9", "lw": 0.4, "animated": True}
    axis.set_xlabel(PHI, fontsize=10)
    axis.set_ylabel(ETA, fontsize=10)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(5, integer=True))
    axis.minorticks_off()
    axis.tick_params(labelsize=9, length=3)
    return [
        axis.vlines(np.arange(left + 1, right), low, high, **line),
        axis.hlines(np.arange(low + 1, high), left, right, **line),
    ]


def _draw_strip(axis: Axes, movie: Movie) -> tuple[Any, Any]:
    """Draw the energy of all frames; return what is filled up to the present frame, and the line that marks it."""
    sum_k = movie.energy_kyx.sum((1, 2))
    axis.stairs(sum_k, movie.edge_k, color="0.6", lw=0.8)
    filled = axis.stairs(sum_k, movie.edge_k, fill=True, color=COLOURS[0], animated=True)
    now = axis.axvline(movie.edge_k[0], color=COLOURS[2], lw=1.2, animated=True)
    axis.set(xlim=(movie.edge_k[0], movie.edge_k[-1]), ylim=(0, 1.15 * (float(sum_k.max()) or 1)))
    axis.set_xlabel(f"Time against {plain(movie.origin)} [ns]", fontsize=10)
    axis.set_ylabel("GeV", fontsize=9, loc="center")
    axis.yaxis.set_major_locator(MaxNLocator(2))
    axis.minorticks_off()
    axis.tick_params(labelsize=8.5, length=2)
    return filled, now


def _to_gif(frames: Sequence[Image.Image]) -> bytes:
    """Bring all frames to one palette, so that no colour flickers, and join them."""
    shades = np.concatenate(
        [
            ENERGY_COLOURS(np.arange(ENERGY_COLOURS.N))[:, :3] * 255,
            np.linspace(0, 255, 32)[:, None].repeat(3, 1),
            *[_fading(colour) for colour in (COLOURS[0], COLOURS[2])],
        ]
    )
    palette = Image.new("P", (1, 1))
    palette.putpalette(shades.round().astype(np.uint8).ravel().tolist())
    painted = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    duration = [FRAME_MS] * (len(painted) - 1) + [LAST_FRAME_MS]
    painted[0].save(
        buffer, format="GIF", save_all=True, append_images=painted[1:], duration=duration, loop=0, disposal=1
    )
    return buffer.getvalue()


def _fading(colour: str, steps: int = 8) -> FloatArray:
    """Return a colour and its mixtures with white, as smooth edges have them."""
    full = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float64)
    return full + (255 - full) * np.linspace(0, 1, steps, endpoint=False)[:, None]
