"""Events come back from their records as they were."""

from __future__ import annotations

import numpy as np
import pytest

from hepml_core.ecal.event_records import SCHEMA, Events, decode_events, encode_events
from hepml_core.ecal.hits import hits_of_images
from hepml_core.errors import DataError
from hepml_core.examples import decode_example, encode_example
from tests.ecal_shards import etas, shower_images


def some_events(count: int = 7) -> Events:
    image_eyxc = shower_images(count, 1)
    image_eyxc[2:3] = 0  # an event without hits
    eta_e = etas(count)
    eta_e[3:4] = np.nan
    label_e = np.arange(count) % 2
    return Events(hits_of_images(image_eyxc), label_e, np.full(count, 3), np.arange(count) + 248_990, eta_e)


def test_events_to_records_and_back_are_the_same() -> None:
    events = some_events()
    again = decode_events(encode_events(events), events.hits.shape)
    for name in ("label_e", "file_e", "row_e", "eta_e"):
        np.testing.assert_array_equal(getattr(again, name), getattr(events, name))
    for name in ("crystal_h", "energy_h", "time_h", "first_e"):
        np.testing.assert_array_equal(getattr(again.hits, name), getattr(events.hits, name))
        assert getattr(again.hits, name).dtype == getattr(events.hits, name).dtype


def test_a_record_reads_as_the_schema_says() -> None:
    events = some_events()
    features = decode_example(encode_events(events)[1])
    assert set(features) == {column.name for column in SCHEMA}
    assert features["class"] == [b"electron"]
    energy = events.hits.energy_h[events.hits.first_e[1] : events.hits.first_e[2]]
    assert np.frombuffer(features["energy"][0], "<f4").tolist() == energy.tolist()


def test_an_unknown_eta_is_not_written() -> None:
    payloads = encode_events(some_events())
    assert ["eta" in decode_example(payload) for payload in payloads] == [number != 3 for number in range(7)]


def test_no_events_are_no_records() -> None:
    nothing = decode_events([], (32, 32))
    assert (len(nothing), len(nothing.hits), encode_events(nothing)) == (0, 0, [])


def test_events_are_chosen_with_all_that_is_known_of_them() -> None:
    events = some_events()
    some = events.of(np.array([5, 1]))
    assert (some.row_e.tolist(), some.label_e.tolist()) == ([248_995, 248_991], [1, 1])
    assert np.array_equal(some.hits.to_images(), events.hits.to_images()[[5, 1]])


def changed(**features: object) -> list[bytes]:
    first, second = encode_events(some_events(2))
    known = {**decode_example(second), **features}
    return [first, encode_example({name: value for name, value in known.items() if value is not None})]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("features", "fault"),
    [
        ({"time": None}, "event 1 is not one of ecal's.*time"),
        ({"label": [0, 1]}, "event 1 is not one of ecal's"),
        ({"eta": [0.5, 1.0]}, "event 1 is not one of ecal's"),
        ({"crystal": [b"\0\0\1\0"]}, "event 1 has 4, .* do not belong together"),
        ({"crystal": [b""], "energy": [b""], "time": [b"\0"]}, "do not belong together"),
        (
            {"crystal": [b"\xff\xff"], "energy": [b"\0" * 4], "time": [b"\0" * 4]},
            "crystal 65535 of an image of 32 x 32",
        ),
    ],
)
def test_a_record_of_something_else_is_told(features: dict[str, object], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        decode_events(changed(**features), (32, 32))


def test_a_record_that_is_no_example_is_told() -> None:
    with pytest.raises(DataError, match=r"no.* tf\.train\.Example"):
        decode_events([b"\xff\xff\xff"], (32, 32))
