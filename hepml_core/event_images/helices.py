"""Paths of particles in the solenoid, and what a detector's sensors tell of them.

Lengths are in m, momenta and energies in GeV, the field in T. Axes: p particle, l layer, h hit, x coordinate (x, y, z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hepml_core.event_images.physics import FloatArray, IntArray, Particles

BENDING_GEV_PER_T_M = 0.299792458
"""pt = 0.2998 B r, with pt in GeV, B in T and r in m."""
STRAIGHT_M = 1e9
"""Radius of a neutral particle's path."""

MUON_CHAMBER, HCAL, ECAL, PRESHOWER, STRIP, PIXEL = range(6)
"""Kinds of hits."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Hits of one picture."""

    point_hx: FloatArray
    """Positions (hit, xyz) in m."""
    kind_h: IntArray
    """Kinds, codes of this module."""
    energy_h: FloatArray
    """Energies in GeV; 0 where only the place is measured."""

    @classmethod
    def of_kind(cls, kind: int, point_hx: FloatArray, energy_h: FloatArray | None = None) -> Hits:
        """Return hits of one kind."""
        return cls(point_hx, np.full(len(point_hx), kind), np.zeros(len(point_hx)) if energy_h is None else energy_h)

    @classmethod
    def join(cls, pieces: Sequence[Hits]) -> Hits:
        """Return all the hits in one."""
        return cls(*(np.concatenate([getattr(piece, field.name) for piece in pieces]) for field in fields(cls)))


@dataclass(frozen=True, slots=True)
class Helices:
    """Paths that start on the beam line; a neutral particle's has a radius so large that it is straight.

    A point of a path is named by its turning angle in rad, from 0 at the vertex.
    """

    radius_p: FloatArray
    phi_p: FloatArray
    """Azimuth of the momentum at the vertex, in rad."""
    charge_p: IntArray
    slope_p: FloatArray
    """dz per m of path across the beam: sinh(eta)."""
    vertex_z_p: FloatArray

    def take(self, chosen: NDArray[np.bool_] | IntArray) -> Helices:
        """Return the paths that a mask or a list of numbers chooses."""
        return Helices(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def points(self, turning: FloatArray) -> FloatArray:
        """Return the positions (particle, ..., xyz) at turning angles (particle, ...)."""
        shape = (-1,) + (1,) * (turning.ndim - 1)
        radius, sign = self.radius_p.reshape(shape), np.where(self.charge_p < 0, -1.0, 1.0).reshape(shape)
        chord = 2 * radius * np.sin(turning / 2)
        phi = self.phi_p.reshape(shape) - sign * turning / 2  # a positive charge turns clockwise around the field
        point = np.empty((*turning.shape, 3))
        point[..., 0], point[..., 1] = chord * np.cos(phi), chord * np.sin(phi)
        point[..., 2] = self.vertex_z_p.reshape(shape) + radius * turning * self.slope_p.reshape(shape)
        return point

    def turning_at_radius(self, radius_l: FloatArray) -> FloatArray:
        """Return the turning angles (particle, layer) of the first crossings of cylinders; inf where there is none."""
        ratio_pl = radius_l / (2 * self.radius_p[:, None])
        return np.where(ratio_pl < 1, 2 * np.arcsin(np.minimum(ratio_pl, 1.0)), np.inf)

    def turning_at_z(self, z_l: FloatArray) -> FloatArray:
        """Return the turning angles (particle, disk) at which paths reach abs(z) on the side that they head for."""
        side_p = np.where(self.slope_p < 0, -1.0, 1.0)
        steepness_p = np.maximum(np.abs(self.slope_p), 1e-6)
        return (z_l - side_p[:, None] * self.vertex_z_p[:, None]) / (self.radius_p * steepness_p)[:, None]


def trace_helices(particles: Particles, field_tesla: float) -> Helices:
    """Return the paths of particles: circles of radius pt / (0.2998 B) across the beam, even progress along it."""
    px_p, py_p, pz_p = particles.momentum_px.T
    pt_p = np.maximum(np.hypot(px_p, py_p), 1e-6)
    radius_p = np.where(particles.charge_p == 0, STRAIGHT_M, pt_p / (BENDING_GEV_PER_T_M * field_tesla))
    return Helices(radius_p, np.arctan2(py_p, px_p), particles.charge_p, pz_p / pt_p, particles.vertex_z_p)
