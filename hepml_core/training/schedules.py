"""Learning rates as a function of the step: nothing to store, so a resumed fit goes on where it was."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hepml_core.training.config import FitConfig

_START_SHARE, _END_SHARE = 1 / 25, 1 / 25 / 1e4
"""First and last learning rate of one_cycle, as shares of the highest."""
_MOMENTUM_SLOW, _MOMENTUM_FAST = 0.95, 0.85
"""Momentum of one_cycle at its lowest and highest learning rate."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a step is taken with."""

    learning_rate: float
    momentum: float | None = None
    """Momentum (beta 1 of the Adam family) where the schedule moves it."""


def rate_at(config: FitConfig, highest: float, step: int, steps: int, reductions: int) -> Rate:
    """Return the rate of one step of a phase.

    Args:
        config: Names the schedule.
        highest: Learning rate that the schedule starts from or rises to.
        step: Number of the step in its phase, from 0.
        steps: Steps of the phase.
        reductions: How often the plateau schedule has reduced the rate.
    """
    if config.schedule == "one_cycle":
        return _one_cycle(highest, step, steps, config.warmup_share)
    if config.schedule == "cosine":
        return Rate(_cosine(highest, step, steps, config.warmup_share, config.min_learning_rate))
    if config.schedule == "plateau":
        return Rate(max(highest * config.plateau_factor**reductions, min(config.min_learning_rate, highest)))
    return Rate(highest)


def _one_cycle(highest: float, step: int, steps: int, warmup_share: float) -> Rate:
    """Rise, then fall far below the start, both along a cosine (L. Smith and N. Topin, arXiv:1708.07120)."""
    top = max(warmup_share * steps - 1, 0.0)
    if step < top:
        part = step / top
        rate = _between(_START_SHARE, 1.0, part)
        momentum = _between(_MOMENTUM_SLOW, _MOMENTUM_FAST, part)
    else:
        part = (step - top) / max(steps - 1 - top, 1.0)
        rate = _between(1.0, _END_SHARE, part)
        momentum = _between(_MOMENTUM_FAST, _MOMENTUM_SLOW, part)
    return Rate(highest * rate, momentum)


def _cosine(highest: float, step: int, steps: int, warmup_share: float, lowest: float) -> float:
    """Rise linearly, then fall to the lowest rate along a cosine (I. Loshchilov and F. Hutter, arXiv:1608.03983)."""
    warmup = warmup_share * steps
    if step < warmup:
        return highest * min((step + 1) / warmup, 1.0)
    return _between(highest, min(lowest, highest), (step - warmup) / max(steps - warmup, 1.0))


def _between(start: float, end: float, part: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))
