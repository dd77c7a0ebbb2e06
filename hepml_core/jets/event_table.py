"""Which rows of the shards belong to which event, and what a row's texts are.

Suffixes: e run of neighbouring rows of one event, u distinct event, n row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Manifest, files_of
from hepml_core.errors import DataError
from hepml_core.jets.rows import ROWS_AT_ONCE, Columns
from hepml_core.storage import Folder
from hepml_core.tables import iter_table

IntArray = NDArray[np.int64]

FACTS_OF_TEXT = {"process": "processes", "object": "objects"}
"""Columns of text, and where the manifest lists what they may hold."""


@dataclass(frozen=True, slots=True)
class EventTable:
    """The events of all shards, in the order of the source.

    Attributes:
        key_u: Hash of each distinct event's identity.
        process_u: Code of its process.
        event_e: Index in these of each run's event.
        end_e: Number of rows up to the end of each run.
    """

    key_u: NDArray[np.uint64]
    process_u: NDArray[np.uint16]
    event_e: IntArray
    end_e: IntArray

    def runs_of(self, first: int, last: int) -> IntArray:
        """Return the run of each row from ``first`` to before ``last``."""
        low, high = np.searchsorted(self.end_e, (first, last), side="right")
        end_e = np.append(self.end_e[low:high], last)
        return np.repeat(np.arange(low, high + 1), np.diff(end_e, prepend=first))


class Texts:
    """Turns the texts of some columns into codes and back."""

    def __init__(self, manifest: Manifest) -> None:
        columns = [column.name for column in manifest.schema if column.dtype == "string"]
        self.names = {name: sorted(manifest.facts[FACTS_OF_TEXT[name]]) for name in columns}

    def encode(self, columns: Columns, where: object) -> Columns:
        """Replace texts by their places in ``names``.

        Raises:
            DataError: A text is none of those that the manifest lists.
        """
        encoded = dict(columns)
        for name in self.names.keys() & columns.keys():
            known = np.array(self.names[name], np.str_)
            code_n = np.searchsorted(known, columns[name]).clip(max=len(known) - 1)
            wrong_n = known[code_n] != columns[name]
            if wrong_n.any():
                raise DataError(
                    f"{where} has the {name} {str(columns[name][wrong_n][0])!r}, which its manifest does not list"
                )
            encoded[name] = code_n.astype(np.uint16)
        return encoded

    def decode(self, columns: Columns) -> Columns:
        """Replace codes by their texts."""
        return {
            name: np.array(self.names[name], np.str_)[value_n] if name in self.names else value_n
            for name, value_n in columns.items()
        }


def iter_coded(
    shards: Folder, manifest: Manifest, columns: Sequence[str] | None = None
) -> Iterator[tuple[int, int, Columns]]:
    """Yield first row, last row + 1, and columns with texts as codes, some rows of the shards at once."""
    texts, where, first = Texts(manifest), files_of(shards, manifest), 0
    for entry in manifest.shards():
        for some in iter_table(where, entry, columns, ROWS_AT_ONCE):
            last = first + len(next(iter(some.values())))
            yield first, last, texts.encode(some, f"{where}/{entry.name}")
            first = last


def read_events(shards: Folder, manifest: Manifest) -> EventTable:
    """Read which rows belong together.

    Raises:
        DataError: A shard is damaged, or there is no row at all.
    """
    keys: list[NDArray[Any]] = [np.empty(0, np.uint64)]
    processes: list[NDArray[Any]] = [np.empty(0, np.uint16)]
    ends: list[NDArray[Any]] = [np.empty(0, np.int64)]
    for first, last, some in iter_coded(shards, manifest, ("event", "process")):
        key_n = some["event"]
        start_e = np.flatnonzero(np.append(True, key_n[1:] != key_n[:-1]))
        keys.append(key_n[start_e])
        processes.append(some["process"][start_e])
        ends.append(np.append(first + start_e[1:], last))
    key_u, first_u, event_e = np.unique(np.concatenate(keys), return_index=True, return_inverse=True)
    return EventTable(key_u, np.concatenate(processes)[first_u], event_e, np.concatenate(ends))
