"""Toy events: one electron or photon each, through the tracker into the crystals.

Suffixes: e event, s shower, y row (eta), x column (phi).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hepml_core.ecal.config import GenerateConfig
from hepml_core.ecal.crystals import CANVAS, CENTRE, MARGIN, read_out
from hepml_core.ecal.hits import Hits
from hepml_core.ecal.showers import CRYSTAL_RAD, Showers, develop, spread
from hepml_core.ecal.tracks import CALORIMETER_RADIUS_M, Particles, cross_tracker, start_particles

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LIGHT_M_PER_NS = 0.299792458
HARD_GEV, HARD_HALF_WIDTH, SOFT_HALF_WIDTH = 3.0, 5, 3
"""Showers above this energy are spread over 11 x 11 crystals, others over 7 x 7: the rest is far below the noise."""


@dataclass(frozen=True, slots=True)
class ToyEvents:
    """Events of one class: what was measured, and the true pseudorapidity of each."""

    hits: Hits
    eta_e: FloatArray


def make_events(label: int, events: int, config: GenerateConfig, rng: Generator) -> ToyEvents:
    """Draw events.

    Args:
        label: 0 photons, 1 electrons.
        events: How many.
        config: What to draw.
        rng: Source of all chance.
    """
    eta_e = rng.uniform(-config.eta_max, config.eta_max, events)
    charge_e = np.where(rng.random(events) < config.positron_fraction, 1, -1) * label
    particles = start_particles(config.pt_gev * np.cosh(eta_e), charge_e)
    arrived = cross_tracker(particles, eta_e, config.field_tesla, config.material_scale, rng)
    energy_eyx, delay_eyx = light_up(arrived, eta_e, config, rng)
    return ToyEvents(read_out(energy_eyx, delay_eyx, config.noise_gev, config.trigger_jitter_ns, rng), eta_e)


def light_up(
    arrived: Particles, eta_e: FloatArray, config: GenerateConfig, rng: Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the energies (event, row, column) in crystals, in GeV, and the sums of energy times delay, in GeV ns.

    The crystal in which the brightest shower of an event peaks is in the middle of the canvas.
    """
    sinh_s = np.sinh(eta_e)[arrived.event_p]
    delay_s = (arrived.path_p - CALORIMETER_RADIUS_M) * np.cosh(eta_e)[arrived.event_p] / LIGHT_M_PER_NS
    start_e = rng.uniform(0.0, 1.0, len(eta_e))  # crystals are everywhere around: any azimuth is like another
    showers = develop(
        arrived.energy_p,
        arrived.charge_p == 0,
        np.arcsinh(arrived.path_p * sinh_s / CALORIMETER_RADIUS_M) / CRYSTAL_RAD,
        arrived.phi_p / CRYSTAL_RAD + start_e[arrived.event_p],
        config.width_jitter,
        rng,
    )
    hard_s = arrived.energy_p > HARD_GEV
    windows = [
        _Window(half, np.flatnonzero(chosen_s), spread(_of(showers, chosen_s), half, config.spot_gev, rng))
        for half, chosen_s in ((HARD_HALF_WIDTH, hard_s), (SOFT_HALF_WIDTH, ~hard_s))
    ]
    row_s, column_s = np.floor(showers.row_s).astype(np.int64), np.floor(showers.column_s).astype(np.int64)
    peak_s = np.concatenate([window.energy_syx.max((1, 2), initial=0.0) for window in windows])
    order_s = np.concatenate([window.shower_s for window in windows])
    brightest_e = _brightest(arrived.event_p[order_s], order_s, peak_s, len(eta_e))
    row_s += MARGIN + CENTRE - row_s[brightest_e][arrived.event_p]
    column_s += MARGIN + CENTRE - column_s[brightest_e][arrived.event_p]
    crystals, energies, delays = [], [], []
    for window in windows:
        crystal_n, inside_n = window.crystals(arrived.event_p, row_s, column_s)
        crystals.append(crystal_n)
        energies.append(window.energy_syx.ravel()[inside_n])
        delays.append((window.energy_syx * delay_s[window.shower_s, None, None].astype(np.float32)).ravel()[inside_n])
    crystal_n = np.concatenate(crystals)
    shape = (len(eta_e), CANVAS, CANVAS)
    energy_eyx, delay_eyx = (
        np.bincount(crystal_n, np.concatenate(part), shape[0] * CANVAS**2).astype(np.float32).reshape(shape)
        for part in (energies, delays)
    )
    return energy_eyx, delay_eyx


@dataclass(frozen=True, slots=True)
class _Window:
    """Energies of some showers in the crystals around their axes."""

    half_width: int
    shower_s: IntArray
    energy_syx: NDArray[np.float32]

    def crystals(self, event_s: IntArray, row_s: IntArray, column_s: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Return the numbers on all canvases of the crystals that are on them, and which those are."""
        step = np.arange(-self.half_width, self.half_width + 1)
        row_syx = row_s[self.shower_s, None, None] + step[:, None]
        column_syx = column_s[self.shower_s, None, None] + step
        inside_syx = (row_syx >= 0) & (row_syx < CANVAS) & (column_syx >= 0) & (column_syx < CANVAS)
        crystal_syx = (event_s[self.shower_s, None, None] * CANVAS + row_syx) * CANVAS + column_syx
        inside_n = inside_syx.ravel()
        return crystal_syx.ravel()[inside_n], inside_n


def _of(showers: Showers, chosen_s: NDArray[np.bool_]) -> Showers:
    return Showers(*(getattr(showers, name)[chosen_s] for name in Showers.__slots__))


def _brightest(event_s: IntArray, shower_s: IntArray, peak_s: NDArray[np.float32], events: int) -> IntArray:
    """Return each event's shower of highest peak."""
    order_s = np.lexsort((peak_s, event_s))
    last_e = np.searchsorted(event_s[order_s], np.arange(events), side="right") - 1
    return shower_s[order_s[last_e]]
