"""What an epoch measures while it runs: means of metrics, and whether every step was finite.

Both stay on the device between looks: reading a number off a GPU after every step would make it wait.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hepml_core.errors import TrainingError
from hepml_core.training.devices import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_STEPS_BETWEEN_CHECKS = 50
_SMALLEST_LOSS_SCALE = 2.0**-14


class Means:
    """Weighted means of metrics over an epoch and all processes.

    Attributes:
        names: The metrics.
        steps: Batches seen by this process.
        events: Events seen by all processes, once ``over_all_processes`` was called.
    """

    def __init__(self, fabric: Fabric, names: tuple[str, ...] = ()) -> None:
        """Start at zero; ``names`` for a process that may see no batch."""
        self._fabric, self.names = fabric, names
        self.steps = self.events = 0
        self._sums = self._zeros(len(names))

    def add(self, losses: Mapping[str, Tensor], batch: Batch) -> None:
        """Add a batch's means, weighted by ``weight`` or by its number of events."""
        names = tuple(sorted(name for name in losses if name != "weight"))
        if not self.names:
            self.names, self._sums = names, self._zeros(len(names))
        assert names == self.names, f"loss_of returned {names}, earlier {self.names}"
        events = len(next(iter(batch.values())))
        weight = losses.get("weight", events)
        one = torch.ones((), device=self._sums.device)
        column = torch.stack([*(losses[name].detach().float() for name in names), one]).to(self._sums.dtype) * weight
        self._sums[:-1] += column
        self._sums[-1] += events
        self.steps += 1

    def over_all_processes(self) -> dict[str, float]:
        """Return the means over all batches of all processes; NaN without any event."""
        sums: Tensor = self._fabric.all_reduce(self._sums, reduce_op="sum")  # type: ignore[assignment]
        *values, weight, events = sums.tolist()
        self.events = int(events)
        return {name: value / weight if weight else math.nan for name, value in zip(self.names, values, strict=True)}

    def _zeros(self, metrics: int) -> Tensor:
        device = self._fabric.device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return torch.zeros(metrics + 2, dtype=dtype, device=device)


class Watch:
    """Finds the first step of an epoch whose loss or gradient is not finite.

    Attributes:
        loss: Loss of the step looked at last.
    """

    def __init__(self, epoch: int, device: torch.device, learning_rate: float) -> None:
        self._epoch, self._learning_rate = epoch, learning_rate
        self._every = 1 if device.type == "cpu" else _STEPS_BETWEEN_CHECKS
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._checked = 0
        self.loss = math.nan

    def look(self, loss: Tensor, norm: Tensor | None) -> None:
        """Note a step's loss and, where it must be finite, the norm of its gradient; check now and then.

        Raises:
            TrainingError: One of them is not finite.
        """
        self._losses.append(loss.detach())
        self._norms.append(self._losses[-1] if norm is None else norm)
        if len(self._losses) == self._every:
            self.check()

    def check(self) -> None:
        """Check the steps noted since the last check.

        Raises:
            TrainingError: One of them is not finite.
        """
        if not self._losses:
            return
        losses, norms = torch.stack(self._losses).tolist(), torch.stack(self._norms).tolist()
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), self._checked + 1):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = "gradient" if math.isfinite(loss) else "loss"
                raise not_finite(what, f"epoch {self._epoch}, step {step}", self._learning_rate)
        self._checked, self.loss = self._checked + len(losses), losses[-1]
        self._losses.clear()
        self._norms.clear()


def check_loss_scale(scaler: Mapping[str, float], epoch: int) -> None:
    """Refuse to go on where float16 overflows at every step, so that none is taken.

    Raises:
        TrainingError: The scale of the loss has fallen to nothing.
    """
    if scaler.get("scale", 1.0) < _SMALLEST_LOSS_SCALE:
        raise TrainingError(f"the gradients of epoch {epoch} overflow float16: use precision=bf16 or 32")


def not_finite(what: str, where: str, learning_rate: float) -> TrainingError:
    """Return the error of a fit that has left the numbers, with what helps against it."""
    return TrainingError(
        f"the {what} is not finite in {where}. The checkpoint of the last good epoch is kept.\n"
        f"  Usual remedies: a lower learning_rate (it is {learning_rate:g}), clip_norm=1, precision=32, "
        "and a look for NaN or huge values in the data"
    )
