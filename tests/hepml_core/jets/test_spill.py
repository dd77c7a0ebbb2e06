"""Rows through a file without a name: what goes in comes out, at its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hepml_core.errors import StorageError
from hepml_core.jets.spill import Dealer, Spill

DTYPES = {"event": "uint64", "pt": "float32", "process": "uint16"}


def some_rows(first: int, count: int) -> dict[str, np.ndarray]:
    number_n = np.arange(first, first + count)
    return {name: number_n.astype(dtype) for name, dtype in DTYPES.items()}


def test_rows_come_back_from_their_places_in_any_order(tmp_path: Path) -> None:
    with Spill(tmp_path, DTYPES, 100) as spill:
        for first, count in ((60, 40), (0, 1), (1, 0), (1, 59)):
            spill.write(first, some_rows(first, count))
        for first, count in ((0, 100), (59, 2), (99, 1), (5, 0)):
            found, expected = spill.read(first, count), some_rows(first, count)
            for name, dtype in DTYPES.items():
                assert found[name].dtype == dtype
                assert np.array_equal(found[name], expected[name])
        assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".spill")]
    assert list(tmp_path.iterdir()) == []


def test_strided_columns_are_written_as_they_read(tmp_path: Path) -> None:
    with Spill(None, DTYPES, 5) as spill:
        spill.write(0, {name: value_n[::2] for name, value_n in some_rows(0, 10).items()})
        assert spill.read(0, 5)["pt"].tolist() == [0, 2, 4, 6, 8]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 9))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_dealing_fills_every_place_of_every_shard_once(tmp_path: Path, calls: list[int], shards: int) -> None:
    total = sum(calls)
    sizes = [total // shards + (shard < total % shards) for shard in range(shards)]
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    with Spill(tmp_path, DTYPES, total) as spill:
        spill.write(0, {name: np.full(total, 9999) for name in DTYPES})
        dealer, first = Dealer(spill, starts, np.random.default_rng(0)), 0
        for count in calls:
            dealer.deal(some_rows(first, count))
            first += count
        found = spill.read(0, total)
    assert sorted(found["event"].tolist()) == list(range(total))
    assert np.array_equal(found["event"], found["process"])


def test_every_row_reaches_every_shard_equally_often(tmp_path: Path) -> None:
    counts = np.zeros((6, 3))
    for seed in range(600):
        with Spill(tmp_path, DTYPES, 6) as spill:
            Dealer(spill, [0, 2, 4], np.random.default_rng(seed)).deal(some_rows(0, 6))
            counts[spill.read(0, 6)["event"].astype(int), [0, 0, 1, 1, 2, 2]] += 1
    assert (np.abs(counts - 200) < 5 * (600 * 2 / 9) ** 0.5).all()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot write a temporary file in .*file"):
        Spill(tmp_path / "file", DTYPES, 1)
