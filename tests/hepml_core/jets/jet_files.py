"""ROOT and CSV files with jets for tests, written without the package's own writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

XAOD = "AnalysisJetsAuxDyn."
COUNTS = (3, 0, 2, 1, 0, 4)
"""Jets of each event of the files below, unless others are asked for."""
FIRST_NUMBER = 1000

Values = dict[str, NDArray[Any]]


def four_vectors(jets: int, seed: int = 0) -> Values:
    """pt, eta, phi and m of some jets, in GeV."""
    chance = np.random.default_rng(seed)
    return {
        "pt": (20 + chance.exponential(50, jets)).astype(np.float32),
        "eta": chance.uniform(-2.5, 2.5, jets).astype(np.float32),
        "phi": chance.uniform(-np.pi, np.pi, jets).astype(np.float32),
        "m": chance.uniform(1, 15, jets).astype(np.float32),
    }


def write_tree(
    path: Path, tree: str, events: Mapping[str, NDArray[Any]], counts: Sequence[int], jets: Mapping[str, NDArray[Any]]
) -> Path:
    """Write a TTree with numbers of events and lists of jets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        kinds: dict[str, Any] = {name: value_e.dtype for name, value_e in events.items()}
        file.mktree(tree, {**kinds, **{name: f"var * {value_n.dtype}" for name, value_n in jets.items()}})
        lists = {name: ak.unflatten(value_n, np.array(counts, int)) for name, value_n in jets.items()}
        if counts:
            file[tree].extend({**events, **lists})
    return path


def identity(events: int, first: int = FIRST_NUMBER, run: int = 7) -> dict[str, NDArray[Any]]:
    """Run and event numbers as an xAOD has them."""
    return {
        "EventInfoAuxDyn.runNumber": np.full(events, run, np.uint32),
        "EventInfoAuxDyn.eventNumber": np.arange(first, first + events, dtype=np.uint64),
    }


def xaod(path: Path, values: Mapping[str, NDArray[Any]] | None = None, counts: Sequence[int] = COUNTS) -> Path:
    """Write an xAOD in MeV; the given values are in GeV."""
    values = four_vectors(sum(counts)) if values is None else values
    in_mev = {name: value * np.float32(1000) if name in ("pt", "m", "E") else value for name, value in values.items()}
    jets = {f"{XAOD}{name}": value_n for name, value_n in in_mev.items()}
    return write_tree(path, "CollectionTree", identity(len(counts)), counts, jets)


def flat(path: Path, columns: Mapping[str, NDArray[Any]], tree: str = "jets") -> Path:
    """Write a flat tree: a row for each jet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        file.mktree(tree, {name: column.dtype for name, column in columns.items()})
        file[tree].extend(dict(columns))
    return path


def rntuple(path: Path, values: Mapping[str, NDArray[Any]], counts: Sequence[int] = COUNTS) -> Path:
    """Write an RNTuple as ATLAS names its fields."""
    lists = {f"AnalysisJetsAuxDyn:{name}": ak.unflatten(value_n, np.array(counts)) for name, value_n in values.items()}
    events = {name.replace(".", ":"): value_e for name, value_e in identity(len(counts)).items()}
    with uproot.recreate(path) as file:
        file.mkrntuple("EventData", {**lists, **events})
    return path


CSV_LINES = (
    "0;ttbar;1.5;30000;0.5;j,100000,80000,0.5,1.0;b,60000,50000,-0.5,-1.0;e-,45000,40000,0.4,3.0;",
    "1;ttbar;-0.5;10000;1.5;j,200000,90000,1.4,2.0;",
    "2;dijet;1;5000;-2;j,70000,60000,0.5,0.1;j,55000,50000,0.3,-3.0;j,30000,25000,0.6,2.5;",
    "3;dijet;1;0;0;",
)
"""Events of the processes ttbar and dijet, energies in MeV."""


def csv(path: Path, lines: Sequence[str] = CSV_LINES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path
