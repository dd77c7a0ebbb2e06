"""Toy proton-proton collisions at 13 TeV: jets, b jets, leptons and photons as a fast detector simulation gives them.

A hard process is drawn with exact two-body kinematics and recoils against initial-state radiation. Each parton is one jet
(nothing is clustered, so jets may overlap) that gets a mass from fragmentation and the resolution of the detector.
Energies, momenta and masses are in GeV (c = 1), angles in rad. Suffixes: e event, p particle of an event, n object (of all
events one after the other), x component of a four-vector (E, px, py, pz) or of a momentum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hepml_core.jets.events import Events, IntArray, TextArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SQRT_S_GEV = 13_000.0
# Masses and branching fractions: Particle Data Group, Review of Particle Physics (2022).
TOP_GEV, TOP_WIDTH_GEV, W_GEV, W_WIDTH_GEV = 172.7, 1.42, 80.38, 2.09
ELECTRON_FRACTION, MUON_FRACTION = 0.13, 0.13
"""Decays of a W to e or mu, also by way of a tau; a tau that decays to hadrons counts as a jet."""
GLUINO_GEV, SQUARK_GEV, CHARGINO_GEV, NEUTRALINO_GEV = 1600.0, 1100.0, 500.0, 200.0
RESONANCE_WIDTH = 0.03
"""Width over mass of the toy resonance."""

DIJET_PT_GEV = 60.0
"""Smallest transverse momentum of the hard partons of dijet events."""
SPECTRUM_POWER, RADIATION_POWER = 5.0, 2.5
"""dN/dpt falls as pt to minus this, of hard partons and of radiated ones."""
RADIATED_MAX = 6
"""Jets from radiation in an event at most."""

MASS_OVER_PT, MASS_POWER, MASS_SPREAD = 0.13, -0.1, 0.35
"""Median of m/pt of a jet at 100 GeV, how it goes with pt, and the spread of its logarithm."""
B_EFFICIENCY, B_MISTAG, GLUON_SPLITTING = 0.75, 0.015, 0.03
ETA_MAX = {"j": 2.8, "b": 2.8, "e-": 2.7, "e+": 2.7, "m-": 2.7, "m+": 2.7, "g": 2.37}
"""Acceptance for each kind of object in the PhenoML data."""
AT_REST = np.array([1.0, 0, 0, 0])
RANK = {"j": 0, "b": 0, "e-": 1, "e+": 1, "m-": 2, "m+": 2, "g": 3}
"""Order of the kinds within an event; within a kind objects are ordered by pt."""


class Toy(NamedTuple):
    """A process.

    Attributes:
        hard: Draws the final partons of some events in their common frame of rest, and their codes.
        radiated: Mean number of jets from radiation.
        photons: Part of the events with a radiated photon.
        weight: Mean weight of an event.
    """

    hard: Callable[[int, float, Generator], Partons]
    radiated: float
    photons: float
    weight: float


class Partons(NamedTuple):
    """Final particles: four-vectors and codes, those of ``variables.OBJECTS`` and ``nu`` for what no detector sees."""

    momentum_epx: FloatArray
    code_ep: TextArray


def make_events(process: str, events: int, min_pt: float, rng: Generator, *, first_number: int = 0) -> Events:
    """Draw events with the objects that a detector would see, which may be none.

    Args:
        process: Name in ``PROCESSES``.
        events: How many.
        min_pt: Smallest transverse momentum of an object, in GeV.
        rng: Source of all chance.
        first_number: Number of the first event.

    Returns:
        Events with E, pt, eta, phi and m of each object and weight, met, met_phi of each event.
    """
    toy = PROCESSES[process]
    hard = toy.hard(events, min_pt, rng)
    radiated = _radiation(hard.momentum_epx, toy, min_pt, rng)
    recoil_ex = -radiated.momentum_epx[..., 1:3].sum(axis=1)
    hard = hard._replace(momentum_epx=_recoil(hard.momentum_epx, recoil_ex, rng))
    momentum_epx = np.concatenate([hard.momentum_epx, radiated.momentum_epx], axis=1)
    code_ep = np.concatenate([hard.code_ep, radiated.code_ep], axis=1)

    pt_ep, eta_ep, phi_ep = _cylindrical(momentum_epx)
    pt_ep *= 1 + _resolution(pt_ep, code_ep) * np.clip(rng.standard_normal(pt_ep.shape), -3, 3)
    seen_ep = (code_ep != "nu") & (pt_ep > 1e-3)
    tagged_ep = _tag(code_ep, rng)
    # Momentum below the threshold is seen by the calorimeters, only not as an object.
    met_e, met_phi_e = _missing(np.where(seen_ep, pt_ep, 0), phi_ep, rng)
    keep_ep = seen_ep & (pt_ep > min_pt) & (np.abs(eta_ep) < _look_up(ETA_MAX, tagged_ep))
    number_e = np.arange(first_number, first_number + events)
    weight_e = toy.weight * rng.lognormal(-0.02, 0.2, events)
    of_event = {"weight": weight_e, "met": met_e, "met_phi": met_phi_e}
    return _flatten(process, number_e, keep_ep, (pt_ep, eta_ep, phi_ep), tagged_ep, of_event, rng)


def _flatten(
    process: str,
    number_e: IntArray,
    keep_ep: BoolArray,
    place_ep: tuple[FloatArray, FloatArray, FloatArray],
    code_ep: TextArray,
    of_event: dict[str, FloatArray],
    rng: Generator,
) -> Events:
    event_n, _ = np.nonzero(keep_ep)
    code_n = code_ep[keep_ep]
    pt_n, eta_n, phi_n = (value_ep[keep_ep] for value_ep in place_ep)
    order_n = np.lexsort((-pt_n, _look_up(RANK, code_n), event_n))
    code_n, pt_n, eta_n, phi_n = code_n[order_n], pt_n[order_n], eta_n[order_n], phi_n[order_n]
    m_n = np.where(np.isin(code_n, ("j", "b")), _jet_mass(pt_n, rng), 0.0)
    e_n = np.hypot(pt_n * np.cosh(eta_n), m_n)
    return Events(
        count_e=keep_ep.sum(axis=1),
        number_e=number_e,
        key_e=number_e.astype(np.uint64),
        process_e=np.full(len(number_e), process),
        object_n=code_n,
        values={"E": e_n, "pt": pt_n, "eta": eta_n, "phi": phi_n, "m": m_n},
        of_event=of_event,
    )


def _jet_mass(pt_n: FloatArray, rng: Generator) -> FloatArray:
    median_n = MASS_OVER_PT * pt_n * (pt_n / 100) ** MASS_POWER
    return median_n * np.exp(MASS_SPREAD * rng.standard_normal(len(pt_n)))


def _resolution(pt_ep: FloatArray, code_ep: TextArray) -> FloatArray:
    """Return sigma(pt)/pt: 10 % for jets of 85 GeV, 2 % for leptons and photons."""
    return np.where(np.isin(code_ep, ("j", "b")), np.hypot(0.85 / np.sqrt(np.maximum(pt_ep, 1)), 0.04), 0.02)


def _tag(code_ep: TextArray, rng: Generator) -> TextArray:
    chance_ep = rng.random(code_ep.shape)
    tagged_ep = code_ep.copy()
    tagged_ep[(code_ep == "b") & (chance_ep > B_EFFICIENCY)] = "j"
    tagged_ep[(code_ep == "j") & (chance_ep < B_MISTAG + GLUON_SPLITTING * B_EFFICIENCY)] = "b"
    return tagged_ep


def _look_up(table: Mapping[str, float], code: TextArray) -> FloatArray:
    return np.select([code == name for name in table], list(table.values()), 0.0)


def _missing(pt_ep: FloatArray, phi_ep: FloatArray, rng: Generator) -> tuple[FloatArray, FloatArray]:
    soft_xe = rng.normal(0, 8, (2, len(pt_ep)))
    x_e = soft_xe[0] - (pt_ep * np.cos(phi_ep)).sum(axis=1)
    y_e = soft_xe[1] - (pt_ep * np.sin(phi_ep)).sum(axis=1)
    return np.hypot(x_e, y_e), np.arctan2(y_e, x_e)


def _dijet(events: int, min_pt: float, rng: Generator) -> Partons:
    """Two partons back to back; the rapidity between them is flat with Gaussian edges, as gluon exchange gives it."""
    eta_e = np.abs(rng.uniform(-1.6, 1.6, events) + rng.normal(0, 0.4, events))
    largest_e = SQRT_S_GEV / 2 / np.cosh(eta_e + 1.5)
    pt_e = draw_falling(SPECTRUM_POWER, max(DIJET_PT_GEV, min_pt), largest_e, rng)
    phi_e = rng.uniform(-np.pi, np.pi, events)
    one_ex = np.stack([pt_e * np.cosh(eta_e), pt_e * np.cos(phi_e), pt_e * np.sin(phi_e), pt_e * np.sinh(eta_e)], -1)
    return Partons(np.stack([one_ex, one_ex * [1, -1, -1, -1]], axis=1), np.full((events, 2), "j", "<U2"))


def _resonance(mass: float) -> Callable[[int, float, Generator], Partons]:
    def draw(events: int, _: float, rng: Generator) -> Partons:
        mass_e = _breit_wigner(mass, RESONANCE_WIDTH * mass, events, rng)
        pair = _decay(mass_e[:, None] * AT_REST, np.zeros(events), np.zeros(events), rng)
        return Partons(np.stack(pair, axis=1), np.full((events, 2), "j", "<U2"))

    return draw


def _ttbar(events: int, _: float, rng: Generator) -> Partons:
    one_e, two_e = (_breit_wigner(TOP_GEV, TOP_WIDTH_GEV, events, rng) for _ in range(2))
    mass_e = (one_e + two_e) * (1 + 0.25 * rng.gamma(1.5, size=events))
    pair = _decay(mass_e[:, None] * AT_REST, one_e, two_e, rng)
    momenta, codes = [], []
    for top_ex, charge in zip(pair, "+-", strict=True):
        w_ex, b_ex = _decay(top_ex, _breit_wigner(W_GEV, W_WIDTH_GEV, events, rng), np.full(events, 4.8), rng)
        products, names = _decay_w(w_ex, charge, rng)
        momenta += [b_ex, *products]
        codes += [np.full(events, "b", "<U2"), *names]
    return Partons(np.stack(momenta, axis=1), np.stack(codes, axis=1))


def _gluino(events: int, _: float, rng: Generator) -> Partons:
    """Pairs of gluinos, each to two quarks, a W and the lightest neutralino by way of squark and chargino."""
    gluino_e, zero_e = np.full(events, GLUINO_GEV), np.zeros(events)
    mass_e = 2 * gluino_e * (1 + 0.1 * rng.gamma(1.5, size=events))
    pair = _decay(mass_e[:, None] * AT_REST, gluino_e, gluino_e, rng)
    momenta, codes = [], []
    for gluino_ex, charge in zip(pair, "+-", strict=True):
        squark_ex, first_ex = _decay(gluino_ex, np.full(events, SQUARK_GEV), zero_e, rng)
        chargino_ex, second_ex = _decay(squark_ex, np.full(events, CHARGINO_GEV), zero_e, rng)
        w_ex, neutralino_ex = _decay(chargino_ex, np.full(events, W_GEV), np.full(events, NEUTRALINO_GEV), rng)
        products, names = _decay_w(w_ex, charge, rng)
        momenta += [first_ex, second_ex, neutralino_ex, *products]
        codes += [np.full(events, code, "<U2") for code in ("j", "j", "nu")] + names
    return Partons(np.stack(momenta, axis=1), np.stack(codes, axis=1))


def _decay_w(w_ex: FloatArray, charge: str, rng: Generator) -> tuple[list[FloatArray], list[TextArray]]:
    zero_e, chance_e = np.zeros(len(w_ex)), rng.random(len(w_ex))
    products = list(_decay(w_ex, zero_e, zero_e, rng))
    electron_e, muon_e = chance_e < ELECTRON_FRACTION, chance_e > 1 - MUON_FRACTION
    first_e = np.select([electron_e, muon_e], [f"e{charge}", f"m{charge}"], "j")
    return products, [first_e, np.where(electron_e | muon_e, "nu", "j")]


PROCESSES = {
    "dijet": Toy(_dijet, radiated=1.0, photons=0.01, weight=100.0),
    "ttbar": Toy(_ttbar, radiated=1.2, photons=0.04, weight=1.0),
    "gluino": Toy(_gluino, radiated=1.5, photons=0.02, weight=0.01),
    "zprime_350": Toy(_resonance(350.0), radiated=0.8, photons=0.01, weight=0.1),
    "zprime_600": Toy(_resonance(600.0), radiated=0.8, photons=0.01, weight=0.02),
}
"""Processes by name."""


def draw_falling(power: float, least: float, most: FloatArray, rng: Generator) -> FloatArray:
    """Draw from dN/dpt ~ pt^-power between two limits, one number for each upper one."""
    tail = (least / np.maximum(most, 1.2 * least)) ** (power - 1)
    pt: FloatArray = least * (1 - rng.random(most.shape) * (1 - tail)) ** (-1 / (power - 1))
    return pt


def _radiation(momentum_epx: FloatArray, toy: Toy, min_pt: float, rng: Generator) -> Partons:
    """Draw jets, and now and then a photon, softer than the hard process."""
    events = len(momentum_epx)
    scale_e = np.hypot(momentum_epx[..., 1], momentum_epx[..., 2]).sum(axis=1) / 2
    shape = (events, RADIATED_MAX + 1)
    eta_ep = rng.uniform(-2.8, 2.8, shape) + rng.normal(0, 0.4, shape)
    most_ep = np.minimum(0.6 * scale_e[:, None], 0.2 * SQRT_S_GEV / np.cosh(eta_ep))
    pt_ep = draw_falling(RADIATION_POWER, min_pt, most_ep, rng)
    phi_ep = rng.uniform(-np.pi, np.pi, shape)
    there_ep = np.arange(RADIATED_MAX + 1) < rng.poisson(toy.radiated, events).clip(max=RADIATED_MAX)[:, None]
    there_ep[:, RADIATED_MAX] = rng.random(events) < toy.photons
    code_ep = np.full(shape, "j", "<U2")
    code_ep[:, RADIATED_MAX] = "g"
    pt_ep = np.where(there_ep, pt_ep, 0.0)
    unit_epx = np.stack([np.cosh(eta_ep), np.cos(phi_ep), np.sin(phi_ep), np.sinh(eta_ep)], axis=-1)
    return Partons(pt_ep[..., None] * unit_epx, code_ep)


def _recoil(momentum_epx: FloatArray, recoil_ex: FloatArray, rng: Generator) -> FloatArray:
    """Boost a system from rest to a transverse momentum and a rapidity that the protons can give it."""
    mass_e = momentum_epx[..., 0].sum(axis=1)
    transverse_e = np.sqrt(mass_e**2 + (recoil_ex**2).sum(axis=1))
    most_e = np.log(np.maximum(SQRT_S_GEV / transverse_e, 1.01))  # a high threshold may ask for more than there is
    rapidity_e = np.clip(rng.normal(0, 0.25 * most_e), -0.9 * most_e, 0.9 * most_e)
    along_e = transverse_e * np.sinh(rapidity_e)
    system_ex = np.column_stack([transverse_e * np.cosh(rapidity_e), recoil_ex, along_e])
    return _boost(momentum_epx, system_ex[:, None, :])


def _breit_wigner(mass: float, width: float, events: int, rng: Generator) -> FloatArray:
    """Draw masses of a resonance, cut at half and one and a half times its mass."""
    edge = np.arctan(mass / width)
    mass_e: FloatArray = mass + width / 2 * np.tan(rng.uniform(-edge, edge, events))
    return mass_e


def _decay(parent_ex: FloatArray, m1_e: FloatArray, m2_e: FloatArray, rng: Generator) -> tuple[FloatArray, FloatArray]:
    """Decay to two particles of given masses, evenly in all directions; a parent too light for them decays at threshold."""
    mass_e = np.sqrt(np.maximum(parent_ex[:, 0] ** 2 - (parent_ex[:, 1:] ** 2).sum(axis=1), 0))
    e1_e = (mass_e**2 + m1_e**2 - m2_e**2) / (2 * mass_e)
    p_e = np.sqrt(np.maximum(e1_e**2 - m1_e**2, 0))
    cos_e, phi_e = rng.uniform(-1, 1, len(mass_e)), rng.uniform(-np.pi, np.pi, len(mass_e))
    sin_e = np.sqrt(1 - cos_e**2)
    p_ex = p_e[:, None] * np.column_stack([sin_e * np.cos(phi_e), sin_e * np.sin(phi_e), cos_e])
    first_ex, second_ex = np.column_stack([e1_e, p_ex]), np.column_stack([mass_e - e1_e, -p_ex])
    return _boost(first_ex, parent_ex), _boost(second_ex, parent_ex)


def _boost(momentum_x: FloatArray, system_x: FloatArray) -> FloatArray:
    """Bring four-vectors from the frame of rest of a system to the frame where it has the given four-momentum."""
    mass = np.sqrt(system_x[..., :1] ** 2 - (system_x[..., 1:] ** 2).sum(axis=-1, keepdims=True))
    along = (momentum_x[..., 1:] * system_x[..., 1:]).sum(axis=-1, keepdims=True)
    energy, system_energy = momentum_x[..., :1], system_x[..., :1]
    boosted = (system_energy * energy + along) / mass
    factor = (along / (system_energy + mass) + energy) / mass
    return np.concatenate([boosted, momentum_x[..., 1:] + factor * system_x[..., 1:]], axis=-1)


def _cylindrical(momentum_epx: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return pt, eta and phi in (-pi, pi]; eta is 0 where nothing is."""
    _, x, y, z = np.moveaxis(momentum_epx, -1, 0)
    pt_ep = np.hypot(x, y)
    eta_ep = np.arcsinh(np.divide(z, pt_ep, out=np.zeros_like(z), where=pt_ep > 0))
    phi_ep = np.arctan2(y, x)
    return pt_ep, eta_ep, np.where(phi_ep <= -np.pi, np.pi, phi_ep)
