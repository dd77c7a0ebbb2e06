"""Every hit of every event reaches the shards, once, and what cannot is told."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepml_core.artifacts import read_manifest
from hepml_core.config import build_config
from hepml_core.ecal import convert as convert_module
from hepml_core.ecal.config import ConvertConfig, GenerateConfig
from hepml_core.ecal.convert import convert
from hepml_core.ecal.event_records import Events
from hepml_core.ecal.generate import generate
from hepml_core.ecal.hit_set import iter_events
from hepml_core.errors import DataError, FolderError, HepmlError, SettingError, UnknownNameError
from hepml_core.records import Records
from hepml_core.storage import LocalFolder
from hepml_core.tfrecord import hash64
from tests.class_folders import contents, manifest_of, shard_bytes
from tests.ecal_shards import class_file, etas, make_shards, shower_images, toy_source, write_hdf5
from tests.kills import assert_mends

EVENTS = 60


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_source(tmp_path_factory.mktemp("convert") / "source", EVENTS)


@pytest.fixture(scope="module")
def shards(source: Path) -> Path:
    return make_shards(source, source.with_name("shards"))


def records_of(shards: Path) -> Records:
    return Records(LocalFolder(shards), read_manifest(LocalFolder(shards), "shards", "ecal").shards())


def parts_of(shards: Path) -> Iterable[Events]:
    """Read all events of a shards folder."""
    records = records_of(shards)
    return iter_events(records, read_manifest(LocalFolder(shards), "shards", "ecal"), np.arange(len(records)))


def images_by_label(shards: Path, size: int = 32) -> dict[int, Any]:
    """Return the images of each class in the order of their rows."""
    (events,) = parts_of(shards)
    order_e = np.argsort(events.row_e, kind="stable")
    image_eyxc, label_e = events.hits.to_images()[order_e], events.label_e[order_e]
    assert image_eyxc.shape[1:3] == (size, size)
    return {label: image_eyxc[label_e == label] for label in (0, 1)}


def test_every_hit_of_every_event_is_kept(shards: Path) -> None:
    found = images_by_label(shards)
    for label in (0, 1):
        assert np.array_equal(found[label], shower_images(EVENTS, label))


def test_events_know_their_file_row_and_eta(shards: Path) -> None:
    (events,) = parts_of(shards)
    files = manifest_of(shards)["facts"]["files"]
    assert files == ["electrons.hdf5", "photons.hdf5"]
    assert [files[number] for number in events.file_e] == [
        ("photons", "electrons")[one] + ".hdf5" for one in events.label_e
    ]
    assert np.array_equal(events.eta_e, etas(EVENTS)[events.row_e])


def test_the_index_tells_class_and_key_of_each_record(shards: Path) -> None:
    index_n = records_of(shards).index_n
    (events,) = parts_of(shards)
    files = manifest_of(shards)["facts"]["files"]
    keys = [hash64(f"{files[file]}:{row}".encode()) for file, row in zip(events.file_e, events.row_e, strict=True)]
    assert index_n["key"].tolist() == keys
    assert index_n["label"].tolist() == events.label_e.tolist()
    assert len(set(keys)) == len(set(index_n["content"].tolist())) == 2 * EVENTS


def test_the_manifest_tells_what_later_stages_need(shards: Path) -> None:
    told = manifest_of(shards)
    facts, metrics = told["facts"], told["metrics"]
    hits = sum(np.count_nonzero(shower_images(EVENTS, label)[..., 0]) for label in (0, 1))
    assert facts["class_names"] == ["photon", "electron"]
    assert (facts["height"], facts["width"], facts["rows"]) == (32, 32, [[0, EVENTS]] * 2)
    assert facts["events"] == {"photon": EVENTS, "electron": EVENTS}
    assert (facts["hits"], facts["skipped_events"], facts["eta_known"]) == (hits, 0, True)
    assert facts["reading"] == {"min_energy": 0, "max_time": 100, "crop": 0, "energy_scale": 1, "time_scale": 1}
    assert metrics["events"] == 2 * EVENTS
    assert (metrics["hits"], metrics["skipped"], metrics["duplicates"]) == (hits, 0, 0)


def test_shards_take_a_twentieth_of_the_dense_movies_at_most(shards: Path) -> None:
    written = sum(map(len, shard_bytes(shards).values()))
    ratio = manifest_of(shards)["metrics"]["dense_ratio"]
    assert ratio == pytest.approx(2 * EVENTS * 21 * 32 * 32 * 4 / written)
    assert ratio > 20


def test_shards_hold_so_many_events_of_one_file(source: Path, tmp_path: Path) -> None:
    make_shards(source, tmp_path, records_per_shard=45)
    counts = {file.name: file.records for file in read_manifest(LocalFolder(tmp_path), "shards", "ecal").shards()}
    assert counts == {f"part-0000{part}-of-00004.tfrecord": (45, 15)[part % 2] for part in range(4)}


def test_cuts_and_crop_are_those_of_the_dense_images(source: Path, tmp_path: Path) -> None:
    settings = {"min_energy": 0.003, "max_time": 0.08, "crop": 11}
    found = images_by_label(make_shards(source, tmp_path, **settings), size=11)
    for label in (0, 1):
        expected = shower_images(EVENTS, label)[:, 11:22, 11:22]  # the seed is at (16, 16)
        kept_eyx = (expected[..., 0] > 0.003) & (np.abs(expected[..., 1]) < 0.08)
        assert np.array_equal(found[label], expected * kept_eyx[..., None])
    facts = manifest_of(tmp_path)["facts"]
    assert (facts["height"], facts["width"], facts["reading"]["crop"]) == (11, 11, 11)


def test_a_slice_takes_the_same_rows_of_each_file(source: Path, tmp_path: Path) -> None:
    (events,) = parts_of(make_shards(source, tmp_path, start=7, stop=41))
    assert sorted(events.row_e.tolist()) == sorted([*range(7, 41)] * 2)
    assert manifest_of(tmp_path)["facts"]["rows"] == [[7, 41]] * 2


def test_files_in_other_units_give_the_same_hits(shards: Path, tmp_path: Path) -> None:
    for label, name in enumerate(("photons", "electrons")):
        image_eyxc = shower_images(EVENTS, label).astype(np.float64) * (50, 25)
        columns = {"X": image_eyxc, "y": np.full(EVENTS, label), "eta": etas(EVENTS)}
        write_hdf5(tmp_path / "source" / f"{name}.hdf5", columns)
    settings = {"energy_scale": 0.02, "time_scale": 0.04}
    found, expected = (
        images_by_label(make_shards(tmp_path / "source", tmp_path / "s", **settings)),
        images_by_label(shards),
    )
    for label in (0, 1):
        np.testing.assert_allclose(found[label], expected[label], rtol=1e-6)


def test_classes_may_be_mixed_in_one_file_without_eta(tmp_path: Path) -> None:
    image_eyxc = np.concatenate([shower_images(5, 1), shower_images(5, 0)])
    path = write_hdf5(tmp_path / "both.h5", {"X": np.moveaxis(image_eyxc, 3, 1), "y": [1.0] * 5 + [0.0] * 5})
    make_shards(path, tmp_path / "shards")
    (events,) = parts_of(tmp_path / "shards")
    assert events.label_e.tolist() == [1] * 5 + [0] * 5
    assert np.array_equal(events.hits.to_images(), image_eyxc)
    assert np.isnan(events.eta_e).all()
    assert manifest_of(tmp_path / "shards")["facts"]["eta_known"] is False


def test_the_number_of_processes_does_not_change_a_byte(
    source: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hepml_core.parallel.cores", lambda: 1)
    assert shard_bytes(make_shards(source, tmp_path)) == shard_bytes(shards)


def test_a_source_in_an_object_store_is_copied_once(
    source: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads: list[str] = []

    class Far(LocalFolder):
        path = None  # type: ignore[assignment]

        def download(self, names: Iterable[str], target: Path) -> None:
            downloads.extend(names)
            super().download(names, target)

    def open_far(address: str) -> LocalFolder:
        return Far(source) if address == str(source) else LocalFolder(Path(address))

    monkeypatch.setattr(convert_module, "open_folder", open_far)
    make_shards(source, tmp_path)
    assert downloads == ["electrons.hdf5", "photons.hdf5"]
    assert shard_bytes(tmp_path) == shard_bytes(shards)


def spoiled_source(folder: Path) -> Path:
    class_file(folder / "electrons.hdf5", 1, 300)
    image_eyxc, label_e = shower_images(300, 0), np.zeros(300, np.float32)
    image_eyxc[130:250, 5, 5, 0] = -1
    image_eyxc[270, 3, 3, 1] = np.nan
    label_e[280] = 7
    write_hdf5(folder / "photons.hdf5", {"X": image_eyxc, "y": label_e}, chunks=(8, 32, 32, 2))
    return folder


def test_bad_events_are_left_out_listed_up_to_a_limit_and_counted(tmp_path: Path) -> None:
    source = spoiled_source(tmp_path / "source")
    make_shards(source, tmp_path / "shards", on_bad_input="skip", records_per_shard=90)
    told = manifest_of(tmp_path / "shards")
    assert (told["metrics"]["events"], told["metrics"]["skipped"], told["facts"]["skipped_events"]) == (478, 122, 122)
    assert told["facts"]["events"] == {"photon": 178, "electron": 300}
    assert len(told["facts"]["skipped"]) == 100
    reason = "crystal (5, 5) has a negative energy, -1.0"
    assert told["facts"]["skipped"][0] == {"file": "photons.hdf5", "row": 130, "reason": reason}
    (events,) = parts_of(tmp_path / "shards")
    good = [row for row in range(300) if not (130 <= row < 250 or row in (270, 280))]
    assert events.row_e[events.label_e == 0].tolist() == good


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, r"photons\.hdf5: y says 7 of 1 events, labels are 0 \(photon\) and 1"),
        ({"stop": 280}, r"photons\.hdf5, row 130: crystal \(5, 5\) has a negative energy"),
        ({"start": 250, "stop": 275}, r"photons\.hdf5, row 270: crystal \(3, 3\) has no finite time, nan"),
        ({"stop": 301}, r"electrons\.hdf5 has 300 rows, those from 0 to 301 are asked for"),
        ({"stop": 100, "crop": 40}, "crop must be between 1 and 32"),
        ({"stop": 100, "energy_scale": 50}, r"rows 0 to 99: .*seem to be in GeV.* energy_scale=1 "),
        ({"stop": 100, "time_scale": 25}, r"rows 0 to 99: .*seem to be in ns.* time_scale=1 "),
    ],
)
def test_what_cannot_be_read_is_told_by_file_and_row(settings: dict[str, Any], fault: str, tmp_path: Path) -> None:
    source = spoiled_source(tmp_path / "source")
    with pytest.raises(HepmlError, match=fault):
        make_shards(source, tmp_path / "shards", **settings)
    assert not (tmp_path / "shards" / "manifest.json").exists()


def test_a_wrong_unit_leaves_nothing_behind_that_contradicts_the_right_one(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="time_scale"):
        make_shards(source, tmp_path / "shards", time_scale=25)
    assert not (tmp_path / "shards").exists()
    make_shards(source, tmp_path / "shards")


def test_one_class_alone_is_refused_before_work_starts(tmp_path: Path) -> None:
    class_file(tmp_path / "source" / "photons.h5", 0, 5)
    with pytest.raises(DataError, match=r"events of photon only in .*: a classifier needs two classes"):
        make_shards(tmp_path / "source", tmp_path / "shards")
    write_hdf5(tmp_path / "source" / "photons.h5", {"X": shower_images(5, 0), "y": np.full(5, 3)})
    with pytest.raises(DataError, match="events of no known class only"):
        make_shards(tmp_path / "source", tmp_path / "shards", on_bad_input="skip")
    assert not (tmp_path / "shards").exists()


def test_a_class_of_which_every_event_is_bad_is_refused(tmp_path: Path) -> None:
    class_file(tmp_path / "source" / "photons.h5", 0, 5)
    spoiled = shower_images(5, 1)
    spoiled[:, 0, 0, 0] = np.nan
    write_hdf5(tmp_path / "source" / "electrons.h5", {"X": spoiled, "y": np.ones(5)})
    with pytest.raises(DataError, match=r"no electron of .* can be used, the first: electrons\.h5, row 0: crystal"):
        make_shards(tmp_path / "source", tmp_path / "shards", on_bad_input="skip")


def test_files_of_different_images_are_refused(tmp_path: Path) -> None:
    class_file(tmp_path / "source" / "a.h5", 0, 5)
    class_file(tmp_path / "source" / "b.h5", 1, 5, size=16)
    with pytest.raises(DataError, match=r"\(32, 32\) crystals in a\.h5 and \(16, 16\) in b\.h5"):
        make_shards(tmp_path / "source", tmp_path / "shards")


def test_files_without_the_datasets_and_folders_without_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder: --source names a folder of HDF5 files"):
        make_shards(tmp_path / "source", tmp_path / "shards")
    write_hdf5(tmp_path / "source" / "a.h5", {"X": shower_images(5, 0), "labels": np.zeros(5)})
    with pytest.raises(UnknownNameError, match=r"unknown dataset 'y' in .*a\.h5.*\n  available: X, labels"):
        make_shards(tmp_path / "source", tmp_path / "shards")


def test_copies_are_reported_and_events_without_hits_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image_eyxc = shower_images(10, 0)
    image_eyxc[7] = image_eyxc[2]
    image_eyxc[4:6] = 0
    write_hdf5(tmp_path / "source" / "a.h5", {"X": image_eyxc, "y": np.arange(10) % 2})
    with caplog.at_level(logging.WARNING):
        make_shards(tmp_path / "source", tmp_path / "shards")
    assert manifest_of(tmp_path / "shards")["facts"]["duplicates"] == {"copies": 1, "across_classes": 2}
    assert "1 events are copies of others" in caplog.text


def test_a_second_run_does_nothing_and_a_changed_source_is_refused(tmp_path: Path) -> None:
    source = toy_source(tmp_path / "source", 10)
    make_shards(source, tmp_path / "shards")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").rglob("*")}
    make_shards(source, tmp_path / "shards")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").rglob("*")} == before
    with pytest.raises(FolderError, match="min_energy was"):
        make_shards(source, tmp_path / "shards", min_energy=0.1)
    class_file(source / "more.h5", 0, 3)
    with pytest.raises(FolderError, match="the source changed"):
        make_shards(source, tmp_path / "shards")


def test_shards_may_lie_elsewhere(source: Path, shards: Path, tmp_path: Path) -> None:
    convert(
        LocalFolder(source),
        LocalFolder(tmp_path / "m"),
        ConvertConfig(records_per_shard=25, shards_root=str(tmp_path / "r")),
    )
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["manifest.json"]
    (root,) = (tmp_path / "r").iterdir()
    assert shard_bytes(root) == shard_bytes(shards)


KILLED: dict[str, Any] = {"stage": "ecal.convert", "settings": {"records_per_shard": 25}, "output": "shards"}


def test_a_run_that_is_killed_anywhere_ends_with_the_same_bytes(source: Path, shards: Path, tmp_path: Path) -> None:
    assert_mends(**KILLED, inputs={"source": source}, scratch=tmp_path, moments=5)
    assert contents(tmp_path / "whole") == contents(shards)


@pytest.mark.slow
def test_no_step_is_one_too_many(source: Path, tmp_path: Path) -> None:
    assert_mends(**KILLED, inputs={"source": source}, scratch=tmp_path, moments=1000)


def test_files_of_the_generator_are_read_as_they_are(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path / "source"), GenerateConfig(events_per_class=100, events_per_file=60))
    make_shards(tmp_path / "source", tmp_path / "shards")
    told = manifest_of(tmp_path / "shards")
    assert told["facts"]["events"] == {"photon": 100, "electron": 100}
    assert told["facts"]["eta_known"] is True
    assert told["metrics"]["dense_ratio"] > 20


@pytest.mark.parametrize(
    "settings",
    [
        {"start": -1},
        {"start": 5, "stop": 5},
        {"max_time": 0},
        {"energy_scale": -1},
        {"records_per_shard": 0},
        {"crop": -1},
    ],
)
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="must"):
        build_config(ConvertConfig, settings)
