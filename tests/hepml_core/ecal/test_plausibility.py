"""Wrong units and impossible values are told; what a calorimeter measures is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hepml_core.ecal.hits import Hits, hits_of_images
from hepml_core.ecal.plausibility import check_units, find_bad
from hepml_core.errors import DataError
from tests.ecal_shards import shower_images

EVENTS = 50


def scaled(energy: float = 1, time: float = 1) -> Hits:
    image_eyxc = shower_images(EVENTS, 0)
    return hits_of_images(image_eyxc * np.array([energy, time], np.float32))


def check(hits: Hits, *, energy_scale: float = 1.0, time_scale: float = 1.0) -> None:
    check_units(hits, "a.h5", energy_scale=energy_scale, time_scale=time_scale)


def test_units_of_50_gev_and_25_ns_pass() -> None:
    check(scaled())
    check(scaled(energy=0.1))
    check(scaled(time=0))


@pytest.mark.parametrize(
    ("factors", "scales", "remedy"),
    [
        ({"time": 25}, {}, r"seem to be in ns.* time_scale=0\.04 is"),
        ({"time": 250}, {"time_scale": 10.0}, r"time_scale=0\.4 is"),
        ({"time": 25e-9}, {}, r"in seconds.* time_scale=4e\+07 is"),
        ({"energy": 50}, {}, r"seem to be in GeV.* energy_scale=0\.02 is"),
        ({"energy": 5e4}, {}, r"seem to be in MeV.* energy_scale=2e-05 is"),
        ({"energy": 5e4}, {"energy_scale": 1000.0}, r"energy_scale=0\.02 is"),
    ],
)
def test_other_units_are_refused_with_the_factor_to_give(
    factors: dict[str, float], scales: dict[str, float], remedy: str
) -> None:
    with pytest.raises(DataError, match=rf"^a\.h5: .*{remedy} the factor; check_units=false takes"):
        check(scaled(**factors), **scales)


def test_a_few_late_hits_are_no_wrong_unit() -> None:
    hits = scaled()
    hits.time_h[::20] = 1e6
    check(hits)


def test_events_without_hits_have_no_unit() -> None:
    hits = scaled(energy=50)
    check(hits.where(np.zeros(len(hits.energy_h), bool)))
    # Empty events do not lower the median of those that are not.
    most_empty_h = hits.event_h < 3
    with pytest.raises(DataError, match="GeV"):
        check(hits.where(most_empty_h))


def bad(event: int = 3, *, place: tuple[int, ...] = (), value: float = 0, **of_event: float) -> dict[int, str]:
    image_eyxc = shower_images(6, 1)
    if place:
        image_eyxc[event][place] = value
    columns: dict[str, Any] = {"label": np.arange(6.0) % 2, "eta": np.full(6, np.nan)}
    for name, value_of_event in of_event.items():
        columns[name][event] = value_of_event
    return find_bad(image_eyxc, columns["label"], columns["eta"])


def test_good_events_are_not_bad() -> None:
    assert bad() == {}
    assert bad(eta=1.2) == {}


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ((4, 5, 0), np.nan, "crystal (4, 5) has no finite energy, nan"),
        ((4, 5, 1), -np.inf, "crystal (4, 5) has no finite time, -inf"),
        ((31, 0, 0), -0.25, "crystal (31, 0) has a negative energy, -0.25"),
        ((31, 0, 0), -np.inf, "crystal (31, 0) has no finite energy, -inf"),
    ],
)
def test_a_bad_crystal_is_named_with_its_event(place: tuple[int, ...], value: float, reason: str) -> None:
    assert bad(place=place, value=value) == {3: reason}


def test_negative_times_are_times() -> None:
    assert bad(place=(16, 16, 1), value=-1.5) == {}


def test_labels_beside_0_and_1_and_infinite_etas_are_bad() -> None:
    assert bad(label=2) == {3: "its label is 2, neither 0 (photon) nor 1 (electron)"}
    assert bad(label=np.nan) == {3: "its label is nan, neither 0 (photon) nor 1 (electron)"}
    assert bad(eta=np.inf) == {3: "its eta is infinite"}


def test_energies_whose_sum_is_too_large_for_a_float_are_no_fault_of_theirs() -> None:
    image_eyxc = np.full((2, 4, 4, 2), 3e38, np.float32)
    assert find_bad(image_eyxc, np.zeros(2), np.zeros(2)) == {}
