"""Hits of calorimeter images: of 32 x 32 crystals some thirty see anything, and only those are kept.

Suffixes: e event, h hit (of all events, event after event), b event of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepml_core.errors import DataError, SettingError

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

ENERGY_UNIT_GEV, TIME_UNIT_NS = 50.0, 25.0
"""Units of energies and times, those of the public sample: its beam energy, and the time between two bunch crossings."""

PADDING_STEP = 8
"""Widths of padded batches are multiples of this, so that few different shapes occur."""


@dataclass(frozen=True, slots=True)
class Hits:
    """The hits of many events; those of an event are sorted by crystal and name each crystal once.

    Attributes:
        crystal_h: Number of the crystal, row * columns + column; rows follow eta, columns phi.
        energy_h: Energy in units of the beam energy, 50 GeV in the public sample.
        time_h: Time against the trigger in units of 25 ns.
        first_e: Number of each event's first hit, and one more that ends the last event; shape (events + 1,).
        shape: Rows and columns of the image.
    """

    crystal_h: NDArray[np.uint16]
    energy_h: FloatArray
    time_h: FloatArray
    first_e: IntArray
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.first_e) - 1

    @property
    def event_h(self) -> IntArray:
        """Return the number of the event of each hit."""
        return np.repeat(np.arange(len(self)), np.diff(self.first_e))

    def of(self, event_e: IntArray) -> Hits:
        """Return the hits of some events, in the order asked for."""
        count_e = np.diff(self.first_e)[event_e]
        first_e = np.concatenate([[0], np.cumsum(count_e)])
        hit_h = np.arange(first_e[-1]) + np.repeat(self.first_e[event_e] - first_e[:-1], count_e)
        return Hits(self.crystal_h[hit_h], self.energy_h[hit_h], self.time_h[hit_h], first_e, self.shape)

    def where(self, keep_h: NDArray[np.bool_]) -> Hits:
        """Return the hits that are marked; events that lose all stay, empty."""
        first_e = np.concatenate([[0], np.cumsum(keep_h)])[self.first_e]
        return Hits(self.crystal_h[keep_h], self.energy_h[keep_h], self.time_h[keep_h], first_e, self.shape)

    def cropped(self, size: int) -> Hits:
        """Return the hits of the central ``size`` x ``size`` crystals; the seed, at half of rows and columns, stays there.

        The original's crop of an odd margin kept one row and column too many.

        Raises:
            SettingError: The image is smaller.
        """
        rows, columns = self.shape
        if not 1 <= size <= min(rows, columns):
            raise SettingError(f"crop must be between 1 and {min(rows, columns)} crystals, got {size}")
        if size == rows == columns:
            return self
        row_h, column_h = (
            part - (whole // 2 - size // 2) for part, whole in zip(self._place_h(), self.shape, strict=True)
        )
        inside_h = (row_h >= 0) & (row_h < size) & (column_h >= 0) & (column_h < size)
        kept = self.where(inside_h)
        crystal_h = (row_h[inside_h] * size + column_h[inside_h]).astype(np.uint16)
        return Hits(crystal_h, kept.energy_h, kept.time_h, kept.first_e, (size, size))

    def padded(self) -> PaddedHits:
        """Return the hits as a rectangle, padded by zeros."""
        count_e = np.diff(self.first_e)
        width = max(1, -(-int(count_e.max(initial=0)) // PADDING_STEP)) * PADDING_STEP
        real_bh = np.arange(width) < count_e[:, None]
        crystal_bh, energy_bh, time_bh = (np.zeros(real_bh.shape, kind) for kind in (np.int64, np.float32, np.float32))
        crystal_bh[real_bh], energy_bh[real_bh], time_bh[real_bh] = self.crystal_h, self.energy_h, self.time_h
        return PaddedHits(crystal_bh, energy_bh, time_bh)

    def to_images(self) -> NDArray[np.float32]:
        """Return dense images (event, row, column, 2) of energy and time."""
        image_exc = np.zeros((len(self), self.shape[0] * self.shape[1], 2), np.float32)
        image_exc[self.event_h, self.crystal_h] = np.stack([self.energy_h, self.time_h], 1)
        return image_exc.reshape(len(self), *self.shape, 2)

    def _place_h(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        row_h, column_h = np.divmod(self.crystal_h.astype(np.int64), self.shape[1])
        return row_h, column_h


@dataclass(frozen=True, slots=True)
class PaddedHits:
    """Hits of a batch as arrays (event, hit); where an event has no more hits, all three are 0.

    A hit of energy 0 is no hit: adding it to crystal 0 changes nothing.
    """

    crystal_bh: IntArray
    energy_bh: FloatArray
    time_bh: FloatArray


def hits_of_images(image_eyxc: NDArray[np.float32]) -> Hits:
    """Return the hits (energy not 0) of images (event, row, column, 2) of energy and time."""
    events, rows, columns, _ = image_eyxc.shape
    flat_exc = image_eyxc.reshape(events, rows * columns, 2)
    event_h, crystal_h = np.nonzero(flat_exc[:, :, 0])
    energy_h, time_h = flat_exc[event_h, crystal_h].T
    first_e = np.searchsorted(event_h, np.arange(events + 1))
    energy_h, time_h = np.ascontiguousarray(energy_h), np.ascontiguousarray(time_h)
    return Hits(crystal_h.astype(np.uint16), energy_h, time_h, first_e, (rows, columns))


def join(parts: Sequence[Hits]) -> Hits:
    """Return the hits of all parts, one after another.

    Raises:
        DataError: There is no part, or their images differ in size.
    """
    if len({part.shape for part in parts}) != 1:
        raise DataError(f"hits of images of one size are joined, got {sorted({part.shape for part in parts})}")
    count_e = np.concatenate([np.diff(part.first_e) for part in parts])
    return Hits(
        np.concatenate([part.crystal_h for part in parts]),
        np.concatenate([part.energy_h for part in parts]),
        np.concatenate([part.time_h for part in parts]),
        np.concatenate([[0], np.cumsum(count_e)]),
        parts[0].shape,
    )
