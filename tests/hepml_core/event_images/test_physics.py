from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from hepml_core.event_images.physics import (
    JPSI_MASS_GEV,
    MUON,
    NEUTRAL_PION,
    PROCESSES,
    SPECIES_MASS_GEV,
    TAU_MASS_GEV,
    UPSILON_MASS_GEV,
    FloatArray,
    Piece,
    decay_in_two,
    draw_dijet,
    draw_event,
    draw_jet,
    draw_jpsi,
    draw_qcd,
    draw_soft,
    draw_tau_decay,
    draw_upsilon,
)


@pytest.fixture
def rng() -> Generator:
    return default_rng(5)


def four_vectors(piece: Piece) -> FloatArray:
    energy_p = np.sqrt((piece.momentum_px**2).sum(axis=1) + SPECIES_MASS_GEV[piece.species_p] ** 2)
    return np.concatenate([energy_p[:, None], piece.momentum_px], axis=1)


def mass(vector: FloatArray) -> float:
    return float(np.sqrt(vector[0] ** 2 - (vector[1:] ** 2).sum()))


def muons_of(pieces: list[Piece]) -> Piece:
    return next(piece for piece in pieces if (piece.species_p == MUON).all())


@pytest.mark.parametrize(("draw", "expected"), [(draw_jpsi, JPSI_MASS_GEV), (draw_upsilon, UPSILON_MASS_GEV)])
def test_a_quarkonium_is_two_opposite_muons_of_its_mass(
    draw: Callable[[Generator], list[Piece]], expected: float, rng: Generator
) -> None:
    for _ in range(20):
        muons = muons_of(draw(rng))
        assert muons.charge_p.sum() == 0
        assert len(muons.charge_p) == 2
        assert mass(four_vectors(muons).sum(axis=0)) == pytest.approx(expected, rel=1e-6)


def test_muons_of_an_upsilon_open_wider_than_those_of_a_jpsi(rng: Generator) -> None:
    def median_angle(process: str) -> float:
        momenta = [muons_of(PROCESSES[process](rng)).momentum_px for _ in range(200)]
        units = [px / np.linalg.norm(px, axis=1, keepdims=True) for px in momenta]
        return float(np.median([np.arccos(first @ second) for first, second in units]))

    assert median_angle("upsilon") > 2 * median_angle("jpsi")


def test_two_jets_are_back_to_back_across_the_beam(rng: Generator) -> None:
    for _ in range(20):
        first, second = draw_dijet(rng)
        assert first[:2] == pytest.approx(-second[:2])
        assert np.hypot(*first[:2]) >= 25.0


def test_the_hadrons_of_a_jet_sum_to_it(rng: Generator) -> None:
    jet = np.array([30.0, -40.0, 25.0])
    for _ in range(20):
        assert draw_jet(jet, rng).momentum_px.sum(axis=0) == pytest.approx(jet)


def test_the_hadrons_of_a_jet_are_collimated(rng: Generator) -> None:
    jet = np.array([60.0, 0.0, 0.0])
    momentum_px = np.concatenate([draw_jet(jet, rng).momentum_px for _ in range(50)])
    along, across = momentum_px[:, 0], np.hypot(momentum_px[:, 1], momentum_px[:, 2])
    assert across.mean() < 0.6
    assert along.sum() / np.abs(momentum_px).sum() > 0.65
    assert np.average(across / np.hypot(along, across), weights=np.abs(along)) < 0.2


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_momenta_across_the_beam_balance_in_the_hard_process(process: str, rng: Generator) -> None:
    for _ in range(20):
        across = sum(piece.momentum_px[:, :2].sum(axis=0) for piece in PROCESSES[process](rng))
        assert across == pytest.approx(np.zeros(2), abs=1e-9)


def test_a_tau_decays_into_one_or_three_prongs_that_sum_to_it(rng: Generator) -> None:
    tau = np.array([np.sqrt(40.0**2 + 30.0**2 + TAU_MASS_GEV**2), 40.0, 0.0, 30.0])
    prongs = []
    for _ in range(200):
        decay = draw_tau_decay(tau, -1, rng)
        assert four_vectors(decay).sum(axis=0) == pytest.approx(tau)
        assert decay.charge_p.sum() == -1
        prongs.append(int((decay.charge_p != 0).sum()))
    assert set(prongs) == {1, 3}
    assert 0.08 < prongs.count(3) / len(prongs) < 0.24


def test_products_of_a_decay_sum_to_the_parent_and_have_their_masses(rng: Generator) -> None:
    momentum_px = rng.normal(0, 20, (50, 3))
    parents = np.concatenate([np.sqrt((momentum_px**2).sum(axis=1) + 1.23**2)[:, None], momentum_px], axis=1)
    first, second = decay_in_two(parents, 1.23, 0.775, 0.140, rng)
    assert first + second == pytest.approx(parents)
    assert [mass(vector) for vector in first] == pytest.approx([0.775] * 50, rel=1e-4)
    assert [mass(vector) for vector in second] == pytest.approx([0.140] * 50, rel=1e-2)


def test_soft_hadrons_have_the_measured_mean_pt_and_number(rng: Generator) -> None:
    pieces = [draw_soft(5.5, rng) for _ in range(400)]
    pt_p = np.concatenate([np.hypot(*piece.momentum_px[:, :2].T) for piece in pieces])
    charged = np.mean([(piece.charge_p != 0).sum() for piece in pieces])
    assert pt_p.mean() == pytest.approx(0.53, abs=0.02)
    assert charged / 6.4 == pytest.approx(5.5, rel=0.15)


def test_neutral_pions_have_decayed_in_an_event(rng: Generator) -> None:
    assert NEUTRAL_PION not in draw_event("qcd", 2.0, 0.05, rng).species_p


def test_pile_up_adds_vertices_along_the_beam(rng: Generator) -> None:
    vertices = np.concatenate([np.unique(draw_event("jpsi", 4.0, 0.05, rng).vertex_z_p) for _ in range(200)])
    assert len(vertices) / 200 == pytest.approx(5.0, abs=0.5)
    assert vertices.std() == pytest.approx(0.05, rel=0.1)


def test_events_of_every_process_differ_in_number_of_particles(rng: Generator) -> None:
    for process in PROCESSES:
        counts = [len(draw_event(process, 3.0, 0.05, rng).species_p) for _ in range(10)]
        assert len(set(counts)) > 5


def test_jets_of_qcd_are_harder_than_those_that_a_jpsi_recoils_against(rng: Generator) -> None:
    def leading(process: str) -> float:
        return float(
            np.median([max(piece.momentum_px[:, 0].sum() for piece in PROCESSES[process](rng)) for _ in range(50)])
        )

    assert leading("qcd") > leading("jpsi")
    assert draw_qcd(rng)
