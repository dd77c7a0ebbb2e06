"""A fit's history as a table and as TensorBoard's event files."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from hepml_core.errors import DataError
from hepml_core.storage import open_folder
from hepml_core.training.history import EVENTS, read_history, to_csv, to_events, write_history


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "phase": "head" if epoch == 1 else "whole",
            "learning_rate": 1e-3 / epoch,
            "train_loss": 1 / 3 / epoch,
            "valid_loss": 0.7 / epoch,
            "seconds": 2.5,
            "wall_time": 1e9 + epoch,
        }
        for epoch in range(1, count + 1)
    ]


def test_the_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_history(open_folder(tmp_path), rows(3))
    assert read_history(open_folder(tmp_path)) == rows(3)


def test_a_metric_that_appears_later_gets_a_column() -> None:
    lines = to_csv([{"epoch": 1}, {"epoch": 2, "train_auc": 0.5}]).splitlines()
    assert lines == ["epoch,train_auc", "1,", "2,0.5"]


def test_text_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_bytes(b"epoch\n\xff\xfe")
    with pytest.raises(DataError, match=r"history\.csv is no table"):
        read_history(open_folder(tmp_path))


def test_tensorboard_reads_the_event_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", types.ModuleType("notf"))  # Spares it TensorFlow.
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for count in (1, 2, 3):
        write_history(open_folder(tmp_path), rows(count))
    read = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert set(read.Tags()["scalars"]) == {"loss/train", "loss/valid", "learning_rate", "seconds"}
    found = [(one.step, one.wall_time, one.value) for one in read.Scalars("loss/train")]
    expected = [(row["epoch"], row["wall_time"], pytest.approx(row["train_loss"], rel=1e-6)) for row in rows(3)]
    assert found == expected


def test_the_event_file_grows_in_place_for_those_who_watch_it(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    write_history(folder, rows(1))
    with (tmp_path / EVENTS).open("rb") as watching:
        before = watching.read()
        write_history(folder, rows(2))
        assert before + watching.read() == to_events(rows(2))


@pytest.mark.parametrize("left", [b"", b"torn", to_events(rows(3))[:-5], to_events(rows(3))])
def test_an_event_file_of_an_earlier_or_killed_fit_is_replaced(tmp_path: Path, left: bytes) -> None:
    (tmp_path / EVENTS).parent.mkdir()
    (tmp_path / EVENTS).write_bytes(left)
    write_history(open_folder(tmp_path), rows(2))
    assert (tmp_path / EVENTS).read_bytes() == to_events(rows(2))
