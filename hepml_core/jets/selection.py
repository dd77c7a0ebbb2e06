"""Choose the events and objects to keep, and count what is left out.

Suffixes: e event, n object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hepml_core.errors import DataError
from hepml_core.jets.config import ConvertConfig
from hepml_core.jets.csv_files import BadLine
from hepml_core.jets.cuts import apply_cuts
from hepml_core.jets.events import Events
from hepml_core.splits import uniform_of

JETS = ("j", "b")
FRACTION_SEED = 0x6A657473
"""Decides with an event's key whether it belongs to a part of the data; the same in every run, and in no split."""
EXAMPLES = 20


@dataclass(slots=True)
class Tally:
    """What was read, kept and left out; of one shard or of many.

    Attributes:
        events_read: Events in the files, those that could not be used and those of no interest among them.
        events: Events that are kept, perhaps with no object left.
        longest: Most objects in an event that is kept.
        removed: Objects that each cut removed.
        processes: Events that are kept, by process.
        objects: Objects that are kept, by kind.
        skipped: Malformed lines and events with values that are not finite, which were left out.
        examples: The first of them, where they stand and why.
        median_pt: Median pt in GeV of the first objects, before cuts; 0 where pt is not read.
    """

    events_read: int = 0
    events: int = 0
    longest: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    median_pt: float = 0.0

    def add(self, other: Tally) -> None:
        """Count what another one has counted."""
        self.events_read += other.events_read
        self.events += other.events
        self.longest = max(self.longest, other.longest)
        self.removed = {
            name: self.removed.get(name, 0) + count for name, count in other.removed.items()
        } or self.removed
        self.processes = dict(Counter(self.processes) + Counter(other.processes))
        self.objects = dict(Counter(self.objects) + Counter(other.objects))
        self.skipped += other.skipped
        self.examples = [*self.examples, *other.examples][:EXAMPLES]
        self.median_pt = self.median_pt or other.median_pt

    def skip_lines(self, lines: Sequence[BadLine]) -> None:
        """Count malformed lines."""
        self.events_read += len(lines)
        self._skip([asdict(line) for line in lines])

    def skip_event(self, file: str, number: int, reason: str) -> None:
        """Count an event that cannot be used."""
        self._skip([{"file": file, "event": number, "reason": reason}])

    def _skip(self, what: list[dict[str, Any]]) -> None:
        self.skipped += len(what)
        self.examples = [*self.examples, *what][:EXAMPLES]


def select(events: Events, config: ConvertConfig, file: str, tally: Tally) -> Events:
    """Return what is asked for of some events.

    In this order: the part of the data, usable events, events with jets only, kinds of objects, the leading ones of these,
    and those that pass the cuts.

    Args:
        events: Events with the variables to keep and those that the cuts look at.
        config: What is asked for.
        file: File that they are from, for messages.
        tally: Where to count.

    Raises:
        DataError: A value is not finite and ``on_bad_input=fail``.
    """
    tally.events_read += len(events)
    if config.data_fraction < 1:
        events = events.select_events(uniform_of(events.key_e, FRACTION_SEED) < config.data_fraction)
    events = _usable(events, config, file, tally)
    if config.only_jets_in_event:
        others_e = np.bincount(events.event_n[~np.isin(events.object_n, JETS)], minlength=len(events))
        events = events.select_events(others_e == 0)
    if config.objects:
        events = events.select_objects(np.isin(events.object_n, config.objects))
    if config.leading_jets:
        events = events.select_objects(events.position_n < config.leading_jets)
    if not tally.median_pt and len(events.values.get("pt", ())):
        tally.median_pt = float(np.median(events.values["pt"]))
    events, removed = apply_cuts(events, config.cuts)
    names, counts = np.unique(events.process_e, return_counts=True)
    kinds, members = np.unique(events.object_n, return_counts=True)
    tally.add(
        Tally(
            events=len(events),
            longest=int(events.count_e.max(initial=0)),
            removed=removed,
            processes=dict(zip(names.tolist(), counts.tolist(), strict=True)),
            objects=dict(zip(kinds.tolist(), members.tolist(), strict=True)),
        )
    )
    return events


def _usable(events: Events, config: ConvertConfig, file: str, tally: Tally) -> Events:
    """Return the events whose values are all finite."""
    finite_n = np.ones(len(events.object_n), bool)
    for value_n in events.values.values():
        finite_n &= np.isfinite(value_n)
    if finite_n.all():
        return events
    bad_n = np.flatnonzero(~finite_n)
    bad_e, first = np.unique(events.event_n[bad_n], return_index=True)
    for event, n in zip(bad_e.tolist(), bad_n[first].tolist(), strict=True):
        name = next(name for name, value_n in events.values.items() if not np.isfinite(value_n[n]))
        number, reason = int(events.number_e[event]), f"{name} is {events.values[name][n]}"
        if config.on_bad_input == "fail":
            raise DataError(f"{file}: {reason} in event {number} (on_bad_input=skip leaves such events out)")
        tally.skip_event(file, number, reason)
    keep_e = np.ones(len(events), bool)
    keep_e[bad_e] = False
    return events.select_events(keep_e)
