"""Where a fit stands, besides its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hepml_core.training.config import FitConfig


@dataclass(slots=True)
class FitState:
    """All that the next epoch depends on, besides weights and optimizer; a checkpoint holds it as JSON."""

    epoch: int = 0
    """Epochs done, over all phases."""
    phase: int = 0
    """Number of the phase that comes next."""
    epoch_of_phase: int = 0
    """Epochs done of that phase."""
    best_epoch: int = 0
    """Epoch of the best monitored value, from 1; 0 before the first."""
    best_value: float | None = None
    phase_value: float | None = None
    """Value that an epoch of this phase must improve on."""
    standing: int = 0
    """Epochs of this phase since the last improvement."""
    standing_rate: int = 0
    """Epochs since the last improvement or reduction of the learning rate."""
    reductions: int = 0
    """How often the learning rate was reduced in this phase."""
    finished: bool = False
    scaler: dict[str, float] = field(default_factory=dict)
    """State of the loss scaling of precision 16."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One row per epoch."""

    def judge(self, value: float, config: FitConfig) -> None:
        """Count an epoch; note whether its monitored value is the best of all, improves on the phase's, or stands."""
        sign = 1 if config.direction == "lowest" else -1
        self.epoch, self.epoch_of_phase = self.epoch + 1, self.epoch_of_phase + 1
        if self.best_value is None or sign * value < sign * self.best_value:
            self.best_value, self.best_epoch = value, self.epoch
        if self.phase_value is None or sign * value < sign * self.phase_value - config.min_improvement:
            self.phase_value, self.standing, self.standing_rate = value, 0, 0
        else:
            self.standing, self.standing_rate = self.standing + 1, self.standing_rate + 1
        if config.schedule == "plateau" and self.standing_rate == config.plateau_patience:
            self.reductions, self.standing_rate = self.reductions + 1, 0

    def end_phase(self, phases: int) -> None:
        """Let the next of ``phases`` start afresh; after the last one the fit is finished."""
        self.phase, self.epoch_of_phase = self.phase + 1, 0
        self.phase_value, self.standing, self.standing_rate, self.reductions = None, 0, 0, 0
        self.finished = self.phase == phases
