import numpy as np
import pytest
from numpy.typing import NDArray

from hepml_core.jets.cuts import apply_cuts
from hepml_core.jets.events import Events
from hepml_core.jets.toy_jets import GHOST_AREA, add_variables
from hepml_core.jets.toys import make_events
from hepml_core.jets.variables import SETS


def toy_jets() -> Events:
    drawn = make_events("ttbar", 8000, 20.0, np.random.default_rng(2))
    jets = drawn.select_objects(np.isin(drawn.object_n, ("j", "b")))
    return add_variables(jets, np.random.default_rng(3))


EVENTS = toy_jets()
GOOD = apply_cuts(EVENTS, "data")[0].values


def correlation(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Correlation of ranks, which tails do not move."""
    return float(np.corrcoef(one.argsort().argsort(), two.argsort().argsort())[0, 1])


def test_all_27_variables_are_there_and_finite() -> None:
    assert set(SETS["atlas27"]) <= set(EVENTS.values)
    assert all(np.isfinite(EVENTS.values[name]).all() for name in SETS["atlas27"])


def test_the_four_vectors_are_left_as_they_were() -> None:
    drawn = make_events("ttbar", 8000, 20.0, np.random.default_rng(2))
    jet_n = np.isin(drawn.object_n, ("j", "b"))
    assert all(np.array_equal(EVENTS.values[name], drawn.values[name][jet_n]) for name in ("pt", "eta", "phi", "m"))


def test_one_or_two_jets_in_a_hundred_fail_the_cuts_of_data_each_kind_of_noise_another() -> None:
    _, removed = apply_cuts(EVENTS, "data")
    assert 0.01 < sum(removed.values()) / len(EVENTS.object_n) < 0.02
    assert sum(count > 10 for count in removed.values()) >= 5


def test_shares_of_energy_pile_up_at_their_ends_and_exceed_them_slightly() -> None:
    share_n = GOOD["EMFrac"]
    assert 0.005 < (share_n == 1).mean() < 0.05
    assert (share_n == 0).any()
    assert share_n.max() > 1
    assert share_n.min() < 0
    assert -0.3 < share_n.min() < share_n.max() < 1.3


def test_the_hadronic_end_cap_is_empty_for_most_central_jets() -> None:
    central_n = np.abs(GOOD["eta"]) < 1.3
    assert (GOOD["HECFrac"][central_n] == 0).mean() > 0.9
    assert (GOOD["HECFrac"][np.abs(GOOD["eta"]) > 1.8] > 0).mean() > 0.8
    assert ((GOOD["HECFrac"] >= 0) & (GOOD["HECFrac"] + GOOD["EMFrac"] < 1 + 1e-9) | (GOOD["EMFrac"] > 1)).all()
    assert (GOOD["HECQuality"] == 0).mean() > 0.7


def test_constituents_are_whole_and_grow_with_pt_while_widths_fall() -> None:
    number_n = GOOD["N90Constituents"]
    assert np.array_equal(number_n, np.rint(number_n))
    assert number_n.min() >= 1
    soft_n, hard_n = GOOD["pt"] < 30, GOOD["pt"] > 150
    assert number_n[hard_n].mean() > 1.2 * number_n[soft_n].mean()
    assert GOOD["Width"][hard_n].mean() < 0.85 * GOOD["Width"][soft_n].mean()
    assert (GOOD["WidthPhi"] <= GOOD["Width"]).all()


@pytest.mark.parametrize(
    ("one", "two", "least"),
    [
        ("Width", "WidthPhi", 0.8),
        ("ActiveArea", "ActiveArea4vec_pt", 0.95),
        ("ActiveArea", "ActiveArea4vec_m", 0.8),
        ("eta", "ActiveArea4vec_eta", 0.999),
        ("eta", "DetectorEta", 0.999),
        ("pt", "LeadingClusterPt", 0.6),
        ("OotFracClusters5", "OotFracClusters10", 0.5),
        ("LeadingClusterCenterLambda", "LeadingClusterSecondLambda", 0.5),
    ],
)
def test_copies_of_one_thing_are_correlated(one: str, two: str, least: float) -> None:
    assert correlation(GOOD[one], GOOD[two]) > least


def test_areas_are_whole_numbers_of_ghosts() -> None:
    ghosts_n = GOOD["ActiveArea"] / GHOST_AREA
    assert np.allclose(ghosts_n, np.rint(ghosts_n))
    assert len(np.unique(np.rint(ghosts_n))) < 42


def test_the_shift_of_eta_is_that_of_the_vertex_common_to_an_event() -> None:
    # In the barrel sinh(eta) moves by z / 1.5 m whatever the jet.
    barrel_n = np.abs(EVENTS.values["eta"]) < 1.5
    shift_n = (np.sinh(EVENTS.values["DetectorEta"]) - np.sinh(EVENTS.values["eta"]))[barrel_n]
    event_n = EVENTS.event_n[barrel_n]
    same = event_n[1:] == event_n[:-1]
    assert np.allclose(shift_n[1:][same], shift_n[:-1][same])
    assert shift_n.std() * 1500 == pytest.approx(45, rel=0.05)


def test_times_are_sharp_with_tails_and_lie_around_zero() -> None:
    time_n = GOOD["Timing"]
    assert np.median(np.abs(time_n)) < 0.5
    assert (np.abs(time_n) > 5).mean() > 0.003
    assert abs(time_n.mean()) < 0.2
    late_n = np.abs(time_n) > 10
    assert GOOD["OotFracClusters5"][late_n].mean() > 3 * GOOD["OotFracClusters5"][~late_n].mean()
    assert (GOOD["OotFracClusters5"] >= GOOD["OotFracClusters10"] - 0.0021).all()


def test_ranges_are_those_of_the_detector() -> None:
    assert 1450 < GOOD["CentroidR"].min() < GOOD["CentroidR"].max() < 5500
    assert (GOOD["NegativeE"] < 0).all()
    assert 0 <= GOOD["AverageLArQF"].min() < GOOD["AverageLArQF"].max() <= 65_535
    assert np.median(GOOD["AverageLArQF"]) < 1000
    assert (GOOD["LeadingClusterPt"] > 0).all()
    assert (np.abs(GOOD["ActiveArea4vec_phi"]) <= np.pi).all()


def test_events_without_jets_are_no_problem() -> None:
    none = EVENTS.select_objects(np.zeros(len(EVENTS.object_n), bool))
    assert all(len(add_variables(none, np.random.default_rng(0)).values[name]) == 0 for name in SETS["atlas27"])
