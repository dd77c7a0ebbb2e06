"""The split of events: nothing lost, nothing twice, nothing that moves; or by rows, as the original did."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepml_core.config import build_config
from hepml_core.ecal import hit_set
from hepml_core.ecal.config import OrganizeConfig
from hepml_core.ecal.organize import organize
from hepml_core.errors import DataError, FolderError, HepmlError
from hepml_core.splits import SPLITS
from hepml_core.storage import LocalFolder
from hepml_core.tfrecord import read_records
from tests.class_folders import contents, manifest_of, shard_bytes
from tests.ecal_shards import class_file, events_of, make_shards, shower_images, toy_source, write_hdf5
from tests.kills import assert_mends

EVENTS = 80


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("organize")
    return make_shards(toy_source(root / "source", EVENTS), root / "shards")


def run(shards: Path, dataset: Path, **settings: Any) -> dict[str, float]:
    return dict(organize(LocalFolder(shards), LocalFolder(dataset), build_config(OrganizeConfig, settings)))


def split_of_event(dataset: Path) -> dict[tuple[str, int], str]:
    """Return the split of each file and row; fail where an event stands twice."""
    files = manifest_of(dataset)["facts"]["files"]
    found: dict[tuple[str, int], str] = {}
    for split in SPLITS:
        events = events_of(dataset, split)
        for file, row in zip(events.file_e.tolist(), events.row_e.tolist(), strict=True):
            assert (files[file], row) not in found
            found[files[file], row] = split
    return found


def counts(dataset: Path) -> dict[str, list[int]]:
    return {split: np.bincount(events_of(dataset, split).label_e, minlength=2).tolist() for split in SPLITS}


def test_no_event_is_lost_twice_or_in_two_splits(shards: Path, tmp_path: Path) -> None:
    metrics = run(shards, tmp_path, records_per_shard=32)
    splits = split_of_event(tmp_path)
    assert set(splits) == {(f"{name}.hdf5", row) for name in ("photons", "electrons") for row in range(EVENTS)}
    assert metrics == {f"{split}_events": list(splits.values()).count(split) for split in SPLITS}
    names = ("photon", "electron")
    assert manifest_of(tmp_path)["facts"]["events"] == {
        split: dict(zip(names, of_class, strict=True)) for split, of_class in counts(tmp_path).items()
    }


def test_records_keep_every_byte(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, records_per_shard=32)
    before, after = (
        sorted(record for shard in folder.glob("*.tfrecord") for record in read_records(shard))
        for folder in (shards, tmp_path)
    )
    assert before == after


def test_what_later_stages_need_is_handed_on(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path)
    known, told = (manifest_of(folder)["facts"] for folder in (shards, tmp_path))
    for name in ("class_names", "height", "width", "files", "rows", "reading", "eta_known"):
        assert told[name] == known[name]


def test_added_events_move_no_event_to_another_split(shards: Path, tmp_path: Path) -> None:
    more = toy_source(tmp_path / "source", EVENTS + 30)
    class_file(more / "a.h5", 0, 20)
    run(shards, tmp_path / "before")
    run(make_shards(more, tmp_path / "shards"), tmp_path / "after")
    before, after = split_of_event(tmp_path / "before"), split_of_event(tmp_path / "after")
    assert before.items() <= after.items()
    assert len(after) == 2 * (EVENTS + 30) + 20


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_split(shards: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        run(shards, tmp_path / name, seed=seed, records_per_shard=32)
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    assert split_of_event(tmp_path / "one") != split_of_event(tmp_path / "other")


def test_exact_fractions_hold_in_each_class(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, exact=True)
    assert counts(tmp_path) == {"train": [56, 56], "valid": [12, 12], "test": [12, 12]}


def test_photons_and_electrons_are_mixed(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, exact=True)
    label_e = events_of(tmp_path, "train").label_e
    assert 10 < np.count_nonzero(np.diff(label_e)) < 100


@pytest.mark.parametrize("method", ["hash", "rows"])
def test_balanced_splits_have_as_many_photons_as_electrons(method: str, tmp_path: Path) -> None:
    class_file(tmp_path / "source" / "photons.h5", 0, 70)
    class_file(tmp_path / "source" / "electrons.h5", 1, 40)
    shards = make_shards(tmp_path / "source", tmp_path / "shards")
    run(shards, tmp_path / "dataset", method=method, valid_row=20, test_row=30, balanced=True)
    found = counts(tmp_path / "dataset")
    assert all(photons == electrons > 0 for photons, electrons in found.values())
    if method == "rows":
        assert found == {"train": [20, 20], "valid": [10, 10], "test": [10, 10]}


def test_a_split_by_rows_is_that_of_the_original(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hit_set, "RECORDS_PER_READ", 9)
    run(shards, tmp_path, method="rows", valid_row=50, test_row=64)
    for (_, row), split in split_of_event(tmp_path).items():
        assert split == ("train" if row < 50 else "valid" if row < 64 else "test")


def test_rows_count_from_the_start_of_the_file_not_of_the_slice(shards: Path, tmp_path: Path) -> None:
    sliced = make_shards(shards.with_name("source"), tmp_path / "shards", start=40, stop=70)
    run(sliced, tmp_path / "dataset", method="rows", valid_row=50, test_row=64)
    assert counts(tmp_path / "dataset") == {"train": [10, 10], "valid": [14, 14], "test": [6, 6]}


def test_rows_that_no_file_reaches_are_refused_before_anything_is_written(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"reaches row test_row=204800, .* ends at row 80: lower valid_row and test_row, or"
    ):
        run(shards, tmp_path / "dataset", method="rows")
    assert not (tmp_path / "dataset").exists()


def test_rows_that_leave_a_split_without_a_class_are_refused(shards: Path, tmp_path: Path) -> None:
    sliced = make_shards(shards.with_name("source"), tmp_path / "shards", start=40)
    with pytest.raises(DataError, match="train split has no event of photon, electron: change valid_row and test_row"):
        run(sliced, tmp_path / "dataset", method="rows", valid_row=30, test_row=50)


def test_fractions_that_leave_a_split_without_a_class_are_refused(tmp_path: Path) -> None:
    shards = make_shards(toy_source(tmp_path / "source", 2), tmp_path / "shards")
    with pytest.raises(DataError, match=r"split has no event of .*exact=true"):
        run(shards, tmp_path / "dataset")
    run(shards, tmp_path / "halves", exact=True, train_fraction=0.5, valid_fraction=0.5, test_fraction=0)
    assert counts(tmp_path / "halves")["test"] == [0, 0]


def test_copies_in_two_splits_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image_eyxc = np.repeat(shower_images(2, 0), 30, axis=0)
    write_hdf5(tmp_path / "source" / "a.h5", {"X": image_eyxc, "y": np.arange(60) // 30})
    shards = make_shards(tmp_path / "source", tmp_path / "shards")
    with caplog.at_level(logging.WARNING):
        run(shards, tmp_path / "dataset")
    assert manifest_of(tmp_path / "dataset")["facts"]["duplicates"] == {
        "copies": 58,
        "across_splits": 60,
        "across_classes": 0,
    }
    assert "60 events stand in more than one split" in caplog.text


def test_a_damaged_lost_or_foreign_folder_is_told(shards: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(shards, tmp_path / "shards"))
    shard = max(mine.glob("*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(FolderError, match=f"{shard.name} was changed"):
        run(mine, tmp_path / "dataset")
    shard.unlink()
    with pytest.raises(FolderError, match=f"{shard.name} is missing"):
        run(mine, tmp_path / "dataset")
    with pytest.raises(FolderError, match="run convert first"):
        run(shards.with_name("source"), tmp_path / "dataset")


def test_a_second_run_does_nothing_and_other_settings_are_refused(shards: Path, tmp_path: Path) -> None:
    first = run(shards, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run(shards, tmp_path) == first
    with pytest.raises(FolderError, match="seed was 0, is 1"):
        run(shards, tmp_path, seed=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_run_that_is_killed_anywhere_ends_with_the_same_bytes(shards: Path, tmp_path: Path) -> None:
    settings = {"exact": True, "records_per_shard": 16}
    assert_mends("ecal.organize", settings, {"shards": shards}, "dataset", tmp_path, moments=5)
    assert len(shard_bytes(tmp_path / "whole")) > 8


@pytest.mark.parametrize(
    "settings",
    [{"train_fraction": 0.8}, {"valid_row": 10, "test_row": 10}, {"valid_row": 0}, {"seed": -1}, {"method": "row"}],
)
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(HepmlError, match=r"must|unknown value"):
        build_config(OrganizeConfig, settings)
