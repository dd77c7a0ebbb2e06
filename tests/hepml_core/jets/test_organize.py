"""The split: by event, nothing lost, nothing twice, nothing that moves."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hepml_core.artifacts import read_manifest
from hepml_core.errors import DataError, FolderError, SettingError, UnknownNameError
from hepml_core.jets.config import OrganizeConfig
from hepml_core.jets.organize import organize
from hepml_core.splits import SPLITS
from hepml_core.storage import LocalFolder
from hepml_core.tables import read_table
from tests.class_folders import contents
from tests.jet_shards import OBJECTS, PROCESSES, Columns, jets, make_shards, row_set, rows_of, whole_events
from tests.kills import assert_mends

EVENTS = 300
NAMES = ("event", "event_number", "position", "process", "object", "E", "pt", "eta", "phi")


@pytest.fixture(scope="module")
def sample() -> Columns:
    return jets(EVENTS)


@pytest.fixture(scope="module")
def shards(sample: Columns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 300 events, some of which go on in the next shard."""
    return make_shards(tmp_path_factory.mktemp("organize") / "shards", sample, 333)


def run(shards: Path, dataset: Path, **given: Any) -> dict[str, float]:
    return dict(organize(LocalFolder(shards), LocalFolder(dataset), OrganizeConfig(**given)))


def facts_of(dataset: Path) -> dict[str, Any]:
    return read_manifest(LocalFolder(dataset), "dataset", "jets").facts


def split_of_event(dataset: Path) -> dict[int, str]:
    found = {split: set(rows_of(dataset, split).get("event", np.empty(0)).tolist()) for split in SPLITS}
    assert sum(map(len, found.values())) == len(set().union(*found.values())), "an event is in two splits"
    return {event: split for split, events in found.items() for event in events}


def test_every_row_is_in_exactly_one_split_as_it_was(shards: Path, sample: Columns, tmp_path: Path) -> None:
    metrics = run(shards, tmp_path, rows_per_shard=100)
    parts = [rows_of(tmp_path, split) for split in SPLITS]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in NAMES}
    assert row_set(whole, NAMES) == row_set(sample, NAMES)
    assert [metrics[f"{split}_rows"] for split in SPLITS] == [len(part["pt"]) for part in parts]
    assert [metrics[f"{split}_events"] for split in SPLITS] == [len(set(part["event"].tolist())) for part in parts]


@given(st.integers(1, 40), st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**64 - 1), st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_event_is_in_two_splits_whatever_the_shards(
    tmp_path_factory: pytest.TempPathFactory, events: int, before: int, after: int, seed: int, exact: bool
) -> None:
    folder, made = tmp_path_factory.mktemp("any"), jets(events, seed=seed % 100)
    make_shards(folder / "shards", made, before)
    try:
        run(folder / "shards", folder / "dataset", rows_per_shard=after, seed=seed, exact=exact)
    except DataError as error:
        assert "split has no rows" in str(error)  # noqa: PT017 - few events need not reach all splits
        return
    assert len(split_of_event(folder / "dataset")) == events
    found = [rows_of(folder / "dataset", split) for split in SPLITS]
    assert sum((Counter(row_set(part, NAMES)) for part in found), Counter()) == Counter(row_set(made, NAMES))


def test_growing_data_move_no_event_to_another_split(shards: Path, tmp_path: Path) -> None:
    more = make_shards(tmp_path / "more", jets(EVENTS + 150), 500)
    run(shards, tmp_path / "before")
    run(more, tmp_path / "after")
    before, after = split_of_event(tmp_path / "before"), split_of_event(tmp_path / "after")
    assert before.items() < after.items()
    assert len(after) == EVENTS + 150


def test_how_the_source_is_cut_into_shards_moves_no_event(shards: Path, sample: Columns, tmp_path: Path) -> None:
    run(shards, tmp_path / "one")
    run(make_shards(tmp_path / "other", sample, 71), tmp_path / "two", rows_per_shard=50)
    assert split_of_event(tmp_path / "one") == split_of_event(tmp_path / "two")
    for split in ("valid", "test"):
        one, two = (rows_of(tmp_path / name, split) for name in ("one", "two"))
        assert all(np.array_equal(one[name], two[name]) for name in NAMES)


def test_exact_fractions_hold_in_each_process(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, exact=True, train_fraction=0.6, valid_fraction=0.25, test_fraction=0.15)
    assert {split: counts["processes"] for split, counts in facts_of(tmp_path)["counts"].items()} == {
        "train": dict.fromkeys(PROCESSES, 60),
        "valid": dict.fromkeys(PROCESSES, 25),
        "test": dict.fromkeys(PROCESSES, 15),
    }


def test_fractions_by_hash_hold_within_chance(shards: Path, tmp_path: Path) -> None:
    metrics = run(shards, tmp_path)
    assert abs(metrics["train_events"] - 0.8 * EVENTS) < 4 * (EVENTS * 0.8 * 0.2) ** 0.5


def test_valid_and_test_keep_the_order_of_the_source_and_whole_events_in_a_shard(
    shards: Path, sample: Columns, tmp_path: Path
) -> None:
    run(shards, tmp_path, rows_per_shard=20)
    manifest = read_manifest(LocalFolder(tmp_path), "dataset", "jets")
    for split in ("valid", "test"):
        found = rows_of(tmp_path, split)
        here_n = np.isin(sample["event"], found["event"])
        assert all(np.array_equal(found[name], sample[name][here_n]) for name in NAMES)
        sizes = [entry.records for entry in manifest.shards(split)]
        assert max(sizes) <= 20
        assert len(sizes) < 2 * sum(sizes) / 20 + 1
        assert (found["position"][np.cumsum([0, *sizes[:-1]])] == 0).all()


def test_an_event_longer_than_a_shard_stays_whole(tmp_path: Path) -> None:
    make_shards(tmp_path / "shards", jets(30))
    run(tmp_path / "shards", tmp_path / "dataset", rows_per_shard=2, exact=True)
    manifest = read_manifest(LocalFolder(tmp_path / "dataset"), "dataset", "jets")
    for split in ("valid", "test"):
        parts = [read_table(LocalFolder(tmp_path / "dataset"), entry)["event"] for entry in manifest.shards(split)]
        events = [set(part.tolist()) for part in parts]
        assert sum(map(len, events)) == len(set().union(*events)) == 3
        assert all(len(part) <= 2 or len(set(part.tolist())) == 1 for part in parts)
        assert max(map(len, parts)) > 2


def test_train_rows_lie_in_random_order_in_shards_of_equal_size(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, rows_per_shard=250)
    manifest = read_manifest(LocalFolder(tmp_path), "dataset", "jets")
    sizes = [entry.records for entry in manifest.shards("train")]
    assert len(sizes) == -(-sum(sizes) // 250)
    assert max(sizes) - min(sizes) <= 1
    number_n = rows_of(tmp_path, "train")["event_number"].astype(float)
    # Of n independent numbers, the correlation of neighbours is 0 within 1/sqrt(n).
    assert abs(np.corrcoef(number_n[1:], number_n[:-1])[0, 1]) < 4 * len(number_n) ** -0.5
    means = [part.mean() for part in np.split(number_n, np.cumsum(sizes)[:-1])]
    assert np.std(means) < 4 * number_n.std() / 250**0.5


def test_half_the_data_are_half_the_training_events_and_all_others(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path / "all")
    run(shards, tmp_path / "half", data_fraction=0.5)
    run(shards, tmp_path / "exact", data_fraction=0.5, exact=True)
    whole, half = split_of_event(tmp_path / "all"), split_of_event(tmp_path / "half")
    assert half.items() < whole.items()
    by_split = [Counter(one.values()) for one in (whole, half)]
    assert [by_split[0][name] for name in ("valid", "test")] == [by_split[1][name] for name in ("valid", "test")]
    assert abs(by_split[1]["train"] / by_split[0]["train"] - 0.5) < 4 * (0.25 / by_split[0]["train"]) ** 0.5
    assert facts_of(tmp_path / "exact")["counts"]["train"]["processes"] == dict.fromkeys(PROCESSES, 40)


def test_processes_and_objects_are_chosen_without_moving_an_event(
    shards: Path, sample: Columns, tmp_path: Path
) -> None:
    run(shards, tmp_path / "all")
    chosen = {"train_processes": ("dijet", "ttbar"), "test_processes": ("gluino",)}
    metrics = run(shards, tmp_path / "some", **chosen, train_objects=("j", "b"), test_objects=("e-", "m+", "g"))
    assert split_of_event(tmp_path / "some").items() < split_of_event(tmp_path / "all").items()
    kept = 0
    for split, processes, objects in (
        ("train", ("dijet", "ttbar"), ("j", "b")),
        ("valid", ("dijet", "ttbar"), ("j", "b")),
        ("test", ("gluino",), ("e-", "m+", "g")),
    ):
        before, found = rows_of(tmp_path / "all", split), rows_of(tmp_path / "some", split)
        wanted_n = np.isin(before["process"], processes) & np.isin(before["object"], objects)
        assert row_set(found, NAMES) == row_set({name: before[name][wanted_n] for name in NAMES}, NAMES)
        counts = facts_of(tmp_path / "some")["counts"][split]
        assert counts["objects"] == {name: int((found["object"] == name).sum()) for name in OBJECTS}
        assert sum(counts["processes"].values()) == counts["events"] == metrics[f"{split}_events"]
        kept += counts["rows"]
    assert 0 < kept < len(sample["pt"])


def test_rows_of_whole_events_are_split_too(tmp_path: Path) -> None:
    rows = whole_events(200)
    make_shards(tmp_path / "shards", rows, 60)
    run(tmp_path / "shards", tmp_path / "dataset", rows_per_shard=50)
    parts = [rows_of(tmp_path / "dataset", split) for split in SPLITS]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in rows}
    assert row_set(whole, list(rows)) == row_set(rows, list(rows))
    assert facts_of(tmp_path / "dataset")["counts"]["train"]["objects"] == {}
    with pytest.raises(SettingError, match=r"train_objects cannot choose from rows of whole events: .*rows=objects"):
        run(tmp_path / "shards", tmp_path / "other", train_objects=("j",))


def test_what_the_shards_say_of_themselves_travels_on(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path)
    before, after = read_manifest(LocalFolder(shards), "shards", "jets"), facts_of(tmp_path)
    assert {name: after[name] for name in before.facts if name != "events"} == {
        name: value for name, value in before.facts.items() if name != "events"
    }
    assert read_manifest(LocalFolder(tmp_path), "dataset", "jets").schema == before.schema


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_split(shards: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        run(shards, tmp_path / name, seed=seed, rows_per_shard=200)
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    assert split_of_event(tmp_path / "one") != split_of_event(tmp_path / "other")


def test_unknown_processes_and_objects_are_named_with_the_nearest(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown process 'gluon' in test_processes.* Did you mean 'gluino'"):
        run(shards, tmp_path, test_processes=("gluon",))
    with pytest.raises(UnknownNameError, match=r"unknown object 'm-' in train_objects.* Did you mean 'm\+'"):
        run(shards, tmp_path, train_objects=("m-",))


def test_a_split_without_rows_is_refused_unless_it_is_not_asked_for(tmp_path: Path) -> None:
    make_shards(tmp_path / "shards", jets(2))
    with pytest.raises(DataError, match=r"the test split has no rows: .*raise test_fraction.*exact=true.*test_objects"):
        run(tmp_path / "shards", tmp_path / "one", train_fraction=1 - 1e-9, valid_fraction=0.0, test_fraction=1e-9)
    metrics = run(tmp_path / "shards", tmp_path / "two", train_fraction=1.0, valid_fraction=0.0, test_fraction=0.0)
    assert metrics["train_events"] == 2


def test_an_event_that_goes_on_elsewhere_is_told_and_stays_in_one_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = jets(60)
    make_shards(tmp_path / "shards", {name: np.concatenate([value_n, value_n]) for name, value_n in made.items()})
    with caplog.at_level(logging.WARNING):
        run(tmp_path / "shards", tmp_path / "dataset")
    assert "60 times an event goes on after another one" in caplog.text
    assert len(split_of_event(tmp_path / "dataset")) == 60


def test_a_changed_shard_is_refused_before_work_begins(sample: Columns, tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", sample, 333)
    damaged = shards / "part-00001-of-00005.parquet"
    content = bytearray(damaged.read_bytes())
    content[1000] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(FolderError, match=r"part-00001-of-00005.parquet was changed"):
        run(shards, tmp_path / "dataset")
    assert not (tmp_path / "dataset" / "manifest.json").exists()


def test_a_process_that_the_manifest_does_not_list_is_refused(sample: Columns, tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", sample, 5000, processes=["dijet", "zprime"])
    with pytest.raises(DataError, match=r"part-00000.* has the process '(gluino|ttbar)', which its manifest does not"):
        run(shards, tmp_path / "dataset")


def test_a_run_that_was_killed_and_is_run_again_gives_the_same_bytes(shards: Path, tmp_path: Path) -> None:
    settings = {"rows_per_shard": 300}
    runs = assert_mends("jets.organize", settings, {"shards": shards}, "dataset", tmp_path, moments=4)
    for run in runs[:-1]:
        assert "manifest.json" not in run.found
        found, kept = ({name for name in names if name.endswith(".parquet")} for names in (run.found, run.kept))
        assert len(kept) >= len(found) - 1, "only the shard without a receipt is made again"
    assert kept


def test_a_finished_folder_is_left_alone_and_another_plan_refused(shards: Path, tmp_path: Path) -> None:
    metrics = run(shards, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert run(shards, tmp_path) == metrics
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    with pytest.raises(FolderError, match=r"seed was 0, is 1"):
        run(shards, tmp_path, seed=1)


def test_shards_may_lie_elsewhere_than_the_manifest(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path / "dataset", shards_root=str(tmp_path / "elsewhere"))
    assert [path.name for path in (tmp_path / "dataset").iterdir()] == ["manifest.json"]
    written = json.loads((tmp_path / "dataset/manifest.json").read_text())
    assert {path.name for path in Path(written["root"]).glob("*.parquet")} == {
        file["name"] for file in written["files"]
    }
