"""Hits of charged particles in a CMS-like tracker and of muons in the chambers.

Lengths are in m, momenta in GeV. Axes: p particle, l layer, h hit, x coordinate (x, y, z). Positions of sensors: pixels
from the phase-1 upgrade TDR (CERN-LHCC-2012-016), all else from CMS, JINST 3 (2008) S08004, chapters 3 and 7; where the
chapters give ranges (endcap disks, stations), the middle. Left out: multiple scattering, energy loss, conversions of
photons, bremsstrahlung, and the field outside the solenoid.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hepml_core.event_images.helices import MUON_CHAMBER, PIXEL, STRIP, Helices, Hits
from hepml_core.event_images.physics import CHARGED_HADRON, MUON, FloatArray, IntArray, Particles

PIXEL_LAYERS, PIXEL_DISKS = 4, 3
BARREL_M = np.array([0.029, 0.068, 0.109, 0.160, 0.255, 0.339, 0.4185, 0.498, 0.608, 0.692, 0.780, 0.868, 0.965, 1.080])
BARREL_HALF_LENGTH_M = np.repeat([0.27, 0.66, 1.09], [4, 4, 6])
MODULE_LENGTH_M = np.repeat([0.0, 0.117, 0.0, 0.187], [6, 2, 2, 4])
"""A strip layer without stereo modules knows z only to a module; 0 where z is measured."""

DISK_M = np.array([0.291, 0.396, 0.516, 0.80, 0.92, 1.04, 1.32, 1.46, 1.60, 1.74, 1.88, 2.06, 2.25, 2.45, 2.67])
DISK_INNER_M = np.repeat([0.045, 0.20, 0.229, 0.32, 0.40, 0.50], [3, 3, 3, 3, 2, 1])
DISK_OUTER_M = np.repeat([0.161, 0.50, 1.135], [3, 3, 9])
DISK_DEPTH_M = np.repeat([0.035, 0.02, 0.055], [3, 3, 9])
"""Half distance of modules in front and at the back of a disk: tilted blades of the pixels, petals of the strips."""
PETALS, RING_WIDTH_M = 16, 0.12

TURNS_MAX = 4.0
"""Curling particles are followed for so many turns; then energy loss has stopped most."""
HIT_EFFICIENCY = 0.97

COIL_RADIUS_M, COIL_HALF_LENGTH_M = 2.95, 6.3
STATION_M, STATION_HALF_LENGTH_M = np.array([4.02, 4.90, 5.97, 7.00]), 6.6
STATION_DISK_M = np.array([6.15, 8.28, 9.35, 10.25])
STATION_DISK_INNER_M, STATION_DISK_OUTER_M = np.array([1.00, 1.40, 1.60, 1.80]), 7.00
MUON_MOMENTUM_MIN_GEV = 3.5
"""What calorimeters and coil take from a muon."""
PUNCH_THROUGH = 0.004
"""Share of the charged hadrons above this momentum that reach the chambers, or decay to a muon before."""


def tracker_hits(helices: Helices, stop_p: FloatArray, rng: Generator) -> Hits:
    """Return the hits of charged particles in barrel layers and disks.

    Args:
        helices: Paths of all particles.
        stop_p: Turning angles in rad at which the paths end.
        rng: Source of chance.
    """
    charged_p = helices.charge_p != 0
    helices, stop_p = helices.take(charged_p), np.minimum(stop_p[charged_p], 2 * np.pi * TURNS_MAX)
    return Hits.join([_barrel_hits(helices, stop_p, rng), _disk_hits(helices, stop_p, rng)])


def _barrel_hits(helices: Helices, stop_p: FloatArray, rng: Generator) -> Hits:
    """Return the hits of each path's way out, and for those that curl, of the way back in and out again."""
    first_pl = helices.turning_at_radius(BARREL_M)
    curls_pl = (stop_p[:, None] > np.pi) & np.isfinite(first_pl)
    first_pl[first_pl >= stop_p[:, None]] = np.inf
    ways = []
    for chosen_pl, turning_pl in (
        (np.isfinite(first_pl), first_pl),
        (curls_pl, 2 * np.pi - first_pl),
        (curls_pl, 2 * np.pi + first_pl),
    ):
        particle_h, layer_h = np.nonzero(chosen_pl)
        ways.append((particle_h, layer_h, turning_pl[particle_h, layer_h]))
    particle_h, layer_h, turning_h = (np.concatenate(parts) for parts in zip(*ways, strict=True))
    point_hx = helices.take(particle_h).points(turning_h)
    seen_h = np.abs(point_hx[:, 2]) < BARREL_HALF_LENGTH_M[layer_h]
    seen_h &= (turning_h < stop_p[particle_h]) & (rng.random(len(layer_h)) < HIT_EFFICIENCY)
    point_hx, layer_h = point_hx[seen_h], layer_h[seen_h]
    length_h = MODULE_LENGTH_M[layer_h]
    in_module_h = length_h > 0
    point_hx[in_module_h, 2] = np.rint(point_hx[in_module_h, 2] / length_h[in_module_h]) * length_h[in_module_h]
    return _by_sensor(point_hx, layer_h < PIXEL_LAYERS)


def _disk_hits(helices: Helices, stop_p: FloatArray, rng: Generator) -> Hits:
    turning_pl = helices.turning_at_z(DISK_M)
    particle_h, layer_h = np.nonzero((turning_pl > 0) & (turning_pl < stop_p[:, None]))
    point_hx = helices.take(particle_h).points(turning_pl[particle_h, layer_h])
    radius_h = np.hypot(point_hx[:, 0], point_hx[:, 1])
    seen_h = (radius_h > DISK_INNER_M[layer_h]) & (radius_h < DISK_OUTER_M[layer_h])
    seen_h &= rng.random(len(layer_h)) < HIT_EFFICIENCY
    point_hx, layer_h, radius_h = point_hx[seen_h], layer_h[seen_h], radius_h[seen_h]
    point_hx[:, 2] += DISK_DEPTH_M[layer_h] * _place_in_disk(point_hx, radius_h)
    return _by_sensor(point_hx, layer_h < PIXEL_DISKS)


def _place_in_disk(point_hx: FloatArray, radius_h: FloatArray) -> FloatArray:
    """Return where in the depth of a disk, from -1 to 1, modules lie: petals alternate around, rings outwards."""
    petal_h = np.floor(np.arctan2(point_hx[:, 1], point_hx[:, 0]) * (PETALS / (2 * np.pi))) % 2
    ring_h = np.floor(radius_h / RING_WIDTH_M) % 2
    return 1.3 * (petal_h - 0.5) + 0.7 * (ring_h - 0.5)


def muon_hits(particles: Particles, helices: Helices, rng: Generator) -> Hits:
    """Return chamber hits of muons, and of the few hadrons that look like one; outside the coil paths are straight."""
    momentum_p = np.linalg.norm(particles.momentum_px, axis=1)
    fake_p = (particles.species_p == CHARGED_HADRON) & (rng.random(len(momentum_p)) < PUNCH_THROUGH)
    helices = helices.take(((particles.species_p == MUON) | fake_p) & (momentum_p > MUON_MOMENTUM_MIN_GEV))
    leave_p = np.minimum(
        helices.turning_at_radius(np.array([COIL_RADIUS_M])), helices.turning_at_z(np.array([COIL_HALF_LENGTH_M]))
    )[:, 0]
    curls_p = leave_p > np.pi
    helices, leave_p = helices.take(~curls_p), leave_p[~curls_p]
    start_px = helices.points(leave_p)
    heading_p = helices.phi_p - helices.charge_p * leave_p
    direction_px = np.stack([np.cos(heading_p), np.sin(heading_p), helices.slope_p], axis=1)
    point_hx = np.concatenate([_barrel_stations(start_px, direction_px), _disk_stations(start_px, direction_px)])
    return Hits.of_kind(MUON_CHAMBER, point_hx[rng.random(len(point_hx)) < HIT_EFFICIENCY])


def _barrel_stations(start_px: FloatArray, direction_px: FloatArray) -> FloatArray:
    """Return where straight paths, whose directions have length 1 across the beam, cross the barrel's stations."""
    along_p = (start_px[:, :2] * direction_px[:, :2]).sum(axis=1)[:, None]
    distance_p = (start_px[:, :2] ** 2).sum(axis=1)[:, None]
    way_pl = np.sqrt(along_p**2 + STATION_M**2 - distance_p) - along_p
    point_plx = start_px[:, None] + way_pl[..., None] * direction_px[:, None]
    crossed: FloatArray = point_plx[np.abs(point_plx[..., 2]) < STATION_HALF_LENGTH_M]
    return crossed


def _disk_stations(start_px: FloatArray, direction_px: FloatArray) -> FloatArray:
    """Return where straight paths cross the endcaps' stations; the first lies inside the coil, less than 0.4 m back."""
    steepness_p = np.maximum(np.abs(direction_px[:, 2:]), 1e-6)
    side_p = np.where(direction_px[:, 2:] < 0, -1.0, 1.0)
    way_pl = (STATION_DISK_M - side_p * start_px[:, 2:]) / steepness_p
    point_plx = start_px[:, None] + way_pl[..., None] * direction_px[:, None]
    radius_pl = np.hypot(point_plx[..., 0], point_plx[..., 1])
    crossed: FloatArray = point_plx[
        (radius_pl > STATION_DISK_INNER_M) & (radius_pl < STATION_DISK_OUTER_M) & (way_pl > -COIL_HALF_LENGTH_M)
    ]
    return crossed


def strip_noise(number: int, rng: Generator) -> Hits:
    """Draw hits on random strips of the barrel and of the disks."""
    layer_h = rng.integers(PIXEL_LAYERS, len(BARREL_M) + len(DISK_M) - PIXEL_DISKS, number)
    barrel_h = layer_h < len(BARREL_M)
    layer_h = np.where(barrel_h, layer_h, layer_h - len(BARREL_M) + PIXEL_DISKS)
    disk_h = np.where(barrel_h, 0, layer_h)
    layer_h = np.where(barrel_h, layer_h, 0)
    chance_h, phi_h, side_h = rng.random(number), rng.uniform(-np.pi, np.pi, number), rng.choice([-1.0, 1.0], number)
    in_disk_h = DISK_INNER_M[disk_h] + chance_h * (DISK_OUTER_M - DISK_INNER_M)[disk_h]
    radius_h = np.where(barrel_h, BARREL_M[layer_h], in_disk_h)
    z_h = side_h * np.where(barrel_h, chance_h * BARREL_HALF_LENGTH_M[layer_h], DISK_M[disk_h])
    return Hits.of_kind(STRIP, np.stack([radius_h * np.cos(phi_h), radius_h * np.sin(phi_h), z_h], axis=1))


def muon_noise(number: int, rng: Generator) -> Hits:
    """Draw hits, as of neutrons, on random places of the barrel's and the endcaps' stations."""
    station_h, chance_h = rng.integers(0, len(STATION_M), number), rng.random(number)
    barrel_h, side_h = rng.random(number) < 0.5, rng.choice([-1.0, 1.0], number)
    inner_h = STATION_DISK_INNER_M[station_h]
    radius_h = np.where(barrel_h, STATION_M[station_h], inner_h + chance_h * (STATION_DISK_OUTER_M - inner_h))
    z_h = side_h * np.where(barrel_h, chance_h * STATION_HALF_LENGTH_M, STATION_DISK_M[station_h])
    phi_h = rng.uniform(-np.pi, np.pi, number)
    return Hits.of_kind(MUON_CHAMBER, np.stack([radius_h * np.cos(phi_h), radius_h * np.sin(phi_h), z_h], axis=1))


def _by_sensor(point_hx: FloatArray, is_pixel_h: NDArray[np.bool_]) -> Hits:
    kind_h: IntArray = np.where(is_pixel_h, PIXEL, STRIP)
    return Hits(point_hx, kind_h, np.zeros(len(point_hx)))
