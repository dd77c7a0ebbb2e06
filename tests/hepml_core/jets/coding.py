"""What tests of codecs and archives share: small models, round trips through files, bounds held against values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from hepml_core.jets.bounds import Bound
from hepml_core.jets.compress import compress
from hepml_core.jets.config import (
    CompressConfig,
    ConvertConfig,
    DecompressConfig,
    GenerateConfig,
    NormalizeConfig,
    OrganizeConfig,
    TrainConfig,
)
from hepml_core.jets.convert import convert
from hepml_core.jets.decompress import decompress
from hepml_core.jets.generate import generate
from hepml_core.jets.normalize import normalize
from hepml_core.jets.organize import organize
from hepml_core.storage import Folder, LocalFolder
from tests.hepml_core.jets.jet_files import four_vectors

Values = dict[str, NDArray[Any]]

FOUR = ("pt", "eta", "phi", "m")
BOUNDS = {"pt": Bound(1e-3, True), "eta": Bound(1e-3, False), "phi": Bound(1e-3, False), "m": Bound(1e-3, True)}
"""The variables' own bounds."""
FINE = ("pt=1e-4 relative", "m=1e-4 relative", "eta=1e-4", "phi=1e-4")


ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, -5.0, 1e-30, -1e-30, 1e9, 3e38, -3e38, 1e-42)
"""Values that a jet should not have, and files have."""


@dataclass(frozen=True)
class Models:
    """Model folders, and the folder of the ROOT file on whose jets they are trained."""

    source: LocalFolder
    density: LocalFolder
    autoencoder: LocalFolder

    def of(self, codec: str) -> LocalFolder | None:
        """Return the model that a codec needs."""
        return {"columns": None, "density": self.density, "autoencoder": self.autoencoder}[codec]


def train_models(root: Path) -> Models:
    """Train a density and an autoencoder of pt, eta, phi and m for one epoch."""
    from hepml_core.jets.train import train

    names = ("source", "shards", "dataset", "statistics", "density", "autoencoder")
    source, shards, dataset, statistics, density, autoencoder = (LocalFolder(root / name) for name in names)
    generate(source, GenerateConfig(events=400, format="xaod_root", processes=("dijet",)))
    convert(source, shards, ConvertConfig(variables=FOUR))
    organize(shards, dataset, OrganizeConfig())
    normalize(dataset, statistics, NormalizeConfig())
    shared: dict[str, Any] = {"epochs": 1, "batch_size": 512, "device": "cpu"}
    train(dataset, statistics, density, TrainConfig(method="density", hidden=8, contexts=4, **shared))
    train(dataset, statistics, autoencoder, TrainConfig(nodes=(4, 8, 3, 8, 4), **shared))
    return Models(source, density, autoencoder)


def odd_jets(jets: int, dtype: Any = np.float32, seed: int = 0) -> Values:
    """Return four-vectors of which every fifth has an odd value, or four."""
    chance = np.random.default_rng(seed)
    values = {name: value_n.astype(dtype) for name, value_n in four_vectors(jets, seed).items()}
    for place, number in enumerate(range(0, jets, 5)):
        for name in FOUR if place % 3 == 0 else [FOUR[place % 4]]:
            values[name][number] = ODD[place % len(ODD)] if place < 2 * len(ODD) else chance.choice(ODD)
    return values


@dataclass(frozen=True)
class Tree:
    """A tree as uproot reads it.

    Attributes:
        count_e: Number of jets of each event; of a flat tree empty.
        numbers: Branches with a number for each event.
        values: Branches with a value for each jet.
    """

    count_e: list[int]
    numbers: Values
    values: Values

    def of(self, variable: str) -> NDArray[Any]:
        """Return the values of the branch of a variable."""
        (found,) = (value_n for name, value_n in self.values.items() if re.fullmatch(rf"(.*[._:])?{variable}", name))
        return found

    @property
    def four(self) -> Values:
        """Values of pt, eta, phi and m."""
        return {name: self.of(name) for name in FOUR}


def read_tree(path: Path, tree: str = "CollectionTree", names: Sequence[str] = ()) -> Tree:
    """Read some branches of a tree, or all of them."""
    with uproot.open(path) as file:
        arrays = {name: file[tree][name].array() for name in names or file[tree].keys()}
    jagged = {name: array for name, array in arrays.items() if array.ndim > 1}
    count_e = [ak.num(array).tolist() for array in jagged.values()]
    assert all(one == count_e[0] for one in count_e)
    return Tree(
        count_e[0] if count_e else [],
        {name: ak.to_numpy(array) for name, array in arrays.items() if array.ndim == 1},
        {name: ak.to_numpy(ak.flatten(array)) for name, array in jagged.items()},
    )


def round_trip(source: Path, model: Folder | None = None, events: str = "", **settings: Any) -> Path:
    """Compress a file beside it and decompress it; return the path of the ROOT file."""
    archive, restored = source.with_suffix(".hepml"), source.with_suffix(".back.root")
    codec = "model" if model else "columns"
    config = CompressConfig(**({"codec": codec, "device": "cpu"} | settings))
    compress(LocalFolder(source), LocalFolder(archive), config, model)
    decompress(LocalFolder(archive), LocalFolder(restored), DecompressConfig(events=events, device="cpu"), model)
    return restored


def same(given_n: NDArray[Any], kept_n: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which values are the same; one that is not a number is the same as itself."""
    unequal_n: NDArray[np.bool_] = (given_n != kept_n) & ~((given_n != given_n) & (kept_n != kept_n))
    return ~unequal_n


def assert_within(
    given: Mapping[str, NDArray[Any]], kept: Mapping[str, NDArray[Any]], bounds: Mapping[str, Bound]
) -> None:
    """Hold kept values against the given ones; absolute bounds are in the unit of the values."""
    for name, bound in bounds.items():
        given_n, kept_n = given[name], kept[name]
        assert kept_n.dtype == given_n.dtype
        with np.errstate(all="ignore"):
            error_n = np.abs(kept_n.astype(np.float64) - given_n.astype(np.float64))
            limit_n = bound.size * np.abs(given_n.astype(np.float64)) if bound.relative else bound.size
            held_n = same(given_n, kept_n) | (error_n <= limit_n)
        assert held_n.all(), f"{name}: {given_n[~held_n][:5]} became {kept_n[~held_n][:5]}"
