"""Rows hold what the events do: object by object, or event by event with zeros where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from hepml_core.jets.events import Events
from hepml_core.jets.row_kinds import OF_EVENT, EventRows, ObjectRows, RowKind

EVENTS = Events(
    count_e=np.array([2, 0, 3]),
    number_e=np.array([10, 11, 12]),
    key_e=np.array([5, 6, 7], np.uint64),
    process_e=np.array(["ttbar", "ttbar", "dijet"]),
    object_n=np.array(["j", "e-", "j", "b", "g"]),
    values={"E": np.arange(1, 6, dtype=np.float32), "pt": np.arange(11, 16, dtype=np.float32)},
    of_event={name: np.array([0.5, 1.5, 2.5]) + place for place, name in enumerate(OF_EVENT)},
)
OBJECT_ROWS = ObjectRows(("E", "pt"), tuple(OF_EVENT))
EVENT_ROWS = EventRows(("E", "pt"), tuple(OF_EVENT), 3, ("dijet", "ttbar"))


@pytest.mark.parametrize("kind", [OBJECT_ROWS, EVENT_ROWS])
def test_the_schema_names_exactly_the_columns_that_there_are(kind: RowKind) -> None:
    columns = kind.columns(EVENTS)
    assert [column.name for column in kind.schema] == list(columns)
    assert len({len(column) for column in columns.values()}) == 1
    assert all(column.meaning for column in kind.schema)
    assert {
        column.name: column.unit for column in kind.schema if column.name[:2] in ("E", "E_", "pt")
    } == dict.fromkeys(kind.features, "GeV")


def test_each_object_has_a_row_with_its_event_and_place() -> None:
    columns = OBJECT_ROWS.columns(EVENTS)
    assert columns["event"].tolist() == [5, 5, 7, 7, 7]
    assert columns["event_number"].tolist() == [10, 10, 12, 12, 12]
    assert columns["position"].tolist() == [0, 1, 0, 1, 2]
    assert columns["process"].tolist() == ["ttbar", "ttbar", "dijet", "dijet", "dijet"]
    assert columns["met"].tolist() == [1.5, 1.5, 3.5, 3.5, 3.5]
    assert columns["pt"].tolist() == [11, 12, 13, 14, 15]


def test_whole_events_have_all_of_one_variable_first_and_zeros_where_nothing_is() -> None:
    assert EVENT_ROWS.features == ["E_0", "E_1", "E_2", "pt_0", "pt_1", "pt_2"]
    columns = EVENT_ROWS.columns(EVENTS)
    rows = np.stack([columns[name] for name in EVENT_ROWS.features], axis=1)
    assert rows.tolist() == [[1, 2, 0, 11, 12, 0], [0] * 6, [3, 4, 5, 13, 14, 15]]
    assert columns["is_ttbar"].tolist() == [1, 1, 0]
    assert columns["is_dijet"].tolist() == [0, 0, 1]


def test_objects_behind_the_last_place_are_left_out() -> None:
    columns = EventRows(("pt",), (), 1, ()).columns(EVENTS)
    assert columns["pt_0"].tolist() == [11, 0, 13]
    assert "pt_1" not in columns
