"""Writing HDF5 files in the layout of the public sample, block after block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

EVENTS_PER_CHUNK = 32
"""An event takes 8 kB before compression: some tens of them make a chunk of the size that HDF5 likes."""
GZIP_LEVEL = 1


class ImageWriter:
    """Appends images to the datasets ``X`` (event, row, column, 2), ``y`` and ``eta`` (event), all float32."""

    def __init__(self, file: h5py.File, shape: tuple[int, int]) -> None:
        """Make empty datasets of images of some rows and columns in a new file."""
        self._file = file
        for name, inner in (("X", (*shape, 2)), ("y", ()), ("eta", ())):
            events = EVENTS_PER_CHUNK if inner else 4096
            # track_times would write the time of day into the file
            file.create_dataset(
                name,
                (0, *inner),
                np.float32,
                maxshape=(None, *inner),
                chunks=(events, *inner),
                compression="gzip",
                compression_opts=GZIP_LEVEL,
                track_times=False,
            )

    def append(self, image_eyxc: NDArray[np.float32], label_e: NDArray[np.float32], eta_e: NDArray[np.float32]) -> None:
        """Append a block of events; blocks of whole chunks are the fastest."""
        for name, part in (("X", image_eyxc), ("y", label_e), ("eta", eta_e)):
            dataset = self._file[name]
            first = len(dataset)
            dataset.resize(first + len(part), axis=0)
            dataset[first:] = part


@contextmanager
def image_writer(path: Path, shape: tuple[int, int]) -> Iterator[ImageWriter]:
    """Open a new file to append images to, and close it at the end of the block."""
    with h5py.File(path, "w", track_order=False) as file:
        yield ImageWriter(file, shape)
