"""Chance, feeding and the choice of processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from hepml_core.errors import TrainingError
from hepml_core.training.devices import Batch, Feed, seeded
from hepml_core.training.meters import Watch, check_loss_scale

CPU = torch.device("cpu")


def test_seeds_give_the_same_numbers_and_leave_the_global_state() -> None:
    before = torch.get_rng_state()
    drawn = []
    for seed in ((1, 2), (1, 2), (2, 1)):
        with seeded(*seed):
            drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.get_rng_state())


def numbers(count: int) -> Iterator[Batch]:
    for number in range(count):
        yield {"number": torch.tensor([number])}


def test_a_feed_keeps_the_order_and_loses_nothing() -> None:
    assert [int(batch["number"]) for batch in Feed(numbers(20), CPU)] == list(range(20))


def test_batches_are_drawn_while_the_device_computes() -> None:
    drawn = threading.Semaphore(0)

    def announced() -> Iterator[Batch]:
        for batch in numbers(10):
            drawn.release()
            yield batch

    for number, _ in enumerate(Feed(announced(), CPU)):
        if number == 0:
            assert all(drawn.acquire(timeout=30) for _ in range(2)), "this batch, and the next one"


def test_only_the_wait_for_data_counts_as_waiting() -> None:
    def late() -> Iterator[Batch]:
        time.sleep(0.2)
        yield from numbers(2)

    feed = Feed(late(), CPU)
    start = time.perf_counter()
    for _ in feed:
        time.sleep(0.2)
    assert 0.15 < feed.waited < time.perf_counter() - start - 0.3


def test_a_failure_while_drawing_reaches_the_loop() -> None:
    def failing() -> Iterator[Batch]:
        yield from numbers(1)
        raise OSError("the store is gone")

    with pytest.raises(OSError, match="the store is gone"):
        list(Feed(failing(), CPU))


def test_the_thread_that_draws_has_no_helpers_and_takes_none_from_the_loop() -> None:
    drawn = ({"threads": torch.tensor(torch.get_num_threads())} for _ in range(5))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for batch in Feed(drawn, CPU):
            assert int(batch["threads"]) == 1
            assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_a_loop_that_stops_leaves_no_thread() -> None:
    before = threading.active_count()
    for _ in Feed(numbers(100), CPU):
        break
    assert threading.active_count() == before


def test_the_watch_names_the_first_bad_step_though_it_looks_late() -> None:
    watch = Watch(3, torch.device("meta"), 0.1)
    losses = [1.0, 0.9, 0.8, float("nan"), float("nan")]
    for loss in losses:
        watch.look(torch.tensor(loss), torch.tensor(1.0))
    with pytest.raises(TrainingError, match="the loss is not finite in epoch 3, step 4"):
        watch.check()


def test_a_gradient_that_need_not_be_finite_is_not_looked_at() -> None:
    watch = Watch(1, CPU, 0.1)
    watch.look(torch.tensor(1.0), None)
    with pytest.raises(TrainingError, match="the gradient"):
        watch.look(torch.tensor(1.0), torch.tensor(float("inf")))


def test_a_loss_scale_that_fell_to_nothing_ends_the_fit() -> None:
    check_loss_scale({}, 1)
    check_loss_scale({"scale": 1.0}, 1)
    with pytest.raises(TrainingError, match="bf16"):
        check_loss_scale({"scale": 2.0**-30}, 1)
