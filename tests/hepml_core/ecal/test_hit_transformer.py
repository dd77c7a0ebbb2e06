"""A network on hits knows no order of them, but their places; what holds for every network is in test_model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hepml_core.ecal.hit_transformer import HitTransformer

EVENTS, HITS, SHAPE = 6, 20, (32, 32)


def network(*, use_time: bool = True) -> HitTransformer:
    torch.manual_seed(3)
    return HitTransformer(SHAPE, 0.1, use_time=use_time).eval()


def showers() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Crystals, energies, scaled energies and times of events with 8 to 18 hits, padded."""
    chance = torch.Generator().manual_seed(5)
    real_bh = torch.arange(HITS) < torch.arange(8, 8 + 2 * EVENTS, 2)[:, None]
    crystal_bh = torch.stack([torch.randperm(1024, generator=chance)[:HITS] for _ in range(EVENTS)]) * real_bh
    energy_bh = torch.rand(EVENTS, HITS, generator=chance) * real_bh
    time_bh = 0.1 * torch.randn(EVENTS, HITS, generator=chance) * real_bh
    return crystal_bh, energy_bh, torch.log1p(energy_bh / 2e-3), time_bh


@pytest.mark.parametrize("use_time", [True, False])
def test_the_order_of_hits_does_not_matter(use_time: bool) -> None:
    order = torch.randperm(HITS, generator=torch.Generator().manual_seed(1))
    given = showers()
    judge = network(use_time=use_time)
    torch.testing.assert_close(judge(*(part[:, order] for part in given)), judge(*given))


def test_the_places_of_hits_matter() -> None:
    crystal_bh, energy_bh, scaled_bh, time_bh = showers()
    moved_bh = torch.where(energy_bh > 0, (crystal_bh + 5) % 1024, crystal_bh)
    judge = network()
    assert not torch.allclose(
        judge(crystal_bh, energy_bh, scaled_bh, time_bh), judge(moved_bh, energy_bh, scaled_bh, time_bh)
    )


def test_times_count_nothing_before_training_and_may_count_after() -> None:
    given = showers()
    judge = network()
    torch.testing.assert_close(judge(*given), network(use_time=False)(*given), rtol=0, atol=0)
    torch.nn.init.normal_(judge.time.weight)
    assert not torch.allclose(judge(*given), network(use_time=False)(*given))


def test_a_time_that_is_measured_badly_counts_little() -> None:
    crystal_bh, energy_bh, scaled_bh, time_bh = showers()
    judge = network()
    torch.nn.init.normal_(judge.time.weight)

    def change(energy: float) -> float:
        """By how much answers change when the time of a first hit of this energy does."""
        given_bh, later_bh = energy_bh.clone(), time_bh.clone()
        given_bh[:, 0], later_bh[:, 0] = energy, time_bh[:, 0] + 0.05
        before, after = (judge(crystal_bh, given_bh, scaled_bh, one_bh) for one_bh in (time_bh, later_bh))
        return float((after - before).detach().abs().mean())

    assert change(1e-3) < change(0.02) / 10
