"""HDF5 files of toy showers for tests, without the generator, and the folders that the stages make of them.

Suffixes: e event, y row, x column, c channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import read_manifest
from hepml_core.config import build_config
from hepml_core.ecal.config import ConvertConfig, NormalizeConfig, OrganizeConfig
from hepml_core.ecal.convert import convert
from hepml_core.ecal.event_records import Events
from hepml_core.ecal.hit_set import read_events
from hepml_core.ecal.normalize import normalize
from hepml_core.ecal.organize import organize
from hepml_core.storage import LocalFolder

Images = NDArray[np.float32]

SIZE = 32
PHOTON, ELECTRON = 0, 1


def shower_images(events: int, label: int, *, first: int = 0, size: int = SIZE) -> Images:
    """Make images (event, row, column, 2) of energy and time; what an event holds depends on its number and label alone.

    A seed in the middle with its neighbours and some noise; an electron has a second cluster in its row and comes a
    little later, so that any network can tell them.
    """
    image_eyxc = np.zeros((events, size, size, 2), np.float32)
    for image_yxc, number in zip(image_eyxc, range(first, first + events), strict=True):
        _fill(image_yxc, label, np.random.default_rng([number, label]))
    return image_eyxc


def _fill(image_yxc: Images, label: int, chance: np.random.Generator) -> None:
    size = len(image_yxc)
    energy_yx, time_yx = image_yxc[..., 0], image_yxc[..., 1]
    noisy_yx = chance.random((size, size)) < 12 / size**2
    energy_yx[noisy_yx] = chance.uniform(1e-3, 4e-3, noisy_yx.sum())
    middle = size // 2
    energy_yx[middle - 1 : middle + 2, middle - 1 : middle + 2] = chance.uniform(0.01, 0.04, (3, 3))
    energy_yx[middle, middle] = chance.uniform(0.5, 0.9)
    if label == ELECTRON:
        energy_yx[middle, middle + 3 : middle + 5] = chance.uniform(0.05, 0.2, 2)
    jitter = chance.normal(0.02 if label == ELECTRON else 0, 0.01)
    hit_yx = energy_yx > 0
    time_yx[hit_yx] = jitter + chance.normal(0, 2e-4 / energy_yx[hit_yx])


def etas(events: int, *, first: int = 0) -> NDArray[np.float32]:
    """Make a pseudorapidity for each event number."""
    return (np.arange(first, first + events) % 26 / 10 - 1.25).astype(np.float32)


def write_hdf5(path: Path, columns: Mapping[str, Any], **options: Any) -> Path:
    """Write arrays as datasets by name; options (chunks, compression) are those of X."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, value in columns.items():
            file.create_dataset(name, data=value, **(options if name == "X" else {}))
    return path


def class_file(path: Path, label: int, events: int, *, first: int = 0, size: int = SIZE, eta: bool = True) -> Path:
    """Write a file of one class, in chunks and packed, as generate does."""
    columns: dict[str, Any] = {
        "X": shower_images(events, label, first=first, size=size),
        "y": np.full(events, label, np.float32),
    }
    if eta:
        columns["eta"] = etas(events, first=first)
    return write_hdf5(path, columns, chunks=(min(16, events), size, size, 2), compression="gzip", compression_opts=1)


def toy_source(folder: Path, events: int = 60, *, size: int = SIZE, eta: bool = True) -> Path:
    """Write a file of photons and one of electrons with so many events each."""
    class_file(folder / "photons.hdf5", PHOTON, events, size=size, eta=eta)
    class_file(folder / "electrons.hdf5", ELECTRON, events, size=size, eta=eta)
    return folder


def make_shards(source: Path, shards: Path, **settings: Any) -> Path:
    """Convert, 25 events a shard."""
    convert(
        LocalFolder(source), LocalFolder(shards), build_config(ConvertConfig, {"records_per_shard": 25, **settings})
    )
    return shards


def make_dataset(shards: Path, dataset: Path, **settings: Any) -> Path:
    """Organize, half of the events to train, 20 % valid, 30 % test."""
    fractions = {"train_fraction": 0.5, "valid_fraction": 0.2, "test_fraction": 0.3}
    given = {**fractions, "exact": True, "records_per_shard": 32, **settings}
    organize(LocalFolder(shards), LocalFolder(dataset), build_config(OrganizeConfig, given))
    return dataset


def make_statistics(dataset: Path, statistics: Path, **settings: Any) -> Path:
    """Normalize."""
    normalize(LocalFolder(dataset), LocalFolder(statistics), build_config(NormalizeConfig, settings))
    return statistics


@dataclass(frozen=True)
class ToyFolders:
    """Folders of a small sample of photons and electrons that any network can tell."""

    source: Path
    shards: Path
    dataset: Path
    statistics: Path


def make_folders(root: Path, events: int = 60, *, size: int = SIZE, eta: bool = True) -> ToyFolders:
    """Make all four folders below ``root``, with so many events of each class."""
    source = toy_source(root / "source", events, size=size, eta=eta)
    shards = make_shards(source, root / "shards")
    dataset = make_dataset(shards, root / "dataset")
    return ToyFolders(source, shards, dataset, make_statistics(dataset, root / "statistics"))


def events_of(dataset: Path, split: str) -> Events:
    """Read the events of a split."""
    folder = LocalFolder(dataset)
    return read_events(folder, read_manifest(folder, "dataset", "ecal"), split)
