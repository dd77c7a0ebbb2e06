from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hepml_core.memory import memory_kept
from hepml_core.training.devices import tuned

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")


def new_pages(make: Callable[[], object]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    make()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
@pytest.mark.parametrize("steps", [False, True], ids=["alone", "while_training"])
def test_arrays_use_the_memory_of_the_arrays_before_and_return_it_at_the_end(steps: bool) -> None:
    def make() -> object:
        return torch.ones(1 << 23) if steps else np.ones(1 << 22)

    with tuned(torch.device("cpu")) if steps else memory_kept():
        # What lies between the first ones, of whoever else works in this process, keeps them from being joined.
        within = [new_pages(make) for _ in range(30)][-1]
    assert 10 * within < min(new_pages(make), new_pages(make))


AFTERWARDS = """
import resource, numpy
from hepml_core.memory import memory_kept
with memory_kept():
    pass
pages = []
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(1 << 19)
    pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(pages[-1])
"""


@glibc
def test_what_is_not_large_is_used_again_afterwards_as_before() -> None:
    # In a process of its own: what others have freed in this one would be used first.
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50  # of 512 and more
