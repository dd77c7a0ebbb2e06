"""Pictures of events.

Axes: y/x pixel, c channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.metrics import FloatArray
from hepml_core.plots.style import finish, plain, styled


@dataclass(frozen=True, slots=True)
class Picture:
    """An event's picture and the lines of text above it."""

    image_yxc: NDArray[Any]
    """Grey, RGB or RGBA; whole numbers up to their type's maximum, or floats from 0 to 1."""
    lines: tuple[str, ...]


@styled
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
        axis.set_title("\n".join(plain(line, 34) for line in picture.lines), fontsize=9.5, loc="left")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.set_axis_off()
    return finish(figure, label)


def _to_rgb(image_yxc: NDArray[Any]) -> FloatArray:
    if image_yxc.ndim == 2:
        image_yxc = image_yxc[:, :, None]
    if image_yxc.ndim != 3 or image_yxc.shape[2] not in (1, 3, 4):
        raise DataError(f"a picture must be grey, RGB or RGBA (height x width x 1, 3 or 4), got {image_yxc.shape}")
    top = np.iinfo(image_yxc.dtype).max if image_yxc.dtype.kind in "iu" else 1
    scaled_yxc = np.nan_to_num(image_yxc.astype(np.float64) / top, posinf=1).clip(0, 1)
    rgb_yxc: FloatArray = np.broadcast_to(scaled_yxc[:, :, :3], (*scaled_yxc.shape[:2], 3))
    return rgb_yxc
