"""Read jets from ROOT files.

Suffixes: e event, n object (the objects of all events one after the other).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepml_core.errors import DataError, SettingError
from hepml_core.jets.config import Units
from hepml_core.jets.events import Events, IntArray, KeyArray
from hepml_core.jets.layouts import INGREDIENTS, LAYOUTS, OTHER, find_collection, find_identity
from hepml_core.jets.root_trees import Block, RootTree
from hepml_core.jets.variables import VARIABLES
from hepml_core.splits import mix
from hepml_core.tfrecord import hash64

log = logging.getLogger(__name__)

ENTRIES_AT_ONCE = 1 << 20

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class JetTree:
    """The jets of a file, found and checked, to be read in chunks.

    Attributes:
        name: Name of the file.
        tree: Name of the tree.
        collection: What stands before the variables in the names of branches; empty where nothing does.
        variables: The asked variables.
        branches: Branch of each variable that the file holds: of the asked ones, or of what they are computed from.
        dtypes: Type of the values in the file, by variable.
        factors: By what to multiply the values in the file for the units of ``variables``, by variable.
        event_branch: Branch of the events' numbers; empty where there is none.
        run_branch: Branch of the run numbers; empty where there is none.
        flat: Whether an entry is a jet. Then jets that follow one another with the same event number (and run) are an
            event, and each jet is one where there is no event number.
        events: Number of events.
    """

    name: str
    tree: str
    collection: str
    variables: tuple[str, ...]
    branches: dict[str, str]
    dtypes: dict[str, str]
    factors: dict[str, float]
    event_branch: str
    run_branch: str
    flat: bool
    events: int
    event_dtypes: dict[str, np.dtype[Any]]
    """Type of the branches of events' and runs' numbers, in this order."""
    _source: RootTree
    _start_e: IntArray | None
    """First row of each event of a flat tree with event numbers."""

    def __enter__(self) -> JetTree:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def chunks(
        self, events_per_chunk: int, first: int = 0, last: int | None = None, *, raw: bool = False
    ) -> Iterator[Events]:
        """Read the events [first, last) in order, so many at once.

        Values are float32 in the units of ``variables``; with ``raw`` they have the file's own type and unit. E and m that
        the file lacks are computed from the other variables in double precision and given as float32. A run number, where
        there is one, is in ``of_event["run"]``.

        Raises:
            DataError: The file is damaged, or the variables of an event have different numbers of jets.
        """
        last = self.events if last is None else min(last, self.events)
        if first >= last:
            return
        bounds = self._bounds([*range(first, last, events_per_chunk), last])
        identity_branches = [name for name in (self.event_branch, self.run_branch) if name]
        blocks = self._source.blocks([*self.branches.values(), *identity_branches], bounds)
        for row, block in zip(bounds, blocks, strict=False):
            identity = {name: _numbers(block.pop(name), self._source.where) for name in identity_branches}
            if self.flat:
                columns: Columns = {name: ak.to_numpy(array) for name, array in block.items()}
                count_e, place_e = self._counts(first, row, len(next(iter(columns.values()))))
                identity = {name: value_r[place_e] for name, value_r in identity.items()}
            else:
                count_e, columns = _flatten(block, self._source.where)
            yield self._to_events(count_e, identity, columns, first, raw)
            first += len(count_e)

    def _bounds(self, event_b: Sequence[int]) -> list[int]:
        """Return the entries at which the given events begin."""
        if self._start_e is None:
            return list(event_b)
        return [int(row) for row in np.append(self._start_e, self._source.entries)[list(event_b)]]

    def _counts(self, event: int, row: int, length: int) -> tuple[IntArray, IntArray]:
        """Return the number of jets of each event in some rows, and the place of its first one."""
        if self._start_e is None:
            return np.ones(length, np.int64), np.arange(length)
        stop = int(np.searchsorted(self._start_e, row + length))
        place_e = self._start_e[event:stop] - row
        return np.diff(place_e, append=length), place_e

    def _to_events(
        self, count_e: IntArray, identity: Mapping[str, NDArray[Any]], columns: Columns, event: int, raw: bool
    ) -> Events:
        values = {name: columns[branch] for name, branch in self.branches.items()}
        factors = dict.fromkeys(values, 1.0) if raw else self.factors
        events, process = len(count_e), process_of(self.name)
        number_e = identity.get(self.event_branch, np.arange(event, event + events)).astype(np.int64)
        run_e = identity.get(self.run_branch)
        # A number alone is unique in its process only, a place in a file in its file only.
        scope = hash64((process if self.event_branch else self.name).encode())
        return Events(
            count_e,
            number_e,
            _keys(np.full(events, scope, np.uint64) if run_e is None else run_e.astype(np.uint64), number_e),
            # One name for all: a copy for each jet would take longer than to read its pt.
            np.broadcast_to(np.array(process), events),
            np.broadcast_to(np.array("j"), int(count_e.sum())),
            {name: _value(name, values, factors, raw) for name in self.variables},
            {} if run_e is None else {"run": run_e.astype(np.float64)},
        )


def open_jets(
    file: Path,
    *,
    variables: Sequence[str],
    tree: str = "",
    collection: str = "",
    units: Units = "auto",
    name: str = "",
) -> JetTree:
    """Find the jets of a ROOT file, and check all that can be checked before reading them.

    Args:
        file: A local file.
        variables: Variables to read; E and m may be computed from the others.
        tree: Name of the tree; empty looks for the known ones, then takes the only one there is.
        collection: What stands before the variables in the names of branches; empty takes the first known one.
        units: Unit of energies in the file; auto goes by the kind of tree. With MeV go the other units of xAOD.
        name: What the file is called in messages and identities, where that is not its own name.

    Raises:
        DataError: It is no ROOT file, is cut or damaged, holds no tree, or a branch holds no numbers of jets.
        UnknownNameError: There is no such tree, collection or branch.
        SettingError: Which tree or which unit is meant has to be told.
    """
    name = name or file.name
    source = RootTree(file, tree, name)
    try:
        return _find_jets(source, tuple(variables), collection, units, name)
    except BaseException:
        source.close()
        raise


def process_of(name: str) -> str:
    """Return the process that a file's name tells: without its ending, and without its number (``ttbar_003.root``)."""
    return re.sub(r"[._]0\d+$", "", PurePosixPath(name).stem)


def _find_jets(source: RootTree, variables: tuple[str, ...], collection: str, units: Units, name: str) -> JetTree:
    layout = LAYOUTS.get(source.name, OTHER)
    collection, branches = find_collection(layout, collection, variables, source.branches, source.where)
    event_branch, run_branch = find_identity(source.branches)
    types = {variable: source.type_of(branch) for variable, branch in branches.items()}
    flat = _is_flat(types, source.where)
    start_e = _starts(source, [one for one in (event_branch, run_branch) if one]) if flat and event_branch else None
    for variable in variables:
        if variable not in branches:
            log.info("%s is computed from %s: no branch %s has it", variable, ", ".join(branches), source.where)
    return JetTree(
        name=name,
        tree=source.name,
        collection=collection,
        variables=variables,
        branches=branches,
        dtypes={variable: kind.rpartition(" ")[2] for variable, kind in types.items()},
        factors=_factors(branches, None if flat else layout.unit, units, source.where),
        event_branch=event_branch,
        run_branch=run_branch,
        flat=flat,
        events=source.entries if start_e is None else len(start_e),
        event_dtypes={branch: _number_dtype(source.type_of(branch)) for branch in (event_branch, run_branch) if branch},
        _source=source,
        _start_e=start_e,
    )


def _number_dtype(described: str) -> np.dtype[Any]:
    """Return the type of whole numbers that awkward describes as ``uint64`` or, of Delphes, ``var * int64``."""
    return np.dtype(described.rpartition(" ")[2])


def _is_flat(types: Mapping[str, str], where: str) -> bool:
    jagged = [variable for variable, kind in types.items() if kind.startswith("var")]
    if jagged and len(jagged) < len(types):
        single = next(variable for variable in types if variable not in jagged)
        raise DataError(f"{jagged[0]} has a value for each jet and {single} one for each entry {where}")
    return not jagged


def _factors(branches: Mapping[str, str], known: str | None, units: Units, where: str) -> dict[str, float]:
    """Return the factors from the file's units to ours: those of xAOD where energies are in MeV, else 1."""
    unit = known if units == "auto" else units
    needy = [variable for variable in branches if VARIABLES[variable].from_xaod != 1]
    if needy and unit is None:
        raise SettingError(f"units=MeV or units=GeV must say the unit of {needy[0]} {where}")
    return {variable: VARIABLES[variable].from_xaod if unit == "MeV" else 1.0 for variable in branches}


def _starts(source: RootTree, identity: Sequence[str]) -> IntArray:
    """Return the first row of each event of a flat tree: where the number of the event or of the run changes."""
    starts, before = [], dict.fromkeys(identity, None)
    bounds = [*range(0, source.entries, ENTRIES_AT_ONCE), source.entries]
    for row, block in zip(bounds, source.blocks(identity, bounds) if source.entries else (), strict=False):
        new_r = np.zeros(len(block[identity[0]]), bool)
        for name in identity:
            number_r = _numbers(block[name], source.where)
            new_r[1:] |= number_r[1:] != number_r[:-1]
            new_r[0] |= before[name] is None or number_r[0] != before[name]
            before[name] = number_r[-1]
        starts.append(row + np.flatnonzero(new_r))
    return np.concatenate(starts) if starts else np.empty(0, np.int64)


def _numbers(array: Any, where: str) -> NDArray[Any]:
    """Return a number for each entry; Delphes writes lists of one."""
    length = len(array)
    number_e: NDArray[Any] = ak.to_numpy(ak.flatten(array, axis=None))
    if len(number_e) != length or number_e.dtype.kind not in "iu":
        raise DataError(f"the event numbers {where} are not a whole number for each entry")
    return number_e


def _flatten(block: Block, where: str) -> tuple[IntArray, Columns]:
    """Return the number of jets of each event, and the values of all jets one after the other."""
    first, *others = block
    offset_e = _offsets(block[first])
    for name in others:
        if not np.array_equal(_offsets(block[name]), offset_e):
            raise DataError(f"branches {first!r} and {name!r} have different numbers of jets {where}")
    return np.diff(offset_e), {name: ak.to_numpy(ak.flatten(array)) for name, array in block.items()}


def _offsets(array: Any) -> IntArray:
    """Return where each event's jets begin, and where the last one's end, counted from the first."""
    layout = array.layout
    if not hasattr(layout, "offsets"):
        return np.append(0, np.cumsum(ak.to_numpy(ak.num(array)))).astype(np.int64)
    offset_e: IntArray = np.asarray(layout.offsets.data, np.int64)
    return offset_e - offset_e[:1]


def _keys(run_e: KeyArray, number_e: IntArray) -> KeyArray:
    """Return a hash of run and number; made of whole numbers, for text would take a second per million events."""
    return mix(mix(run_e) ^ number_e.astype(np.uint64))


def energy_of(pt_n: NDArray[Any], eta_n: NDArray[Any], m_n: NDArray[Any]) -> NDArray[np.float32]:
    """Return the energy, E^2 = pt^2 cosh^2(eta) + m^2, computed in double precision."""
    pt_n, eta_n, m_n = (value_n.astype(np.float64) for value_n in (pt_n, eta_n, m_n))
    with np.errstate(all="ignore"):  # of what is not finite, or becomes so: convert judges such values
        return np.hypot(pt_n * np.cosh(eta_n), m_n).astype(np.float32)


def mass_of(energy_n: NDArray[Any], pt_n: NDArray[Any], eta_n: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mass, m^2 = E^2 - pt^2 cosh^2(eta), computed in double precision; 0 where rounding makes m^2 negative."""
    energy_n, pt_n, eta_n = (value_n.astype(np.float64) for value_n in (energy_n, pt_n, eta_n))
    with np.errstate(all="ignore"):
        momentum_n = pt_n * np.cosh(eta_n)
        return np.sqrt(np.maximum((energy_n - momentum_n) * (energy_n + momentum_n), 0)).astype(np.float32)


def _value(variable: str, values: Columns, factors: Mapping[str, float], raw: bool) -> NDArray[Any]:
    """Return a variable as the file has it (raw), or in our units; computed from others where the file has none."""
    if raw and variable in values:
        return values[variable]
    if variable in values:
        value_n, factor = values[variable], factors[variable]
        with np.errstate(over="ignore"):
            if factor == 1:
                return value_n.astype(np.float32, copy=False)
            # The product in double precision, so that it is rounded once; in pieces that stay in the cache.
            out_n = np.empty(len(value_n), np.float32)
            return np.multiply(value_n, factor, out=out_n, dtype=np.float64, casting="same_kind")
    scaled = {name: values[name] * np.float64(factors[name]) for name in values if name in INGREDIENTS[variable]}
    if variable == "E":
        return energy_of(scaled["pt"], scaled["eta"], scaled["m"])
    return mass_of(scaled["E"], scaled["pt"], scaled["eta"])
