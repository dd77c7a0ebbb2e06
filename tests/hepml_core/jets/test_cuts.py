from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepml_core.errors import SettingError
from hepml_core.jets.cuts import CUTS, apply_cuts
from hepml_core.jets.events import Events
from hepml_core.jets.variables import SETS

GOOD = {
    **dict.fromkeys(SETS["atlas27"], 0.0),
    "pt": 100.0,
    "m": 10.0,
    "EMFrac": 0.7,
    "AverageLArQF": 200.0,
    "Width": 0.1,
    "NegativeE": -1.0,
}
"""A jet that meets every cut."""


def events_of(*jets: dict[str, float], count: list[int] | None = None) -> Events:
    """Events with jets that differ from a good one in the given variables; all in one event unless told."""
    count_e = np.array(count or [len(jets)])
    numbers = np.arange(len(count_e))
    values: dict[str, Any] = {
        name: np.array([{**GOOD, **jet}[name] for jet in jets], np.float32) for name in SETS["atlas27"]
    }
    process_e, object_n = np.full(len(count_e), "qcd"), np.full(len(jets), "j")
    return Events(count_e, numbers, numbers.astype(np.uint64), process_e, object_n, values)


DATA_LIMITS: list[tuple[dict[str, float], dict[str, float]]] = [
    # What just passes, and what just does not.
    ({"EMFrac": 4.9}, {"EMFrac": 5.1}),
    ({"EMFrac": -4.9}, {"EMFrac": -5.1}),
    ({"EMFrac": 0.04, "eta": 1.9}, {"EMFrac": 0.04, "eta": -2.1}),
    ({"EMFrac": 0.06, "eta": 2.1}, {"EMFrac": -0.04, "eta": 2.1}),
    ({"EMFrac": 0.96, "LArQuality": 0.7}, {"EMFrac": 0.96, "LArQuality": 0.9}),
    ({"EMFrac": 0.96, "LArQuality": 0.9, "eta": 2.9}, {"EMFrac": 0.96, "LArQuality": 0.9, "eta": 2.7}),
    ({"EMFrac": 0.96, "LArQuality": 0.9, "AverageLArQF": 0.7}, {"EMFrac": 0.96, "LArQuality": 0.9, "AverageLArQF": 1}),
    ({"HECQuality": 0.4, "HECFrac": 0.6}, {"HECQuality": -0.6, "HECFrac": 0.6}),
    ({"HECQuality": 0.6, "HECFrac": 0.4}, {"HECQuality": 0.6, "HECFrac": -0.6}),
    ({"NegativeE": -299}, {"NegativeE": -301}),
    ({"OotFracClusters10": -0.09}, {"OotFracClusters10": -0.11}),
    ({"OotFracClusters5": -0.09}, {"OotFracClusters5": -0.11}),
    ({"Width": 4.9}, {"Width": 5.1}),
    ({"Width": -0.9}, {"Width": -1}),
    ({"WidthPhi": -4.9}, {"WidthPhi": -5.1}),
    ({"Timing": 124}, {"Timing": -126}),
    ({"LArQuality": 3.9}, {"LArQuality": 4.1}),
    ({"HECQuality": 2.4}, {"HECQuality": -2.6}),
]
MC_LIMITS: list[tuple[dict[str, float], dict[str, float]]] = [
    ({"EMFrac": 1.9}, {"EMFrac": -2.1}),
    *DATA_LIMITS[2:9],
    ({"NegativeE": -59}, {"NegativeE": -61}),
    ({"Width": -99}, {"Width": 101}),
    ({"WidthPhi": 99}, {"WidthPhi": -101}),
    ({"Timing": 119}, {"Timing": -121}),
    ({"LArQuality": 1.9}, {"LArQuality": 2.1}),
    ({"HECQuality": -9e4}, {"HECQuality": -1.1e5}),
    ({"m": 0.002}, {"m": 0.0005}),
    ({"OotFracClusters5": -1}, {"m": 0}),
]


@pytest.mark.parametrize(("name", "limits"), [("data", DATA_LIMITS), ("mc", MC_LIMITS)])
def test_a_jet_passes_on_one_side_of_each_limit_only(name: Any, limits: list[tuple[dict[str, float], ...]]) -> None:
    for passing, failing in limits:
        assert len(apply_cuts(events_of(passing), name)[0].object_n) == 1, passing
        kept, removed = apply_cuts(events_of(failing), name)
        assert len(kept.object_n) == 0, failing
        assert sum(removed.values()) == 1


def test_each_removed_jet_counts_once_for_the_first_cut_that_it_misses() -> None:
    late, empty = {"Timing": 200.0}, {"Width": -1.0}
    kept, removed = apply_cuts(events_of({}, late, empty, {**late, **empty}, {}, count=[1, 0, 3, 1]), "data")
    assert {name: count for name, count in removed.items() if count} == {"Width != -1": 2, "|Timing| < 125": 1}
    assert list(removed) == [cut.text for cut in CUTS["data"]]
    assert kept.count_e.tolist() == [1, 0, 0, 1]
    assert kept.number_e.tolist() == [0, 1, 2, 3]


def test_without_cuts_everything_stays() -> None:
    events = events_of({"Timing": 1e9}, {"m": np.nan})
    assert apply_cuts(events, "none") == (events, {})


def test_four_vectors_need_a_mass() -> None:
    kept, removed = apply_cuts(events_of({"m": 0.0}, {"m": -1e-6}, {"m": 1e-10}, {"m": 5.0}), "four_vector")
    assert np.allclose(kept.values["m"], [-1e-6, 5])
    assert removed == {"|m| > 1e-9": 2}


def test_the_leading_pair_of_simulation_is_kept_or_dropped_together() -> None:
    bad = {"Timing": 200.0}
    second_bad: list[dict[str, float]] = [{"pt": 90}, {"pt": 80, **bad}, {"pt": 70}]
    hardest_last: list[dict[str, float]] = [{"pt": 60, **bad}, {"pt": 80}, {"pt": 90}]
    alone: list[dict[str, float]] = [{"pt": 90, **bad}]
    good: list[dict[str, float]] = [{"pt": 30}, {"pt": 40}]
    jets = second_bad + hardest_last + alone + good
    kept, removed = apply_cuts(events_of(*jets, count=[3, 3, 1, 0, 2]), "mc")
    assert kept.values["pt"].tolist() == [70, 80, 90, 30, 40]
    assert kept.count_e.tolist() == [1, 2, 0, 0, 2]
    assert removed["|Timing| < 120"] == sum(removed.values()) == 4


def test_data_jets_are_judged_one_by_one() -> None:
    kept, _ = apply_cuts(events_of({"pt": 90}, {"pt": 80, "Timing": 200.0}), "data")
    assert kept.values["pt"].tolist() == [90]


def test_what_is_not_a_number_meets_no_limit() -> None:
    kept, removed = apply_cuts(events_of({"Timing": np.nan}, {"NegativeE": np.nan}, {}), "data")
    assert len(kept.object_n) == 1
    assert sum(removed.values()) == 2


def test_missing_variables_are_all_named() -> None:
    events = events_of({})
    del events.values["Timing"], events.values["Width"]
    with pytest.raises(SettingError, match="the cuts 'data' need Timing, Width, which are not read"):
        apply_cuts(events, "data")
    del events.values["m"]
    with pytest.raises(SettingError, match="the cuts 'four_vector' need m, which is not read"):
        apply_cuts(events, "four_vector")


@given(st.lists(st.lists(st.booleans(), max_size=4), min_size=1, max_size=6))
def test_kept_and_removed_jets_add_up_in_any_structure(bad: list[list[bool]]) -> None:
    jets = [{"Timing": 500.0 * is_bad, "pt": 20.0 + place} for event in bad for place, is_bad in enumerate(event)]
    for name in ("data", "mc"):
        kept, removed = apply_cuts(events_of(*jets, count=[len(event) for event in bad]), name)
        assert len(kept.object_n) + sum(removed.values()) == len(jets)
        assert (kept.values["Timing"] == 0).all()
    # The hardest come last here.
    assert kept.count_e.tolist() == [
        sum(not is_bad for is_bad in event[:-2]) + (0 if any(event[-2:]) else len(event[-2:])) for event in bad
    ]
