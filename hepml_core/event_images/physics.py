"""Toy proton-proton collisions: the particles that leave the interaction points.

Energies, momenta and masses are in GeV (c = 1), lengths in m. Axes: p particle; the last axis of a four-vector is
(E, px, py, pz), of a momentum (px, py, pz); z points along the field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PHOTON, ELECTRON, MUON, CHARGED_HADRON, NEUTRAL_HADRON, NEUTRINO, NEUTRAL_PION = range(7)
"""Species; every charged hadron is a pion here, every neutral one a kaon."""
SPECIES_MASS_GEV = np.array([0.0, 0.000511, 0.10566, 0.13957, 0.49761, 0.0, 0.13498])

# Masses and branching fractions: Particle Data Group, Review of Particle Physics (2022); H(200) is the sample's choice.
HIGGS_MASS_GEV, JPSI_MASS_GEV, UPSILON_MASS_GEV = 200.0, 3.0969, 9.4603
TAU_MASS_GEV, RHO_MASS_GEV, A1_MASS_GEV = 1.77686, 0.77526, 1.230
TAU_MODES = ("electron", "muon", "pion", "rho", "a1_one_prong", "a1_three_prong")
TAU_FRACTIONS = np.array([0.178, 0.174, 0.115, 0.260, 0.120, 0.153])
"""Rarer modes are counted with the nearest of the six."""

# Charged hadrons of minimum-bias events: pt is Tsallis-like with T = 0.145 GeV, n = 6.6 (CMS at 7 TeV, PRL 105 (2010)
# 022002); 5.5 charged hadrons per unit of eta at 13 TeV (CMS, PLB 751 (2015) 143).
TSALLIS_TEMPERATURE_GEV, TSALLIS_POWER = 0.145, 6.6
MINIMUM_BIAS_PER_ETA = 5.5
SOFT_ETA_MAX = 3.2
SOFT_SHAPE = 2.2
"""Shape of the negative binomial multiplicity: its relative variance is 1/mean + 1/shape."""
CHARGED_FRACTION, NEUTRAL_PION_FRACTION = 0.60, 0.31
"""Shares of hadrons; the rest are neutral kaons and neutrons."""

# Underlying event: charged hadrons per unit of eta, more at harder scales (CMS, JHEP 09 (2015) 137, read as a trend).
UNDERLYING_PER_ETA = {"higgs": 11.0, "qcd": 9.5, "jpsi": 8.5, "upsilon": 8.5}
JET_TRANSVERSE_GEV = 0.35
"""Width of a hadron's momentum across its jet's axis, per component."""
JET_ETA_MAX = 2.4
QUARKONIUM_RAPIDITY_MAX = 2.2


@dataclass(frozen=True, slots=True)
class Particles:
    """Particles of one picture.

    Args:
        momentum_px: Momenta (particle, xyz) in GeV.
        species_p: Species codes of this module.
        charge_p: Charges -1, 0, +1.
        vertex_z_p: Points of origin on the beam line, in m.
    """

    momentum_px: FloatArray
    species_p: IntArray
    charge_p: IntArray
    vertex_z_p: FloatArray

    @property
    def energy_p(self) -> FloatArray:
        """Energies in GeV."""
        mass_p = SPECIES_MASS_GEV[self.species_p]
        energy_p: FloatArray = np.sqrt((self.momentum_px**2).sum(axis=1) + mass_p**2)
        return energy_p


def draw_event(process: str, pileup_mean: float, vertex_spread_m: float, rng: Generator) -> Particles:
    """Draw the particles of a hard process, its underlying event and its pile-up.

    Neutral pions have decayed; neutrinos are kept, so that the momenta across the beam of the hard process balance.

    Args:
        process: A name in PROCESSES.
        pileup_mean: Mean number of further interactions.
        vertex_spread_m: Standard deviation of the interaction points along z, in m.
        rng: Source of chance.
    """
    vertices = rng.normal(0.0, 1.0, 1 + rng.poisson(pileup_mean)) * vertex_spread_m
    pieces = [(piece, vertices[0]) for piece in PROCESSES[process](rng)]
    pieces.append((draw_soft(UNDERLYING_PER_ETA[process], rng), vertices[0]))
    pieces.extend((draw_soft(MINIMUM_BIAS_PER_ETA, rng), z) for z in vertices[1:])
    momentum_px = np.concatenate([piece.momentum_px for piece, _ in pieces])
    species_p = np.concatenate([piece.species_p for piece, _ in pieces])
    charge_p = np.concatenate([piece.charge_p for piece, _ in pieces])
    vertex_z_p = np.concatenate([np.full(len(piece.species_p), z) for piece, z in pieces])
    return _decay_neutral_pions(Particles(momentum_px, species_p, charge_p, vertex_z_p), rng)


@dataclass(frozen=True, slots=True)
class Piece:
    """Particles of one origin, not yet at a vertex."""

    momentum_px: FloatArray
    species_p: IntArray
    charge_p: IntArray


def draw_higgs(rng: Generator) -> list[Piece]:
    """Draw H(200) to tau tau with jets of initial-state radiation that it recoils against."""
    jets_px = _draw_radiation(1.6, 12.0, rng)
    higgs = _massive(HIGGS_MASS_GEV, -jets_px[:, :2].sum(axis=0), rng.normal(0.0, 0.9))
    taus = decay_in_two(higgs, HIGGS_MASS_GEV, TAU_MASS_GEV, TAU_MASS_GEV, rng)
    sign = 1 - 2 * int(rng.integers(2))
    decays = [draw_tau_decay(tau, charge, rng) for tau, charge in zip(taus, (sign, -sign), strict=True)]
    return [*decays, *(draw_jet(jet, rng) for jet in jets_px)]


def draw_jpsi(rng: Generator) -> list[Piece]:
    """Draw a J/psi to mu mu of pt above 7 GeV, recoiling against a jet."""
    return _draw_quarkonium(JPSI_MASS_GEV, pt_min=7.0, pt_scale=5.0, rng=rng)


def draw_upsilon(rng: Generator) -> list[Piece]:
    """Draw an Upsilon(1S) to mu mu of any pt, recoiling against a jet."""
    return _draw_quarkonium(UPSILON_MASS_GEV, pt_min=0.0, pt_scale=9.0, rng=rng)


def draw_qcd(rng: Generator) -> list[Piece]:
    """Draw two jets, back to back across the beam but for the recoil against radiation."""
    radiation_px = _draw_radiation(0.6, 8.0, rng)
    pair_px = draw_dijet(rng)
    pair_px[:, :2] -= radiation_px[:, :2].sum(axis=0) / 2
    return [draw_jet(jet, rng) for jet in (*pair_px, *radiation_px)]


PROCESSES: dict[str, Callable[[Generator], list[Piece]]] = {
    "higgs": draw_higgs,
    "jpsi": draw_jpsi,
    "qcd": draw_qcd,
    "upsilon": draw_upsilon,
}


def draw_dijet(rng: Generator) -> FloatArray:
    """Draw two jet momenta (2, xyz) with equal pt, exactly opposite in phi, with dN/dpt ~ pt^-5 above 25 GeV."""
    pt = 25.0 * rng.random() ** (-1 / 4)
    phi = rng.uniform(-np.pi, np.pi)
    eta_j = rng.uniform(-JET_ETA_MAX, JET_ETA_MAX, 2)
    return np.stack([_momentum(pt, eta_j[0], phi), _momentum(pt, eta_j[1], phi + np.pi)])


def draw_jet(jet_x: FloatArray, rng: Generator) -> Piece:
    """Break a jet of momentum ``jet_x`` into hadrons whose momenta sum to it exactly.

    The shares z of the momentum are Dirichlet-distributed (their density falls with z), the momenta across the axis
    Gaussian. Multiplicity grows with the logarithm of the momentum across the beam, as in QCD cascades.
    """
    momentum = float(np.linalg.norm(jet_x))
    hardness = np.log1p(np.hypot(jet_x[0], jet_x[1]))
    hadrons = 3 + int(rng.poisson(1.0 + 4.0 * hardness))
    share_p = rng.dirichlet(np.full(hadrons, 0.7))
    across_px = rng.normal(0.0, JET_TRANSVERSE_GEV, (hadrons, 3))
    axis = jet_x / max(momentum, 1e-9)
    across_px -= np.outer(across_px @ axis, axis)
    across_px -= np.outer(share_p, across_px.sum(axis=0))
    return _hadrons(np.outer(share_p, jet_x) + across_px, rng)


def draw_soft(charged_per_eta: float, rng: Generator) -> Piece:
    """Draw the soft hadrons of a minimum-bias or underlying event, flat in eta and phi."""
    mean = charged_per_eta * 2 * SOFT_ETA_MAX / CHARGED_FRACTION
    hadrons = int(rng.negative_binomial(SOFT_SHAPE, SOFT_SHAPE / (SOFT_SHAPE + mean)))
    scale = TSALLIS_TEMPERATURE_GEV * TSALLIS_POWER
    pt_p = scale * rng.gamma(2.0, 1.0, hadrons) / rng.gamma(TSALLIS_POWER - 2, 1.0, hadrons)
    eta_p = rng.uniform(-SOFT_ETA_MAX, SOFT_ETA_MAX, hadrons)
    phi_p = rng.uniform(-np.pi, np.pi, hadrons)
    return _hadrons(_momentum(pt_p, eta_p, phi_p), rng)


def draw_tau_decay(tau: FloatArray, charge: int, rng: Generator) -> Piece:
    """Decay a tau (four-vector) into charged particles, neutral pions and neutrinos whose momenta sum to its own."""
    mode = TAU_MODES[int(rng.choice(len(TAU_MODES), p=TAU_FRACTIONS / TAU_FRACTIONS.sum()))]
    if mode in ("electron", "muon"):
        species = ELECTRON if mode == "electron" else MUON
        pair_mass = (TAU_MASS_GEV - SPECIES_MASS_GEV[species]) * rng.beta(2.0, 1.5)  # of the two neutrinos, near V-A
        lepton, pair = decay_in_two(tau, TAU_MASS_GEV, SPECIES_MASS_GEV[species], pair_mass, rng)
        neutrinos = decay_in_two(pair, pair_mass, 0.0, 0.0, rng)
        return _piece([lepton, *neutrinos], [species, NEUTRINO, NEUTRINO], [charge, 0, 0])
    pion = CHARGED_HADRON
    pion_mass, zero_mass = SPECIES_MASS_GEV[pion], SPECIES_MASS_GEV[NEUTRAL_PION]
    if mode == "pion":
        hadron, neutrino = decay_in_two(tau, TAU_MASS_GEV, pion_mass, 0.0, rng)
        return _piece([hadron, neutrino], [pion, NEUTRINO], [charge, 0])
    if mode == "rho":
        rho, neutrino = decay_in_two(tau, TAU_MASS_GEV, RHO_MASS_GEV, 0.0, rng)
        pions = decay_in_two(rho, RHO_MASS_GEV, pion_mass, zero_mass, rng)
        return _piece([*pions, neutrino], [pion, NEUTRAL_PION, NEUTRINO], [charge, 0, 0])
    meson, neutrino = decay_in_two(tau, TAU_MASS_GEV, A1_MASS_GEV, 0.0, rng)
    mass = zero_mass if mode == "a1_one_prong" else pion_mass
    rho, bachelor = decay_in_two(meson, A1_MASS_GEV, RHO_MASS_GEV, mass, rng)
    pions = decay_in_two(rho, RHO_MASS_GEV, pion_mass, mass, rng)
    if mode == "a1_one_prong":
        return _piece([bachelor, *pions, neutrino], [NEUTRAL_PION, pion, NEUTRAL_PION, NEUTRINO], [0, charge, 0, 0])
    return _piece([bachelor, *pions, neutrino], [pion, pion, pion, NEUTRINO], [charge, charge, -charge, 0])


def decay_in_two(
    parent: FloatArray, mass: float, first_mass: float, second_mass: float, rng: Generator
) -> tuple[FloatArray, FloatArray]:
    """Decay four-vectors (..., 4) of one mass isotropically into two that sum to them."""
    energy = (mass**2 + first_mass**2 - second_mass**2) / (2 * mass)
    momentum = np.sqrt(max(energy**2 - first_mass**2, 0.0))
    cosine = rng.uniform(-1.0, 1.0, parent.shape[:-1])
    phi = rng.uniform(-np.pi, np.pi, parent.shape[:-1])
    sine = np.sqrt(1 - cosine**2)
    rest = momentum * np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=-1)
    along = (parent[..., 1:] * rest).sum(axis=-1)
    boosted = rest + ((along / (parent[..., 0] + mass) + energy) / mass)[..., None] * parent[..., 1:]
    first = np.concatenate([((parent[..., 0] * energy + along) / mass)[..., None], boosted], axis=-1)
    return first, parent - first


def _draw_quarkonium(mass: float, pt_min: float, pt_scale: float, rng: Generator) -> list[Piece]:
    """Draw pt above ``pt_min`` from dN/dpt ~ pt (1 + (pt/scale)^2)^-3, as measured, and an unpolarised decay."""
    tail = (1 + (pt_min / pt_scale) ** 2) ** -2 * rng.random()
    pt = pt_scale * np.sqrt(tail**-0.5 - 1)
    phi = rng.uniform(-np.pi, np.pi)
    across = pt * np.array([np.cos(phi), np.sin(phi)])
    parent = _massive(mass, across, rng.uniform(-QUARKONIUM_RAPIDITY_MAX, QUARKONIUM_RAPIDITY_MAX))
    muons = decay_in_two(parent, mass, SPECIES_MASS_GEV[MUON], SPECIES_MASS_GEV[MUON], rng)
    sign = 1 - 2 * int(rng.integers(2))
    recoil = _momentum(pt, rng.uniform(-JET_ETA_MAX, JET_ETA_MAX), phi + np.pi)
    radiation_px = _draw_radiation(0.5, 8.0, rng)
    recoil[:2] -= radiation_px[:, :2].sum(axis=0)
    jets = [draw_jet(jet, rng) for jet in (recoil, *radiation_px)]
    return [_piece(list(muons), [MUON, MUON], [sign, -sign]), *jets]


def _draw_radiation(mean: float, pt_min: float, rng: Generator) -> FloatArray:
    """Draw jets of initial-state radiation (jet, xyz): a Poisson number, dN/dpt ~ pt^-3.5 above ``pt_min``."""
    jets = int(rng.poisson(mean))
    pt_j = pt_min * rng.random(jets) ** (-1 / 2.5)
    eta_j = rng.uniform(-JET_ETA_MAX, JET_ETA_MAX, jets)
    return _momentum(np.minimum(pt_j, 200.0), eta_j, rng.uniform(-np.pi, np.pi, jets))


def _decay_neutral_pions(particles: Particles, rng: Generator) -> Particles:
    """Replace neutral pions by their two photons."""
    is_pion_p = particles.species_p == NEUTRAL_PION
    momentum_px = particles.momentum_px[is_pion_p]
    pions = np.concatenate([particles.energy_p[is_pion_p, None], momentum_px], axis=1)
    photons = np.concatenate(decay_in_two(pions, SPECIES_MASS_GEV[NEUTRAL_PION], 0.0, 0.0, rng))
    zeros_p = np.zeros(len(photons), dtype=np.int64)
    return Particles(
        np.concatenate([particles.momentum_px[~is_pion_p], photons[:, 1:]]),
        np.concatenate([particles.species_p[~is_pion_p], zeros_p + PHOTON]),
        np.concatenate([particles.charge_p[~is_pion_p], zeros_p]),
        np.concatenate([particles.vertex_z_p[~is_pion_p], np.tile(particles.vertex_z_p[is_pion_p], 2)]),
    )


def _hadrons(momentum_px: FloatArray, rng: Generator) -> Piece:
    """Give momenta a hadron's species and charge."""
    chance_p = rng.random(len(momentum_px))
    charged_p = chance_p < CHARGED_FRACTION
    pion_p = chance_p < CHARGED_FRACTION + NEUTRAL_PION_FRACTION
    species_p = np.where(charged_p, CHARGED_HADRON, np.where(pion_p, NEUTRAL_PION, NEUTRAL_HADRON))
    charge_p = np.where(charged_p, 1 - 2 * rng.integers(0, 2, len(momentum_px)), 0)
    return Piece(momentum_px, species_p, charge_p)


def _piece(vectors: list[FloatArray], species: list[int], charges: list[int]) -> Piece:
    return Piece(np.stack(vectors)[:, 1:], np.array(species), np.array(charges))


def _massive(mass: float, across: FloatArray, rapidity: float) -> FloatArray:
    """Return the four-vector of a mass with the given momentum across the beam and rapidity."""
    transverse = np.sqrt(mass**2 + (across**2).sum())
    return np.array([transverse * np.cosh(rapidity), across[0], across[1], transverse * np.sinh(rapidity)])


def _momentum(pt: FloatArray | float, eta: FloatArray | float, phi: FloatArray | float) -> FloatArray:
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=-1)
