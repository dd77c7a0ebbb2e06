"""Movies of showers: the hits of an event spread over time windows, made on the device that needs them.

Suffixes: b event of a batch, h hit, k frame, y row, x column.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepml_core.ecal.config import EarlyHits
from hepml_core.errors import SettingError

EVENTS_AT_ONCE = 256
"""Events whose hits are spread together: what lies between hits and frames stays in the cache."""


def window_edges(t_min: float, t_max: float, t_step: float) -> NDArray[np.float64]:
    """Return the edges of the time windows, in the unit of the arguments: one more than there are frames.

    Windows are whole steps; what is left of the range before ``t_max`` is no window. Edges are computed in decimals, as
    they are written: the third of -0.1, -0.0901, … is -0.0802 and nothing near it.

    Raises:
        SettingError: Not even one step is within the range.
    """
    start, stop, step = (Decimal(str(float(number))) for number in (t_min, t_max, t_step))
    if step <= 0 or stop - start < step:
        raise SettingError(f"t_step must be above 0 and no longer than the range from {t_min} to {t_max}, got {t_step}")
    return np.array([float(start + number * step) for number in range(int((stop - start) / step) + 1)])


def to_movie(
    crystal_bh: Tensor,
    energy_bh: Tensor,
    time_bh: Tensor,
    *,
    edges: NDArray[np.float64] | Tensor,
    shape: tuple[int, int],
    cumulative: bool,
    early: EarlyHits,
) -> Tensor:
    """Spread hits over frames: frame k shows the hits of edges[k] < t <= edges[k + 1], those of later times nowhere.

    Times and edges are compared as float32: the time of a hit that is written like an edge is in the window that it ends.
    Each crystal is hit once an event, so the sums have one term and the result is the same on every device.

    Args:
        crystal_bh: Number of each hit's crystal, row * columns + column.
        energy_bh: What a frame shows of each hit; 0 is no hit.
        time_bh: Time of each hit, in the unit of the edges.
        edges: Edges of the windows (frames + 1), rising.
        shape: Rows and columns of the image.
        cumulative: Hits stay in all later frames.
        early: Hits of t <= edges[0] are in the first frame (and, if cumulative, stay), or nowhere.

    Returns:
        Frames (event, frame, row, column), float32.
    """
    edge_k = torch.as_tensor(edges, dtype=torch.float32, device=time_bh.device)
    events, (rows, columns), frames = len(crystal_bh), shape, len(edge_k) - 1
    if early == "drop":
        energy_bh = energy_bh * (time_bh > edge_k[0])
    movie = _dark((events, frames, rows * columns), energy_bh.device)
    if cumulative:
        for first in range(0, events, EVENTS_AT_ONCE):
            some = slice(first, first + EVENTS_AT_ONCE)
            lit_bkh = energy_bh[some, None] * (time_bh[some, None] <= edge_k[1:, None])
            movie[some].scatter_add_(2, crystal_bh[some, None].expand_as(lit_bkh), lit_bkh)
    else:
        frame_bh = (torch.bucketize(time_bh, edge_k) - 1).clamp_(min=0)
        inside_bh = frame_bh < frames
        place_bh = frame_bh * inside_bh * (rows * columns) + crystal_bh
        movie.view(events, -1).scatter_add_(1, place_bh, energy_bh * inside_bh)
    return movie.view(events, frames, rows, columns)


def _dark(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return zeros; on a CPU from numpy, which leaves it to the system to clear large memory, in large pages."""
    if device.type == "cpu":
        return torch.from_numpy(np.zeros(shape, np.float32))
    return torch.zeros(shape, dtype=torch.float32, device=device)
