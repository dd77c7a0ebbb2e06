"""What the crystals' electronics tells: energies with noise, those above threshold, and their times.

Energies in GeV, times in ns. Suffixes: e event, h hit.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hepml_core.ecal.hits import ENERGY_UNIT_GEV, TIME_UNIT_NS, Hits

FloatArray = NDArray[np.float32]

SIZE, MARGIN = 32, 3
"""Crystals of an image on a side, and those beyond on each side, for the seed may lie beside the hardest shower."""
CANVAS = SIZE + 2 * MARGIN
CENTRE = SIZE // 2
"""Row and column of the seed in the image."""

STOCHASTIC, INTERCALIBRATION = 0.028, 0.006
"""Resolution sigma(E)/E of a crystal: the first over sqrt(E/GeV) (CMS, JINST 3 (2008) S08004, chapter 4), and the spread
of the crystals' constants (CMS, JINST 8 (2013) P09009)."""
CONSTANT = 0.004
"""Spread of the scale of a whole event (same, for what is common to neighbouring crystals)."""
THRESHOLD_GEV, NEAR_THRESHOLD_GEV, NEAR = 0.120, 0.080, 7
"""Zero suppression at three times the noise; at twice the noise within so many rows and columns of the seed, where all of
3 x 3 towers of 5 x 5 crystals are read (selective readout: CMS, JINST 3 (2008) S08004, chapter 4)."""
TIME_NOISE_NS, NOISE_REFERENCE_GEV, TIME_CONSTANT_NS = 35.0, 0.040, 0.15
"""Resolution of a time: the first over (E / 40 MeV), and a constant, added in squares (CMS, JINST 5 (2010) T03011)."""
TIME_OFFSET_NS = -0.215
"""Mean time of a hit of a straight photon."""
TIME_RANGE_NS = 62.5
"""Largest absolute time; fits beyond it have lost the pulse and give any time within."""


def read_out(
    energy_eyx: FloatArray, delay_eyx: FloatArray, noise_gev: float, trigger_jitter_ns: float, rng: Generator
) -> Hits:
    """Return what is read of energies in crystals, as images about the crystal of highest energy.

    Args:
        energy_eyx: Energies (event, row, column), ``CANVAS`` on a side.
        delay_eyx: Sums of energy times delay of the particles that brought it, in GeV ns.
        noise_gev: Noise of a crystal.
        trigger_jitter_ns: Spread of the time that all hits of an event share.
        rng: Source of all chance.
    """
    events = len(energy_eyx)
    scale_e = 1 + CONSTANT * rng.standard_normal(events, dtype=np.float32)
    variance_eyx = noise_gev**2 + STOCHASTIC**2 * energy_eyx + (INTERCALIBRATION * energy_eyx) ** 2
    read_eyx = energy_eyx * scale_e[:, None, None]
    read_eyx += np.sqrt(variance_eyx) * rng.standard_normal(energy_eyx.shape, dtype=np.float32)
    seed_row_e, seed_column_e = np.divmod(read_eyx.reshape(events, -1).argmax(1), CANVAS)
    # Not many are above the lower threshold: the rest is done for them alone.
    event_h, row_h, column_h = np.nonzero(read_eyx > NEAR_THRESHOLD_GEV)
    energy_h = read_eyx[event_h, row_h, column_h]
    delay_h = delay_eyx[event_h, row_h, column_h] / np.maximum(energy_eyx[event_h, row_h, column_h], np.float32(1e-6))
    row_h, column_h = row_h - seed_row_e[event_h] + CENTRE, column_h - seed_column_e[event_h] + CENTRE
    near_h = (np.abs(row_h - CENTRE) <= NEAR) & (np.abs(column_h - CENTRE) <= NEAR)
    kept_h = (row_h >= 0) & (row_h < SIZE) & (column_h >= 0) & (column_h < SIZE) & (near_h | (energy_h > THRESHOLD_GEV))
    event_h, energy_h = event_h[kept_h], energy_h[kept_h]
    jitter_e = trigger_jitter_ns * rng.standard_normal(events)
    time_h = jitter_e[event_h] + delay_h[kept_h] + TIME_OFFSET_NS
    time_h += time_resolution(energy_h) * rng.standard_normal(len(energy_h))
    lost_h = np.abs(time_h) > TIME_RANGE_NS
    time_h[lost_h] = rng.uniform(-TIME_RANGE_NS, TIME_RANGE_NS, int(lost_h.sum()))
    return Hits(
        (row_h * SIZE + column_h)[kept_h].astype(np.uint16),
        (energy_h / ENERGY_UNIT_GEV).astype(np.float32),
        (time_h / TIME_UNIT_NS).astype(np.float32),
        np.searchsorted(event_h, np.arange(events + 1)),
        (SIZE, SIZE),
    )


def time_resolution(energy_h: FloatArray) -> FloatArray:
    """Return the resolution of a hit's time, in ns."""
    resolution_h: FloatArray = np.hypot(TIME_NOISE_NS * NOISE_REFERENCE_GEV / energy_h, TIME_CONSTANT_NS)
    return resolution_h
