"""What a file holds is told without reading it; what does not fit is refused in one sentence."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hepml_core.ecal.hdf5_layout import FileShape, describe_file
from hepml_core.errors import DataError, FolderError, HepmlError
from hepml_core.storage import LocalFolder
from tests.ecal_shards import etas, shower_images, write_hdf5

EVENTS = 40


def columns(**others: Any) -> dict[str, Any]:
    return {"X": shower_images(EVENTS, 1), "y": np.arange(EVENTS, dtype=np.float32) % 2, **others}


def described(path: Path) -> FileShape:
    return describe_file(LocalFolder(path.parent), path.name, labels=True)


def test_a_file_is_described_without_reading_it(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5", columns(eta=etas(EVENTS)))
    shape = described(path)
    assert (shape.rows, shape.image, shape.channels_last, shape.has_eta) == (EVENTS, (32, 32), True, True)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no X": ({"X": None}, "unknown dataset 'X' in "),
    "another name": ({"X": None, "X_jets": np.zeros(3)}, "available: X_jets, y"),
    "rank": (
        {"X": np.zeros((EVENTS, 32, 32), np.float32)},
        r"X has the shape \(40, 32, 32\), it is to be \(events, rows",
    ),
    "channels": ({"X": np.zeros((EVENTS, 32, 32, 3), np.float32)}, "none of its axes has the 2 channels"),
    "ambiguous": ({"X": np.zeros((EVENTS, 2, 32, 2), np.float32)}, r"which may be .* or .*: cut or pad"),
    "no events": ({"X": np.zeros((0, 32, 32, 2), np.float32), "y": np.zeros(0)}, "X has no events"),
    "no crystals": ({"X": np.zeros((EVENTS, 0, 32, 2), np.float32)}, "images of 0 x 32 crystals"),
    "too many crystals": ({"X": np.zeros((EVENTS, 257, 256, 2), np.float16)}, "1 to 65536 crystals"),
    "whole numbers": ({"X": np.zeros((EVENTS, 32, 32, 2), np.int32)}, "X is of type int32, it is to hold floats"),
    "text": ({"X": np.full((EVENTS, 4, 4, 2), b"x")}, r"X is of type \|S1"),
    "variable text": ({"y": np.array(["electron"] * EVENTS, object)}, "y is of type object, it is to hold numbers"),
    "compound": ({"X": np.zeros((EVENTS, 4, 4, 2), [("e", "f4"), ("t", "f4")])}, "X is of type"),
    "complex": ({"y": np.zeros(EVENTS, complex)}, "y is of type complex128"),
    "fewer labels": ({"y": np.zeros(EVENTS - 1)}, r"X has 40 events and y the shape \(39,\), they do not belong"),
    "labels of rank 2": ({"y": np.zeros((EVENTS, 1))}, r"y is to have the shape \(40,\)"),
    "scalar label": ({"y": np.float32(1)}, r"y the shape \(\)"),
    "null": ({"y": h5py.Empty("f4")}, "y is empty, it is to hold numbers"),
    "fewer etas": ({"eta": np.zeros(3, np.float32)}, r"eta the shape \(3,\)"),
}


@pytest.mark.parametrize(("given", "fault"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_told_before_events_are_read(given: dict[str, Any], fault: str, tmp_path: Path) -> None:
    made = {name: value for name, value in columns(**given).items() if value is not None}
    path = write_hdf5(tmp_path / "a.h5", made)
    with pytest.raises(HepmlError, match=fault) as told:
        described(path)
    assert str(path) in str(told.value)


def test_a_group_is_no_dataset(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X/data"] = np.zeros(3)
    with pytest.raises(DataError, match="X is a group, not a dataset"):
        described(tmp_path / "a.h5")


def external_link(file: h5py.File) -> None:
    file["X"] = h5py.ExternalLink("other.h5", "/X")


def soft_link(file: h5py.File) -> None:
    file["X"] = h5py.SoftLink("/elsewhere")


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((EVENTS, 32, 32, 2), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "X", (EVENTS, 32, 32, 2))
    file.create_virtual_dataset("X", layout)


def external_storage(file: h5py.File) -> None:
    size = EVENTS * 32 * 32 * 2 * 4
    file.create_dataset("X", (EVENTS, 32, 32, 2), np.float32, external=[("/etc/hostname", 0, size)])


@pytest.mark.parametrize("point", [external_link, soft_link, virtual_dataset, external_storage])
def test_numbers_that_lie_elsewhere_are_not_read(point: Callable[[h5py.File], None], tmp_path: Path) -> None:
    write_hdf5(tmp_path / "other.h5", columns())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["y"] = np.zeros(EVENTS)
        point(file)
    with pytest.raises(DataError, match=r"is a link to another place|lie in other files"):
        described(tmp_path / "a.h5")


@pytest.mark.parametrize(
    "options",
    [{"chunks": (1, 32, 32, 2)}, {"chunks": (1024, 32, 32, 2), "compression": "gzip"}, {}],
    ids=["small chunks", "large chunks", "contiguous"],
)
def test_a_shape_that_is_only_declared_takes_no_memory(options: dict[str, Any], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("X", (10**9, 32, 32, 2), np.float32, **options)
        file.create_dataset("y", (10**9,), np.float32, chunks=(1 << 20,))
    assert (tmp_path / "a.h5").stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(DataError, match=r"X has the shape .* but only 0 of \d+ (chunks|bytes) were written"):
        described(tmp_path / "a.h5")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_a_file_that_was_not_filled_to_its_end_is_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        images = file.create_dataset("X", (EVENTS, 32, 32, 2), np.float32, chunks=(10, 32, 32, 2))
        images[:25] = shower_images(25, 0)
        file["y"] = np.zeros(EVENTS)
    with pytest.raises(DataError, match="but only 3 of 4 chunks were written: make or copy it again"):
        described(tmp_path / "a.h5")


def test_chunks_too_large_for_memory_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        chunks = (1 << 15, 32, 32, 2)
        file.create_dataset("X", (EVENTS, 32, 32, 2), np.float32, chunks=chunks, maxshape=(None, 32, 32, 2))
        file["y"] = np.zeros(EVENTS)
    with pytest.raises(DataError, match="more than 128 MiB each"):
        described(tmp_path / "a.h5")


def test_an_unknown_packing_is_told_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_hdf5(tmp_path / "a.h5", columns(), chunks=True, compression="lzf")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda _: False)
    with pytest.raises(DataError, match="X is packed by lzf, which this h5py cannot undo: write it anew with gzip"):
        described(path)


def test_empty_foreign_and_missing_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("X,y\n" * 1000)
    for name, fault in (("empty", "is empty: copy it again"), ("text", "is no HDF5 file")):
        with pytest.raises(DataError, match=rf"{tmp_path}/{name}\.h5 {fault}"):
            described(tmp_path / f"{name}.h5")
    with pytest.raises(FolderError, match=r"none\.h5 is not there"):
        described(tmp_path / "none.h5")
