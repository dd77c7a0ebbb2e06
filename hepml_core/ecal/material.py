"""The tracker before the calorimeter: where its material stands, and how much an electron or a photon leaves in it.

Radii in m, thicknesses in radiation lengths, energies in GeV. Suffixes: e event, p particle.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LAYER_RADII_M = (0.044, 0.073, 0.102, 0.255, 0.339, 0.4185, 0.498, 0.608, 0.692, 0.780, 0.868, 0.965, 1.080, 1.180)
"""Three pixel, four inner and six outer barrel layers (CMS, JINST 3 (2008) S08004, chapter 3), and the support tube."""
THICKNESS_AT_0, THICKNESS_AT_1_4 = 0.4, 1.8
"""Radiation lengths before the calorimeter at eta 0 and 1.4 (same chapter, material budget); a parabola in between."""


def thickness_of_layer(eta_e: FloatArray, scale: float) -> FloatArray:
    """Return the radiation lengths that a particle of a pseudorapidity crosses in each of the layers, which are alike."""
    return scale * total_thickness(eta_e) / len(LAYER_RADII_M)


def total_thickness(eta_e: FloatArray) -> FloatArray:
    """Return the tracker's radiation lengths along a straight line from the origin."""
    return THICKNESS_AT_0 + (THICKNESS_AT_1_4 - THICKNESS_AT_0) * (eta_e / 1.4) ** 2


def radiated_share(thickness_p: FloatArray, rng: Generator) -> FloatArray:
    """Draw the part of an electron's energy that it radiates in a thin layer.

    The energy that is left is distributed as by Bethe and Heitler: its negative logarithm follows a gamma distribution
    of shape t / ln 2 (Proc. R. Soc. A 146 (1934) 83).
    """
    return -np.expm1(-rng.standard_gamma(thickness_p / math.log(2)))


def conversion_probability(thickness_p: FloatArray) -> FloatArray:
    """Return how probably a photon becomes a pair: 1 - exp(-7 t / 9) (PDG, Passage of particles through matter)."""
    return -np.expm1(-7 / 9 * thickness_p)


def pair_share(number: int, rng: Generator) -> FloatArray:
    """Draw the positron's part x of a pair's energy, of density proportional to 1 - 4/3 x (1 - x) (PDG, same chapter).

    With v = 2 x - 1 the distribution function is v**3 + 6 v = 7 w, w uniform in -1..1; a cubic with one real root.
    """
    w_p = rng.uniform(-1.0, 1.0, number)
    root = 2 * math.sqrt(2)
    share_p: FloatArray = (1 + root * np.sinh(np.arcsinh(7 * w_p / (2 * root)) / 3)) / 2
    return share_p
