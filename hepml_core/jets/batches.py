"""Rows in memory as batches for a fit: drawn by the block, so that a step costs Python nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

ROWS_PER_BLOCK = 1 << 20
"""Rows that are gathered in one go; their batches are views of that block."""


class TrainingRows:
    """All rows in random order in every epoch; every process gets another part of them.

    Args:
        rows: Tensors of equal length by name; kept, not copied.
        batch_size: Rows a batch.
        seed: Seed of the order.
    """

    def __init__(self, rows: Mapping[str, Tensor], batch_size: int, seed: int) -> None:
        self._rows, self._seed = rows, seed
        self._length = len(next(iter(rows.values())))
        self._batch_size = min(batch_size, self._length)

    def steps(self, world: int) -> int:
        """Return the number of batches a process and epoch; what is left of the last one waits for another epoch."""
        return max(1, self._length // world // self._batch_size)

    def epoch(self, number: int, rank: int, world: int) -> Iterator[Mapping[str, Tensor]]:
        """Yield a process's share of an epoch."""
        chance = np.random.default_rng([self._seed, number])
        order_n = torch.from_numpy(chance.permutation(self._length))
        own_n = order_n[rank * (self._length // world) :][: self.steps(world) * self._batch_size]
        block = max(1, ROWS_PER_BLOCK // self._batch_size) * self._batch_size
        for chosen_n in torch.split(own_n, block):
            gathered = {name: values[chosen_n] for name, values in self._rows.items()}
            for start in range(0, len(chosen_n), self._batch_size):
                yield {name: values[start : start + self._batch_size] for name, values in gathered.items()}


class ValidationRows:
    """All rows in order; every process gets a part of them."""

    def __init__(self, rows: Mapping[str, Tensor], batch_size: int) -> None:
        self._rows, self._batch_size = rows, batch_size
        self._length = len(next(iter(rows.values())))

    def steps(self, world: int) -> int:
        """Return the largest number of batches that a process gets."""
        return math.ceil(math.ceil(self._length / world) / self._batch_size)

    def epoch(self, number: int, rank: int, world: int) -> Iterator[Mapping[str, Tensor]]:  # noqa: ARG002
        """Yield a process's part; it is the same in every epoch."""
        share = math.ceil(self._length / world)
        last = min((rank + 1) * share, self._length)
        for start in range(rank * share, last, self._batch_size):
            stop = min(start + self._batch_size, last)
            yield {name: values[start:stop] for name, values in self._rows.items()}
