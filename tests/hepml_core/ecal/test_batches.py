"""Batches of hits: a pure function of seed, epoch and process; every event once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepml_core.ecal.batches import TrainingHits, ValidationHits, mirrored
from hepml_core.ecal.event_records import Events
from hepml_core.ecal.hits import Hits
from hepml_core.training.devices import Batch


def numbered(events: int = 23) -> Events:
    """Make events whose first hit's time is their number; event 3 has no hits, the others have two to eleven."""
    chance = np.random.default_rng(0)
    count_e = chance.integers(2, 12, events)
    count_e[3] = 0
    first_e = np.concatenate([[0], np.cumsum(count_e)])
    crystal_h = np.concatenate([np.sort(chance.permutation(64)[:count]) for count in count_e]).astype(np.uint16)
    time_h = np.repeat(np.arange(events), count_e).astype(np.float32)
    hits = Hits(crystal_h, chance.uniform(0.1, 1, len(crystal_h)).astype(np.float32), time_h, first_e, (8, 8))
    number_e = np.arange(events)
    return Events(hits, number_e % 2, number_e * 0, number_e, np.zeros(events, np.float32))


def numbers(batches: list[Batch]) -> list[int]:
    """Return the numbers of the events; of the one without hits, 3."""
    found = []
    for batch in batches:
        for energy_h, time_h in zip(batch["energy"], batch["time"], strict=True):
            found.append(int(time_h[0]) if energy_h[0] > 0 else 3)
    return found


def same(one: list[Batch], other: list[Batch]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a[name].shape == b[name].shape and torch.equal(a[name], b[name]) for a, b in pairs for name in a)


def test_a_batch_holds_the_hits_of_its_events_and_their_labels() -> None:
    events = numbered()
    for batch in TrainingHits(events, 5, 1, mirror=False).epoch(0, 0, 1):
        for row, number in enumerate(numbers([batch])):
            hits = slice(events.hits.first_e[number], events.hits.first_e[number + 1])
            real = batch["energy"][row] > 0
            np.testing.assert_array_equal(batch["crystal"][row][real], events.hits.crystal_h[hits])
            np.testing.assert_array_equal(batch["energy"][row][real], events.hits.energy_h[hits])
            assert not batch["crystal"][row][~real].any()
            assert batch["label"][row] == number % 2


@pytest.mark.parametrize("world", [1, 2, 3])
def test_an_epoch_shows_no_event_twice_and_the_processes_share_it(world: int) -> None:
    training = TrainingHits(numbered(), 3, 1, mirror=False)
    shares = [numbers(list(training.epoch(0, rank, world))) for rank in range(world)]
    assert all(len(share) == 3 * training.steps(world) for share in shares)
    together = [number for share in shares for number in share]
    assert len(set(together)) == len(together) >= 23 - 3 * world


def test_epochs_differ_and_the_same_epoch_is_the_same() -> None:
    training = TrainingHits(numbered(), 5, 1, mirror=True)
    again = TrainingHits(numbered(), 5, 1, mirror=True)
    assert same(list(training.epoch(4, 0, 1)), list(again.epoch(4, 0, 1)))
    orders = {tuple(numbers(list(training.epoch(number, 0, 1)))) for number in range(5)}
    assert len(orders) == 5
    assert set.union(*(set(order) for order in orders)) == set(range(23))


def test_half_of_the_events_are_mirrored_and_nothing_else_changes() -> None:
    plain = list(TrainingHits(numbered(200), 50, 1, mirror=False).epoch(0, 0, 1))
    turned = list(TrainingHits(numbered(200), 50, 1, mirror=True).epoch(0, 0, 1))
    count = 0
    for one, other in zip(plain, turned, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in ("energy", "time", "label"))
        for own, seen in zip(one["crystal"].numpy(), other["crystal"].numpy(), strict=True):
            changed = not np.array_equal(own, seen)
            assert not changed or np.array_equal(seen, mirrored(own, (8, 8)))
            count += changed
    assert 70 < count < 130


@pytest.mark.parametrize("world", [1, 2, 30])
def test_every_validation_event_is_seen_once_in_order(world: int) -> None:
    validation = ValidationHits(numbered(), 4)
    shares = [list(validation.epoch(0, rank, world)) for rank in range(world)]
    assert [number for share in shares for number in numbers(share)] == list(range(23))
    assert max(len(share) for share in shares) == validation.steps(world)


def test_fewer_events_than_a_batch_make_one_batch() -> None:
    training = TrainingHits(numbered(5), 100, 1, mirror=False)
    assert training.steps(1) == 1
    assert sorted(numbers(list(training.epoch(0, 0, 1)))) == [0, 1, 2, 3, 4]
