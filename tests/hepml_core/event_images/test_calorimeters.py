import numpy as np
import pytest
from numpy.random import Generator, default_rng

from hepml_core.event_images.calorimeters import (
    ECAL_CELL,
    ECAL_SHARES,
    ECAL_SPREAD,
    HCAL_CELL,
    HCAL_SHARES,
    HCAL_SPREAD,
    Showers,
    calorimeter_hits,
    calorimeter_noise,
    spread_over_cells,
)
from hepml_core.event_images.helices import ECAL, HCAL, PRESHOWER, Hits, trace_helices
from hepml_core.event_images.physics import (
    CHARGED_HADRON,
    MUON,
    NEUTRAL_HADRON,
    NEUTRINO,
    PHOTON,
    FloatArray,
    Particles,
)

COPIES = 200


@pytest.fixture
def rng() -> Generator:
    return default_rng(11)


def deposit(species: int, pt: float, rng: Generator, eta: float = 0.5, charge: int = 0, phi: float = 0.4) -> Hits:
    momentum = np.array([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    zeros = np.zeros(COPIES)
    particles = Particles(np.tile(momentum, (COPIES, 1)), np.full(COPIES, species), np.full(COPIES, charge), zeros)
    return calorimeter_hits(particles, trace_helices(particles, 3.8), rng)


def energy(hits: Hits, kind: int) -> float:
    return float(hits.energy_h[hits.kind_h == kind].sum()) / COPIES


@pytest.mark.parametrize(
    ("cell", "shares", "spread"), [(ECAL_CELL, ECAL_SHARES, ECAL_SPREAD), (HCAL_CELL, HCAL_SHARES, HCAL_SPREAD)]
)
def test_cells_hold_all_energy_of_their_showers(cell: float, shares: FloatArray, spread: float, rng: Generator) -> None:
    showers = Showers(rng.uniform(-3, 3, 300), rng.uniform(-np.pi, np.pi, 300), rng.exponential(3.0, 300))
    cells = spread_over_cells(showers, cell, shares, spread, rng)
    assert cells.energy_h.sum() == pytest.approx(showers.energy_h.sum())
    assert len(cells.energy_h) == len({*zip(cells.eta_h, cells.phi_h, strict=True)})


def test_cells_lie_around_their_shower_also_across_the_seam_in_phi(rng: Generator) -> None:
    showers = Showers(np.full(50, 0.3), np.full(50, np.pi), np.ones(50))
    cells = spread_over_cells(showers, ECAL_CELL, ECAL_SHARES, ECAL_SPREAD, rng)
    away = np.abs((cells.phi_h - np.pi + np.pi) % (2 * np.pi) - np.pi)
    assert away.max() < 5 * ECAL_CELL
    assert np.abs(cells.eta_h - 0.3).max() < 5 * ECAL_CELL
    assert cells.energy_h.max() > 0.7 * 50


def test_a_photon_leaves_its_energy_in_the_ecal_where_it_points(rng: Generator) -> None:
    hits = deposit(PHOTON, 20.0, rng)
    assert set(hits.kind_h.tolist()) == {ECAL}
    assert energy(hits, ECAL) == pytest.approx(20 * np.cosh(0.5), rel=0.02)
    x, y, z = np.average(hits.point_hx, axis=0, weights=hits.energy_h)
    assert np.arctan2(y, x) == pytest.approx(0.4, abs=0.02)
    assert np.arcsinh(z / np.hypot(x, y)) == pytest.approx(0.5, abs=0.02)


def test_a_hadron_shares_its_energy_between_both_calorimeters(rng: Generator) -> None:
    hits = deposit(NEUTRAL_HADRON, 30.0, rng)
    assert energy(hits, ECAL) > 5
    assert energy(hits, HCAL) > 5
    assert energy(hits, ECAL) + energy(hits, HCAL) == pytest.approx(30 * np.cosh(0.5), rel=0.06)


def test_a_muon_leaves_a_minimum_whatever_its_energy(rng: Generator) -> None:
    assert energy(deposit(MUON, 10.0, rng, charge=1), ECAL) == pytest.approx(0.25, rel=0.3)
    assert energy(deposit(MUON, 50.0, rng, charge=1), HCAL) == pytest.approx(2.0, rel=0.3)


@pytest.mark.parametrize(("species", "pt", "charge"), [(NEUTRINO, 50.0, 0), (CHARGED_HADRON, 0.4, 1)])
def test_neutrinos_and_curling_particles_leave_nothing(species: int, pt: float, charge: int, rng: Generator) -> None:
    assert len(deposit(species, pt, rng, eta=0.1, charge=charge).kind_h) == 0


def test_only_forward_particles_cross_the_preshower(rng: Generator) -> None:
    forward = deposit(PHOTON, 5.0, rng, eta=-2.0)
    preshower = forward.point_hx[forward.kind_h == PRESHOWER]
    assert np.unique(preshower[:, 2].round(4)).tolist() == [-3.0784, -3.0335]
    assert PRESHOWER not in deposit(PHOTON, 5.0, rng, eta=1.0).kind_h


def test_noise_is_above_threshold_but_small(rng: Generator) -> None:
    noise = calorimeter_noise(100, 100, rng)
    assert set(noise.kind_h.tolist()) == {ECAL, HCAL}
    assert 0.1 < noise.energy_h.mean() < 1.5
