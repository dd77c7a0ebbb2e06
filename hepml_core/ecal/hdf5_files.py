"""Events in HDF5 files, read in blocks of rows; the one place where h5py reads.

``X`` holds images (event, row, column, 2) or (event, 2, row, column) of energy and time, ``y`` a label for each and
``eta``, in files that tell it, the pseudorapidity of the particle.

Suffixes: e event, y row, x column, c channel, h hit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from hepml_core.ecal.event_records import Events
from hepml_core.ecal.hits import Hits, IntArray, hits_of_images
from hepml_core.ecal.plausibility import check_units, find_bad
from hepml_core.errors import DataError, FolderError, UnknownNameError
from hepml_core.storage import Folder

BLOCK_BYTES = 1 << 25
"""Dense images that are read at once: some 4,000 events of 32 x 32 crystals."""
LARGEST_CHUNK = 1 << 27
"""Bytes of a chunk of a file, which HDF5 unpacks as a whole."""
LARGEST_IMAGE = 1 << 16
"""Crystals whose numbers fit into 16 bits."""
LABELS_AT_ONCE = 1 << 20
KEYS_SHOWN = 50


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


@dataclass(frozen=True, slots=True)
class FileShape:
    """What a file holds."""

    rows: int
    image: tuple[int, int]
    """Rows and columns of crystals."""
    channels_last: bool
    has_eta: bool
    rows_at_once: int
    """Rows in a block, a whole number of the file's chunks."""


def describe_file(folder: Folder, name: str, *, labels: bool) -> FileShape:
    """Open a file and see that it holds what is needed, without reading events.

    Raises:
        DataError: It is no whole HDF5 file, or shapes, types or lengths are not as they should be.
        UnknownNameError: A dataset is missing.
        FolderError: There is no such file.
    """
    with _open(folder, name) as file:
        return _describe(file, f"{folder}/{name}", labels=labels)


def count_labels(folder: Folder, name: str, start: int = 0, stop: int | None = None) -> Counter[float]:
    """Count the values of ``y`` in some rows, without reading images; errors as those of read_chunks."""
    where = f"{folder}/{name}"
    counts: Counter[float] = Counter()
    with _open(folder, name) as file:
        start, stop = _check_slice(_describe(file, where, labels=True), where, start, stop)
        for first in range(start, stop, LABELS_AT_ONCE):
            label_e = _read(file["y"], first, min(first + LABELS_AT_ONCE, stop), where)
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
    with _open(folder, name) as file:
        shape = _describe(file, where, labels=labels)
        start, stop = _check_slice(shape, where, start, stop)
        for first in range(start - start % shape.rows_at_once, stop, shape.rows_at_once):
            row_e = np.arange(max(first, start), min(first + shape.rows_at_once, stop))
            yield _read_rows(file, where, name, number, row_e, shape, reading, labels=labels)


def _read_rows(
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
    image_eyxc = _read(file["X"], start, stop, where)
    if not shape.channels_last:
        image_eyxc = np.moveaxis(image_eyxc, 1, 3)
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and told as that
        image_eyxc = np.ascontiguousarray(image_eyxc, np.float32)
    label_e = _read(file["y"], start, stop, where).astype(np.float64) if labels else np.full(len(row_e), -1.0)
    eta_e = _read(file["eta"], start, stop, where) if shape.has_eta else np.full(len(row_e), np.nan)
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


@contextmanager
def _open(folder: Folder, name: str) -> Iterator[h5py.File]:
    where = f"{folder}/{name}"
    try:
        with folder.local(name) as path:
            with _damage(where):
                if not path.stat().st_size:
                    raise DataError(f"{where} is empty: copy it again from where it came")
                if not h5py.is_hdf5(path):
                    raise DataError(f"{where} is no HDF5 file: its first bytes are not those of one")
                file = h5py.File(path, "r", locking=False)
            with file:
                yield file
    except FileNotFoundError as error:
        raise FolderError(f"{where} is not there (any more): {error}") from error


@contextmanager
def _damage(where: str) -> Iterator[None]:
    """Turn what HDF5 says of bytes that are cut or changed into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{where} is cut or damaged, copy it again from where it came (HDF5: {error})") from error


def _describe(file: h5py.File, where: str, *, labels: bool) -> FileShape:
    with _damage(where):
        images = _dataset(file, "X", "f", where)
        channels_last = _channels_last(images.shape, where)
        rows = images.shape[0]
        height, width = images.shape[1:3] if channels_last else images.shape[2:4]
        if not rows:
            raise DataError(f"{where}: X has no events")
        if not 0 < height * width <= LARGEST_IMAGE:
            raise DataError(
                f"{where}: images of {height} x {width} crystals, there are to be 1 to {LARGEST_IMAGE} crystals"
            )
        has_eta = file.get("eta", getlink=True) is not None
        for key in [*(["y"] if labels else []), *(["eta"] if has_eta else [])]:
            column = _dataset(file, key, "fiub" if key == "y" else "f", where)
            if column.shape != (rows,):
                raise DataError(
                    f"{where}: X has {rows} events and {key} the shape {column.shape}, they do not belong together: "
                    f"{key} is to have the shape ({rows},)"
                )
        row_bytes = height * width * 2 * images.dtype.itemsize
        chunk_rows = images.chunks[0] if images.chunks else 1
        rows_at_once = max(1, BLOCK_BYTES // row_bytes)
        if chunk_rows * row_bytes <= LARGEST_CHUNK:
            rows_at_once = max(1, rows_at_once // chunk_rows) * chunk_rows
        return FileShape(rows, (height, width), channels_last, has_eta, rows_at_once)


def _dataset(file: h5py.File, key: str, kinds: str, where: str) -> h5py.Dataset:
    """Return a dataset whose numbers lie in this file, all of them."""
    link = file.get(key, getlink=True)
    if link is None:
        raise UnknownNameError("dataset", key, islice(file, KEYS_SHOWN), f"in {where}")
    if not isinstance(link, h5py.HardLink):
        raise DataError(
            f"{where}: {key} is a link to another place, which is not followed: copy the numbers into the file"
        )
    found = file[key]
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{where}: {key} is a group, not a dataset of numbers")
    if found.is_virtual or found.external:
        raise DataError(
            f"{where}: the numbers of {key} lie in other files, which are not read: copy them into the file"
        )
    if found.dtype.kind not in kinds or found.dtype.itemsize > 8 or found.shape is None:
        wanted = "floats of 16, 32 or 64 bits" if kinds == "f" else "numbers"
        kind = "empty" if found.shape is None else f"of type {found.dtype}"
        raise DataError(f"{where}: {key} is {kind}, it is to hold {wanted}")
    _require_written(found, key, where)
    return found


def _require_written(found: h5py.Dataset, key: str, where: str) -> None:
    """Refuse shapes that are only declared, and packing that cannot be undone."""
    plan = found.id.get_create_plist()
    for number in range(plan.get_nfilters()):
        code, _, _, label = plan.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise DataError(
                f"{where}: {key} is packed by {label.decode(errors='replace') or f'filter {code}'}, which this h5py cannot "
                "undo: write it anew with gzip or lzf (h5repack -f GZIP=4)"
            )
    if found.chunks is None:
        there, needed, what = found.id.get_storage_size(), found.size * found.dtype.itemsize, "bytes"
    else:
        if math.prod(found.chunks) * found.dtype.itemsize > LARGEST_CHUNK:
            raise DataError(f"{where}: {key} has chunks of {found.chunks}, more than {LARGEST_CHUNK >> 20} MiB each")
        needed = math.prod(-(-size // step) for size, step in zip(found.shape, found.chunks, strict=True))
        there, what = found.id.get_num_chunks(), "chunks"
    if there < needed:
        raise DataError(
            f"{where}: {key} has the shape {found.shape} but only {there} of {needed} {what} were written: "
            "make or copy it again"
        )


def _channels_last(shape: Sequence[int], where: str) -> bool:
    wanted = "(events, rows, columns, 2) or (events, 2, rows, columns)"
    if len(shape) != 4:
        raise DataError(
            f"{where}: X has the shape {tuple(shape)}, it is to be {wanted}: energy and time of each crystal"
        )
    first, last = shape[1] == 2, shape[3] == 2
    if first and last:
        raise DataError(f"{where}: X has the shape {tuple(shape)}, which may be {wanted}: cut or pad the images")
    if not first and not last:
        raise DataError(
            f"{where}: X has the shape {tuple(shape)}, none of its axes has the 2 channels energy and time; "
            f"it is to be {wanted}"
        )
    return last


def _check_slice(shape: FileShape, where: str, start: int, stop: int | None) -> tuple[int, int]:
    end = shape.rows if stop is None else stop
    if not 0 <= start < end <= shape.rows:
        raise DataError(
            f"{where} has {shape.rows} rows, those from {start} to {end} are asked for: lower start and stop, or leave "
            "the file out"
        )
    return start, end


def _read(dataset: h5py.Dataset, start: int, stop: int, where: str) -> NDArray[Any]:
    with _damage(f"{where}, rows {start} to {stop - 1}"):
        values: NDArray[Any] = dataset[start:stop]
    return values
