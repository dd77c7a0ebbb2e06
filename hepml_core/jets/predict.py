"""Predict: jets of new files, reconstructed by an autoencoder, as ROOT files."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Output
from hepml_core.errors import DataError, SettingError
from hepml_core.jets.config import ConvertConfig, PredictConfig
from hepml_core.jets.events import Events
from hepml_core.jets.grids import to_type
from hepml_core.jets.inference import Reconstructor
from hepml_core.jets.root_files import JetTree, open_jets
from hepml_core.jets.sources import SourceFile, find_files, read_events
from hepml_core.jets.variables import VARIABLES
from hepml_core.jets.write_root import JetWriter
from hepml_core.progress import progress
from hepml_core.source_files import digest_of
from hepml_core.storage import Folder, open_folder

log = logging.getLogger(__name__)


def predict(source: Folder, model: Folder, predictions: Folder, config: PredictConfig) -> Mapping[str, float]:
    """Write a ROOT file for each source file, with every jet as the autoencoder reconstructs it.

    Of ROOT files tree, branches, types, units, jets in events and numbers of events are kept; those of CSV files get a
    tree ``events`` with the variables in GeV and ``eventID``. Unlike ``compress``, this holds no bounds.

    Raises:
        FolderError: ``model`` is no whole model folder of an autoencoder, or ``predictions`` holds something else.
        DataError: A file is damaged, lacks a variable, or holds a value that the model cannot take.
    """
    reconstructor = Reconstructor(model, config.device)
    unknown = [name for name in reconstructor.variables if name not in VARIABLES]
    if unknown:
        raise SettingError(f"{model} is fitted to rows of whole events ({unknown[0]} …), predict writes jets")
    files = find_files(source, config.format)
    inputs = {"model": reconstructor.manifest.digest, "source": digest_of(files)}
    output = Output(predictions, "predictions", "jets", config, inputs)
    if output.finished:
        log.info("%s is already there", predictions)
        return output.finished.metrics
    sums: Counter[str] = Counter()
    for file in files:
        name = file.name.rpartition(".")[0] + ".root"
        sums.update(output.once(name, partial(_reconstruct, file, output.files, name, reconstructor, config)))
    metrics = {"events": float(sums["records"]), "jets": float(sums["jets"])}
    output.publish(metrics=metrics)
    return metrics


class Plan(NamedTuple):
    """How the reconstruction of a file is written."""

    tree: str
    event_branches: dict[str, np.dtype[Any]]
    branches: dict[str, str]
    dtypes: dict[str, np.dtype[Any]]
    factors: dict[str, float]
    flat: bool
    events: Iterator[Events]


def _reconstruct(
    file: SourceFile, folder: Folder, name: str, reconstructor: Reconstructor, config: PredictConfig
) -> dict[str, int]:
    made = {"records": 0, "jets": 0}
    with ExitStack() as stack:
        plan = _open(file, stack, reconstructor, config)
        jet_branches = {plan.branches[one]: plan.dtypes[one] for one in reconstructor.variables}
        path = stack.enter_context(folder.staged(name))
        with (
            JetWriter(
                path, plan.tree, event_branches=plan.event_branches, jet_branches=jet_branches, flat=plan.flat
            ) as writer,
            progress(f"predict {file.name}", 0, "events") as bar,
        ):
            for events in plan.events:
                columns = _apply(events, plan, reconstructor, file.name)
                numbers = [events.number_e, events.of_event.get("run", events.number_e)]
                of_event = dict(zip(plan.event_branches, numbers, strict=False))
                writer.extend(of_event, events.count_e, columns)
                made["records"] += len(events)
                made["jets"] += int(events.count_e.sum())
                bar.advance(len(events))
    return made


def _open(file: SourceFile, stack: ExitStack, reconstructor: Reconstructor, config: PredictConfig) -> Plan:
    names = reconstructor.variables
    if file.kind == "csv":
        asked = ConvertConfig(
            format="csv", variables=names, units=config.units, events_per_chunk=config.events_per_chunk
        )
        kinds = {name: np.dtype(np.float32) for name in names}
        number = {"eventID": np.dtype(np.int64)}
        events = read_events(file, asked)
        return Plan("events", number, {name: name for name in names}, kinds, dict.fromkeys(names, 1.0), False, events)
    path = stack.enter_context(open_folder(file.folder).local(file.name))
    jets: JetTree = stack.enter_context(
        open_jets(
            path,
            variables=names,
            tree=config.tree,
            collection=config.collection,
            units=config.units,
            name=file.name,
        )
    )
    # What the file lacks, E or m, is computed from its other variables, pt among them, and written beside them.
    stem = re.sub(r"[^./:_]*$", "", jets.branches.get("pt", ""))
    branches = {name: jets.branches.get(name, f"{stem}{name}") for name in names}
    dtypes = {name: np.dtype(jets.dtypes.get(name, "float32")) for name in names}
    factors = {name: jets.factors.get(name, jets.factors.get("pt", 1.0)) for name in names}
    chunks = jets.chunks(config.events_per_chunk)
    return Plan(jets.tree, jets.event_dtypes, branches, dtypes, factors, jets.flat, chunks)


def _apply(events: Events, plan: Plan, reconstructor: Reconstructor, name: str) -> dict[str, NDArray[Any]]:
    """Return the branches of the reconstructed jets, in the file's units and types."""
    names = reconstructor.variables
    value_nf = np.stack([events.values[one] for one in names], axis=1).astype(np.float32)
    try:
        output_nf = reconstructor.decode(reconstructor.encode(value_nf))
    except DataError as error:
        raise DataError(f"{name}, events from number {events.number_e[:1]}: {error}") from None
    columns = {}
    for number, one in enumerate(names):
        columns[plan.branches[one]] = to_type(output_nf[:, number] / plan.factors[one], plan.dtypes[one])
    return columns
