"""Write jets to ROOT files.

Suffixes: e event, n jet (the jets of all events one after the other).
"""

from __future__ import annotations

import datetime
import types
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import awkward
import numpy as np
import uproot
import uproot.writing._cascade as uproot_keys
import uproot.writing._cascadetree as uproot_baskets
from numpy.typing import DTypeLike, NDArray

from hepml_core.jets.events import IntArray

Compression = Literal["zlib", "lz4", "zstd", "none"]
COMPRESSIONS = {"zlib": uproot.ZLIB(1), "lz4": uproot.LZ4(4), "zstd": uproot.ZSTD(5), "none": None}
"""With the levels that ROOT itself takes."""

ENTRIES_PER_BASKET = 100_000
"""Small baskets make files slow to read; the last one is smaller."""


class JetWriter:
    """A ROOT file with one TTree, being written.

    What xAOD keeps as ``std::vector<float>`` uproot cannot write. A branch of jets is instead an array of variable length,
    with one counter for all of them (``nJet`` for ``Jet_pt``, ``nAntiKt4EMTopoJetsAuxDyn`` for
    ``AntiKt4EMTopoJetsAuxDyn.pt``), as in NanoAOD: names, types and structure are the same for uproot and RDataFrame, and
    a C++ program declares arrays in place of vectors.

    The same content gives the same bytes: times of writing, the file's name and random identifiers do not enter.

    Args:
        path: Local file to write; one that exists is replaced.
        tree: Name of the tree.
        event_branches: Type of each branch with one value for an event, by its name.
        jet_branches: Type of each branch with one value for a jet, by its name.
        compression: ROOT's compression of the baskets.
        flat: Whether each jet is a row of the tree, with the values of its event beside its own.

    Raises:
        KeyError: The compression is unknown.
    """

    def __init__(
        self,
        path: Path,
        tree: str,
        *,
        event_branches: Mapping[str, DTypeLike],
        jet_branches: Mapping[str, DTypeLike],
        compression: Compression = "zstd",
        flat: bool = False,
    ) -> None:
        self._event_types = {name: np.dtype(kind) for name, kind in event_branches.items()}
        self._jet_types = {name: np.dtype(kind) for name, kind in jet_branches.items()}
        self._path, self._name, self._compression = path, tree, COMPRESSIONS[compression]
        self._flat = flat
        self._tree: Any = None
        self._waiting: dict[str, list[NDArray[Any]]] = {}
        self._counts: list[IntArray] = []
        self._entries = 0

    def __enter__(self) -> Self:
        # An open file has no name for uproot to write into it.
        self._sink = self._path.open("w+b")
        with _no_clock():
            self._file = uproot.recreate(self._sink, compression=self._compression, uuid_function=_no_uuid)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._write_basket()
        finally:
            with _no_clock():
                self._file.close()
            self._sink.close()

    def extend(
        self,
        event_columns: Mapping[str, NDArray[Any]],
        count_e: IntArray,
        jet_columns: Mapping[str, NDArray[Any]],
    ) -> None:
        """Append events.

        Args:
            event_columns: Values of each event, one array for each of ``event_branches``.
            count_e: Number of jets of each event.
            jet_columns: Values of each jet, one array for each of ``jet_branches``.
        """
        assert event_columns.keys() == self._event_types.keys()
        assert jet_columns.keys() == self._jet_types.keys()
        jets = int(count_e.sum())
        assert all(len(column) == jets for column in jet_columns.values()), "columns of jets differ in length"
        assert all(len(column) == len(count_e) for column in event_columns.values()), (
            "columns of events differ in length"
        )
        if self._flat:
            event_columns = {name: np.repeat(column_e, count_e) for name, column_e in event_columns.items()}
        for name, column in (*event_columns.items(), *jet_columns.items()):
            self._waiting.setdefault(name, []).append(column)
        self._counts.append(count_e)
        self._entries += jets if self._flat else len(count_e)
        if self._entries >= ENTRIES_PER_BASKET:
            self._write_basket()

    def _write_basket(self) -> None:
        with _no_clock():
            if self._tree is None:
                self._tree = self._make_tree()
            if not self._entries:
                return
            columns = {name: np.concatenate(parts) for name, parts in self._waiting.items()}
            if not self._flat:
                offsets = np.concatenate([[0], np.cumsum(np.concatenate(self._counts))])
                columns.update({name: _jagged(columns[name], offsets) for name in self._jet_types})
            self._tree.extend(columns)
        self._waiting, self._counts, self._entries = {}, [], 0

    def _make_tree(self) -> Any:
        lists = {name: kind if self._flat else _list_of(kind) for name, kind in self._jet_types.items()}
        counter = _counter_name(self._jet_types, {*self._event_types, *self._jet_types})
        return self._file.mktree(self._name, {**self._event_types, **lists}, counter_name=lambda _: counter)


def _jagged(column_n: NDArray[Any], offsets: IntArray) -> Any:
    content = awkward.contents.NumpyArray(np.ascontiguousarray(column_n))
    return awkward.Array(awkward.contents.ListOffsetArray(awkward.index.Index64(offsets), content))


def _list_of(kind: np.dtype[Any]) -> Any:
    return awkward.types.ListType(awkward.types.NumpyType(kind.name))


def _counter_name(jet_branches: Iterable[str], taken: set[str]) -> str:
    """Return ``nJet`` for ``Jet_pt``, ``Jet_eta``: n and what stands before the last dot, slash or underscore of all."""
    first = next(iter(jet_branches), "jets")
    stem = first[: max(first.rfind(separator) for separator in "./_")] if set(first) & set("./_") else "jets"
    name = f"n{stem}"
    while name in taken:
        name += "_"
    return name


@contextmanager
def _no_clock() -> Iterator[None]:
    """Let uproot write the same date into every file: it asks the clock for each basket, and offers no other way."""
    frozen = types.SimpleNamespace(datetime=_Frozen)
    uproot_keys.datetime = uproot_baskets.datetime = frozen
    try:
        yield
    finally:
        uproot_keys.datetime = uproot_baskets.datetime = datetime


class _Frozen(datetime.datetime):
    """The first day that ROOT can write."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _Frozen:
        return cls(1995, 1, 1, tzinfo=tz)


def _no_uuid() -> uuid.UUID:
    return uuid.UUID(int=0, version=1)
