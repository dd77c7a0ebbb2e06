"""The rows of one split of a dataset, in memory or passing by.

Suffixes: n row, f variable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Manifest, files_of
from hepml_core.errors import UnknownNameError
from hepml_core.splits import SPLITS
from hepml_core.storage import Folder
from hepml_core.tables import iter_table

ROWS_AT_ONCE = 1 << 17

Columns = dict[str, NDArray[Any]]


def count_rows(manifest: Manifest, split: str) -> int:
    """Return the number of rows of a split.

    Raises:
        UnknownNameError: There is no such split.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    return sum(entry.records for entry in manifest.shards(split))


def iter_rows(dataset: Folder, manifest: Manifest, split: str, columns: Sequence[str]) -> Iterator[Columns]:
    """Yield all rows of a split in order, some at once.

    Raises:
        UnknownNameError: There is no such split or column.
        DataError: A shard is damaged.
    """
    known = [column.name for column in manifest.schema]
    for name in columns:
        if name not in known:
            raise UnknownNameError("column", name, known, f"in {dataset}")
    count_rows(manifest, split)
    for entry in manifest.shards(split):
        yield from iter_table(files_of(dataset, manifest), entry, columns, ROWS_AT_ONCE)


def read_rows(
    dataset: Folder, manifest: Manifest, split: str, columns: Sequence[str], *, max_rows: int = 0
) -> dict[str, NDArray[Any]]:
    """Read columns of a split, each (n,): all rows in order, or the first ``max_rows``.

    Raises:
        UnknownNameError: There is no such split or column.
        DataError: A shard is damaged.
    """
    count = _limited(count_rows(manifest, split), max_rows)
    kinds = {column.name: column.dtype for column in manifest.schema}
    made: Columns = {name: np.empty(count, kinds[name]) for name in columns if kinds.get(name, "string") != "string"}
    # How long the longest text is shows in the end.
    texts: dict[str, list[NDArray[np.str_]]] = {name: [] for name in columns if name not in made}
    for start, some in _first(iter_rows(dataset, manifest, split, columns), count):
        for name, value_n in some.items():
            if name in made:
                made[name][start : start + len(value_n)] = value_n
            else:
                texts[name].append(value_n)
    joined = {name: np.concatenate([np.empty(0, "<U1"), *parts]) for name, parts in texts.items()}
    return {name: made[name] if name in made else joined[name] for name in columns}


def read_values(dataset: Folder, manifest: Manifest, split: str, *, max_rows: int = 0) -> NDArray[np.float32]:
    """Read the variables of a split as contiguous rows (n, f), in the order of the manifest's ``variables``.

    Beside the result only some rows are in memory.

    Raises:
        UnknownNameError: There is no such split.
        DataError: A shard is damaged.
    """
    variables = list(manifest.facts["variables"])
    value_nf = np.empty((_limited(count_rows(manifest, split), max_rows), len(variables)), np.float32)
    for start, some in _first(iter_rows(dataset, manifest, split, variables), len(value_nf)):
        fill_values(value_nf[start:], some, variables)
    return value_nf


def fill_values(out_nf: NDArray[np.float32], columns: Columns, variables: Sequence[str]) -> NDArray[np.float32]:
    """Copy columns into the first rows of an array (n, f); return these rows."""
    rows_nf = out_nf[: len(columns[variables[0]])]
    for number, name in enumerate(variables):
        rows_nf[:, number] = columns[name]
    return rows_nf


def _limited(count: int, most: int) -> int:
    return min(count, most) if most else count


def _first(pieces: Iterator[Columns], count: int) -> Iterator[tuple[int, Columns]]:
    """Yield pieces with the number of rows before them, cut off after ``count`` rows."""
    start = 0
    while start < count:
        some = {name: value_n[: count - start] for name, value_n in next(pieces).items()}
        yield start, some
        start += len(next(iter(some.values())))
