"""Paths of electrons and photons from the beam line through the tracker to the calorimeter.

Across the beam a path is a circle about the field, or a straight line. Where it crosses a cylinder about the beam it is
described by its azimuth there and by its slant, the angle between its direction and the radius. Two exact relations lead
from one cylinder to the next: the canonical angular momentum r sin(slant) - r**2 / (2 R) is conserved, and the law of
tangents in the triangle of the beam and the two crossings gives the change of azimuth. Lengths in m, energies in GeV,
angles in rad. Suffixes: e event, p particle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hepml_core.ecal.material import (
    LAYER_RADII_M,
    FloatArray,
    conversion_probability,
    pair_share,
    radiated_share,
    thickness_of_layer,
)

IntArray = NDArray[np.int64]

CALORIMETER_RADIUS_M = 1.29
"""Inner radius of the ECAL barrel (CMS, JINST 3 (2008) S08004, chapter 4)."""
BENDING_GEV_PER_T_M = 0.299792458
"""pt = 0.2998 B R, with pt in GeV, B in T and R in m."""
SOFTEST_GEV = 0.05
"""Particles below this energy are given up: alone they make no hit above the noise."""


@dataclass(frozen=True, slots=True)
class Particles:
    """Electrons and photons of many events where they cross one cylinder.

    Attributes:
        event_p: Number of the event.
        energy_p: Energy.
        charge_p: -1, 0 or 1.
        phi_p: Azimuth of the crossing, against the direction in which the event's particle started.
        slant_p: Angle from the radius to the direction of flight, across the beam.
        path_p: Length of the path from the beam, across the beam.
    """

    event_p: IntArray
    energy_p: FloatArray
    charge_p: IntArray
    phi_p: FloatArray
    slant_p: FloatArray
    path_p: FloatArray

    def __len__(self) -> int:
        return len(self.event_p)

    def of(self, chosen: NDArray[np.bool_] | IntArray) -> Particles:
        """Return the particles that a mask or a list of numbers chooses."""
        return Particles(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def join(cls, parts: Sequence[Particles]) -> Particles:
        """Return all the particles in one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def start_particles(energy_e: FloatArray, charge_e: IntArray) -> Particles:
    """Return one particle an event on the beam line."""
    zero_e = np.zeros(len(energy_e))
    return Particles(np.arange(len(energy_e)), energy_e, charge_e, zero_e, zero_e, zero_e)


def cross_tracker(
    particles: Particles, eta_e: FloatArray, field_tesla: float, material_scale: float, rng: Generator
) -> Particles:
    """Return what arrives at the calorimeter of particles that start on the beam line.

    In each layer electrons radiate and photons convert; a new particle takes the direction of the one that made it, as the
    angles of both processes, of the order of the electron's mass by its energy, are small against a crystal.

    Args:
        particles: Particles on the beam line.
        eta_e: Pseudorapidity of the events, which all particles of an event keep.
        field_tesla: Field along the beam.
        material_scale: Factor on the tracker's thickness.
        rng: Source of all chance.
    """
    thickness_e = thickness_of_layer(eta_e, material_scale)
    momentum_share_e = 1 / np.cosh(eta_e)
    radius = 0.0
    for layer_radius in LAYER_RADII_M:
        particles = move(particles, radius, layer_radius, momentum_share_e, field_tesla)
        particles = _radiate(particles, thickness_e, rng)
        particles = _convert(particles, thickness_e, rng)
        radius = layer_radius
    return move(particles, radius, CALORIMETER_RADIUS_M, momentum_share_e, field_tesla)


def move(
    particles: Particles, radius: float, next_radius: float, momentum_share_e: FloatArray, field_tesla: float
) -> Particles:
    """Return the particles where they cross a wider cylinder for the first time; those that never do are left out.

    Args:
        particles: Particles that cross the cylinder of ``radius``.
        radius: Radius of the cylinder that they are on, 0 for the beam.
        next_radius: Radius of the cylinder that they go to.
        momentum_share_e: Part of each event's energies that is transverse momentum: 1 / cosh(eta).
        field_tesla: Field along the beam; positive charges turn clockwise.
    """
    momentum_p = particles.energy_p * momentum_share_e[particles.event_p]
    curvature_p = -particles.charge_p * BENDING_GEV_PER_T_M * field_tesla / momentum_p
    sine_p = (radius * np.sin(particles.slant_p) + curvature_p * (next_radius**2 - radius**2) / 2) / next_radius
    arrives_p = np.abs(sine_p) < 1
    if not arrives_p.all():
        particles, curvature_p, sine_p = particles.of(arrives_p), curvature_p[arrives_p], sine_p[arrives_p]
    slant_p = np.arcsin(sine_p)
    ratio = (next_radius - radius) / (next_radius + radius)
    turned_p = 2 * np.arctan(ratio * np.tan((particles.slant_p + slant_p) / 2))
    chord_p = np.sqrt((next_radius - radius) ** 2 + 4 * radius * next_radius * np.sin(turned_p / 2) ** 2)
    half_p = curvature_p * chord_p / 2
    # arcsin(x) / x by its series where it is exact enough, which spares the division of nothing by nothing
    bend_p = np.where(np.abs(half_p) < 1e-2, 1 + half_p**2 / 6, np.arcsin(np.clip(half_p, -1, 1)) / (half_p + 1e-300))
    return replace(
        particles, phi_p=particles.phi_p + turned_p, slant_p=slant_p, path_p=particles.path_p + chord_p * bend_p
    )


def _radiate(particles: Particles, thickness_e: FloatArray, rng: Generator) -> Particles:
    """Let electrons radiate: all that one loses in a layer as one photon."""
    charged_q = np.flatnonzero(particles.charge_p)
    thickness_q = _slanted(particles, thickness_e)[charged_q]
    lost_q = particles.energy_p[charged_q] * radiated_share(thickness_q, rng)
    energy_p = particles.energy_p.copy()
    energy_p[charged_q] -= lost_q
    left = replace(particles, energy_p=energy_p)
    bright_q = lost_q > SOFTEST_GEV
    photons = particles.of(charged_q[bright_q])
    photons = replace(photons, energy_p=lost_q[bright_q], charge_p=np.zeros_like(photons.charge_p))
    return Particles.join([left.of(energy_p > SOFTEST_GEV), photons])


def _convert(particles: Particles, thickness_e: FloatArray, rng: Generator) -> Particles:
    """Let photons become pairs."""
    probability_p = conversion_probability(_slanted(particles, thickness_e))
    converts_p = (particles.charge_p == 0) & (rng.random(len(particles)) < probability_p)
    parent = particles.of(converts_p)
    share_q = pair_share(len(parent), rng)
    pair = [
        replace(parent, energy_p=parent.energy_p * part_q, charge_p=np.full(len(parent), charge))
        for charge, part_q in ((1, share_q), (-1, 1 - share_q))
    ]
    return Particles.join([particles.of(~converts_p), *(one.of(one.energy_p > SOFTEST_GEV) for one in pair)])


def _slanted(particles: Particles, thickness_e: FloatArray) -> FloatArray:
    """Return the thickness that each particle crosses: more for those that come at a slant, up to five times."""
    return thickness_e[particles.event_p] / np.maximum(np.cos(particles.slant_p), 0.2)
