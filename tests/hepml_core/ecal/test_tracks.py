import numpy as np
import pytest

from hepml_core.ecal.material import FloatArray, total_thickness
from hepml_core.ecal.tracks import (
    BENDING_GEV_PER_T_M,
    CALORIMETER_RADIUS_M,
    Particles,
    cross_tracker,
    move,
    start_particles,
)

FIELD = 3.8


def one_each(energy_e: FloatArray, charge: int) -> Particles:
    return start_particles(np.asarray(energy_e, float), np.full(len(energy_e), charge))


@pytest.mark.parametrize("charge", [-1, 1])
def test_two_steps_lead_to_where_the_circle_crosses_the_cylinder(charge: int) -> None:
    energy_e = np.array([0.9, 1.5, 5.0, 50.0])
    share_e = np.ones(4)
    moved = move(one_each(energy_e, charge), 0.0, 0.3, share_e, FIELD)
    moved = move(moved, 0.3, CALORIMETER_RADIUS_M, share_e, FIELD)
    radius_e = energy_e / (BENDING_GEV_PER_T_M * FIELD)
    turning_e = 2 * np.arcsin(CALORIMETER_RADIUS_M / (2 * radius_e))
    assert np.allclose(moved.phi_p, -charge * turning_e / 2)  # positive charges turn clockwise
    assert np.allclose(moved.slant_p, -charge * turning_e / 2)
    assert np.allclose(moved.path_p, radius_e * turning_e)


def test_a_path_that_starts_at_a_slant_is_the_circle_through_its_point_and_direction() -> None:
    rng = np.random.default_rng(0)
    n, start, end = 200, 0.4, 1.1
    slant_p, charge_p, energy_p = rng.uniform(-0.9, 0.9, n), rng.choice([-1, 1], n), rng.uniform(0.8, 20.0, n)
    before = Particles(np.arange(n), energy_p, charge_p, np.zeros(n), slant_p, np.zeros(n))
    after = move(before, start, end, np.ones(n), FIELD)
    radius_p = energy_p[after.event_p] / (BENDING_GEV_PER_T_M * FIELD)
    turn_p = charge_p[after.event_p]
    # The centre lies at a right angle to the direction; the end must lie on the circle and on the cylinder.
    direction_p = slant_p[after.event_p]
    centre_x = start + turn_p * radius_p * np.sin(direction_p)
    centre_y = -turn_p * radius_p * np.cos(direction_p)
    x, y = end * np.cos(after.phi_p), end * np.sin(after.phi_p)
    assert len(after) > n // 2
    assert np.allclose(np.hypot(x - centre_x, y - centre_y), radius_p)
    # There the direction is again at a right angle to the radius of the circle.
    out = after.phi_p + after.slant_p
    assert np.allclose((x - centre_x) * np.cos(out) + (y - centre_y) * np.sin(out), 0, atol=1e-9)
    chord = np.hypot(x - start, y)
    assert np.allclose(after.path_p, 2 * radius_p * np.arcsin(chord / (2 * radius_p)))


def test_photons_fly_straight_and_stiff_electrons_nearly_so() -> None:
    straight = move(one_each(np.array([5.0]), 0), 0.0, 1.0, np.ones(1), FIELD)
    assert straight.phi_p[0] == straight.slant_p[0] == 0
    assert straight.path_p[0] == pytest.approx(1.0)
    stiff = move(one_each(np.array([1e6]), 1), 0.0, 1.0, np.ones(1), FIELD)
    assert stiff.path_p[0] == pytest.approx(1.0, abs=1e-9)


def test_electrons_too_soft_to_reach_a_cylinder_are_left_out() -> None:
    limit = BENDING_GEV_PER_T_M * FIELD * CALORIMETER_RADIUS_M / 2
    moved = move(one_each(np.array([0.99, 1.01]) * limit, -1), 0.0, CALORIMETER_RADIUS_M, np.ones(2), FIELD)
    assert moved.event_p.tolist() == [1]
    # At a larger pseudorapidity the same energy is less transverse momentum.
    moved = move(one_each(np.array([1.01]) * limit, -1), 0.0, CALORIMETER_RADIUS_M, np.array([0.9]), FIELD)
    assert len(moved) == 0


def test_without_material_one_particle_arrives_and_without_field_all_of_them_go_straight() -> None:
    eta_e = np.linspace(-1, 1, 50)
    bare = cross_tracker(one_each(50 * np.cosh(eta_e), -1), eta_e, FIELD, 0.0, np.random.default_rng(0))
    assert np.array_equal(bare.event_p, np.arange(50))
    assert np.allclose(bare.energy_p, 50 * np.cosh(eta_e))
    assert np.allclose(bare.phi_p, np.arcsin(BENDING_GEV_PER_T_M * FIELD * CALORIMETER_RADIUS_M / 100))
    straight = cross_tracker(one_each(50 * np.cosh(eta_e), -1), eta_e, 0.0, 1.0, np.random.default_rng(0))
    assert len(straight) > 100
    assert not straight.phi_p.any()
    assert np.allclose(straight.path_p, CALORIMETER_RADIUS_M)


def test_photons_convert_as_often_as_the_thickness_says() -> None:
    n = 40_000
    eta_e = np.random.default_rng(5).uniform(-1.2, 1.2, n)
    arrived = cross_tracker(one_each(np.full(n, 50.0), 0), eta_e, 0.0, 1.0, np.random.default_rng(6))
    whole_e = np.bincount(arrived.event_p[(arrived.charge_p == 0) & (arrived.energy_p == 50.0)], minlength=n)
    expected = np.exp(-7 / 9 * total_thickness(eta_e)).mean()
    assert whole_e.mean() == pytest.approx(expected, abs=4 * (expected * (1 - expected) / n) ** 0.5)


def test_without_a_field_hardly_any_energy_is_lost_and_none_is_made() -> None:
    n = 5_000
    for charge in (0, 1):
        arrived = cross_tracker(one_each(np.full(n, 60.0), charge), np.zeros(n), 0.0, 1.5, np.random.default_rng(7))
        total_e = np.bincount(arrived.event_p, arrived.energy_p, n)
        assert total_e.max() < 60.0 + 1e-9
        assert total_e.mean() > 59.5  # what is softer than 50 MeV is given up
        assert arrived.energy_p.min() > 0.05


def test_radiation_of_positive_charges_lies_on_the_other_side_than_that_of_negative_ones() -> None:
    n = 5_000
    for charge in (-1, 1):
        arrived = cross_tracker(one_each(np.full(n, 50.0), charge), np.zeros(n), FIELD, 1.0, np.random.default_rng(8))
        electron = arrived.charge_p == charge
        photon = (arrived.charge_p == 0) & (arrived.energy_p > 1)
        # Photons leave along the path: between the first direction and where the electron arrives.
        assert charge * arrived.phi_p[photon].mean() > charge * arrived.phi_p[electron].mean()
        assert -charge * arrived.phi_p[electron].mean() > 0
