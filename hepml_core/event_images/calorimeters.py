"""Energy in a CMS-like preshower, ECAL and HCAL.

Lengths are in m, energies in GeV. Axes: p particle, s part of a shower, l layer, h hit or cell. Places, cell sizes and
resolutions: CMS, JINST 3 (2008) S08004, chapters 4 and 5. Thresholds are chosen so that about as many cells are lit as
in the pictures of the experiment. Left out: showers that start in the tracker, dead cells, and HCAL outside the coil.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hepml_core.event_images.helices import ECAL, HCAL, PRESHOWER, Helices, Hits
from hepml_core.event_images.physics import ELECTRON, MUON, NEUTRINO, PHOTON, FloatArray, IntArray, Particles

BoolArray = NDArray[np.bool_]

PRESHOWER_M, PRESHOWER_INNER_M, PRESHOWER_OUTER_M = np.array([3.0335, 3.0784]), 0.45, 1.23
PRESHOWER_SLOPE_MIN = 1.0
"""Below this sinh(eta) nothing that comes straight or nearly so gets there; it spares time."""
ECAL_BARREL_M, ECAL_ENDCAP_M, ECAL_BARREL_ETA, ETA_MAX = 1.30, 3.20, 1.479, 3.0
HCAL_BARREL_M, HCAL_ENDCAP_M, HCAL_BARREL_ETA = 1.80, 3.90, 1.392
HCAL_FRONT_SHARE, HCAL_DEPTH_M, HCAL_DEPTH_MAX_M = 0.35, 0.30, 1.2
"""Share of endcap towers whose energy is read at the front; scale and end of the depths of the others."""

ECAL_CELL, HCAL_CELL = 0.01745, 0.087
"""Width of a cell in eta and phi: a crystal (in the endcaps too, for simplicity), a tower."""
ECAL_SHARES, ECAL_SPREAD = np.array([0.75, 0.13, 0.08, 0.04]), 0.8
HCAL_SHARES, HCAL_SPREAD = np.array([0.70, 0.15, 0.10, 0.05]), 0.6
"""Parts of a shower (the first on its axis) and the standard deviation of the others' distance, in cells."""
ECAL_STOCHASTIC, ECAL_CONSTANT, HCAL_STOCHASTIC, HCAL_CONSTANT = 0.028, 0.003, 0.9, 0.05
"""Resolution sigma(E)/E: stochastic / sqrt(E) and a constant, added in squares."""
ECAL_BARREL_THRESHOLD_GEV, ECAL_ENDCAP_THRESHOLD_GEV, HCAL_THRESHOLD_GEV = 0.12, 0.6, 0.6
MIP_ECAL_GEV, MIP_HCAL_GEV, MIP_PRESHOWER_GEV = 0.25, 2.0, 8.1e-5
"""What a particle that does not shower leaves."""
HADRONS_THROUGH_ECAL = 0.45
"""Share of hadrons that begin to shower behind the ECAL, which is 1.1 interaction lengths deep."""


def calorimeter_turning(helices: Helices) -> FloatArray:
    """Return the turning angles, in rad, at which paths end in the front of the ECAL."""
    barrel_p = helices.turning_at_radius(np.array([ECAL_BARREL_M]))[:, 0]
    return np.minimum(barrel_p, helices.turning_at_z(np.array([ECAL_ENDCAP_M]))[:, 0])


def calorimeter_hits(particles: Particles, helices: Helices, rng: Generator) -> Hits:
    """Return preshower, ECAL and HCAL hits of the particles that reach the calorimeters without curling."""
    stop_p = calorimeter_turning(helices)
    reaches_p = (stop_p < 2 * np.pi) & (particles.species_p != NEUTRINO)
    helices, species_p, energy_p = (
        helices.take(reaches_p),
        particles.species_p[reaches_p],
        particles.energy_p[reaches_p],
    )
    x_p, y_p, z_p = helices.points(stop_p[reaches_p]).T
    eta_p, phi_p = np.arcsinh(z_p / np.maximum(np.hypot(x_p, y_p), 1e-3)), np.arctan2(y_p, x_p)
    ecal_p = _ecal_energies(species_p, energy_p, rng)
    hcal_p = np.where(species_p == MUON, MIP_HCAL_GEV, energy_p - ecal_p)
    ecal_p = _smear(ecal_p, ECAL_STOCHASTIC, ECAL_CONSTANT, rng)
    hcal_p = _smear(hcal_p, HCAL_STOCHASTIC, HCAL_CONSTANT, rng)
    ecal = spread_over_cells(Showers(eta_p, phi_p, ecal_p), ECAL_CELL, ECAL_SHARES, ECAL_SPREAD, rng)
    hcal = spread_over_cells(Showers(eta_p, phi_p, hcal_p), HCAL_CELL, HCAL_SHARES, HCAL_SPREAD, rng)
    return Hits.join([_preshower_hits(helices, species_p, energy_p, rng), _ecal_hits(ecal), _hcal_hits(hcal, rng)])


def calorimeter_noise(ecal_cells: int, hcal_cells: int, rng: Generator) -> Hits:
    """Draw noise just above threshold in random cells."""
    ecal = _noise_cells(ecal_cells, ECAL_BARREL_THRESHOLD_GEV, rng)
    return Hits.join([_ecal_hits(ecal), _hcal_hits(_noise_cells(hcal_cells, HCAL_THRESHOLD_GEV, rng), rng)])


@dataclass(frozen=True, slots=True)
class Showers:
    """Axes of showers, or middles of cells: eta, phi in rad, and energies in GeV."""

    eta_h: FloatArray
    phi_h: FloatArray
    energy_h: FloatArray


def spread_over_cells(showers: Showers, cell: float, shares: FloatArray, spread: float, rng: Generator) -> Showers:
    """Spread showers over a grid of cells in eta and phi; the energies of the cells sum to those of the showers.

    Args:
        showers: Axes and energies.
        cell: Width of a cell in eta and, to the nearest whole number of cells around, in phi.
        shares: Parts that a shower splits into; they sum to 1. The first stays on the axis.
        spread: Standard deviation of another part's distance from the axis, in cells, along eta and along phi.
        rng: Source of chance.

    Returns:
        One entry for each cell with energy.
    """
    around = round(2 * np.pi / cell)
    step_ps = rng.normal(0.0, spread, (2, len(showers.eta_h), len(shares)))
    step_ps[:, :, 0] = 0.0
    eta_ps = np.rint(showers.eta_h[:, None] / cell + step_ps[0]).astype(np.int64)
    phi_ps = np.rint(showers.phi_h[:, None] * (around / (2 * np.pi)) + step_ps[1]).astype(np.int64) % around
    key_h, inverse = np.unique(eta_ps * around + phi_ps, return_inverse=True)
    part_ps = showers.energy_h[:, None] * shares
    energy_h = np.bincount(inverse.ravel(), weights=part_ps.ravel(), minlength=len(key_h))
    return Showers(key_h // around * cell, key_h % around * (2 * np.pi / around), energy_h.astype(np.float64))


def _ecal_energies(species_p: IntArray, energy_p: FloatArray, rng: Generator) -> FloatArray:
    """Return what each particle leaves in the ECAL: all, a minimum, or a random part of a hadron's energy."""
    through_p = rng.random(len(energy_p)) < HADRONS_THROUGH_ECAL
    hadron_p = np.where(through_p, np.minimum(MIP_ECAL_GEV, energy_p), energy_p * rng.uniform(0.1, 0.8, len(energy_p)))
    return np.where(_is_electromagnetic(species_p), energy_p, np.where(species_p == MUON, MIP_ECAL_GEV, hadron_p))


def _smear(energy_p: FloatArray, stochastic: float, constant: float, rng: Generator) -> FloatArray:
    width_p = np.sqrt(stochastic**2 * energy_p + (constant * energy_p) ** 2)
    return np.maximum(energy_p + width_p * rng.normal(0.0, 1.0, len(energy_p)), 0.0)


def _preshower_hits(helices: Helices, species_p: IntArray, energy_p: FloatArray, rng: Generator) -> Hits:
    """Return hits in the two planes: a charged particle leaves a minimum, an electromagnetic shower several."""
    forward_p = np.abs(helices.slope_p) > PRESHOWER_SLOPE_MIN
    helices, species_p, energy_p = helices.take(forward_p), species_p[forward_p], energy_p[forward_p]
    shower_p = _is_electromagnetic(species_p)
    turning_pl = helices.turning_at_z(PRESHOWER_M)
    point_plx = helices.points(turning_pl)
    radius_pl = np.hypot(point_plx[..., 0], point_plx[..., 1])
    seen_pl = (radius_pl > PRESHOWER_INNER_M) & (radius_pl < PRESHOWER_OUTER_M)
    seen_pl &= ((helices.charge_p != 0) | shower_p)[:, None] & (turning_pl < 2 * np.pi)
    seen_pl &= rng.random(seen_pl.shape) < np.where(
        shower_p[:, None], [0.75, 0.95], 0.97
    )  # lead: 2 and 3 radiation lengths
    minimum_p = np.where(shower_p, 1 + 3 * np.sqrt(energy_p), 1.0)
    energy_pl = MIP_PRESHOWER_GEV * minimum_p[:, None] * (1 + rng.exponential(0.4, seen_pl.shape))
    return Hits.of_kind(PRESHOWER, point_plx[seen_pl], energy_pl[seen_pl])


def _ecal_hits(cells: Showers) -> Hits:
    barrel_h = np.abs(cells.eta_h) < ECAL_BARREL_ETA
    threshold_h = np.where(barrel_h, ECAL_BARREL_THRESHOLD_GEV, ECAL_ENDCAP_THRESHOLD_GEV)
    seen_h = (cells.energy_h > threshold_h) & (np.abs(cells.eta_h) < ETA_MAX)
    z_h = np.full(len(barrel_h), ECAL_ENDCAP_M)
    return Hits.of_kind(ECAL, _cell_points(cells, barrel_h, ECAL_BARREL_M, z_h)[seen_h], cells.energy_h[seen_h])


def _hcal_hits(cells: Showers, rng: Generator) -> Hits:
    seen_h = (cells.energy_h > HCAL_THRESHOLD_GEV) & (np.abs(cells.eta_h) < ETA_MAX)
    barrel_h = np.abs(cells.eta_h) < HCAL_BARREL_ETA
    depth_h = np.minimum(0.1 + rng.exponential(HCAL_DEPTH_M, len(seen_h)), HCAL_DEPTH_MAX_M)
    depth_h[rng.random(len(seen_h)) < HCAL_FRONT_SHARE] = 0.0
    point_hx = _cell_points(cells, barrel_h, HCAL_BARREL_M, HCAL_ENDCAP_M + depth_h)
    return Hits.of_kind(HCAL, point_hx[seen_h], cells.energy_h[seen_h])


def _cell_points(cells: Showers, barrel_h: BoolArray, barrel_radius: float, endcap_z_h: FloatArray) -> FloatArray:
    """Return the places (hit, xyz) of cells on a barrel, or on endcaps, as seen from the origin."""
    slope_h = np.sinh(cells.eta_h)
    radius_h = np.where(barrel_h, barrel_radius, endcap_z_h / np.maximum(np.abs(slope_h), 1e-3))
    return np.stack([radius_h * np.cos(cells.phi_h), radius_h * np.sin(cells.phi_h), radius_h * slope_h], axis=1)


def _noise_cells(number: int, threshold: float, rng: Generator) -> Showers:
    eta_h, phi_h = rng.uniform(-ETA_MAX, ETA_MAX, number), rng.uniform(-np.pi, np.pi, number)
    return Showers(eta_h, phi_h, threshold * (1 + rng.exponential(0.5, number)))


def _is_electromagnetic(species_p: IntArray) -> BoolArray:
    is_light_p: BoolArray = (species_p == PHOTON) | (species_p == ELECTRON)
    return is_light_p
