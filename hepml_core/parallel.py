"""Work on all cores: the results of many jobs, in order, with bounded memory."""

from __future__ import annotations

import math
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from hepml_core.errors import HepmlError

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

JOBS_AHEAD = 2
"""Jobs that wait for a core, per core: enough that none idles, few enough that their results need no memory."""

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how much time a container may use: microseconds and the period that they are for, or max."""


def cores() -> int:
    """Return the number of cores that this process may use: in a pod with a CPU limit fewer than its node has."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, CPU_LIMIT.read_text().split())
    except (OSError, ValueError):  # no container, or no limit
        return allowed
    return min(allowed, math.ceil(quota / period))


def in_threads(function: Callable[[JobT], ResultT], jobs: Iterable[JobT]) -> Iterator[ResultT]:
    """Apply a function that leaves Python's lock to jobs in threads; yield the results in the order of the jobs.

    An error of a job ends the work and is raised here.
    """
    with ThreadPoolExecutor(cores()) as pool:
        try:
            yield from _in_order(lambda job: pool.submit(function, job), jobs)
        finally:
            pool.shutdown(cancel_futures=True)


def in_processes(function: Callable[[JobT], ResultT], jobs: Iterable[JobT]) -> Iterator[ResultT]:
    """Apply a function to jobs in worker processes; yield the results in the order of the jobs.

    A single job, or a single core, needs no worker. An error of a job ends the work and is raised here.

    Raises:
        HepmlError: A worker was killed from outside.
    """
    queue = iter(jobs)
    first = list(islice(queue, 2))
    if len(first) < 2 or cores() == 1:
        yield from map(function, chain(first, queue))
        return
    # Forked workers start in milliseconds and do not import the caller's main module again.
    context = multiprocessing.get_context("fork")
    # Jobs that lie in the pool's pipe cannot be cancelled. They look at this value; it has no lock to die with.
    stopped = context.RawValue("b", 0)
    with ProcessPoolExecutor(
        cores(), mp_context=context, initializer=_start_worker, initargs=(os.getpid(), stopped)
    ) as pool:
        try:
            yield from _in_order(lambda job: pool.submit(_run_unless_stopped, function, job), chain(first, queue))
        except BrokenProcessPool as error:
            raise HepmlError(
                "a worker process was killed, perhaps for want of memory; run the same command to go on"
            ) from error
        finally:
            stopped.value = 1
            pool.shutdown(cancel_futures=True)


def _in_order(submit: Callable[[JobT], Future[ResultT]], jobs: Iterable[JobT]) -> Iterator[ResultT]:
    """Yield the results of jobs, drawn a few ahead."""
    waiting: deque[Future[ResultT]] = deque()
    for job in jobs:
        waiting.append(submit(job))
        if len(waiting) >= JOBS_AHEAD * cores():
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


_stopped: Any = None
"""In a worker: whether nobody waits for results any more."""


def _run_unless_stopped(function: Callable[[JobT], ResultT], job: JobT) -> ResultT:
    if _stopped.value:
        raise CancelledError
    return function(job)


def _start_worker(parent: int, stopped: Any) -> None:
    """End this worker when its parent is gone, for a parent that was killed cannot say so."""
    global _stopped
    _stopped = stopped

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
