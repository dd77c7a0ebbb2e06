"""A split is read whole, in part, and the part is the same in every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hepml_core.artifacts import read_manifest
from hepml_core.ecal import hit_set
from hepml_core.ecal.event_records import Events
from hepml_core.ecal.hit_set import iter_events, read_events
from hepml_core.errors import DataError
from hepml_core.records import Records
from hepml_core.storage import LocalFolder
from tests.ecal_shards import ToyFolders, make_dataset, make_folders, shower_images


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyFolders:
    return make_folders(tmp_path_factory.mktemp("hit_set"))


def read(dataset: Path, split: str = "train", limit: int = 0) -> Events:
    folder = LocalFolder(dataset)
    return read_events(folder, read_manifest(folder, "dataset", "ecal"), split, limit)


def names(events: Events) -> set[tuple[int, int]]:
    return set(zip(events.file_e.tolist(), events.row_e.tolist(), strict=True))


def test_the_splits_together_hold_every_image_of_the_source(toy: ToyFolders) -> None:
    image_leyxc = [shower_images(60, label) for label in (0, 1)]
    seen = 0
    for split in ("train", "valid", "test"):
        events = read(toy.dataset, split)
        for label, row, image_yxc in zip(events.label_e, events.row_e, events.hits.to_images(), strict=True):
            assert np.array_equal(image_yxc, image_leyxc[label][row])
        seen += len(names(events))
    assert seen == 120


def test_a_limit_takes_so_many_of_each_class_and_a_larger_one_takes_those_too(toy: ToyFolders) -> None:
    few, more, everything = (read(toy.dataset, limit=limit) for limit in (5, 12, 0))
    assert np.bincount(few.label_e).tolist() == [5, 5]
    assert np.bincount(more.label_e).tolist() == [12, 12]
    assert names(few) < names(more) < names(everything)


def test_a_limit_takes_the_same_events_whatever_their_order(toy: ToyFolders, tmp_path: Path) -> None:
    reordered = make_dataset(toy.shards, tmp_path, records_per_shard=16)
    assert read(toy.dataset).row_e.tolist() != read(reordered).row_e.tolist()
    assert names(read(toy.dataset, limit=7)) == names(read(reordered, limit=7))


def test_more_events_than_there_are_is_refused_with_the_class(toy: ToyFolders) -> None:
    with pytest.raises(DataError, match=r"train split of .* has 30 events of class photon, 31 are asked for"):
        read(toy.dataset, limit=31)


def test_parts_do_not_change_what_is_read(toy: ToyFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(toy.dataset)
    monkeypatch.setattr(hit_set, "RECORDS_PER_READ", 7)
    parts = read(toy.dataset)
    assert np.array_equal(parts.hits.to_images(), whole.hits.to_images())
    assert (parts.row_e.tolist(), parts.eta_e.tolist()) == (whole.row_e.tolist(), whole.eta_e.tolist())


def test_a_split_without_events_gives_one_empty_part(toy: ToyFolders, tmp_path: Path) -> None:
    dataset = make_dataset(toy.shards, tmp_path, train_fraction=0.5, valid_fraction=0.5, test_fraction=0)
    assert len(read(dataset, "test")) == 0
    manifest = read_manifest(LocalFolder(dataset), "dataset", "ecal")
    (part,) = iter_events(Records(LocalFolder(dataset), []), manifest, np.arange(0))
    assert len(part) == 0


def test_a_damaged_record_is_named_by_its_place(toy: ToyFolders, tmp_path: Path) -> None:
    dataset = make_dataset(toy.shards, tmp_path)
    shard = min(dataset.glob("train-*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match=rf"{shard.name}, record at byte \d+: the checksum"):
        read(dataset)
