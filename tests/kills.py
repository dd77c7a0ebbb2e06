"""Kill a stage with its workers before a change of the file system, and see that running it again mends all.

Run as a script: ``kills.py STEP DOMAIN.STAGE SETTINGS FOLDER=PATH …``; SETTINGS are JSON, STEP 0 kills never.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.class_folders import contents

ROOT = Path(__file__).parents[1]
Folders = Mapping[str, Path]


@dataclass(frozen=True)
class Mended:
    """A run after one that was killed: its metrics, the files that it found, and those of them that it left alone."""

    metrics: dict[str, float]
    found: set[str]
    kept: set[str]


def assert_mends(
    stage: str,
    settings: Mapping[str, Any],
    inputs: Folders,
    output: str,
    scratch: Path,
    *,
    moments: int,
    at_least: int = 16,
    look: Callable[[Path], object] = contents,
) -> list[Mended]:
    """Kill a stage at some of its changes, from the first to the last; run again it must end as if nothing had been.

    Args:
        stage: Domain and stage, such as ``ecal.convert``.
        settings: Of the stage.
        inputs: Folders that it reads, by the names of the stage's arguments.
        output: Name of the argument for the folder that it writes.
        scratch: Where to write.
        moments: How many changes to kill it before, evenly spread.
        at_least: How many changes there must be, or the test would show little.
        look: What must be the same in the end, by default every byte.

    Returns:
        The second runs, by moment.
    """
    steps = _in_a_process(stage, settings, {**inputs, output: scratch / "whole"})
    assert steps >= at_least
    mended = []
    for step in sorted({int(step) for step in np.linspace(1, steps, min(moments, steps)).round()}):
        folder = scratch / f"killed before {step}"
        status = _in_a_process(stage, settings, {**inputs, output: folder}, fatal_step=step)
        assert (step, status) == (step, -signal.SIGKILL)
        found = _times(folder)
        metrics = _run(stage, settings, {**inputs, output: folder})
        assert (step, look(folder)) == (step, look(scratch / "whole"))
        kept = {name for name, time in _times(folder).items() if found.get(name) == time}
        mended.append(Mended(metrics, set(found), kept))
    return mended


def _times(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in contents(folder)}


def _in_a_process(stage: str, settings: Mapping[str, Any], folders: Folders, *, fatal_step: int = 0) -> int:
    """Run a stage; return how many changes of the file system it made, or -9 if it was killed."""
    words = [str(fatal_step), stage, json.dumps(dict(settings)), *(f"{name}={path}" for name, path in folders.items())]
    done = subprocess.run(
        [sys.executable, __file__, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode == -signal.SIGKILL:
        return -signal.SIGKILL
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


def _run(stage: str, settings: Mapping[str, Any], folders: Folders) -> dict[str, float]:
    from hepml_core.config import build_config
    from hepml_core.stages import config_of, find_stage
    from hepml_core.storage import open_folder

    domain, name = stage.split(".")
    function: Callable[..., dict[str, float]] = find_stage(name, domain)
    opened = {argument: open_folder(str(path)) for argument, path in folders.items()}
    return function(**opened, config=build_config(config_of(function), settings))


def main(fatal_step: int, stage: str, settings: str, *folders: str) -> None:
    """Be the process that is killed."""
    from tests.fatal_steps import count_changes

    steps = multiprocessing.Value("i", 0)
    count_changes(steps, fatal_step)
    named = dict(folder.split("=", 1) for folder in folders)
    _run(stage, json.loads(settings), {name: Path(path) for name, path in named.items()})
    print(steps.value)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
