"""What a calorimeter tells about toy jets: the variables of the set ``atlas27`` beyond the four-vector.

Shapes and correlations follow what the variables mean, in a detector like ATLAS: a barrel of 1.5 m inner radius that ends
at |eta| = 1.5, end-caps at 3.7 m. Some values pile up (parts of the energy at 0 and 1, areas at multiples of a ghost),
some have long tails, and one jet in seventy is noise or comes from a cosmic muon or from the beam's halo.
Suffixes: e event, n jet.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hepml_core.jets.events import Events

FloatArray = NDArray[np.float64]

BARREL_MM, ENDCAP_MM, BARREL_ETA = 1500.0, 3700.0, 1.5
"""Inner radius of the barrel, distance of the end-caps, and where one gives way to the other."""
VERTEX_SPREAD_MM = 45.0
GHOST_AREA, GHOSTS = 0.01, 50
"""Area of a ghost and the mean number of them in a jet of radius 0.4."""
NOISE_FRACTION = 0.014
"""Part of the jets that are no jets."""
UNDEFINED_WIDTH = -1.0
"""Width of a jet none of whose constituents has a positive energy."""


def add_variables(events: Events, rng: Generator) -> Events:
    """Add what a calorimeter measures of jets with a four-vector.

    Args:
        events: Events with pt, eta, phi and m of jets, in GeV and rad.
        rng: Source of all chance.

    Returns:
        The events with all variables of ``atlas27`` (and those they had), in the units of ``variables``.
    """
    jets = dict(events.values)
    vertex_e = rng.normal(0, VERTEX_SPREAD_MM, len(events))
    _add_energy_shares(jets, rng)
    _add_shape(jets, rng)
    _add_place(jets, np.repeat(vertex_e, events.count_e), rng)
    _add_area(jets, rng)
    _add_leading_cluster(jets, rng)
    _add_quality(jets, rng)
    _add_time(jets, rng)
    _add_noise(jets, rng)
    return replace(events, values=jets)


def _add_energy_shares(jets: dict[str, FloatArray], rng: Generator) -> None:
    """Add the part of the energy in the electromagnetic calorimeters, and in the hadronic end-cap."""
    n = len(jets["pt"])
    electromagnetic_n = rng.beta(6, 2.2, n)
    chance_n = rng.random(n)
    electromagnetic_n[chance_n < 0.005] = 0.0
    electromagnetic_n[chance_n > 0.97] = 1.0
    # Negative cells elsewhere push a share a little out of its range.
    negative_n = (chance_n > 0.985) | (chance_n < 0.002)
    electromagnetic_n += np.where(negative_n, np.sign(chance_n - 0.5) * rng.exponential(0.01, n), 0)
    reach_n = np.clip((np.abs(jets["eta"]) - 1.4) / 0.3, 0, 1)
    reach_n = np.where((reach_n == 0) & (rng.random(n) < 0.03), 0.05, reach_n)
    jets["EMFrac"] = electromagnetic_n
    jets["HECFrac"] = np.maximum(1 - electromagnetic_n, 0) * reach_n * rng.beta(12, 1.5, n)


def _add_shape(jets: dict[str, FloatArray], rng: Generator) -> None:
    """Add width and number of constituents: wide jets are heavy, hard jets are narrow and have more constituents."""
    pt_n, n = jets["pt"], len(jets["pt"])
    heavy_n = jets["m"] / pt_n / 0.13
    width_n = 0.11 * (pt_n / 50) ** -0.25 * heavy_n**0.8 * np.exp(0.2 * rng.standard_normal(n))
    jets["Width"] = np.minimum(width_n, 0.45)
    jets["WidthPhi"] = jets["Width"] * rng.beta(9, 5, n)
    mean_n = 2.5 * (pt_n / 20) ** 0.4 * np.sqrt(jets["Width"] / 0.1)
    jets["N90Constituents"] = 1 + rng.poisson(np.clip(mean_n, 0.5, 60)).astype(np.float64)


def _add_place(jets: dict[str, FloatArray], vertex_n: FloatArray, rng: Generator) -> None:
    """Add where the jet meets the detector, whose centre is not where the protons met."""
    eta_n, n = jets["eta"], len(vertex_n)
    barrel_n = np.abs(eta_n) < BARREL_ETA
    slope_n = np.sinh(eta_n)
    wall_n = np.sign(eta_n) * ENDCAP_MM
    radius_n = np.where(barrel_n, BARREL_MM, (wall_n - vertex_n) / np.where(barrel_n, 1, slope_n))
    along_n = np.where(barrel_n, vertex_n + BARREL_MM * slope_n, wall_n)
    jets["DetectorEta"] = np.arcsinh(along_n / radius_n)
    depth_n = 150 + 700 * np.clip(1 - jets["EMFrac"], 0, 1) + 25 * np.log(jets["pt"]) + rng.normal(0, 40, n)
    jets["CentroidR"] = np.hypot(along_n - vertex_n, radius_n) + np.maximum(depth_n, 0)


def _add_area(jets: dict[str, FloatArray], rng: Generator) -> None:
    """Add the catchment area: the ghosts that were clustered, as a number and as a four-vector."""
    n = len(jets["pt"])
    ghosts_n = np.rint(rng.normal(GHOSTS, 2.5, n)).clip(GHOSTS - 20, GHOSTS + 20)
    area_n = ghosts_n * GHOST_AREA
    jets["ActiveArea"] = area_n
    jets["ActiveArea4vec_pt"] = area_n * rng.normal(0.975, 0.004, n)
    jets["ActiveArea4vec_m"] = 0.142 * (area_n / 0.5) ** 1.5 * rng.normal(1, 0.03, n)
    jets["ActiveArea4vec_eta"] = jets["eta"] + rng.normal(0, 0.015, n)
    jets["ActiveArea4vec_phi"] = _wrap(jets["phi"] + rng.normal(0, 0.015, n))


def _add_leading_cluster(jets: dict[str, FloatArray], rng: Generator) -> None:
    """Add the hardest cluster: a large part of a jet with few constituents; deep where the jet is hadronic."""
    pt_n, n = jets["pt"], len(jets["pt"])
    share_n = np.clip(0.9 / jets["N90Constituents"] ** 0.45 * np.exp(0.25 * rng.standard_normal(n)), 0.03, 1.1)
    jets["LeadingClusterPt"] = share_n * pt_n
    hadronic_n = np.clip(1 - jets["EMFrac"], 0.02, 1)
    size_n = rng.standard_normal(n)  # of a shower, along and across
    grow_n = (jets["LeadingClusterPt"] / 20) ** 0.15
    depth_n = 350 * hadronic_n**0.5 * grow_n * np.exp(0.4 * size_n + 0.35 * rng.standard_normal(n))
    jets["LeadingClusterCenterLambda"] = np.minimum(depth_n, 4000)
    jets["LeadingClusterSecondLambda"] = 40 * (depth_n / 250) ** 1.2 * np.exp(0.5 * rng.standard_normal(n))
    jets["LeadingClusterSecondR"] = 6 * grow_n * np.exp(0.5 * size_n + 0.45 * rng.standard_normal(n))


def _add_quality(jets: dict[str, FloatArray], rng: Generator) -> None:
    """Add the quality of the pulses, and negative energies."""
    n = len(jets["pt"])
    bad_n = rng.exponential(0.01, n) * (rng.random(n) < 0.6)
    jets["LArQuality"] = bad_n
    jets["AverageLArQF"] = np.clip(180 * np.exp(1.1 * rng.standard_normal(n)) + 20_000 * bad_n, 0, 65_535)
    jets["HECQuality"] = rng.normal(0, 0.03, n) * ((rng.random(n) < 0.3) & (jets["HECFrac"] > 0))
    jets["NegativeE"] = -1.2 * np.cosh(jets["eta"]) ** 0.5 * np.exp(0.7 * rng.standard_normal(n))


def _add_time(jets: dict[str, FloatArray], rng: Generator) -> None:
    """Add times: sharp for hard jets, with tails of pile-up from other crossings, whose clusters are out of time."""
    n = len(jets["pt"])
    late_n = np.where(rng.random(n) < 0.05, 4.0 * rng.standard_t(4, n), 0)
    jets["Timing"] = rng.normal(0, 1, n) * (0.2 + 6 / jets["pt"]) + np.clip(late_n, -60, 60)
    share_n = np.where(rng.random(n) < 0.12, rng.beta(0.6, 8, n), 0) + np.clip(np.abs(late_n) / 25, 0, 0.9)
    jets["OotFracClusters5"] = np.minimum(share_n, 1) - 0.002 * (rng.random(n) < 0.05)
    jets["OotFracClusters10"] = jets["OotFracClusters5"] * np.where(rng.random(n) < 0.5, 0, rng.beta(2, 2, n))


def _add_noise(jets: dict[str, FloatArray], rng: Generator) -> None:
    """Replace some jets by what is none: each of five kinds fails another cut of the data."""
    noise_n = np.flatnonzero(rng.random(len(jets["pt"])) < NOISE_FRACTION)
    kind_n = rng.integers(0, 5, len(noise_n))
    endcap, coherent, cosmic, halo, empty = (noise_n[kind_n == kind] for kind in range(5))

    jets["HECFrac"][endcap] = rng.uniform(0.6, 1, len(endcap))
    jets["EMFrac"][endcap] = 1 - jets["HECFrac"][endcap]
    jets["HECQuality"][endcap] = rng.uniform(0.6, 1, len(endcap))
    jets["AverageLArQF"][endcap] = rng.uniform(15_000, 60_000, len(endcap))

    jets["EMFrac"][coherent] = rng.uniform(0.96, 1, len(coherent))
    jets["HECFrac"][coherent] = 0
    jets["LArQuality"][coherent] = rng.uniform(0.85, 1, len(coherent))
    jets["AverageLArQF"][coherent] = rng.uniform(15_000, 60_000, len(coherent))
    jets["N90Constituents"][coherent] = 1

    jets["Timing"][cosmic] = rng.choice([-1.0, 1.0], len(cosmic)) * rng.uniform(130, 400, len(cosmic))
    jets["OotFracClusters5"][cosmic] = jets["OotFracClusters10"][cosmic] = 1.0

    jets["NegativeE"][halo] = -rng.uniform(320, 900, len(halo))
    jets["OotFracClusters10"][halo] = -rng.uniform(0.12, 0.5, len(halo))

    jets["Width"][empty] = UNDEFINED_WIDTH
    jets["WidthPhi"][empty] = UNDEFINED_WIDTH


def _wrap(angle: FloatArray) -> FloatArray:
    """Bring angles to (-pi, pi]."""
    return np.pi - (np.pi - angle) % (2 * np.pi)
