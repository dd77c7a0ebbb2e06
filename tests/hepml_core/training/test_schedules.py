"""Learning rates against torch's own schedules and by their properties."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hepml_core.config import build_config
from hepml_core.training.config import FitConfig
from hepml_core.training.schedules import rate_at

CONFIG = FitConfig(learning_rate=0.1)


@pytest.mark.parametrize("steps", [7, 40, 101])
@pytest.mark.parametrize("warmup_share", [0.1, 0.3, 0.7])
def test_one_cycle_is_torchs(steps: int, warmup_share: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps, pct_start=warmup_share)
    config = replace(CONFIG, schedule="one_cycle", warmup_share=warmup_share)
    for step in range(steps):
        rate = rate_at(config, 0.1, step, steps, 0)
        if warmup_share * steps > 1:
            assert rate.learning_rate == pytest.approx(optimizer.param_groups[0]["lr"])
            assert rate.momentum == pytest.approx(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if step < steps - 1:
            reference.step()


def test_cosine_rises_to_the_rate_and_falls_to_the_floor() -> None:
    config = replace(CONFIG, schedule="cosine", warmup_share=0.2, min_learning_rate=0.01)
    rates = [rate_at(config, 0.1, step, 100, 0).learning_rate for step in range(101)]
    assert max(rates) == rates[19] == rates[20] == 0.1
    assert rates == sorted(rates[:20]) + sorted(rates[20:], reverse=True)
    assert rates[60] == pytest.approx((0.1 + 0.01) / 2)
    assert rates[100] == pytest.approx(0.01)


def test_plateau_falls_by_its_factor_to_its_floor() -> None:
    config = replace(CONFIG, schedule="plateau", plateau_factor=0.2, min_learning_rate=0.01)
    rates = [rate_at(config, 0.1, 0, 1, reductions).learning_rate for reductions in range(4)]
    assert rates == pytest.approx([0.1, 0.02, 0.01, 0.01])


@pytest.mark.parametrize("schedule", ["constant", "plateau", "one_cycle", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup_share", [0.0, 0.3, 0.99])
def test_the_shortest_phases_have_sensible_rates(schedule: str, steps: int, warmup_share: float) -> None:
    config = build_config(FitConfig, {"schedule": schedule, "warmup_share": warmup_share})
    rates = [rate_at(config, 0.1, step, steps, 0).learning_rate for step in range(steps)]
    assert all(math.isfinite(rate) and 0 < rate <= 0.1 for rate in rates)
