"""Events in memory as batches of padded hits for a fit.

Suffixes: e event, b event of a batch, h hit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from hepml_core.ecal.event_records import Events
from hepml_core.ecal.hits import IntArray


class TrainingHits:
    """All events in random order in every epoch; every process gets another part of them.

    Args:
        events: What to train on.
        batch_size: Events a batch.
        seed: Seed of the order, and of which events are mirrored.
        mirror: Mirror half of the events in eta.
    """

    def __init__(self, events: Events, batch_size: int, seed: int, *, mirror: bool) -> None:
        self._events, self._seed, self._mirror = events, seed, mirror
        self._batch_size = min(batch_size, len(events))

    def steps(self, world: int) -> int:
        """Return the number of batches a process and epoch; what is left of the last one waits for another epoch."""
        return max(1, len(self._events) // world // self._batch_size)

    def epoch(self, number: int, rank: int, world: int) -> Iterator[Mapping[str, Tensor]]:
        """Yield a process's share of an epoch."""
        order_e = np.random.default_rng([self._seed, number]).permutation(len(self._events))
        own_e = order_e[rank * (len(order_e) // world) :]
        chance = np.random.default_rng([self._seed, number, rank, world])
        for step in range(self.steps(world)):
            event_b = own_e[step * self._batch_size : (step + 1) * self._batch_size]
            turned_b = chance.random(len(event_b)) < 0.5 if self._mirror else np.zeros(len(event_b), np.bool_)
            yield padded_batch(self._events, event_b, turned_b)


class ValidationHits:
    """All events in order; every process gets a part of them."""

    def __init__(self, events: Events, batch_size: int) -> None:
        self._events, self._batch_size = events, batch_size

    def steps(self, world: int) -> int:
        """Return the largest number of batches that a process gets."""
        return math.ceil(math.ceil(len(self._events) / world) / self._batch_size)

    def epoch(self, number: int, rank: int, world: int) -> Iterator[Mapping[str, Tensor]]:  # noqa: ARG002
        """Yield a process's part; it is the same in every epoch."""
        own_e = np.array_split(np.arange(len(self._events)), world)[rank]
        for start in range(0, len(own_e), self._batch_size):
            event_b = own_e[start : start + self._batch_size]
            yield padded_batch(self._events, event_b, np.zeros(len(event_b), np.bool_))


def padded_batch(
    events: Events, event_b: IntArray, turned_b: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> dict[str, Tensor]:
    """Return the padded hits (event, hit) and labels of some events, the marked ones mirrored in eta."""
    hits = events.hits.of(event_b)
    padded = hits.padded()
    crystal_bh = np.where(turned_b[:, None], mirrored(padded.crystal_bh, hits.shape), padded.crystal_bh)
    return {
        "crystal": torch.from_numpy(crystal_bh),
        "energy": torch.from_numpy(padded.energy_bh),
        "time": torch.from_numpy(padded.time_bh),
        "label": torch.from_numpy(events.label_e[event_b]),
    }


def mirrored(crystal: IntArray, shape: tuple[int, int]) -> IntArray:
    """Return the crystals on the other side of the middle row, that of the seed.

    Of an even number of rows the first has no partner; it stays.
    """
    rows, columns = shape
    row, column = np.divmod(crystal, columns)
    return (2 * (rows // 2) - row) % rows * columns + column
