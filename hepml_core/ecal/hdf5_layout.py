"""What HDF5 files of events hold: shapes and types are checked, and cut or damaged files told, before events are read.

``X`` holds images (event, row, column, 2) or (event, 2, row, column) of energy and time, ``y`` a label for each and
``eta``, in files that tell it, the pseudorapidity of the particle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import h5py
from numpy.typing import NDArray

from hepml_core.errors import DataError, FolderError, UnknownNameError
from hepml_core.storage import Folder

BLOCK_BYTES = 1 << 25
"""Dense images that are read at once: some 4,000 events of 32 x 32 crystals."""
LARGEST_CHUNK = 1 << 27
"""Bytes of a chunk of a file, which HDF5 unpacks as a whole."""
LARGEST_IMAGE = 1 << 16
"""Crystals whose numbers fit into 16 bits."""
KEYS_SHOWN = 50


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
    with open_hdf5(folder, name) as file:
        return describe(file, f"{folder}/{name}", labels=labels)


@contextmanager
def open_hdf5(folder: Folder, name: str) -> Iterator[h5py.File]:
    """Open a file for reading.

    Raises:
        DataError: It is empty, cut or damaged, or no HDF5 file.
        FolderError: There is no such file.
    """
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


def describe(file: h5py.File, where: str, *, labels: bool) -> FileShape:
    """Describe an open file; errors as those of describe_file."""
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


def read_rows(dataset: h5py.Dataset, start: int, stop: int, where: str) -> NDArray[Any]:
    """Read rows of a dataset.

    Raises:
        DataError: They are damaged.
    """
    with _damage(f"{where}, rows {start} to {stop - 1}"):
        values: NDArray[Any] = dataset[start:stop]
    return values
