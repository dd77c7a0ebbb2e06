import numpy as np
import pytest
from numpy.typing import NDArray

from hepml_core.ecal.showers import (
    CRITICAL_GEV,
    CRYSTAL_DEPTH,
    Showers,
    develop,
    draw_depth,
    leakage,
    radial_profile,
    spread,
)

N = 20_000
FINE = 1e-11
"""Spots so small that nothing fluctuates."""


def one_term(radius: float, row: float, column: float) -> Showers:
    return Showers(np.ones(1), np.array([row]), np.array([column]), np.array([[radius]]), np.ones((1, 1)))


def test_leakage_is_the_upper_tail_of_the_gamma_distribution() -> None:
    alpha_s, beta_s = (grid.ravel() for grid in np.meshgrid(np.linspace(3, 9, 13), np.linspace(0.35, 0.7, 8)))
    depth = np.linspace(0, 200, 40_001)[1:] - 0.0025  # the density, summed in small steps
    density_sk = depth ** (alpha_s[:, None] - 1) * np.exp(-beta_s[:, None] * depth)
    behind_s = density_sk[:, depth > CRYSTAL_DEPTH].sum(1) / density_sk.sum(1)
    assert np.allclose(leakage(alpha_s, beta_s), behind_s, atol=1.5e-3)


def test_maxima_lie_where_showers_of_their_energy_have_them_and_rise_with_its_logarithm() -> None:
    for energy in (10.0, 60.0):
        log_y = np.log(energy / CRITICAL_GEV)
        maximum_s, alpha_s = draw_depth(np.full(N, log_y), np.random.default_rng(0))
        assert np.median(maximum_s) == pytest.approx(log_y - 0.812, rel=0.01)
        spread_of_log = np.log(maximum_s).std()
        assert spread_of_log == pytest.approx(1 / (1.26 * log_y - 1.4), rel=0.03)
        assert np.corrcoef(np.log(maximum_s), np.log(alpha_s))[0, 1] == pytest.approx(0.705 - 0.023 * log_y, abs=0.02)


def test_photons_leak_more_than_electrons_of_the_same_energy() -> None:
    kept = [
        develop(np.full(N, 60.0), np.full(N, neutral), np.zeros(N), np.zeros(N), 0.1, np.random.default_rng(1)).energy_s
        for neutral in (False, True)
    ]
    assert kept[1].mean() < kept[0].mean() < 60.0
    assert 0.003 < 1 - kept[1].mean() / 60 < 0.03
    assert min(kept[0].min(), kept[1].min()) > 0


def test_showers_widen_with_depth() -> None:
    core_s, tail_s, share_s = radial_profile(np.full(3, 50.0), np.array([0.6, 1.2, 2.0]))
    assert (np.diff(core_s) > 0).all()
    assert (np.diff(share_s) < 0).all()
    assert tail_s[2] > tail_s[1] > core_s[2]


@pytest.mark.parametrize(("radius", "row", "column"), [(0.15, 0.5, 0.5), (0.15, 0.1, 0.8), (0.7, 0.95, 0.3)])
def test_a_crystal_gets_the_integral_of_the_profile_over_it(radius: float, row: float, column: float) -> None:
    energy_syx = spread(one_term(radius, row, column), 2, FINE, np.random.default_rng(0))
    for iy, ix in ((2, 2), (2, 3), (1, 2), (3, 1), (0, 4)):
        y, x = iy - 2 - row, ix - 2 - column
        step = (np.arange(400) + 0.5) / 400
        distance_2 = (y + step[:, None]) ** 2 + (x + step) ** 2
        expected = (radius**2 / (np.pi * (distance_2 + radius**2) ** 2)).mean()
        assert energy_syx[0, iy, ix] == pytest.approx(expected, rel=2e-3, abs=2e-7)


def test_the_whole_of_a_narrow_shower_is_in_the_window() -> None:
    energy_syx = spread(one_term(0.05, 3.5, -7.5), 5, 1e-4, np.random.default_rng(0))
    assert energy_syx.sum() == pytest.approx(1.0, abs=2e-4)
    assert energy_syx.argmax() == 60  # the middle of 11 x 11


def test_shifting_and_mirroring_an_axis_moves_the_energies_with_it() -> None:
    def energies(row: float, column: float) -> NDArray[np.float32]:
        energy_yx: NDArray[np.float32] = spread(one_term(0.3, row, column), 3, FINE, np.random.default_rng(0))[0]
        return energy_yx

    assert np.allclose(energies(0.3, 0.2), energies(7.3, -4.8), rtol=3e-3)
    assert np.allclose(energies(0.3, 0.2), energies(0.7, 0.2)[::-1], rtol=3e-3)
    assert np.allclose(energies(0.3, 0.2), energies(0.2, 0.3).T, rtol=3e-3)
    assert not np.allclose(energies(0.3, 0.2), energies(0.3, 0.25), rtol=3e-3)


def test_larger_spots_fluctuate_more_and_keep_the_sum() -> None:
    showers = Showers(
        np.full(3000, 10.0), np.full(3000, 0.5), np.full(3000, 0.5), np.full((3000, 1), 0.6), np.ones((3000, 1))
    )
    fine, coarse = (spread(showers, 3, spot, np.random.default_rng(2)) for spot in (0.002, 0.02))
    assert np.allclose(fine.sum((1, 2)), coarse.sum((1, 2)), rtol=1e-4)
    assert np.allclose(fine.mean(0), coarse.mean(0), rtol=0.2)
    assert fine[:, 3, 3].mean() == pytest.approx(coarse[:, 3, 3].mean(), rel=2e-3)
    corner_fine, corner_coarse = fine[:, 0, 0], coarse[:, 0, 0]
    assert corner_coarse.var() / corner_fine.var() == pytest.approx(10, rel=0.3)
    assert corner_fine.var() == pytest.approx(0.002 * corner_fine.mean(), rel=0.15)  # as many spots as Poisson has
    assert coarse.min() >= 0


def test_5_by_5_crystals_hold_of_unconverted_photons_what_the_experiment_simulates() -> None:
    place = np.random.default_rng(3).uniform(0, 1, (2, N))
    showers = develop(np.full(N, 50.0), np.ones(N, bool), place[0], place[1], 0.15, np.random.default_rng(4))
    energy_syx = spread(showers, 5, 0.005, np.random.default_rng(5))
    # 0.9675: CMSSW, SimCalorimetry/EcalSimProducers/python/ecalNotContainmentSim_cff.py, photons of 50 GeV
    assert energy_syx[:, 3:8, 3:8].sum((1, 2)).mean() / 50 == pytest.approx(0.9675, abs=0.01)
