"""Events in HDF5 files, read in blocks of rows.

Suffixes: e event, y row, x column, c channel, h hit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import h5py
import numpy as np

from hepml_core.ecal.event_records import Events
from hepml_core.ecal.hdf5_layout import FileShape, describe, open_hdf5, read_rows
from hepml_core.ecal.hits import Hits, IntArray, hits_of_images
from hepml_core.ecal.plausibility import check_units, find_bad
from hepml_core.errors import DataError
from hepml_core.storage import Folder

LABELS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read: factors to units of 50 GeV and 25 ns, cuts on hits, rows and columns to keep (0: all)."""

    energy_scale: float
    time_scale: float
    min_energy: float
    max_time: float
    crop: int
    check_units: bool
    on_bad_input: Literal["fail", "skip"]


@dataclass(frozen=True, slots=True)
class BadEvent:
    """An event that cannot be used, and why."""

    file: str
    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """Events of some rows; the label is -1 where labels were not asked for."""

    events: Events
    bad: list[BadEvent]
    """Rows that were left out."""
    rows: int
    """Rows that were read."""


def count_labels(folder: Folder, name: str, start: int = 0, stop: int | None = None) -> Counter[float]:
    """Count the values of ``y`` in some rows, without reading images; errors as those of read_chunks."""
    where = f"{folder}/{name}"
    counts: Counter[float] = Counter()
    with open_hdf5(folder, name) as file:
        start, stop = _check_slice(describe(file, where, labels=True), where, start, stop)
        for first in range(start, stop, LABELS_AT_ONCE):
            label_e = read_rows(file["y"], first, min(first + LABELS_AT_ONCE, stop), where)
            values, members = np.unique(label_e.astype(np.float64), return_counts=True)
            counts.update(dict(zip(values.tolist(), members.tolist(), strict=True)))
    return counts


def read_chunks(
    folder: Folder,
    name: str,
    number: int,
    reading: Reading,
    *,
    start: int = 0,
    stop: int | None = None,
    labels: bool = True,
) -> Iterator[ReadChunk]:
    """Read the events of a file, block after block.

    Args:
        folder: Where the file lies.
        name: Its name there.
        number: Its number among the source's files.
        reading: How to read.
        start: First row.
        stop: Row before which to end; None reads all.
        labels: Whether the file must have labels.

    Raises:
        DataError: As of describe_file; or an event is bad and is not to be skipped, units look wrong, or there are fewer
            rows than asked for.
        SettingError: The images are smaller than the crop.
    """
    where = f"{folder}/{name}"
    with open_hdf5(folder, name) as file:
        shape = describe(file, where, labels=labels)
        start, stop = _check_slice(shape, where, start, stop)
        for first in range(start - start % shape.rows_at_once, stop, shape.rows_at_once):
            row_e = np.arange(max(first, start), min(first + shape.rows_at_once, stop))
            yield _read_chunk(file, where, name, number, row_e, shape, reading, labels=labels)


def _read_chunk(
    file: h5py.File,
    where: str,
    name: str,
    number: int,
    row_e: IntArray,
    shape: FileShape,
    reading: Reading,
    *,
    labels: bool,
) -> ReadChunk:
    start, stop = int(row_e[0]), int(row_e[-1]) + 1
    image_eyxc = read_rows(file["X"], start, stop, where)
    if not shape.channels_last:
        image_eyxc = np.moveaxis(image_eyxc, 1, 3)
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and told as that
        image_eyxc = np.ascontiguousarray(image_eyxc, np.float32)
    label_e = read_rows(file["y"], start, stop, where).astype(np.float64) if labels else np.full(len(row_e), -1.0)
    eta_e = read_rows(file["eta"], start, stop, where) if shape.has_eta else np.full(len(row_e), np.nan)
    found = find_bad(image_eyxc, label_e if labels else np.zeros(len(row_e)), eta_e)
    bad = [BadEvent(name, start + event, reason) for event, reason in found.items()]
    if bad and reading.on_bad_input == "fail":
        told = f"{where}, row {bad[0].row}: {bad[0].reason}"
        raise DataError(f"{told} (on_bad_input=skip leaves such events out)")
    good_e = np.delete(np.arange(len(row_e)), list(found))
    hits = _scaled(hits_of_images(image_eyxc[good_e] if bad else image_eyxc), reading)
    if reading.check_units:
        scales = {"energy_scale": reading.energy_scale, "time_scale": reading.time_scale}
        check_units(hits, f"{where}, rows {start} to {stop - 1}", **scales)
    hits = hits.where((hits.energy_h > reading.min_energy) & (np.abs(hits.time_h) < reading.max_time))
    if reading.crop:
        hits = hits.cropped(reading.crop)
    events = Events(
        hits,
        label_e[good_e].astype(np.int64),
        np.full(len(good_e), number),
        row_e[good_e],
        eta_e[good_e].astype(np.float32),
    )
    return ReadChunk(events, bad, len(row_e))


def _scaled(hits: Hits, reading: Reading) -> Hits:
    energy_h = hits.energy_h * np.float32(reading.energy_scale)
    time_h = hits.time_h * np.float32(reading.time_scale)
    return Hits(hits.crystal_h, energy_h, time_h, hits.first_e, hits.shape)


def _check_slice(shape: FileShape, where: str, start: int, stop: int | None) -> tuple[int, int]:
    end = shape.rows if stop is None else stop
    if not 0 <= start < end <= shape.rows:
        raise DataError(
            f"{where} has {shape.rows} rows, those from {start} to {end} are asked for: lower start and stop, or leave "
            "the file out"
        )
    return start, end
