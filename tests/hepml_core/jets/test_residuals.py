"""Four-vectors, smeared and shifted by known amounts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepml_core.jets.residuals import (
    GROUPS,
    Compared,
    Values,
    dijet_masses,
    groups_of,
    kind_of,
    massless_residual,
    residual_title_of,
    title_of,
    unfold_events,
)
from hepml_core.jets.variables import SETS, VARIABLES
from hepml_core.metrics import measure_spread


def jets(events: int = 2000, each: int = 3, seed: int = 0) -> Compared:
    """Massive jets with E, pt, eta, phi and m, whose output is the input."""
    generator = np.random.default_rng(seed)
    count = events * each
    pt_n = 20 * (1 - generator.random(count)) ** -0.25
    eta_n, phi_n = generator.uniform(-2.8, 2.8, count), generator.uniform(-math.pi, math.pi, count)
    m_n = 0.1 * pt_n
    columns = np.stack([np.hypot(pt_n * np.cosh(eta_n), m_n), pt_n, eta_n, phi_n, m_n], axis=1).astype(np.float32)
    event_n = np.repeat(np.arange(events, dtype=np.uint64), each)
    return Compared(("E", "pt", "eta", "phi", "m"), columns, columns.copy(), event_n, np.full(count, "j"))


def test_an_exact_reconstruction_has_no_residuals_and_the_same_dijet_masses() -> None:
    found = jets()
    assert not found.residuals().any()
    before, after = (dijet_masses(found.event_n, values) for values in (found.before(), found.after()))
    np.testing.assert_array_equal(before, after)
    assert len(before) == 2000


def test_energies_are_judged_relatively_and_angles_on_the_circle() -> None:
    found = jets()
    found.output_nf[:, [0, 1, 4]] *= np.float32(1.5)
    found.output_nf[:, 2] += np.float32(0.25)
    found.output_nf[:, 3] += np.float32(2 * math.pi)
    residual_nf = found.residuals()
    np.testing.assert_allclose(residual_nf[:, [0, 1, 4]], 0.5, atol=1e-6)
    np.testing.assert_allclose(residual_nf[:, 2], 0.25, atol=1e-6)
    np.testing.assert_allclose(residual_nf[:, 3], 0, atol=2e-6)


def test_only_energies_momenta_and_masses_are_judged_relatively() -> None:
    relative = {name for name in VARIABLES if kind_of(name) == "relative"}
    assert relative == {"E", "pt", "m", "LeadingClusterPt"}
    assert {name for name in VARIABLES if kind_of(name) == "angle"} == {"phi", "ActiveArea4vec_phi"}


def test_known_smearing_of_pt_comes_back_as_its_sigma() -> None:
    found = jets(5000)
    smear_n = 0.01 * np.random.default_rng(1).normal(size=len(found.event_n))
    found.output_nf[:, 1] *= (1 + smear_n).astype(np.float32)
    spread = measure_spread(found.residuals()[:, 1])
    assert abs(spread.sigma.value - 0.01) < 4 * spread.sigma.error
    assert abs(spread.mean.value) < 4 * spread.mean.error


def test_two_back_to_back_massless_jets_have_twice_their_energy_as_mass() -> None:
    values = {
        "pt": np.array([50, 50], np.float32),
        "eta": np.zeros(2, np.float32),
        "phi": np.array([0, math.pi], np.float32),
        "m": np.zeros(2, np.float32),
    }
    assert dijet_masses(np.zeros(2, np.uint64), values) == pytest.approx([100])


@given(st.integers(0, 2**32 - 1))
def test_the_dijet_mass_does_not_depend_on_the_order_of_rows_nor_on_a_turn_or_a_boost_along_the_beam(seed: int) -> None:
    found = jets(20, 3, seed)
    values = {**found.before(), "m": np.zeros(60, np.float32)}
    del values["E"]  # without mass, pseudorapidities shift under a boost as rapidities do
    mass_e = dijet_masses(found.event_n, values)
    order_n = np.random.default_rng(seed).permutation(60)
    shuffled = {name: value_n[order_n] for name, value_n in values.items()}
    np.testing.assert_allclose(dijet_masses(found.event_n[order_n], shuffled), mass_e)
    moved = {**values, "eta": values["eta"] + np.float32(0.7), "phi": values["phi"] + np.float32(1)}
    np.testing.assert_allclose(dijet_masses(found.event_n, moved), mass_e, rtol=1e-3, atol=0.01)


def test_energy_and_mass_give_the_same_dijet_mass() -> None:
    found = jets(200)
    with_m = {name: value_n for name, value_n in found.before().items() if name != "E"}
    with_e = {name: value_n for name, value_n in found.before().items() if name != "m"}
    expected = dijet_masses(found.event_n, with_m)
    np.testing.assert_allclose(dijet_masses(found.event_n, with_e), expected, rtol=1e-3)


def test_the_leading_two_are_those_of_the_largest_pt_and_events_of_one_jet_have_no_mass() -> None:
    event_n = np.array([7, 5, 7, 7, 9, 5], np.uint64)
    values = {
        "pt": np.array([10, 30, 40, 20, 99, 30], np.float32),
        "eta": np.zeros(6, np.float32),
        "phi": np.array([1, 0, 0, math.pi, 0, math.pi], np.float32),
        "m": np.zeros(6, np.float32),
    }
    assert dijet_masses(event_n, values) == pytest.approx([60, 2 * math.sqrt(40 * 20)], rel=1e-5)
    assert len(dijet_masses(event_n[:0], {name: value_n[:0] for name, value_n in values.items()})) == 0


def test_leptons_are_no_jets_and_objects_of_unknown_kind_may_be() -> None:
    found = jets(2, 3)
    kind_n = np.array(["j", "e-", "b", "g", "", "m+"])
    mixed = Compared(found.variables, found.input_nf, found.output_nf, found.event_n, kind_n)
    assert mixed.jets().kind_n.tolist() == ["j", "b", ""]
    np.testing.assert_array_equal(mixed.jets().input_nf, found.input_nf[[0, 2, 4]])


def test_the_massless_energy_is_exact_without_mass_and_too_small_with_one() -> None:
    values = jets().before()
    expected = 1 / np.sqrt(1 + (0.1 / np.cosh(values["eta"].astype(np.float64))) ** 2) - 1
    np.testing.assert_allclose(massless_residual(values), expected, atol=1e-6)
    massless = {**values, "E": values["pt"] * np.cosh(values["eta"])}
    assert np.abs(massless_residual(massless)).max() < 1e-6


def test_rows_of_whole_events_become_the_objects_that_are_there() -> None:
    columns = ("E_0", "E_1", "pt_0", "pt_1", "is_ttbar")
    input_rf: Values = np.array([[50, 0, 40, 0, 1], [30, 20, 25, 15, 0], [0, 0, 0, 0, 1]], np.float32)
    output_rf = input_rf + np.float32(0.5)
    found = unfold_events(columns, input_rf, output_rf, np.array([4, 8, 9], np.uint64))
    assert found.variables == ("E", "pt")
    assert found.input_nf.tolist() == [[50, 40], [30, 25], [20, 15]]
    assert found.output_nf.tolist() == [[50.5, 40.5], [30.5, 25.5], [20.5, 15.5]]
    assert found.event_n.tolist() == [4, 8, 8]
    assert set(found.kind_n.tolist()) == {""}


def test_the_27_variables_fall_into_nine_groups_and_no_variable_is_forgotten() -> None:
    groups = groups_of(SETS["atlas27"])
    assert len(groups) == 9
    assert sorted(column for group in groups for column in group) == list(range(27))
    assert sorted(name for group in GROUPS for name in group) == sorted(VARIABLES)
    assert groups_of(["phi", "E", "EMFrac"]) == [[1, 0]]


def test_axes_are_named_by_symbol_and_unit_and_relative_residuals_have_none() -> None:
    assert title_of("pt") == r"$p_\mathrm{T}$ [GeV]"
    assert title_of("LeadingClusterSecondR") == "LeadingClusterSecondR [1000 mm$^2$]"
    assert residual_title_of("m") == r"$\Delta$$m$ / $m$"
    assert residual_title_of("phi") == r"$\Delta$$\phi$ [rad]"
    assert "GeV" not in residual_title_of("LeadingClusterPt")
