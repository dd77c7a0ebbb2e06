"""Count the changes of the file system that a process and its workers make, and kill them all before one of them."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from typing import Any

CHANGES = ("replace", "link", "fsync", "unlink", "rmdir")


def count_changes(steps: Any, fatal_step: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Count calls of the functions of ``os`` that change files; kill the process group before call ``fatal_step``.

    Args:
        steps: A ``multiprocessing.Value`` that counts, also for workers that are forked later.
        fatal_step: 0 kills never.

    Returns:
        A wrapper that makes another function count too.
    """

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def make(*arguments: Any, **options: Any) -> Any:
            with steps.get_lock():
                steps.value += 1
                if steps.value == fatal_step:
                    os.killpg(0, signal.SIGKILL)
            return change(*arguments, **options)

        return make

    tempfile.gettempdir()  # who asks first looks for a folder by writing to it, and libraries ask when they like
    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))
    return counted
