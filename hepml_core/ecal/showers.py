"""Electromagnetic showers in lead tungstate: how deep they are, what leaks out behind, and how they spread over crystals.

Longitudinally a gamma distribution (Longo and Sestili, NIM 128 (1975) 283), radially two terms of the form
2 r R**2 / (r**2 + R**2)**2, with the means, spreads and widths that G. Grindhammer and S. Peters give for homogeneous
calorimeters (hep-ex/0001020, appendix A.1). Depths in radiation lengths, widths in crystals, energies in GeV.
Suffixes: s shower, y row of the window (eta), x column (phi), t term of the radial profile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hepml_core.ecal.material import FloatArray

CRYSTAL_CM, CRYSTAL_RAD = 2.2, math.pi / 180
"""Width of a crystal's front, and in phi and eta (CMS, JINST 3 (2008) S08004, chapter 4)."""
MOLIERE_CM, CRYSTAL_DEPTH, CRITICAL_GEV, ATOMIC_NUMBER = 2.19, 25.8, 9.64e-3, 68.36
"""Lead tungstate: Moliere radius, depth of a crystal in radiation lengths of 0.89 cm (same chapter), critical energy (PDG,
atomic and nuclear properties), atomic number, averaged by mass."""
PHOTON_DELAY = 0.5
"""A photon's shower has its maximum so much deeper, an electron's so much less deep, than their mean (PDG)."""

TAIL_SCALE = 1.15
"""Factor on the radius of the outer term, fitted to the spread in eta of the real mean images."""
SEXTILES = (-0.9674, 0.0, 0.9674)
"""Where a normal distribution has a sixth, a half and five sixths below: the middles of its thirds."""


@dataclass(frozen=True, slots=True)
class Showers:
    """Showers that are to be spread over crystals.

    Attributes:
        energy_s: Energy that stays in the crystals.
        row_s: Place of the axis in eta, in crystals; whole numbers are edges of crystals.
        column_s: Place in phi.
        radius_st: Radii of the terms, two for each third of the energy, from the first in depth to the last.
        share_st: Parts of the energy in the terms.
    """

    energy_s: FloatArray
    row_s: FloatArray
    column_s: FloatArray
    radius_st: FloatArray
    share_st: FloatArray


def develop(
    energy_s: FloatArray,
    neutral_s: NDArray[np.bool_],
    row_s: FloatArray,
    column_s: FloatArray,
    width_jitter: float,
    rng: Generator,
) -> Showers:
    """Draw how showers develop.

    Args:
        energy_s: Energy of the particle that comes in.
        neutral_s: Whether it is a photon.
        row_s: Where it comes in, in crystals.
        column_s: Where it comes in, in crystals.
        width_jitter: Relative spread of the width.
        rng: Source of all chance.
    """
    # Below 70 MeV a shower is no longer one: the formulas stop there.
    log_y_s = np.maximum(np.log(energy_s / CRITICAL_GEV), 2.0)
    maximum_s, alpha_s = draw_depth(log_y_s, rng)
    maximum_s = np.maximum(maximum_s + np.where(neutral_s, PHOTON_DELAY, -PHOTON_DELAY), 0.2)
    beta_s = (alpha_s - 1) / maximum_s
    typical_alpha_s = 0.81 + (0.458 + 2.26 / ATOMIC_NUMBER) * log_y_s
    # The cube root of a gamma variable is nearly normal (Wilson and Hilferty, PNAS 17 (1931) 684).
    cube_root_sk = 1 - 1 / (9 * alpha_s[:, None]) + np.array(SEXTILES) / (3 * np.sqrt(alpha_s[:, None]))
    depth_sk = np.maximum(cube_root_sk, 0.0) ** 3 * (typical_alpha_s / (typical_alpha_s - 1))[:, None]
    core_sk, tail_sk, core_share_sk = radial_profile(energy_s[:, None], depth_sk)
    width_s = np.exp(width_jitter * rng.standard_normal(len(energy_s))) * (MOLIERE_CM / CRYSTAL_CM)
    radius_st = width_s[:, None] * np.concatenate([core_sk, TAIL_SCALE * tail_sk], axis=1)
    share_st = np.concatenate([core_share_sk, 1 - core_share_sk], axis=1) / len(SEXTILES)
    return Showers(energy_s * (1 - leakage(alpha_s, beta_s)), row_s, column_s, radius_st, share_st)


def draw_depth(log_y_s: FloatArray, rng: Generator) -> tuple[FloatArray, FloatArray]:
    """Draw the depth of a shower's maximum and the gamma distribution's exponent alpha, correlated log-normal numbers.

    Args:
        log_y_s: Logarithm of energy by critical energy.
        rng: Source of all chance.
    """
    first_s, second_s = rng.standard_normal((2, len(log_y_s)))
    correlation_s = 0.705 - 0.023 * log_y_s
    second_s = correlation_s * first_s + np.sqrt(1 - correlation_s**2) * second_s
    maximum_s = (log_y_s - 0.812) * np.exp(first_s / (1.26 * log_y_s - 1.4))
    alpha_s = (0.81 + (0.458 + 2.26 / ATOMIC_NUMBER) * log_y_s) * np.exp(second_s / (0.86 * log_y_s - 0.58))
    return maximum_s, np.maximum(alpha_s, 1.05)


def radial_profile(energy_s: FloatArray, tau_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the radii of the two radial terms in Moliere radii, and the part of the first.

    Args:
        energy_s: Energy of a shower.
        tau_s: Depth, in units of the mean depth of showers of this energy.
    """
    log_s = np.log(energy_s)
    core_s = 0.0251 + 0.00319 * log_s + (0.1162 - 0.000381 * ATOMIC_NUMBER) * tau_s
    step_s = tau_s - 0.645
    tail_s = (0.659 - 0.00309 * ATOMIC_NUMBER) * (np.exp(-2.59 * step_s) + np.exp((0.3585 + 0.0412 * log_s) * step_s))
    x_s = (0.401 + 0.00187 * ATOMIC_NUMBER - tau_s) / (1.313 - 0.0686 * log_s)
    share_s = (2.632 - 0.00094 * ATOMIC_NUMBER) * np.exp(x_s - np.exp(x_s))
    return np.maximum(core_s, 0.02), tail_s, np.clip(share_s, 0.0, 1.0)


_NORMAL = np.linspace(-6.0, 6.0, 1201)
_ABOVE_NORMAL = np.array([math.erfc(z / math.sqrt(2)) / 2 for z in _NORMAL])


def leakage(alpha_s: FloatArray, beta_s: FloatArray) -> FloatArray:
    """Return the part of a shower behind the crystals: the upper tail of its gamma distribution.

    By the approximation of Wilson and Hilferty (PNAS 17 (1931) 684): the cube root of a gamma variable is nearly normal.
    """
    z_s = (np.cbrt(beta_s * CRYSTAL_DEPTH / alpha_s) - 1 + 1 / (9 * alpha_s)) * 3 * np.sqrt(alpha_s)
    above_s: FloatArray = np.interp(z_s, _NORMAL, _ABOVE_NORMAL)
    return above_s


def spread(showers: Showers, half_width: int, spot_gev: float, rng: Generator) -> NDArray[np.float32]:
    """Return the energies (shower, row, column) in the crystals around each axis; what falls beyond them is lost.

    Args:
        showers: Showers.
        half_width: Crystals on each side of the one that the axis goes through.
        spot_gev: Mean energy of the spots whose number fluctuates in each crystal; the sum does not.
        rng: Source of all chance.
    """
    edge = np.arange(-half_width, half_width + 2, dtype=np.float32)
    row_sy, column_sx = (
        edge - (place_s - np.floor(place_s)).astype(np.float32)[:, None]
        for place_s in (showers.row_s, showers.column_s)
    )
    mean_syx = np.zeros((len(row_sy), 2 * half_width + 1, 2 * half_width + 1), np.float32)
    energy_st = (showers.energy_s[:, None] * showers.share_st).astype(np.float32)
    for radius_s, energy_s in zip(showers.radius_st.astype(np.float32).T, energy_st.T, strict=True):
        mean_syx += energy_s[:, None, None] * _inside(row_sy, column_sx, radius_s)
    spots_syx = np.maximum(mean_syx / np.float32(spot_gev), np.float32(1e-3))
    energy_syx: NDArray[np.float32] = rng.standard_gamma(spots_syx, dtype=np.float32)
    energy_syx *= (mean_syx.sum((1, 2)) / np.maximum(energy_syx.sum((1, 2)), np.float32(1e-9)))[:, None, None]
    return energy_syx


def _inside(
    row_sy: NDArray[np.float32], column_sx: NDArray[np.float32], radius_s: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Integrate the density R**2 / (pi (r**2 + R**2)**2) over the crystals between edges, which is elementary.

    An antiderivative in x and y is [x / a atan(y / a) + y / b atan(x / b)] / (2 pi), a**2 = x**2 + R**2, b**2 = y**2 + R**2.
    """
    x, y = column_sx[:, None, :], row_sy[:, :, None]
    a, b = (np.sqrt(place**2 + radius_s[:, None, None] ** 2) for place in (x, y))
    corner_syx = (x / a * np.arctan(y / a) + y / b * np.arctan(x / b)) / np.float32(2 * math.pi)
    inside_syx: NDArray[np.float32] = np.diff(np.diff(corner_syx, axis=1), axis=2)
    return inside_syx
