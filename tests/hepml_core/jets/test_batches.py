"""Rows in memory as batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hepml_core.jets import batches as module
from hepml_core.jets.batches import TrainingRows, ValidationRows


def rows(count: int) -> dict[str, Tensor]:
    return {"row": torch.arange(count)[:, None].repeat(1, 3), "label": torch.arange(count)}


@pytest.mark.parametrize("world", [1, 2, 3])
def test_an_epoch_gives_each_row_to_one_process_once(world: int) -> None:
    training = TrainingRows(rows(96), 8, 1)
    seen = [batch["label"] for rank in range(world) for batch in training.epoch(0, rank, world)]
    assert len(seen) == training.steps(world) * world
    assert sorted(torch.cat(seen).tolist()) == list(range(96))


def test_the_tensors_of_a_batch_belong_together() -> None:
    for batch in TrainingRows(rows(50), 16, 1).epoch(3, 0, 1):
        assert torch.equal(batch["row"][:, 0], batch["label"])


def test_epochs_differ_in_order_and_are_the_same_when_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def order(epoch: int) -> list[int]:
        return torch.cat([batch["label"] for batch in TrainingRows(rows(64), 8, 1).epoch(epoch, 0, 1)]).tolist()

    before = order(0)
    assert before != order(1)
    monkeypatch.setattr(module, "ROWS_PER_BLOCK", 16)
    assert order(0) == before


def test_fewer_rows_than_a_batch_are_one_batch() -> None:
    training = TrainingRows(rows(5), 8192, 1)
    assert [len(batch["row"]) for batch in training.epoch(0, 0, 1)] == [5] * training.steps(1)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_validation_reads_every_row_once_and_in_order(world: int) -> None:
    validation = ValidationRows(rows(20), 6)
    seen = [batch["label"] for rank in range(world) for batch in validation.epoch(0, rank, world)]
    assert torch.cat(seen).tolist() == list(range(20))
    assert max(len([*validation.epoch(0, rank, world)]) for rank in range(world)) <= validation.steps(world)
