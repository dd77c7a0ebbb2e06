"""Rows of tables: one for each object, or one for each event with all its objects side by side.

Suffixes: e event, n object, k place of an object in its event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Column
from hepml_core.jets.events import Events
from hepml_core.jets.variables import VARIABLES

_IDENTITY = (
    Column("event", "uint64", (), "", "hash of what makes the event unique; decides its split"),
    Column("event_number", "int64", (), "", "number of the event in its source"),
)
_PROCESS = Column("process", "string", (), "", "name of the event's process")
_OBJECT = (
    Column("position", "int32", (), "", "place of the object in its event, from 0, in the order of the source"),
    _PROCESS,
    Column("object", "string", (), "", "kind of the object: j, b, e-, e+, m-, m+ or g"),
)
OF_EVENT = {
    "weight": Column("weight", "float32", (), "", "weight of the event"),
    "met": Column("met", "float32", (), "GeV", "missing transverse momentum of the event"),
    "met_phi": Column("met_phi", "float32", (), "rad", "azimuth of the missing transverse momentum"),
}


@dataclass(frozen=True, slots=True)
class ObjectRows:
    """A row for each object.

    Attributes:
        variables: Variables, in order.
        of_event: Which further values of events there are.
    """

    variables: tuple[str, ...]
    of_event: tuple[str, ...]

    @property
    def features(self) -> list[str]:
        """Columns with values of variables."""
        return list(self.variables)

    @property
    def schema(self) -> list[Column]:
        """All columns."""
        values = [Column(name, "float32", (), VARIABLES[name].unit, VARIABLES[name].meaning) for name in self.variables]
        return [*_IDENTITY, *_OBJECT, *(OF_EVENT[name] for name in self.of_event), *values]

    def columns(self, events: Events) -> dict[str, NDArray[Any]]:
        """Return the rows of some events."""
        event_n = events.event_n
        return {
            "event": events.key_e[event_n],
            "event_number": events.number_e[event_n],
            "position": events.position_n,
            "process": events.process_e[event_n],
            "object": events.object_n,
            **{name: events.of_event[name][event_n] for name in self.of_event},
            **{name: events.values[name] for name in self.variables},
        }


@dataclass(frozen=True, slots=True)
class EventRows:
    """A row for each event: ``E_0 E_1 … pt_0 pt_1 …``, zeros where there is no object, and which process it is of.

    Attributes:
        variables: Variables, in order.
        of_event: Which further values of events there are.
        places: Objects that a row holds; those of an event behind them are left out.
        processes: All processes.
    """

    variables: tuple[str, ...]
    of_event: tuple[str, ...]
    places: int
    processes: tuple[str, ...]

    @property
    def features(self) -> list[str]:
        """Columns with values of variables: all places of one variable before the next variable."""
        return [f"{name}_{place}" for name in self.variables for place in range(self.places)]

    @property
    def schema(self) -> list[Column]:
        """All columns."""
        values = [
            Column(f"{name}_{k}", "float32", (), VARIABLES[name].unit, f"{VARIABLES[name].meaning} of object {k}, or 0")
            for name in self.variables
            for k in range(self.places)
        ]
        marks = [
            Column(f"is_{name}", "float32", (), "", f"1 for events of {name}, 0 for others") for name in self.processes
        ]
        return [*_IDENTITY, _PROCESS, *(OF_EVENT[name] for name in self.of_event), *values, *marks]

    def columns(self, events: Events) -> dict[str, NDArray[Any]]:
        """Return the rows of some events."""
        position_n = events.position_n
        kept_n = np.flatnonzero(position_n < self.places)
        place_n = events.event_n[kept_n], position_n[kept_n]
        values: dict[str, NDArray[Any]] = {}
        for name in self.variables:
            value_ek = np.zeros((len(events), self.places), np.float32)
            value_ek[place_n] = events.values[name][kept_n]
            values |= {f"{name}_{k}": value_ek[:, k] for k in range(self.places)}
        return {
            "event": events.key_e,
            "event_number": events.number_e,
            "process": events.process_e,
            **{name: events.of_event[name] for name in self.of_event},
            **values,
            **{f"is_{name}": (events.process_e == name).astype(np.float32) for name in self.processes},
        }


RowKind = ObjectRows | EventRows
