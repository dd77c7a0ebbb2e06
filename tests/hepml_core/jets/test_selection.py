"""Only what is asked for stays, and everything that is left out is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hepml_core.errors import DataError
from hepml_core.jets.config import ConvertConfig
from hepml_core.jets.csv_files import BadLine
from hepml_core.jets.events import Events
from hepml_core.jets.selection import EXAMPLES, Tally, select


def some_events(events: int = 200, seed: int = 0) -> Events:
    chance = np.random.default_rng(seed)
    count_e = chance.integers(0, 6, events)
    objects = int(count_e.sum())
    return Events(
        count_e,
        np.arange(events),
        chance.integers(0, 2**64, events, dtype=np.uint64),
        np.array(["ttbar", "dijet"])[chance.integers(0, 2, events)],
        np.array(["j", "b", "e-", "g"])[chance.choice(4, objects, p=[0.6, 0.2, 0.1, 0.1])],
        {
            "pt": chance.exponential(50, objects).astype(np.float32),
            "eta": chance.normal(size=objects).astype(np.float32),
            "m": np.where(chance.random(objects) < 0.3, 0, 5).astype(np.float32),
        },
    )


def kept(events: Events, tally: Tally | None = None, **settings: Any) -> Events:
    return select(events, ConvertConfig(**settings), "here.root", tally or Tally())


def test_without_wishes_everything_stays_and_is_counted() -> None:
    events, tally = some_events(), Tally()
    assert kept(events, tally).values["pt"].tolist() == events.values["pt"].tolist()
    assert (tally.events_read, tally.events, tally.skipped, tally.longest) == (200, 200, 0, 5)
    assert sum(tally.objects.values()) == len(events.object_n)
    assert tally.processes["ttbar"] == np.count_nonzero(events.process_e == "ttbar")
    assert tally.median_pt == pytest.approx(np.median(events.values["pt"]))


def test_a_part_of_the_data_is_chosen_by_events_and_always_the_same() -> None:
    events = some_events(5000)
    half, tenth = kept(events, data_fraction=0.5), kept(events, data_fraction=0.1)
    assert abs(len(half) - 2500) < 5 * np.sqrt(1250)
    assert {*tenth.key_e.tolist()} < {*half.key_e.tolist()}
    first = kept(events.select_events(np.arange(5000) < 1000), data_fraction=0.5)
    assert first.key_e.tolist() == half.key_e[: len(first)].tolist()


def test_leading_jets_are_the_first_of_the_chosen_kind() -> None:
    events = some_events()
    found = kept(events, objects=("j",), leading_jets=1)
    assert set(found.object_n) == {"j"}
    assert found.count_e.tolist() == [
        int("j" in events.object_n[events.event_n == event]) for event in range(len(events))
    ]
    assert found.values["pt"][0] == events.values["pt"][np.flatnonzero(events.object_n == "j")[0]]


def test_events_with_anything_but_jets_are_dropped_whole() -> None:
    events = some_events()
    found = kept(events, only_jets_in_event=True)
    clean = [event for event in range(200) if set(events.object_n[events.event_n == event]) <= {"j", "b"}]
    assert found.number_e.tolist() == clean


def test_cuts_count_the_jets_that_they_remove() -> None:
    events, tally = some_events(), Tally()
    found = kept(events, tally, cuts="four_vector")
    assert tally.removed == {"|m| > 1e-9": np.count_nonzero(events.values["m"] == 0)}
    assert len(found) == len(events)
    assert found.values["m"].min() > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_stops_with_file_event_and_variable(value: float) -> None:
    events = some_events()
    events.values["eta"][7] = value
    event = int(events.event_n[7])
    with pytest.raises(DataError, match=rf"here\.root: eta is {value} in event {event} \(on_bad_input=skip"):
        kept(events)
    tally = Tally()
    found = kept(events, tally, on_bad_input="skip")
    assert event not in found.number_e
    assert len(found) == 199
    assert tally.skipped == 1
    assert tally.examples == [{"file": "here.root", "event": event, "reason": f"eta is {value}"}]
    assert tally.events_read == 200


def test_only_some_of_many_bad_events_are_shown_and_all_counted() -> None:
    events, tally = some_events(), Tally()
    events.values["m"][:] = np.nan
    found = kept(events, tally, on_bad_input="skip")
    assert found.count_e.sum() == 0
    assert tally.skipped == np.count_nonzero(events.count_e)
    assert len(tally.examples) == EXAMPLES


def test_tallies_of_parts_add_up_to_the_tally_of_the_whole() -> None:
    events = some_events()
    events.values["pt"][50] = np.nan
    whole, parts = Tally(), Tally()
    kept(events, whole, on_bad_input="skip", cuts="four_vector")
    for start in range(0, 200, 70):
        part = Tally()
        inside_e = (events.number_e >= start) & (events.number_e < start + 70)
        kept(events.select_events(inside_e), part, on_bad_input="skip", cuts="four_vector")
        parts.add(part)
    assert replace(parts, median_pt=0) == replace(whole, median_pt=0)


def test_malformed_lines_count_as_events_that_were_read() -> None:
    tally = Tally()
    tally.skip_lines([BadLine("a.csv", 3, "4 of the 5 fields")])
    assert (tally.events_read, tally.skipped, tally.examples[0]["line"]) == (1, 1, 3)
