"""The split: nothing lost, nothing twice, nothing that moves."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepml_core.config import build_config
from hepml_core.errors import DataError, FolderError, HepmlError, UnknownNameError
from hepml_core.event_images.config import ConvertConfig, NormalizeConfig, OrganizeConfig
from hepml_core.event_images.convert import convert
from hepml_core.event_images.normalize import normalize
from hepml_core.event_images.organize import organize
from hepml_core.splits import SPLITS
from hepml_core.storage import LocalFolder
from hepml_core.tfrecord import INDEX, read_records
from tests.class_folders import (
    contents,
    examples,
    manifest_of,
    noise_classes,
    picture,
    png,
    shard_bytes,
    write,
)

NAMES = ("higgs", "jpsi", "qcd")
COUNT = 60


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_classes(tmp_path_factory.mktemp("organize") / "source", count=COUNT, names=NAMES)


@pytest.fixture(scope="module")
def shards(source: Path) -> Path:
    """Shards of three classes with 60 different pictures each."""
    return converted(source, source.with_name("shards"))


def converted(source: Path, shards: Path) -> Path:
    convert(LocalFolder(source), LocalFolder(shards), ConvertConfig(records_per_shard=50))
    return shards


def run(shards: Path, dataset: Path, **settings: Any) -> dict[str, float]:
    return dict(organize(LocalFolder(shards), LocalFolder(dataset), OrganizeConfig(**settings)))


def keys_by_split(dataset: Path) -> dict[str, list[str]]:
    return {split: [one["key"].decode() for one in examples(dataset, split)] for split in SPLITS}


def split_of_key(dataset: Path) -> dict[str, str]:
    return {key: split for split, keys in keys_by_split(dataset).items() for key in keys}


def counts(dataset: Path) -> dict[str, dict[str, int]]:
    """Count the records of each split by the class that they carry."""
    return {split: dict(Counter(one["class"].decode() for one in examples(dataset, split))) for split in SPLITS}


def test_no_event_is_lost_twice_or_in_two_splits(shards: Path, tmp_path: Path) -> None:
    metrics = run(shards, tmp_path, records_per_shard=32)
    keys = keys_by_split(tmp_path)
    everything = [key for split in SPLITS for key in keys[split]]
    assert sorted(everything) == sorted(one["key"].decode() for one in examples(shards))
    assert len(set(everything)) == len(everything) == 3 * COUNT
    assert metrics == {f"{split}_events": len(keys[split]) for split in SPLITS}
    assert manifest_of(tmp_path)["facts"]["events"] == {
        split: dict(sorted(by_class.items())) for split, by_class in counts(tmp_path).items()
    }


def test_records_keep_every_byte_where_classes_are_unchanged(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, records_per_shard=32)
    before = sorted(record for shard in shards.glob("*.tfrecord") for record in read_records(shard))
    assert sorted(record for shard in tmp_path.glob("*.tfrecord") for record in read_records(shard)) == before


def test_the_index_says_what_the_records_say(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, categories=("qcd", "other"), records_per_shard=32)
    for shard in tmp_path.glob("*.tfrecord"):
        index_n = np.frombuffer(Path(f"{shard}.index").read_bytes(), INDEX)
        assert index_n["label"].tolist() == [one["label"] for one in examples(tmp_path, shard.name.split(".")[0])]
        assert int(index_n["length"].sum()) == shard.stat().st_size


def test_added_pictures_move_no_event_to_another_split(source: Path, shards: Path, tmp_path: Path) -> None:
    more = Path(shutil.copytree(source, tmp_path / "source"))
    noise_classes(more, first=COUNT, count=40, names=NAMES)
    noise_classes(more, count=20, names=("bbb",))
    run(shards, tmp_path / "before")
    run(converted(more, tmp_path / "shards"), tmp_path / "after")
    before, after = split_of_key(tmp_path / "before"), split_of_key(tmp_path / "after")
    assert before.items() <= after.items()
    assert len(after) == 3 * COUNT + 3 * 40 + 20


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_split(shards: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        run(shards, tmp_path / name, seed=seed, records_per_shard=32)
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    assert split_of_key(tmp_path / "one") != split_of_key(tmp_path / "other")


def test_fractions_are_met_within_chance_and_exactly_if_asked(shards: Path, tmp_path: Path) -> None:
    fractions = {"train_fraction": 0.6, "valid_fraction": 0.25, "test_fraction": 0.15}
    by_hash = run(shards, tmp_path / "hash", **fractions)
    assert abs(by_hash["train_events"] - 108) < 4 * (180 * 0.6 * 0.4) ** 0.5
    run(shards, tmp_path / "exact", exact=True, **fractions)
    assert counts(tmp_path / "exact") == {
        "train": dict.fromkeys(NAMES, 36),
        "valid": dict.fromkeys(NAMES, 15),
        "test": dict.fromkeys(NAMES, 9),
    }


def test_classes_that_are_no_category_are_ignored_and_the_others_numbered_anew(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, categories=("qcd", "jpsi"))
    assert manifest_of(tmp_path)["facts"]["class_names"] == ["jpsi", "qcd"]
    assert {(one["label"], one["class"].decode(), one["key"].decode()[:3]) for one in examples(tmp_path)} == {
        (0, "jpsi", "jps"),
        (1, "qcd", "qcd"),
    }
    assert len(examples(tmp_path)) == 2 * COUNT


def test_other_collects_the_classes_that_are_not_named(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, categories=("other", "jpsi"))
    assert manifest_of(tmp_path)["facts"]["class_names"] == ["jpsi", "other"]
    assert {(one["label"], one["class"].decode(), one["key"].decode()[:3]) for one in examples(tmp_path)} == {
        (0, "jpsi", "jps"),
        (1, "other", "hig"),
        (1, "other", "qcd"),
    }
    originals = {one["key"]: one["image"] for one in examples(shards)}
    assert all(originals[one["key"]] == one["image"] for one in examples(tmp_path))


def test_categories_leave_the_split_of_each_event_alone(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path / "all")
    run(shards, tmp_path / "some", categories=("qcd", "other"))
    assert split_of_key(tmp_path / "all") == split_of_key(tmp_path / "some")


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 80, 40 and 20 pictures."""
    root = tmp_path_factory.mktemp("uneven")
    for name, count in zip(NAMES, (80, 40, 20), strict=True):
        write(root / "source", {f"{name}/{n}.png": png(picture(1000 * count + n)) for n in range(count)})
    return converted(root / "source", root / "shards")


def test_balanced_categories_have_equally_many_events_in_every_split(uneven: Path, tmp_path: Path) -> None:
    run(uneven, tmp_path / "exact", balanced=True, exact=True)
    assert counts(tmp_path / "exact") == {
        "train": dict.fromkeys(NAMES, 14),
        "valid": dict.fromkeys(NAMES, 3),
        "test": dict.fromkeys(NAMES, 3),
    }
    run(uneven, tmp_path / "hash", balanced=True)
    assert all(len(set(by_class.values())) == 1 for by_class in counts(tmp_path / "hash").values())
    run(uneven, tmp_path / "all")
    assert split_of_key(tmp_path / "hash").items() <= split_of_key(tmp_path / "all").items()


def test_a_balanced_other_takes_equal_parts_of_its_classes(uneven: Path, tmp_path: Path) -> None:
    run(uneven, tmp_path, balanced=True, exact=True, categories=("higgs", "other"))
    members = Counter(one["key"].decode().split("/")[0] for one in examples(tmp_path, "train"))
    # Train has 56, 28 and 14 events: 42 of others, which 42 of higgs balance.
    assert members == {"higgs": 42, "jpsi": 28, "qcd": 14}
    run(uneven, tmp_path / "small", balanced=True, exact=True, categories=("qcd", "other"))
    members = Counter(one["key"].decode().split("/")[0] for one in examples(tmp_path / "small", "train"))
    assert members == {"qcd": 14, "higgs": 7, "jpsi": 7}


def test_classes_are_mixed_within_shards_and_their_order_is_not_that_of_names(shards: Path, tmp_path: Path) -> None:
    run(shards, tmp_path, records_per_shard=64)
    for shard in tmp_path.glob("train-*.tfrecord"):
        labels = [one["label"] for one in examples(tmp_path, shard.name.split(".")[0])]
        if len(labels) >= 32:
            assert len(set(labels)) > 1
            assert labels != sorted(labels)


@pytest.fixture
def copied(source: Path, tmp_path: Path) -> Path:
    """Shards of a source in which one picture stands 20 times and another in two classes."""
    original = Path(shutil.copytree(source, tmp_path / "source"))
    repeated = png(picture(5555))
    write(original, {f"qcd/copy{n}.png": repeated for n in range(20)})
    torn = png(picture(6666))
    write(original, {"qcd/torn.png": torn, "higgs/torn.png": torn})
    return converted(original, tmp_path / "shards")


def test_copies_across_splits_and_classes_are_reported(
    copied: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(copied, tmp_path / "dataset")
    found = manifest_of(tmp_path / "dataset")["facts"]["duplicates"]
    splits = split_of_key(tmp_path / "dataset")
    torn_apart = 2 if splits["qcd/torn.png"] != splits["higgs/torn.png"] else 0
    assert len({splits[f"qcd/copy{n}.png"] for n in range(20)}) > 1
    assert found == {"copies": 20, "across_splits": 20 + torn_apart, "across_classes": 2}
    assert "duplicates=drop" in caplog.text


def test_copies_can_be_dropped_and_pictures_of_two_classes_with_them(
    copied: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run(copied, tmp_path / "dataset", duplicates="drop")
    keys = split_of_key(tmp_path / "dataset")
    assert len(keys) == 3 * COUNT + 1
    assert sum("copy" in key for key in keys) == 1
    assert not [key for key in keys if "torn" in key]
    assert manifest_of(tmp_path / "dataset")["facts"]["duplicates"] == {
        "copies": 0,
        "across_splits": 0,
        "across_classes": 0,
    }
    assert "dropped 21 " in caplog.text


def test_without_copies_nothing_is_warned_of(shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(shards, tmp_path)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_shards_are_deleted_if_asked_and_nothing_else(shards: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(shards, tmp_path / "shards"))
    write(mine, {"notes.txt": b"keep me"})
    run(mine, tmp_path / "dataset", delete_shards=True)
    assert {path.name for path in mine.iterdir()} == {"manifest.json", "notes.txt"}
    assert run(mine, tmp_path / "dataset", delete_shards=True)
    normalize(LocalFolder(tmp_path / "dataset"), LocalFolder(tmp_path / "statistics"), NormalizeConfig())


def test_shards_stay_where_the_dataset_could_not_be_published(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Path(shutil.copytree(shards, tmp_path / "shards"))
    (tmp_path / "dataset").mkdir()
    write(tmp_path / "dataset", {"other.txt": b""})
    with pytest.raises(FolderError):
        run(mine, tmp_path / "dataset", delete_shards=True)
    assert contents(mine) == contents(shards)


def test_a_deletion_that_was_cut_short_is_ended_by_the_next_run(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Path(shutil.copytree(shards, tmp_path / "shards"))

    def fail(folder: LocalFolder, name: str) -> None:
        if not folder.path.name.startswith("."):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "delete", fail)
        with pytest.raises(KeyboardInterrupt):
            run(mine, tmp_path / "dataset", delete_shards=True)
    run(mine, tmp_path / "dataset", delete_shards=True)
    assert [path.name for path in mine.iterdir()] == ["manifest.json"]


def test_a_split_without_events_of_a_class_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    shards = converted(noise_classes(tmp_path / "source", count=2), tmp_path / "shards")
    with pytest.raises(DataError, match=r"split has no event of .*exact=true"):
        run(shards, tmp_path / "dataset")
    assert shard_bytes(tmp_path / "dataset") == {}
    run(shards, tmp_path / "halves", exact=True, train_fraction=0.5, valid_fraction=0.5, test_fraction=0)
    assert keys_by_split(tmp_path / "halves")["test"] == []


def test_a_category_that_is_no_class_is_refused_with_the_nearest_one(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'higgs'"):
        run(shards, tmp_path, categories=("higs", "qcd"))


def cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-1])


def change(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


@pytest.mark.parametrize(("damage", "fault"), [(cut, "bytes, its manifest says"), (change, "was changed")])
@pytest.mark.parametrize("name", ["part-00001-of-00004.tfrecord", "part-00002-of-00004.tfrecord.index"])
def test_a_cut_or_changed_shard_is_named_before_work_starts(
    shards: Path, tmp_path: Path, name: str, damage: Callable[[Path], None], fault: str
) -> None:
    mine = Path(shutil.copytree(shards, tmp_path / "shards"))
    damage(mine / name)
    with pytest.raises(FolderError, match=f"{name} .*{fault}.*convert again"):
        run(mine, tmp_path / "dataset")
    assert shard_bytes(tmp_path / "dataset") == {}


def test_a_lost_shard_is_named(shards: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(shards, tmp_path / "shards"))
    (mine / "part-00003-of-00004.tfrecord").unlink()
    with pytest.raises(FolderError, match=r"part-00003-of-00004\.tfrecord is missing"):
        run(mine, tmp_path / "dataset")


def test_a_folder_of_another_stage_or_of_none_is_told(shards: Path, source: Path, tmp_path: Path) -> None:
    run(shards, tmp_path / "dataset")
    with pytest.raises(FolderError, match=r"is a dataset folder, made by organize; a shards folder, made by convert"):
        run(tmp_path / "dataset", tmp_path / "again")
    with pytest.raises(FolderError, match="run convert first"):
        run(source, tmp_path / "again")


def test_a_second_run_does_nothing_and_other_settings_are_refused(shards: Path, tmp_path: Path) -> None:
    first = run(shards, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run(shards, tmp_path) == first
    with pytest.raises(FolderError, match="seed was 0, is 1"):
        run(shards, tmp_path, seed=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    "settings",
    [
        {"train_fraction": 0.8},
        {"train_fraction": 70, "valid_fraction": 15, "test_fraction": 15},
        {"train_fraction": 0, "valid_fraction": 0.5, "test_fraction": 0.5},
        {"train_fraction": 1.2, "valid_fraction": -0.1, "test_fraction": -0.1},
        {"categories": "qcd,qcd"},
        {"records_per_shard": 0},
        {"seed": -1},
        {"seed": 2**64},
        {"duplicates": "keep"},
    ],
)
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(HepmlError, match=r"must|unknown value"):
        build_config(OrganizeConfig, settings)
