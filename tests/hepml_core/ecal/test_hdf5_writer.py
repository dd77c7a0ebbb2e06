from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hepml_core.ecal.hdf5_writer import EVENTS_PER_CHUNK, image_writer


def sparse_images(events: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(events)
    image_eyxc = rng.random((events, 8, 8, 2), dtype=np.float32)
    image_eyxc[rng.random((events, 8, 8)) < 0.9] = 0
    return image_eyxc


def write(path: Path, image_eyxc: NDArray[np.float32], block: int) -> None:
    eta_e = np.linspace(-1, 1, len(image_eyxc), dtype=np.float32)
    label_e = np.ones(len(image_eyxc), np.float32)
    with image_writer(path, (8, 8)) as writer:
        for first in range(0, len(image_eyxc), block):
            part = slice(first, first + block)
            writer.append(image_eyxc[part], label_e[part], eta_e[part])


def test_what_is_appended_in_blocks_is_read_back_in_one(tmp_path: Path) -> None:
    image_eyxc = sparse_images(100)
    write(tmp_path / "a.hdf5", image_eyxc, block=30)
    with h5py.File(tmp_path / "a.hdf5", "r") as file:
        assert set(file) == {"X", "y", "eta"}
        assert np.array_equal(file["X"], image_eyxc)
        assert np.array_equal(file["y"], np.ones(100, np.float32))
        assert np.array_equal(file["eta"], np.linspace(-1, 1, 100, dtype=np.float32))
        assert {file[name].dtype for name in file} == {np.dtype(np.float32)}


def test_images_lie_in_compressed_chunks_of_some_tens_of_events(tmp_path: Path) -> None:
    write(tmp_path / "a.hdf5", sparse_images(200), block=64)
    with h5py.File(tmp_path / "a.hdf5", "r") as file:
        images = file["X"]
        assert images.chunks == (EVENTS_PER_CHUNK, 8, 8, 2)
        assert (images.compression, images.compression_opts) == ("gzip", 1)
        assert images.id.get_storage_size() < images.nbytes / 3


def test_the_same_blocks_give_the_same_bytes(tmp_path: Path) -> None:
    image_eyxc = sparse_images(70)
    for name in ("a", "b"):
        write(tmp_path / name, image_eyxc, block=32)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
