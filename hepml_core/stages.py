"""The stages, the one shape each has, and how one is run.

A stage of a domain is the function ``hepml_core.<domain>.<stage>.<stage>``. It reads and writes folders (see
artifacts), takes a frozen config and returns metrics. The Kubeflow components, ``hepml <stage> <domain>`` and the tests
all call it through ``run_stage``. Domains are found by name at run time, so that an image without torch can convert.
"""

from __future__ import annotations

import gc
import importlib
import math
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, get_type_hints

import hepml_core
from hepml_core.config import Config, build_config
from hepml_core.errors import DependencyError, SettingError, UnknownNameError
from hepml_core.progress import report
from hepml_core.storage import Folder, open_folder

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: what it does, and the folders that it reads and writes."""

    meaning: str
    reads: tuple[str, ...]
    writes: str
    may_read: tuple[str, ...] = ()
    """Folders that the stage reads where they are given."""
    everywhere: bool = True
    """Whether every domain has the stage."""

    @property
    def folders(self) -> tuple[str, ...]:
        """All folders, as the stage's function names them."""
        return (*self.reads, *self.may_read, self.writes)


STAGES = {
    "generate": Stage("make toy data in the format of real ones", (), "source"),
    "convert": Stage("turn source files into shards of events", ("source",), "shards"),
    "organize": Stage("split events into train, valid and test", ("shards",), "dataset"),
    "normalize": Stage("measure the statistics of the training events", ("dataset",), "statistics"),
    "train": Stage("fit a model and keep its best epoch", ("dataset", "statistics"), "model"),
    "evaluate": Stage("judge a model on the test events", ("dataset", "model"), "report"),
    "predict": Stage("apply a model to new source files", ("source", "model"), "predictions"),
    "compress": Stage(
        "store source files in few bytes, within bounds", ("source",), "archive", ("model",), everywhere=False
    ),
    "decompress": Stage("bring archives back to source files", ("archive",), "restored", ("model",), everywhere=False),
}

PACKAGES = {
    "torch": "train",
    "lightning_fabric": "train",
    "safetensors": "train",
    "matplotlib": "report",
    "mplhep": "report",
    "jinja2": "report",
    "h5py": "ecal",
    "awkward": "jets",
    "pcodec": "jets",
    "pyarrow": "jets",
    "uproot": "jets",
    "zstandard": "jets",
}
"""Packages that only some stages need, and the extra that brings each."""


class Generate(Protocol):
    """Shape of a generate stage."""

    def __call__(self, source: Folder, config: Any) -> Metrics: ...


class Convert(Protocol):
    """Shape of a convert stage."""

    def __call__(self, source: Folder, shards: Folder, config: Any) -> Metrics: ...


class Organize(Protocol):
    """Shape of an organize stage."""

    def __call__(self, shards: Folder, dataset: Folder, config: Any) -> Metrics: ...


class Normalize(Protocol):
    """Shape of a normalize stage."""

    def __call__(self, dataset: Folder, statistics: Folder, config: Any) -> Metrics: ...


class Train(Protocol):
    """Shape of a train stage."""

    def __call__(self, dataset: Folder, statistics: Folder, model: Folder, config: Any) -> Metrics: ...


class Evaluate(Protocol):
    """Shape of an evaluate stage."""

    def __call__(self, dataset: Folder, model: Folder, report: Folder, config: Any) -> Metrics: ...


class Predict(Protocol):
    """Shape of a predict stage."""

    def __call__(self, source: Folder, model: Folder, predictions: Folder, config: Any) -> Metrics: ...


class Compress(Protocol):
    """Shape of a compress stage."""

    def __call__(self, source: Folder, archive: Folder, config: Any, model: Folder | None = None) -> Metrics: ...


class Decompress(Protocol):
    """Shape of a decompress stage."""

    def __call__(self, archive: Folder, restored: Folder, config: Any, model: Folder | None = None) -> Metrics: ...


if TYPE_CHECKING:
    import hepml_core.ecal.convert as ecal_convert
    import hepml_core.ecal.evaluate as ecal_evaluate
    import hepml_core.ecal.generate as ecal_generate
    import hepml_core.ecal.normalize as ecal_normalize
    import hepml_core.ecal.organize as ecal_organize
    import hepml_core.ecal.predict as ecal_predict
    import hepml_core.ecal.train as ecal_train
    import hepml_core.event_images.convert as event_images_convert
    import hepml_core.event_images.evaluate as event_images_evaluate
    import hepml_core.event_images.generate as event_images_generate
    import hepml_core.event_images.normalize as event_images_normalize
    import hepml_core.event_images.organize as event_images_organize
    import hepml_core.event_images.predict as event_images_predict
    import hepml_core.event_images.train as event_images_train
    import hepml_core.jets.compress as jets_compress
    import hepml_core.jets.convert as jets_convert
    import hepml_core.jets.decompress as jets_decompress
    import hepml_core.jets.evaluate as jets_evaluate
    import hepml_core.jets.generate as jets_generate
    import hepml_core.jets.normalize as jets_normalize
    import hepml_core.jets.organize as jets_organize
    import hepml_core.jets.predict as jets_predict
    import hepml_core.jets.train as jets_train

    # A parameter with another name in one domain is a type error here.
    _generate: tuple[Generate, ...] = (ecal_generate.generate, event_images_generate.generate, jets_generate.generate)
    _convert: tuple[Convert, ...] = (ecal_convert.convert, event_images_convert.convert, jets_convert.convert)
    _organize: tuple[Organize, ...] = (ecal_organize.organize, event_images_organize.organize, jets_organize.organize)
    _normalize: tuple[Normalize, ...] = (
        ecal_normalize.normalize,
        event_images_normalize.normalize,
        jets_normalize.normalize,
    )
    _train: tuple[Train, ...] = (ecal_train.train, event_images_train.train, jets_train.train)
    _evaluate: tuple[Evaluate, ...] = (ecal_evaluate.evaluate, event_images_evaluate.evaluate, jets_evaluate.evaluate)
    _predict: tuple[Predict, ...] = (ecal_predict.predict, event_images_predict.predict, jets_predict.predict)
    _compress: tuple[Compress, ...] = (jets_compress.compress,)
    _decompress: tuple[Decompress, ...] = (jets_decompress.decompress,)


def run_stage(stage: str, domain: str, settings: Mapping[str, Any], **folders: str) -> Metrics:
    """Run ``hepml_core.<domain>.<stage>`` on the given folders, report its metrics and return those that are finite.

    Raises:
        UnknownNameError: There is no such stage, domain, folder or setting; the message names the nearest one.
        SettingError: A folder is missing or a setting has a wrong value.
        HepmlError: What the stage itself says.
    """
    # Cores that wait actively for a neighbour's work stall those that do it, where decoding, training and other
    # programs share them. OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    function = find_stage(stage, domain)
    config = build_config(config_of(function), settings)
    wanted = STAGES[stage].folders
    for name in folders:
        if name not in wanted:
            raise UnknownNameError("folder", name, wanted, f"of {stage}")
    needed = [name for name in wanted if name not in STAGES[stage].may_read]
    missing = [name for name in needed if not folders.get(name)]
    if missing:
        raise SettingError(f"{stage} {domain} needs the folder {' and '.join('--' + name for name in missing)}")
    opened = {name: open_folder(folder) for name, folder in folders.items() if folder}
    metrics: Metrics = function(**opened, config=config)
    report(metrics)
    # Kubeflow's metadata hold no NaN: one of them, say the error of an area under two events, would fail the task.
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def find_stage(stage: str, domain: str) -> Callable[..., Any]:
    """Return the function of a domain's stage.

    Raises:
        UnknownNameError: There is no such stage or domain.
        SettingError: The domain has no such stage, another one has.
        DependencyError: The stage needs a package that is not installed.
    """
    if stage not in STAGES:
        raise UnknownNameError("stage", stage, STAGES)
    if domain not in domains():
        raise UnknownNameError("domain", domain, domains())
    if domain not in domains(stage):
        raise SettingError(f"{domain} has no stage {stage}; {', '.join(domains(stage))} has")
    try:
        with _collection_postponed():
            module = importlib.import_module(f"hepml_core.{domain}.{stage}")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        raise DependencyError(package, PACKAGES[package], f"{stage} {domain}") from error
    function: Callable[..., Any] = getattr(module, stage)
    return function


@contextmanager
def _collection_postponed() -> Iterator[None]:
    """Import in two thirds of the time: what large libraries leave is not garbage, so do not look for it, now or at exit."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def config_of(function: Callable[..., Any]) -> type[Config]:
    """Return the config type that a stage's signature names."""
    config_type: type[Config] = get_type_hints(function)["config"]
    return config_type


def domains(stage: str = "") -> list[str]:
    """Return the names of the domains: the packages with a module for every stage that all have, and for ``stage``.

    None is imported.
    """
    needed = {name for name, described in STAGES.items() if described.everywhere or name == stage}
    (home,) = hepml_core.__path__
    packages = [found.name for found in pkgutil.iter_modules([home]) if found.ispkg]
    return sorted(
        package
        for package in packages
        if needed <= {module.name for module in pkgutil.iter_modules([f"{home}/{package}"])}
    )
