"""Shards of jets for tests, as convert makes them.

Suffixes: e event, n object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Column, FileEntry, Output, read_manifest
from hepml_core.jets.config import ConvertConfig
from hepml_core.storage import LocalFolder
from hepml_core.tables import TableWriter, read_table
from hepml_core.tfrecord import hash64

Columns = dict[str, NDArray[Any]]

PROCESSES = ("dijet", "gluino", "ttbar")
OBJECTS = ("b", "e-", "g", "j", "m+")
FOUR = ("E", "pt", "eta", "phi")


def jets(events: int, *, first: int = 0, seed: int = 0, most: int = 9) -> Columns:
    """Make events with 1 to ``most`` objects each; what an event holds depends on its number alone."""
    parts = [_event(number, np.random.default_rng([seed, number]), most) for number in range(first, first + events)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _event(number: int, chance: np.random.Generator, most: int) -> Columns:
    process, count = PROCESSES[number % 3], int(chance.integers(1, most + 1))
    pt_n = (20 * chance.random(count) ** -0.25).astype(np.float32)
    eta_n = chance.normal(0, 1.5, count).astype(np.float32)
    return {
        "event": np.full(count, key_of(process, number), np.uint64),
        "event_number": np.full(count, number, np.int64),
        "position": np.arange(count, dtype=np.int32),
        "process": np.full(count, process),
        "object": chance.choice(OBJECTS, count),
        "E": pt_n * np.cosh(eta_n),
        "pt": pt_n,
        "eta": eta_n,
        "phi": chance.uniform(-np.pi, np.pi, count).astype(np.float32),
    }


def key_of(process: str, number: int) -> int:
    return hash64(f"{process}/{number}".encode())


def whole_events(events: int) -> Columns:
    """Make rows of whole events with at most three objects and zeros where there is none."""
    chance = np.random.default_rng(5)
    process_e = np.array(PROCESSES)[np.arange(events) % 3]
    count_e = chance.integers(0, 4, events)
    made: Columns = {
        "event": np.array([key_of(process, number) for number, process in enumerate(process_e)], np.uint64),
        "event_number": np.arange(events),
        "process": process_e,
    }
    for name, draw in (("E", 60.0), ("pt", 30.0), ("eta", 0.0), ("phi", 0.0)):
        for place in range(3):
            value_e = chance.normal(draw, 1, events).astype(np.float32)
            made[f"{name}_{place}"] = np.where(place < count_e, value_e, np.float32(0))
    for process in PROCESSES:
        made[f"is_{process}"] = (process_e == process).astype(np.float32)
    return made


def make_shards(folder: Path, columns: Mapping[str, NDArray[Any]], rows_per_shard: int = 1000, **facts: Any) -> Path:
    """Write rows as shards with a manifest."""
    output = Output(LocalFolder(folder), "shards", "jets", ConvertConfig(), {"source": str(folder)})
    kinds = {name: "string" if value_n.dtype.kind == "U" else str(value_n.dtype) for name, value_n in columns.items()}
    schema = [Column(name, dtype) for name, dtype in kinds.items()]
    rows = len(columns["event"])
    shards = -(-rows // rows_per_shard)
    for part in range(shards):
        piece = slice(part * rows_per_shard, (part + 1) * rows_per_shard)
        name = f"part-{part:05d}-of-{shards:05d}.parquet"
        with TableWriter(folder / name, schema) as writer:
            writer.write({key: value_n[piece] for key, value_n in columns.items()})
        output.keep(FileEntry(name, writer.bytes, writer.crc32c, writer.rows))
    own = ("event", "event_number", "position", "process", "object")
    known = {
        "variables": [name for name in columns if name not in own],
        "rows": "objects" if "object" in columns else "events",
        "format": "csv",
        "processes": sorted(set(columns["process"].tolist())),
        "objects": sorted(set(columns["object"].tolist())) if "object" in columns else [],
        "events": len(set(columns["event"].tolist())),
    }
    output.publish(metrics={}, facts={**known, **facts}, schema=schema)
    return folder


def rows_of(dataset: Path, split: str) -> Columns:
    """Read all rows of a split, by the tables alone."""
    manifest = read_manifest(LocalFolder(dataset), "dataset", "jets")
    tables = [read_table(LocalFolder(dataset), entry) for entry in manifest.shards(split)]
    return {one.name: np.concatenate([table[one.name] for table in tables]) for one in manifest.schema if tables}


def row_set(columns: Mapping[str, NDArray[Any]], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return rows as sorted tuples, to compare them whatever their order."""
    return sorted(zip(*(columns[name].tolist() for name in names), strict=True))
