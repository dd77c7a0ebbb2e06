"""Events with their jets or other objects, as every reader gives them.

Suffixes: e event, n object (the objects of all events one after the other).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
KeyArray = NDArray[np.uint64]
TextArray = NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Events:
    """Some events that follow one another in a file.

    Attributes:
        count_e: Number of objects of each event; may be 0.
        number_e: Number of the event in its source.
        key_e: Hash of what makes the event unique (run and number, or process and number), which decides its split.
        process_e: Name of the event's process.
        object_n: Code of each object's kind (``variables.OBJECTS``).
        values: Values of each variable for each object, by the variable's name, in the units of ``variables``.
        of_event: Further values of each event, by name (weight, met, met_phi).
    """

    count_e: IntArray
    number_e: IntArray
    key_e: KeyArray
    process_e: TextArray
    object_n: TextArray
    values: dict[str, NDArray[Any]]
    of_event: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.count_e)

    @property
    def event_n(self) -> IntArray:
        """Index of each object's event."""
        return np.repeat(np.arange(len(self.count_e)), self.count_e)

    @property
    def position_n(self) -> IntArray:
        """Place of each object in its event, from 0, in the order of the source."""
        first_e = np.cumsum(self.count_e) - self.count_e
        return np.arange(int(self.count_e.sum())) - np.repeat(first_e, self.count_e)

    def select_events(self, keep_e: NDArray[np.bool_]) -> Events:
        """Return the chosen events, whole."""
        keep_n = np.repeat(keep_e, self.count_e)
        return Events(
            self.count_e[keep_e],
            self.number_e[keep_e],
            self.key_e[keep_e],
            self.process_e[keep_e],
            self.object_n[keep_n],
            {name: value_n[keep_n] for name, value_n in self.values.items()},
            {name: value_e[keep_e] for name, value_e in self.of_event.items()},
        )

    def select_objects(self, keep_n: NDArray[np.bool_]) -> Events:
        """Return all events with the chosen objects only."""
        count_e = np.bincount(self.event_n[keep_n], minlength=len(self)).astype(np.int64)
        values = {name: value_n[keep_n] for name, value_n in self.values.items()}
        return Events(count_e, self.number_e, self.key_e, self.process_e, self.object_n[keep_n], values, self.of_event)
