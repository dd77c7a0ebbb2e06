"""Which rows belong together, found again whatever the pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepml_core.artifacts import read_manifest
from hepml_core.jets import event_table
from hepml_core.jets.event_table import EventTable, Texts, iter_coded, read_events
from hepml_core.storage import LocalFolder
from tests.jet_shards import jets, make_shards


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.data())
def test_the_runs_of_some_rows_are_those_of_all_rows_there(sizes: list[int], data: st.DataObject) -> None:
    end_e = np.cumsum(sizes)
    table = EventTable(np.empty(0, np.uint64), np.empty(0, np.uint16), np.arange(len(sizes)), end_e)
    whole_n = np.repeat(np.arange(len(sizes)), sizes)
    first = data.draw(st.integers(0, len(whole_n) - 1))
    last = data.draw(st.integers(first + 1, len(whole_n)))
    assert np.array_equal(table.runs_of(first, last), whole_n[first:last])


@pytest.mark.parametrize("rows_at_once", [7, 1000])
def test_every_row_finds_its_event_and_process(
    rows_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_table, "ROWS_AT_ONCE", rows_at_once)
    columns = jets(80)
    shards = LocalFolder(make_shards(tmp_path, columns, 50))
    manifest = read_manifest(shards, "shards", "jets")
    table = read_events(shards, manifest)
    event_n = table.event_e[table.runs_of(0, len(columns["event"]))]
    assert np.array_equal(table.key_u[event_n], columns["event"])
    assert np.array_equal(np.array(Texts(manifest).names["process"])[table.process_u[event_n]], columns["process"])
    assert len(table.key_u) == 80


def test_texts_come_back_from_their_codes(tmp_path: Path) -> None:
    columns = jets(30)
    shards = LocalFolder(make_shards(tmp_path, columns, 40))
    manifest = read_manifest(shards, "shards", "jets")
    pieces = list(iter_coded(shards, manifest, ["object", "pt"]))
    assert [first for first, _, _ in pieces] == [0, *[last for _, last, _ in pieces[:-1]]]
    assert pieces[0][2]["object"].dtype == np.uint16
    decoded = [Texts(manifest).decode(some)["object"] for _, _, some in pieces]
    assert np.array_equal(np.concatenate(decoded), columns["object"])
