from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from hepml_core.jets.events import Events
from hepml_core.jets.toys import ETA_MAX, PROCESSES, RANK, draw_falling, make_events
from hepml_core.jets.variables import MASSLESS, OBJECTS

EVENTS = 8000


@cache
def sample(process: str) -> Events:
    return make_events(process, EVENTS, 20.0, np.random.default_rng(1))


def is_jet(events: Events) -> NDArray[np.bool_]:
    return np.isin(events.object_n, ("j", "b"))


def momentum(events: Events) -> NDArray[np.float64]:
    """Four-momenta (object, 4) from pt, eta, phi and E."""
    values = events.values
    pt_n, phi_n = values["pt"], values["phi"]
    return np.stack([values["E"], pt_n * np.cos(phi_n), pt_n * np.sin(phi_n), pt_n * np.sinh(values["eta"])], axis=-1)


def leading_pairs(events: Events) -> NDArray[np.float64]:
    """Four-momenta of the two first jets of events with two or more (event, jet, 4)."""
    jets = events.select_objects(is_jet(events))
    first_e = (np.cumsum(jets.count_e) - jets.count_e)[jets.count_e >= 2]
    pairs: NDArray[np.float64] = momentum(jets)[first_e[:, None] + [0, 1]]
    return pairs


@pytest.mark.parametrize("process", PROCESSES)
def test_every_object_lies_in_the_acceptance_of_its_kind(process: str) -> None:
    events = sample(process)
    assert set(np.unique(events.object_n)) <= set(OBJECTS)
    for kind, limit in ETA_MAX.items():
        mine_n = events.object_n == kind
        assert (np.abs(events.values["eta"][mine_n]) < limit).all()
        assert (events.values["pt"][mine_n] > 20).all()
    assert (events.values["phi"] > -np.pi).all()
    assert (events.values["phi"] <= np.pi).all()
    assert (events.of_event["weight"] > 0).all()


@pytest.mark.parametrize("process", PROCESSES)
def test_energy_momentum_and_mass_agree(process: str) -> None:
    events = sample(process)
    four_nx = momentum(events)
    mass2_n = four_nx[:, 0] ** 2 - (four_nx[:, 1:] ** 2).sum(axis=1)
    assert np.allclose(mass2_n, events.values["m"] ** 2, atol=1e-9 * four_nx[:, 0].max() ** 2)
    massless_n = np.isin(events.object_n, MASSLESS)
    assert (events.values["m"][massless_n] == 0).all()
    assert (events.values["m"][~massless_n] > 0).all()
    assert (four_nx[:, 0] < 6500 * 1.5).all()  # a proton's energy, and room for the resolution


@pytest.mark.parametrize("process", PROCESSES)
def test_objects_stand_by_kind_and_within_a_kind_by_pt(process: str) -> None:
    events = sample(process)
    rank_n = np.array([RANK[code] for code in events.object_n.tolist()])
    same = events.event_n[1:] == events.event_n[:-1]
    assert (np.diff(rank_n)[same] >= 0).all()
    same &= rank_n[1:] == rank_n[:-1]
    assert (np.diff(events.values["pt"])[same] <= 0).all()


def test_hard_spectra_fall_with_the_asked_power() -> None:
    pt_n = draw_falling(5.0, 60.0, np.full(200_000, 1e6), np.random.default_rng(0))
    # The likelihood of a power law above a threshold has its maximum at 1 + N / sum(log(pt/threshold)).
    assert 1 + len(pt_n) / np.log(pt_n / 60).sum() == pytest.approx(5.0, abs=0.04)
    assert draw_falling(5.0, 60.0, np.full(1000, 90.0), np.random.default_rng(0)).max() < 90


def test_leading_jets_of_dijets_fall_steeply_and_lie_back_to_back() -> None:
    pair_ejx = leading_pairs(sample("dijet"))
    pt_ej = np.hypot(pair_ejx[..., 1], pair_ejx[..., 2])
    mean_e = pt_ej.mean(axis=1)
    above_e = mean_e[mean_e > 80]  # away from the threshold
    assert 1 + len(above_e) / np.log(above_e / 80).sum() == pytest.approx(5.0, abs=0.4)
    cos_e = (pair_ejx[:, 0, 1:3] * pair_ejx[:, 1, 1:3]).sum(axis=1) / pt_ej.prod(axis=1)
    assert np.median(cos_e) < -0.9
    imbalance_e = (pt_ej[:, 0] - pt_ej[:, 1]) / (pt_ej[:, 0] + pt_ej[:, 1])
    assert 0.03 < np.median(imbalance_e) < 0.2


@pytest.mark.parametrize("mass", [350, 600])
def test_the_two_leading_jets_of_a_resonance_have_its_mass(mass: int) -> None:
    total_ex = leading_pairs(sample(f"zprime_{mass}")).sum(axis=1)
    mass_e = np.sqrt(total_ex[:, 0] ** 2 - (total_ex[:, 1:] ** 2).sum(axis=1))
    low, middle, high = np.percentile(mass_e, [16, 50, 84]) / mass
    assert middle == pytest.approx(1, abs=0.02)
    assert 0.03 < (high - low) / 2 < 0.12


def test_top_pairs_have_b_jets_leptons_and_now_and_then_a_photon() -> None:
    events = sample("ttbar")
    per_event = {kind: (events.object_n == kind).sum() / EVENTS for kind in OBJECTS}
    assert 1.3 < per_event["b"] < 1.8  # two, tagged with an efficiency
    assert 0.3 < sum(per_event[kind] for kind in ("e-", "e+", "m-", "m+")) < 0.55
    assert per_event["e-"] == pytest.approx(per_event["e+"], rel=0.2)
    assert 0.01 < per_event["g"] < 0.06
    jets_e = np.bincount(events.event_n[is_jet(events)], minlength=EVENTS)
    assert 4 <= np.median(jets_e) <= 6


def test_gluinos_give_harder_and_more_jets_and_more_missing_energy_than_top_pairs() -> None:
    gluino, ttbar = sample("gluino"), sample("ttbar")
    assert gluino.count_e.mean() > ttbar.count_e.mean() + 1
    assert np.median(gluino.values["pt"]) > 2 * np.median(ttbar.values["pt"])
    assert np.median(gluino.of_event["met"]) > 5 * np.median(ttbar.of_event["met"])


@pytest.mark.parametrize("process", PROCESSES)
def test_missing_energy_balances_what_is_seen(process: str) -> None:
    events = sample(process)
    four_nx = momentum(events)
    seen_ex = np.stack([np.bincount(events.event_n, four_nx[:, x], EVENTS) for x in (1, 2)], axis=-1)
    met_e, phi_e = events.of_event["met"], events.of_event["met_phi"]
    missing_ex = met_e[:, None] * np.stack([np.cos(phi_e), np.sin(phi_e)], axis=-1)
    # Objects below the threshold or outside of the acceptance count too, in every direction alike.
    assert (np.abs((seen_ex + missing_ex).mean(axis=0)) < 2.5).all()
    assert np.median(np.hypot(*(seen_ex + missing_ex).T)) < 40


def test_jet_masses_are_a_slowly_varying_part_of_pt() -> None:
    events = sample("gluino")
    jet_n = is_jet(events)
    pt_n, ratio_n = events.values["pt"][jet_n], (events.values["m"] / events.values["pt"])[jet_n]
    near_n = (pt_n > 80) & (pt_n < 125)
    assert np.median(ratio_n[near_n]) == pytest.approx(0.13, rel=0.05)
    assert np.log(ratio_n[near_n]).std() == pytest.approx(0.35, rel=0.1)
    assert 0.09 < np.median(ratio_n[pt_n > 500]) < 0.13


def test_azimuth_is_flat_and_eta_symmetric() -> None:
    values = sample("dijet").values
    counts = np.histogram(values["phi"], 12, (-np.pi, np.pi))[0]
    assert np.abs(counts / counts.mean() - 1).max() < 0.12
    assert values["eta"].mean() == pytest.approx(0, abs=0.05)


def test_chance_is_an_argument() -> None:
    first, second = (make_events("ttbar", 50, 20.0, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.values["pt"], second.values["pt"])
    assert not np.array_equal(first.values["pt"][:20], sample("ttbar").values["pt"][:20])


def test_numbers_go_on_from_the_asked_one() -> None:
    events = make_events("dijet", 3, 20.0, np.random.default_rng(0), first_number=1000)
    assert events.number_e.tolist() == [1000, 1001, 1002]


@pytest.mark.parametrize("min_pt", [5.0, 300.0, 1000.0])
def test_the_threshold_is_the_users(min_pt: float) -> None:
    events = make_events("dijet", 2000, min_pt, np.random.default_rng(0))
    assert events.values["pt"].min() > min_pt
    assert events.values["pt"].min() < 1.05 * min_pt
    assert np.isfinite(momentum(events)).all()
