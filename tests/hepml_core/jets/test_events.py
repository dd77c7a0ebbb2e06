"""Events with their objects, chosen by event and by object."""

from __future__ import annotations

import numpy as np

from hepml_core.jets.events import Events


def three_events() -> Events:
    """Two jets, none, and three."""
    return Events(
        np.array([2, 0, 3]),
        np.array([7, 8, 9]),
        np.array([70, 80, 90], np.uint64),
        np.array(["a", "b", "a"]),
        np.array(["j", "b", "j", "j", "e-"]),
        {"pt": np.arange(5, dtype=np.float32)},
        {"weight": np.array([1.0, 2.0, 3.0])},
    )


def test_places_are_counted_from_the_first_object_of_each_event() -> None:
    events = three_events()
    assert len(events) == 3
    assert events.event_n.tolist() == [0, 0, 2, 2, 2]
    assert events.position_n.tolist() == [0, 1, 0, 1, 2]


def test_choosing_events_keeps_them_whole() -> None:
    kept = three_events().select_events(np.array([False, True, True]))
    assert kept.count_e.tolist() == [0, 3]
    assert kept.values["pt"].tolist() == [2, 3, 4]
    assert kept.of_event["weight"].tolist() == [2, 3]
    assert kept.object_n.tolist() == ["j", "j", "e-"]


def test_choosing_objects_keeps_all_events() -> None:
    events = three_events()
    kept = events.select_objects(events.object_n == "j")
    assert kept.count_e.tolist() == [1, 0, 2]
    assert kept.values["pt"].tolist() == [0, 2, 3]
    assert kept.number_e.tolist() == [7, 8, 9]
