from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")

PROGRAM = """
import json, resource, sys
import numpy, torch
from hepml_core.memory import memory_kept
from hepml_core.training.devices import tuned

kind, megabytes = sys.argv[1], int(sys.argv[2])
float_type = torch.float64 if kind == "while_training" else numpy.float64

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    (torch if kind == "while_training" else numpy).ones(megabytes << 17, dtype=float_type)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with tuned(torch.device("cpu")) if kind == "while_training" else memory_kept():
    within = [new_pages() for _ in range(30)]
print(json.dumps([within, [new_pages() for _ in range(5)]]))
"""
"""Counts the pages that arrays make the system clear, within and afterwards."""


def pages(kind: str, megabytes: int) -> tuple[list[int], list[int]]:
    """Run it in a process of its own: what others have freed in this one would be used first."""
    command = [sys.executable, "-c", PROGRAM, kind, str(megabytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    within, afterwards = json.loads(done.stdout)
    return within, afterwards


@glibc
@pytest.mark.parametrize("kind", ["alone", "while_training"])
def test_arrays_use_the_memory_of_the_arrays_before_and_return_it_at_the_end(kind: str) -> None:
    within, afterwards = pages(kind, 64)
    assert 10 * within[-1] < afterwards[0], "the system clears pages again, for it got back those of before"


@glibc
def test_what_is_not_large_is_used_again_afterwards_as_before() -> None:
    _, afterwards = pages("alone", 4)
    assert afterwards[-1] < 50  # of a thousand, or of two where pages are huge
