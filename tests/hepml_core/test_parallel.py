"""Many jobs on all cores: in order, within bounds, and never left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepml_core import parallel
from hepml_core.errors import HepmlError, UnknownNameError
from hepml_core.parallel import JOBS_AHEAD, cores, in_processes, in_threads

PARENT = """
import os, sys, time
from hepml_core import parallel

parallel.cores = lambda: 2

def job(number):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(60)

list(parallel.in_processes(job, range(4)))
"""


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 2)


def square(number: int) -> int:
    return number * number


def slow_at_first(number: int) -> tuple[int, int]:
    time.sleep(0.1 if number == 0 else 0)
    return number, os.getpid()


def fail_at_three(number: int) -> int:
    if number == 3:
        raise UnknownNameError("class", "higs", ["higgs", "qcd"])
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def nap(_: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def fail_and_leave_a_mark(path: Path) -> None:
    path.touch()
    if path.name == "0":
        raise ZeroDivisionError
    time.sleep(1)


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def test_results_come_in_the_order_of_the_jobs_from_other_processes() -> None:
    results = list(in_processes(slow_at_first, range(40)))
    assert [number for number, _ in results] == list(range(40))
    assert os.getpid() not in {pid for _, pid in results}


@pytest.mark.parametrize("count", [0, 1])
def test_a_single_job_needs_no_worker(count: int) -> None:
    assert [pid for _, pid in in_processes(slow_at_first, range(count))] == [os.getpid()] * count


def test_a_single_core_needs_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    assert {pid for _, pid in in_processes(slow_at_first, range(3))} == {os.getpid()}


def test_the_error_of_a_job_comes_home_whole_and_ends_the_work() -> None:
    results = in_processes(fail_at_three, range(10_000))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UnknownNameError, match=r"^unknown class 'higs'\. Did you mean 'higgs'\?"):
        next(results)
    assert list(results) == []
    assert multiprocessing.active_children() == []


def test_jobs_that_wait_do_not_start_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_processes(fail_and_leave_a_mark, [tmp_path / str(number) for number in range(50)]))
    started = {path.name for path in tmp_path.iterdir()}
    assert started <= {"0", "1", "2"}  # one may be quicker than the news


def test_threads_give_results_in_the_order_of_the_jobs_and_draw_few_ahead() -> None:
    drawn: list[int] = []
    jobs = (drawn.append(number) or number for number in range(40))  # type: ignore[func-returns-value]
    for taken, (number, pid) in enumerate(in_threads(slow_at_first, jobs)):
        assert (number, pid) == (taken, os.getpid())
        assert len(drawn) <= taken + JOBS_AHEAD * 2 + 1
    assert len(drawn) == 40


def test_the_error_of_a_job_in_a_thread_ends_the_work() -> None:
    results = in_threads(fail_at_three, range(10_000))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UnknownNameError, match="higs"):
        next(results)
    assert list(results) == []


def test_an_error_in_the_list_of_jobs_ends_the_work() -> None:
    def jobs() -> Iterator[int]:
        yield from range(5)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(in_processes(square, jobs()))
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_a_sentence() -> None:
    with pytest.raises(HepmlError, match=r"^a worker process was killed, perhaps for want of memory; run the same"):
        list(in_processes(die_at_three, range(100)))
    assert multiprocessing.active_children() == []


def test_jobs_are_drawn_as_results_are_taken() -> None:
    drawn = 0

    def jobs() -> Iterator[int]:
        nonlocal drawn
        for number in range(200):
            drawn += 1
            yield number

    for taken, result in enumerate(in_processes(square, jobs())):
        assert result == taken**2
        assert drawn <= taken + 1 + JOBS_AHEAD * 2
    assert drawn == 200


def test_who_stops_early_leaves_no_worker_behind() -> None:
    results = in_processes(nap, range(10_000))
    workers = {next(results) for _ in range(4)}
    start = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 10
    assert not any(map(is_running, workers))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")
def test_workers_end_when_their_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        running = [is_running(worker) for worker in workers]
        parent.kill()
        assert running == [True, True]
        deadline = time.monotonic() + 20
        while any(map(is_running, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(map(is_running, workers))


def test_an_interrupt_from_the_keyboard_prints_no_traceback_of_workers() -> None:
    code = PARENT.replace("list(", "try:\n    list(") + "except KeyboardInterrupt:\n    print('ended')\n"
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        for _ in range(2):
            parent.stdout.readline()
        os.killpg(parent.pid, signal.SIGINT)
        out, err = parent.communicate(timeout=30)
    assert (out.strip().splitlines()[-1], err) == ("ended", "")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 3),
        ("10000 100000", 1),
        ("6400000 100000", 8),
        ("", 8),
    ],
)
def test_a_pod_uses_the_cores_of_its_limit_and_not_of_its_node(
    limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(parallel, "CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cores() == expected


def test_without_a_limit_all_usable_cores_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "CPU_LIMIT", tmp_path / "absent")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert cores() == 3
