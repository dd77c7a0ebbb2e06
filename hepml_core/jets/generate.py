"""Write toy events with jets in the formats of real ones: data for whoever has none at hand."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hepml_core.errors import UnknownNameError
from hepml_core.jets.config import GenerateConfig
from hepml_core.jets.events import Events
from hepml_core.jets.toy_jets import add_variables
from hepml_core.jets.toys import PROCESSES, make_events
from hepml_core.jets.variables import MEV, SETS, VARIABLES
from hepml_core.jets.write_root import JetWriter
from hepml_core.parallel import in_processes
from hepml_core.progress import progress
from hepml_core.splits import largest_remainder
from hepml_core.storage import Folder, open_folder
from hepml_core.toy_folders import claim

log = logging.getLogger(__name__)

RECIPE = 1
"""Counts changes that make other events from the same settings."""

COLLECTION = "HLT_xAOD__JetContainer_TrigHLTJetDSSelectorCollectionAuxDyn"
FIRST_RUN = 300_000
"""Run number of the first process; each has its own, so that no two events share run and number."""
EVENTS_PER_BLOCK = 25_000
"""Events that are drawn at once: what bounds the memory."""


class Job(NamedTuple):
    """One file."""

    name: str
    process: str
    number: int
    events: int


def generate(source: Folder, config: GenerateConfig) -> dict[str, float]:
    """Draw toy events and write them as ``<process>_000.csv`` or ``.root``.

    A file is a pure function of the seed, its process, its number and how many events it holds, so a run that was killed
    goes on where it stopped, with the same bytes; files that are there are not made again. The physics is told in
    ``toys`` and ``toy_jets``. Units are those of the real files: MeV in text and in ``xaod_root``, GeV in ``flat_root``.

    Args:
        source: Folder to write to; empty, or with files of an earlier run with the same settings.
        config: What to draw.

    Returns:
        The number of ``events`` and ``files`` in the folder, and of those, the files ``written`` by this run.

    Raises:
        UnknownNameError: A process does not exist.
        FolderError: The folder holds something else, or files of other settings. Nothing is deleted or replaced.
        StorageError: The store refused a file.
    """
    for process in config.processes:
        if process not in PROCESSES:
            raise UnknownNameError("process", process, PROCESSES)
    jobs = _jobs(config)
    found = claim(source, config, recipe=RECIPE, wanted={job.name for job in jobs})
    missing = [job for job in jobs if job.name not in found]
    log.info("drawing %d of %d files", len(missing), len(jobs))
    with progress("generate", sum(job.events for job in missing), "events") as bar:
        for events in in_processes(partial(_write, str(source), config), missing):
            bar.advance(events)
    return {"events": float(config.events), "files": float(len(jobs)), "written": float(len(missing))}


def _jobs(config: GenerateConfig) -> list[Job]:
    """List the files of the folder."""
    ending = "root" if config.format.endswith("root") else "csv"
    jobs = []
    shares = largest_remainder(config.events, [1.0] * len(config.processes))
    for process, share in zip(config.processes, shares, strict=True):
        for number, first in enumerate(range(0, share, config.events_per_file)):
            events = min(config.events_per_file, share - first)
            jobs.append(Job(f"{process}_{number:03d}.{ending}", process, number, events))
    return jobs


def _write(address: str, config: GenerateConfig, job: Job) -> int:
    """Draw and write one file; return its number of events."""
    with open_folder(address).staged(job.name) as path:
        if config.format.endswith("csv"):
            _write_text(path, _blocks(config, job), end=";\n" if config.format == "phenoml_csv" else "\n")
        elif config.format == "xaod_root":
            _write_xaod(path, _jet_blocks(config, job))
        else:
            _write_flat(path, _jet_blocks(config, job))
    return job.events


def _blocks(config: GenerateConfig, job: Job) -> Iterator[Events]:
    rng = np.random.default_rng([config.seed, zlib.crc32(job.process.encode()), job.number])
    # The blocks of a file share one stream of chance, so their size must not depend on the machine.
    before = job.number * config.events_per_file
    for first in range(0, job.events, EVENTS_PER_BLOCK):
        events = min(EVENTS_PER_BLOCK, job.events - first)
        yield make_events(job.process, events, config.min_pt, rng, first_number=before + first)


def _jet_blocks(config: GenerateConfig, job: Job) -> Iterator[Events]:
    """Yield the events with jets only, and all 27 variables of each."""
    rng = np.random.default_rng([config.seed, zlib.crc32(job.process.encode()), job.number, 27])
    for events in _blocks(config, job):
        yield add_variables(events.select_objects(np.isin(events.object_n, ("j", "b"))), rng)


def _write_text(path: Path, blocks: Iterator[Events], end: str) -> None:
    with path.open("wb") as file:
        for events in blocks:
            file.write(format_events(events, end))


def format_events(events: Events, end: str) -> bytes:
    """Return the lines ``eventID;processID;weight;MET;METphi;obj,E,pt,eta,phi;…`` of events, energies in MeV.

    Floats have the fewest digits that give the same 32-bit number again.

    Args:
        events: Events with E, pt, eta, phi in GeV and rad.
        end: What ends each line: ``;`` and a newline as PhenoML has it, or the newline alone as DarkMachines.
    """
    values, of_event = events.values, events.of_event
    columns = (values["E"] / MEV, values["pt"] / MEV, values["eta"], values["phi"])
    object_n = pc.binary_join_element_wise(pa.array(events.object_n), *map(_digits, columns), ",")
    meta = (of_event["weight"], of_event["met"] / MEV, of_event["met_phi"])
    number_e = pa.array(events.number_e).cast(pa.string())
    event_e = pc.binary_join_element_wise(number_e, pa.array(events.process_e), *map(_digits, meta), ";")
    # Each event's head stands before its objects: one list of texts for each line.
    position_n = np.arange(len(object_n)) + events.event_n + 1
    order = np.empty(len(events) + len(object_n), np.int64)
    order[position_n] = len(events) + np.arange(len(object_n))
    first_e = np.concatenate([[0], np.cumsum(events.count_e + 1)])
    order[first_e[:-1]] = np.arange(len(events))
    texts = pa.concat_arrays([event_e, object_n]).take(pa.array(order))
    lines = pc.binary_join(pa.ListArray.from_arrays(pa.array(first_e, pa.int32()), texts), ";")
    return _bytes_of(pc.binary_join_element_wise(lines, "", end))


def _digits(value: NDArray[Any]) -> pa.Array:
    return pa.array(value.astype(np.float32)).cast(pa.string())


def _bytes_of(texts: pa.Array) -> bytes:
    """Return the texts one after the other."""
    _, offsets, content = texts.buffers()
    edges = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bytes(memoryview(content)[edges[0] : edges[-1]]) if content else b""


def _write_xaod(path: Path, blocks: Iterator[Events]) -> None:
    """Write jets as an xAOD keeps them: a branch for each variable with a list for each event, in MeV."""
    names = {name: f"{COLLECTION}.{name}" for name in SETS["atlas27"]}
    numbers = {"EventInfoAux.runNumber": np.uint32, "EventInfoAux.eventNumber": np.uint64}
    types = {branch: _type_of(name) for name, branch in names.items()}
    with JetWriter(path, "CollectionTree", event_branches=numbers, jet_branches=types) as writer:
        for events in blocks:
            place = list(PROCESSES).index(str(events.process_e[0]))
            of_event: dict[str, NDArray[Any]] = {
                "EventInfoAux.runNumber": np.full(len(events), FIRST_RUN + place, np.uint32),
                "EventInfoAux.eventNumber": events.number_e.astype(np.uint64),
            }
            columns = {
                branch: (events.values[name] / VARIABLES[name].from_xaod).astype(_type_of(name))
                for name, branch in names.items()
            }
            writer.extend(of_event, events.count_e, columns)


def _write_flat(path: Path, blocks: Iterator[Events]) -> None:
    """Write a row for each jet, in GeV."""
    types = {name: _type_of(name) for name in SETS["atlas27"]}
    with JetWriter(path, "jets", event_branches={"eventNumber": np.uint64}, jet_branches=types, flat=True) as writer:
        for events in blocks:
            columns = {name: events.values[name].astype(kind) for name, kind in types.items()}
            writer.extend({"eventNumber": events.number_e.astype(np.uint64)}, events.count_e, columns)


def _type_of(variable: str) -> type[np.generic]:
    return np.int32 if VARIABLES[variable].integer else np.float32
