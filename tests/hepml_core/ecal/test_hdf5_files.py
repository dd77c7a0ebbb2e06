"""HDF5 files of every lawful kind are read alike; all others are told apart in one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepml_core.ecal import hdf5_files, hdf5_layout
from hepml_core.ecal.event_records import Events
from hepml_core.ecal.hdf5_files import Reading, count_labels, read_chunks
from hepml_core.ecal.hdf5_layout import FileShape, describe_file
from hepml_core.ecal.hits import join
from hepml_core.errors import DataError, HepmlError, SettingError, UnknownNameError
from hepml_core.storage import LocalFolder
from tests.ecal_shards import etas, shower_images, write_hdf5

PLAIN = Reading(energy_scale=1, time_scale=1, min_energy=0, max_time=100, crop=0, check_units=True, on_bad_input="fail")
EVENTS = 40


def columns(events: int = EVENTS, **others: Any) -> dict[str, Any]:
    return {"X": shower_images(events, 1), "y": np.arange(events, dtype=np.float32) % 2, **others}


def read(path: Path, reading: Reading = PLAIN, **asked: Any) -> Events:
    """Read a whole file, or some of its rows."""
    parts = [chunk.events for chunk in read_chunks(LocalFolder(path.parent), path.name, 5, reading, **asked)]
    names = ("label_e", "file_e", "row_e", "eta_e")
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return Events(join([part.hits for part in parts]), *joined)


def described(path: Path, *, labels: bool = True) -> FileShape:
    return describe_file(LocalFolder(path.parent), path.name, labels=labels)


LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "one event a chunk": {"chunks": (1, 32, 32, 2)},
    "chunks across images": {"chunks": (7, 16, 32, 1), "compression": "gzip"},
    "chosen by h5py": {"chunks": True, "compression": "lzf"},
    "longer than the file": {"chunks": (64, 32, 32, 2), "maxshape": (None, 32, 32, 2), "shuffle": True},
}


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("block_bytes", [1, 11 * 8192, 1 << 25])
def test_every_layout_on_disk_and_size_of_blocks_gives_the_images(
    options: dict[str, Any], block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_layout, "BLOCK_BYTES", block_bytes)
    events = read(write_hdf5(tmp_path / "a.h5", columns(), **options))
    assert np.array_equal(events.hits.to_images(), shower_images(EVENTS, 1))
    assert events.row_e.tolist() == list(range(EVENTS))
    assert events.label_e.tolist() == [0, 1] * (EVENTS // 2)
    assert set(events.file_e.tolist()) == {5}
    assert np.isnan(events.eta_e).all()


def test_blocks_end_with_the_chunks_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_layout, "BLOCK_BYTES", 11 * 8192)
    path = write_hdf5(tmp_path / "a.h5", columns(), chunks=(4, 32, 32, 2))
    chunks = read_chunks(LocalFolder(tmp_path), path.name, 0, PLAIN, start=3, stop=30)
    assert [chunk.events.row_e[[0, -1]].tolist() for chunk in chunks] == [[3, 7], [8, 15], [16, 23], [24, 29]]


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
def test_floats_of_every_width_are_read(dtype: str, tmp_path: Path) -> None:
    image_eyxc = shower_images(EVENTS, 1).astype(dtype)
    events = read(write_hdf5(tmp_path / "a.h5", columns(X=image_eyxc, y=np.ones(EVENTS, np.uint8))))
    expected = image_eyxc.astype(np.float32)
    expected[expected[..., 0] == 0] = 0
    assert np.array_equal(events.hits.to_images(), expected)
    assert set(events.label_e.tolist()) == {1}


def test_channels_may_come_first(tmp_path: Path) -> None:
    image_eyxc = shower_images(EVENTS, 1)
    path = write_hdf5(tmp_path / "a.h5", columns(X=np.moveaxis(image_eyxc, 3, 1)), chunks=(3, 2, 32, 32))
    assert described(path).channels_last is False
    assert np.array_equal(read(path).hits.to_images(), image_eyxc)


def test_the_pseudorapidity_is_read_where_a_file_tells_it(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", columns(eta=etas(EVENTS)))
    assert np.array_equal(read(path).eta_e, etas(EVENTS))


def test_labels_are_needed_only_where_they_are_asked_for(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", {"X": shower_images(EVENTS, 0)})
    assert set(read(path, labels=False).label_e.tolist()) == {-1}
    assert described(path, labels=False).rows == EVENTS
    with pytest.raises(UnknownNameError, match=rf"unknown dataset 'y' in {path}"):
        read(path)


def test_labels_are_counted_in_the_asked_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_files, "LABELS_AT_ONCE", 7)
    path = write_hdf5(tmp_path / "a.h5", columns(y=np.arange(EVENTS) // 15))
    assert count_labels(LocalFolder(tmp_path), path.name) == {0: 15, 1: 15, 2: 10}
    assert count_labels(LocalFolder(tmp_path), path.name, 10, 20) == {0: 5, 1: 5}


@pytest.mark.parametrize(("start", "stop"), [(0, EVENTS), (7, 8), (13, 40), (0, 1)])
def test_a_slice_is_those_rows(start: int, stop: int, tmp_path: Path) -> None:
    events = read(write_hdf5(tmp_path / "a.h5", columns(), chunks=(4, 32, 32, 2)), start=start, stop=stop)
    assert events.row_e.tolist() == list(range(start, stop))
    assert np.array_equal(events.hits.to_images(), shower_images(EVENTS, 1)[start:stop])


@pytest.mark.parametrize(("start", "stop"), [(0, EVENTS + 1), (EVENTS, None), (5, 5), (-1, 3)])
def test_a_slice_beyond_the_end_is_refused(start: int, stop: int | None, tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", columns())
    with pytest.raises(DataError, match=rf"{path} has {EVENTS} rows, those from {start} to {stop or EVENTS} are asked"):
        read(path, start=start, stop=stop)


def test_cuts_crop_and_factors_are_those_of_the_dense_images(tmp_path: Path) -> None:
    image_eyxc = shower_images(EVENTS, 1) * np.array([50, 25], np.float32)
    reading = replace(PLAIN, energy_scale=0.02, time_scale=0.04, min_energy=0.003, max_time=0.1, crop=14)
    events = read(write_hdf5(tmp_path / "a.h5", columns(X=image_eyxc)), reading)
    expected = image_eyxc[:, 9:23, 9:23] * np.array([0.02, 0.04], np.float32)
    kept_eyx = (expected[..., 0] > 0.003) & (np.abs(expected[..., 1]) < 0.1)
    assert 0 < kept_eyx.sum() < np.count_nonzero(expected[..., 0])
    assert np.array_equal(events.hits.to_images(), expected * kept_eyx[..., None])


def test_a_crop_larger_than_the_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="crop must be between 1 and 32"):
        read(write_hdf5(tmp_path / "a.h5", columns()), replace(PLAIN, crop=33))


def test_other_units_are_refused_by_file_and_rows_unless_told_to_take_them(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", columns(X=shower_images(EVENTS, 1) * np.array([1, 25], np.float32)))
    with pytest.raises(DataError, match=rf"^{path}, rows 0 to 39: .*time_scale=0\.04"):
        read(path)
    assert len(read(path, replace(PLAIN, check_units=False))) == EVENTS


def spoiled() -> dict[str, Any]:
    made = columns(y=np.arange(EVENTS, dtype=np.float32) % 2)
    made["X"][3, 1, 2, 0] = np.nan
    made["X"][7, 1, 2, 1] = np.inf
    made["X"][20, 4, 4, 0] = -1
    made["y"][31] = 2
    return made


def test_the_first_bad_event_is_named_by_file_and_row(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", spoiled())
    with pytest.raises(
        DataError, match=rf"^{path}, row 3: crystal \(1, 2\) has no finite energy, nan \(on_bad_input=skip"
    ):
        read(path)
    with pytest.raises(DataError, match=rf"^{path}, row 31: its label is 2"):
        read(path, start=21)


def test_bad_events_can_be_left_out_and_only_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_layout, "BLOCK_BYTES", 10 * 8192)
    path = write_hdf5(tmp_path / "a.h5", spoiled())
    skipping = replace(PLAIN, on_bad_input="skip")
    chunks = list(read_chunks(LocalFolder(tmp_path), path.name, 0, skipping))
    assert [(one.file, one.row) for chunk in chunks for one in chunk.bad] == [("a.h5", row) for row in (3, 7, 20, 31)]
    assert [chunk.rows for chunk in chunks] == [10] * 4
    good = [row for row in range(EVENTS) if row not in (3, 7, 20, 31)]
    events = read(path, skipping)
    assert events.row_e.tolist() == good
    assert np.array_equal(events.hits.to_images(), shower_images(EVENTS, 1)[good])


def test_values_too_large_for_32_bits_are_told_as_infinite(tmp_path: Path) -> None:
    image_eyxc = shower_images(EVENTS, 1).astype(np.float64)
    image_eyxc[2, 0, 0, 0] = 1e300
    with pytest.raises(DataError, match=r"row 2: crystal .* has no finite energy, inf"):
        read(write_hdf5(tmp_path / "a.h5", columns(X=image_eyxc)))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_a_cut_file_is_told_wherever_it_is_cut(share: float, tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", columns(), chunks=(4, 32, 32, 2), compression="gzip")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=rf"{path} is (cut or damaged, copy it again|no HDF5 file)"):
        read(path)


def outcome_of(path: Path) -> tuple[str, Events | None]:
    try:
        return "", read(path)
    except HepmlError as error:
        return str(error), None


def test_damage_within_a_file_is_told_or_changes_nothing_that_is_not_checked(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", columns(), chunks=(4, 32, 32, 2), compression="gzip", fletcher32=True)
    content = path.read_bytes()
    told = 0
    for place in range(len(content) // 4, len(content), len(content) // 13):
        path.write_bytes(content[:place] + bytes(64) + content[place + 64 :])
        fault, events = outcome_of(path)
        told += bool(fault)
        assert str(path) in fault or (events and np.array_equal(events.hits.to_images(), shower_images(EVENTS, 1)))
    assert told > 4
