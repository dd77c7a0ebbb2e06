"""Pictures from shards: all of them, in the promised order, or a sentence with the damaged one's place."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepml_core.artifacts import read_manifest
from hepml_core.errors import DataError
from hepml_core.event_images.batches import PictureSet
from hepml_core.event_images.config import ConvertConfig, NormalizeConfig, OrganizeConfig, TrainConfig
from hepml_core.event_images.convert import convert
from hepml_core.event_images.normalize import normalize
from hepml_core.event_images.organize import organize
from hepml_core.event_images.train import TrainingBatches, ValidationBatches
from hepml_core.storage import LocalFolder
from tests.class_folders import Picture, noise_classes, picture, png, png_of, write


def open_set(dataset: Path, split: str = "train") -> PictureSet:
    folder = LocalFolder(dataset)
    return PictureSet(folder, read_manifest(folder, "dataset", "event_images"), split)


def organized(source: Path, **settings: Any) -> Path:
    """Convert and organize a source; return the dataset."""
    shards, dataset = source.with_name(f"{source.name} shards"), source.with_name(f"{source.name} dataset")
    convert(LocalFolder(source), LocalFolder(shards), ConvertConfig(**settings))
    config = OrganizeConfig(exact=True, train_fraction=0.7, valid_fraction=0.3, test_fraction=0, records_per_shard=16)
    organize(LocalFolder(shards), LocalFolder(dataset), config)
    return dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 pictures to train and 30 to validate on, in several shards."""
    return organized(noise_classes(tmp_path_factory.mktemp("batches") / "source", count=50))


@pytest.fixture(scope="module")
def pictures(dataset: Path) -> PictureSet:
    return open_set(dataset)


def test_pictures_come_in_order_with_their_labels_and_names(pictures: PictureSet) -> None:
    batches = list(pictures.in_order(np.arange(len(pictures)), 16))
    assert [len(batch.keys) for batch in batches] == [16, 16, 16, 16, 6]
    assert np.array_equal(np.concatenate([batch.record_b for batch in batches]), np.arange(70))
    for batch in batches:
        for key, label, image_yxc in zip(batch.keys, batch.label_b, batch.image_byxc, strict=True):
            name, _, number = key.removesuffix(".png").partition("/")
            assert name == ("higgs", "qcd")[label]
            assert np.array_equal(image_yxc, picture(1000 * int(label) + int(number)))


def test_a_shuffled_epoch_has_every_picture_once(pictures: PictureSet) -> None:
    batches = pictures.shuffled(np.arange(70), 16, np.random.default_rng(0))
    order = np.concatenate([batch.record_b for batch in batches])
    assert sorted(order) == list(range(70))
    assert order.tolist() != sorted(order)


@pytest.mark.parametrize("size", [1, 7, 70, 1000])
def test_any_batch_size_gives_every_picture_once(pictures: PictureSet, size: int) -> None:
    found = [batch.record_b for batch in pictures.in_order(np.arange(70), size)]
    assert np.array_equal(np.concatenate(found), np.arange(70))
    assert {len(batch) for batch in found[:-1]} <= {size}


def epoch(pictures: PictureSet, number: int, rank: int = 0, world: int = 1, **settings: Any) -> Picture:
    """Return the labels and first pixels of an epoch's events, which tell them apart."""
    batches = TrainingBatches(pictures, TrainConfig(**{"batch_size": 5, **settings}))
    return np.concatenate([batch["image"].flatten(1).numpy() for batch in batches.epoch(number, rank, world)])


def test_an_epoch_of_training_has_every_picture_once(pictures: PictureSet) -> None:
    seen = {event.tobytes() for event in epoch(pictures, 0)}
    assert len(epoch(pictures, 0)) == len(seen) == 70


def test_order_follows_from_seed_and_epoch_alone(pictures: PictureSet, dataset: Path) -> None:
    first = epoch(pictures, 3)
    assert np.array_equal(first, epoch(open_set(dataset), 3))
    assert not np.array_equal(first, epoch(pictures, 4))
    assert not np.array_equal(first, epoch(pictures, 3, seed=2))


def test_what_does_not_fill_a_batch_takes_turns(pictures: PictureSet) -> None:
    seen: set[bytes] = set()
    for number in range(12):
        events = {event.tobytes() for event in epoch(pictures, number, batch_size=32)}
        assert len(events) == 64
        seen |= events
    assert len(seen) == 70


@pytest.mark.parametrize("world", [2, 3, 7])
def test_processes_share_an_epoch_without_overlap(pictures: PictureSet, world: int) -> None:
    batches = TrainingBatches(pictures, TrainConfig(batch_size=5))
    shares = [[event.tobytes() for event in epoch(pictures, 1, rank, world)] for rank in range(world)]
    assert {len(share) for share in shares} == {5 * batches.steps(world)}
    together = [event for share in shares for event in share]
    assert len(set(together)) == len(together)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_validation_has_every_picture_once_over_all_processes(dataset: Path, world: int) -> None:
    batches = ValidationBatches(open_set(dataset, "valid"), TrainConfig(batch_size=8))
    shares = [list(batches.epoch(0, rank, world)) for rank in range(world)]
    assert max(map(len, shares)) == batches.steps(world)
    events = [event.numpy().tobytes() for share in shares for batch in share for event in batch["image"]]
    assert len(events) == len(set(events)) == 30


@pytest.mark.parametrize("storage", ["encoded", "raw"])
def test_pictures_of_8_and_16_bits_fill_the_same_full_scale(tmp_path: Path, storage: str) -> None:
    source = tmp_path / "source"
    values = np.arange(0, 256, 4).astype(np.uint8).reshape(8, 8, 1).repeat(3, -1)
    for number in range(10):
        shift = values ^ np.uint8(number)
        write(source, {f"eight/{number}.png": png(shift), f"sixteen/{number}.png": png(shift * np.uint16(257))})
    pictures = open_set(organized(source, storage=storage))
    assert len(pictures) == 14
    for batch in pictures.in_order(np.arange(len(pictures)), 4):
        assert batch.image_byxc.dtype == np.uint16
        for key, image_yxc in zip(batch.keys, batch.image_byxc, strict=True):
            number = int(Path(key).stem)
            assert np.array_equal(image_yxc / 65535, (values ^ np.uint8(number)) / 255)


def test_raw_and_encoded_storage_give_the_same_pictures(tmp_path: Path) -> None:
    found = []
    for storage in ("raw", "encoded"):
        pictures = open_set(organized(noise_classes(tmp_path / storage, count=10), storage=storage))
        (batch,) = pictures.in_order(np.arange(len(pictures)), 100)
        found.append(batch)
    assert found[0].keys == found[1].keys
    assert np.array_equal(found[0].image_byxc, found[1].image_byxc)


def test_a_picture_with_too_few_pixels_is_named_with_the_place_of_its_record(tmp_path: Path) -> None:
    source = noise_classes(tmp_path / "source", count=10)
    dataset = organized(write(source, {f"qcd/few{n}.png": png_of(8, 8, bytes(30 + n)) for n in range(3)}))
    pattern = r"train-0000\d-of-0000\d\.tfrecord, record at byte \d+ \(qcd/few\d\.png\): the picture does not decode"
    with pytest.raises(DataError, match=pattern):
        list(open_set(dataset).in_order(np.arange(16), 4))
    with pytest.raises(DataError, match=pattern):
        normalize(LocalFolder(dataset), LocalFolder(tmp_path / "statistics"), NormalizeConfig())


def test_a_record_damaged_on_the_disk_is_named_with_its_place(tmp_path: Path) -> None:
    dataset = organized(noise_classes(tmp_path / "source", count=10))
    (shard,) = dataset.glob("train-*.tfrecord")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match=rf"{shard.name}, record at byte \d+: the checksum of the record's content"):
        list(open_set(dataset).in_order(np.arange(14), 4))


def test_a_picture_that_is_not_of_the_promised_shape_is_named(tmp_path: Path) -> None:
    dataset = organized(noise_classes(tmp_path / "source", count=10))
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["facts"]["width"] = 9
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"record at byte \d+.*promises"):
        list(open_set(dataset).in_order(np.arange(14), 4))


def test_a_consumer_that_stops_early_leaves_no_thread_waiting(pictures: PictureSet) -> None:
    before = threading.active_count()
    batches = pictures.in_order(np.arange(70), 1)
    next(batches)
    assert threading.active_count() > before
    del batches
    assert threading.active_count() == before
