"""Jets for the benchmarks, and the models that are fitted to them: made once, kept in ``TMPDIR`` for the next run.

Models see the train and valid splits; what is compared are the jets of the test split, which belong to other events.
Suffixes: e event, n jet.
"""

from __future__ import annotations

import dataclasses
import io
import os
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import MANIFEST, read_manifest
from hepml_core.jets.bounds import Bound, bound_of
from hepml_core.jets.config import ConvertConfig
from hepml_core.jets.rows import read_rows, read_values
from hepml_core.jets.sources import find_files, read_events
from hepml_core.jets.variables import SETS
from hepml_core.stages import run_stage
from hepml_core.storage import Folder, open_folder

IntArray = NDArray[np.int64]
Values = Mapping[str, NDArray[Any]]

SPLITS = {"train_fraction": 0.75, "valid_fraction": 0.05, "test_fraction": 0.2}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is drawn and how long is fitted."""

    name: str
    phenoml_events: int
    xaod_events: int
    density_epochs: int
    autoencoder_epochs: int
    large_bytes: int
    """Size of the file whose conversion's memory is measured."""
    delivered_rows: int
    trained_rows: int


FULL = Sizes(
    "full",
    phenoml_events=280_000,
    xaod_events=240_000,
    density_epochs=6,
    autoencoder_epochs=5,
    large_bytes=3_000_000_000,
    delivered_rows=1_000_000,
    trained_rows=200_000,
)
SMALL = Sizes(
    "small",
    phenoml_events=4_000,
    xaod_events=4_000,
    density_epochs=1,
    autoencoder_epochs=1,
    large_bytes=30_000_000,
    delivered_rows=200_000,
    trained_rows=20_000,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Jets to compress.

    Attributes:
        title: What they are.
        values: Values by variable, float32, the jets of an event one after the other.
        count_e: Number of jets of each event.
        models: Folder of the fitted model of each method, by method.
        dataset: The dataset whose test split they are.
    """

    title: str
    values: Values
    count_e: IntArray
    models: Mapping[str, Folder] = dataclasses.field(default_factory=dict)
    dataset: Folder | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables."""
        return tuple(self.values)

    @property
    def bounds(self) -> dict[str, Bound]:
        """Largest error of each variable: that of ``compress``."""
        return {name: bound_of(name, {}) for name in self.values}

    @property
    def jets(self) -> int:
        """Number of jets."""
        return int(self.count_e.sum())

    @property
    def raw_bytes(self) -> int:
        """Bytes of the values as they are."""
        return sum(value_n.nbytes for value_n in self.values.values())


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a sample of toys and its models are made."""

    title: str
    format: str
    variables: str
    nodes: tuple[int, ...]
    method: str
    train_share: float = 1.0


RECIPES = {
    "phenoml4": Recipe(
        "toy objects of PhenoML: E, pt, eta, phi",
        "phenoml_csv",
        "phenoml4",
        (4, 400, 400, 200, 3, 200, 400, 400, 4),
        "custom",
    ),
    "atlas4": Recipe(
        "toy jets: pt, eta, phi, m", "xaod_root", "atlas4", (4, 400, 400, 200, 3, 200, 400, 400, 4), "custom"
    ),
    "atlas27": Recipe(
        "toy jets: 27 variables",
        "xaod_root",
        "atlas27",
        (27, 400, 400, 200, 20, 200, 400, 400, 27),
        "custom",
        train_share=0.4,
    ),
}


def cache_folder(sizes: Sizes) -> Path:
    """Return where samples and models lie between runs."""
    return Path(tempfile.gettempdir()) / f"hepml-bench-jets-{sizes.name}"


def toy_source(format: str, sizes: Sizes) -> Path:  # noqa: A002 - the setting's name
    """Return a folder of toy files."""
    folder = cache_folder(sizes) / format
    events = sizes.phenoml_events if format == "phenoml_csv" else sizes.xaod_events
    _run("generate", {"format": format, "events": events}, source=str(folder))
    return folder


def toy_sample(name: str, sizes: Sizes) -> Sample:
    """Return the test jets of a recipe, and the models that were fitted to its other jets."""
    recipe, folder = RECIPES[name], cache_folder(sizes) / name
    folders = {part: str(folder / part) for part in ("shards", "dataset", "statistics")}
    source = toy_source(recipe.format, sizes)
    dataset, statistics = folders["dataset"], folders["statistics"]
    _run("convert", {"variables": recipe.variables}, source=str(source), shards=folders["shards"])
    splits = {**SPLITS, "data_fraction": recipe.train_share}
    _run("organize", splits, shards=folders["shards"], dataset=dataset)
    _run("normalize", {"method": recipe.method}, dataset=dataset, statistics=statistics)
    settings: dict[str, dict[str, Any]] = {
        "autoencoder": {
            "nodes": list(recipe.nodes),
            "epochs": sizes.autoencoder_epochs,
            "settle_epochs": sizes.autoencoder_epochs,
            "batch_size": 1024,
        },
        "density": {"epochs": sizes.density_epochs, "batch_size": 4096, "weight_decay": 0},
    }
    models = {}
    for method, of_method in settings.items():
        model = folder / method
        if not (model / MANIFEST).exists():
            given = {"method": method, **of_method}
            _run("train", given, dataset=dataset, statistics=statistics, model=str(model))
        models[method] = open_folder(model)
    return _test_split(recipe, open_folder(dataset), models)


def _run(stage: str, settings: Mapping[str, Any], **folders: str) -> None:
    """Run a stage of jets without its metrics on the screen; what is there already is not made again."""
    with redirect_stdout(io.StringIO()):
        run_stage(stage, "jets", settings, **folders)


def _test_split(recipe: Recipe, dataset: Folder, models: Mapping[str, Folder]) -> Sample:
    variables = list(SETS[recipe.variables])
    columns = read_rows(dataset, read_manifest(dataset, "dataset", "jets"), "test", ["event", "position", *variables])
    order_n = np.lexsort((columns["position"], columns["event"]))
    _, count_e = np.unique(columns["event"], return_counts=True)
    values = {name: np.ascontiguousarray(columns[name][order_n], np.float32) for name in variables}
    return Sample(recipe.title, values, count_e.astype(np.int64), models, dataset)


def training_rows(sample: Sample, most: int) -> NDArray[np.float32]:
    """Return the first rows (n, f) that the models of a sample of toys were fitted to."""
    assert sample.dataset is not None
    return read_values(sample.dataset, read_manifest(sample.dataset, "dataset", "jets"), "train", max_rows=most)


REAL = {
    "atlas4": (
        "real (simulated) ATLAS jets of 3 files: pt, eta, phi, m",
        (
            "root_jets/DAOD_PHYSLITE_410470_100evt_split.root",
            "root_jets/DAOD_PHYSLITE_700322_100evt.root",
            "root_jets/ATLAS_AnalysisMiniTree_trigjets_100evt.root",
        ),
    ),
    "phenoml4": (
        "objects of 7 PhenoML files, made of CMS and Delphes events: E, pt, eta, phi",
        ("phenoml_csv/events",),
    ),
}
"""Title and files of the real jets, by the recipe whose models are applied to them."""


def real_samples(sizes: Sizes) -> list[Sample]:
    """Return the jets of the real files in the folder that HEPML_REAL_DATA names, with the models of the toys; or none."""
    root = Path(os.environ.get("HEPML_REAL_DATA", ""))
    if "HEPML_REAL_DATA" not in os.environ or not root.is_dir():
        print("   no real jets: HEPML_REAL_DATA names no folder")
        return []
    samples = []
    for name, (title, paths) in REAL.items():
        files = [file for path in paths for file in find_files(open_folder(root / path), "auto")]
        chunks = [chunk for file in files for chunk in read_events(file, ConvertConfig())]
        count_e = np.concatenate([chunk.count_e for chunk in chunks])
        values = {
            variable: np.concatenate([chunk.values[variable] for chunk in chunks]).astype(np.float32)
            for variable in SETS[RECIPES[name].variables]
        }
        models = {method: open_folder(cache_folder(sizes) / name / method) for method in ("autoencoder", "density")}
        samples.append(Sample(title, values, count_e, models))
    return samples
