"""Run a stage of ecal in a process of its own that is killed, with its workers, before a change of the file system.

Run as a script: ``kills.py STEP STAGE SETTINGS FOLDER=PATH …``; SETTINGS are JSON, STEP 0 kills never.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def run(stage: str, settings: Mapping[str, Any], folders: Mapping[str, Path], *, fatal_step: int = 0) -> int:
    """Run a stage; return how many changes of the file system it made, or -9 if it was killed."""
    words = [str(fatal_step), stage, json.dumps(dict(settings)), *(f"{name}={path}" for name, path in folders.items())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode == -signal.SIGKILL:
        return -signal.SIGKILL
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


def main(fatal_step: int, stage: str, settings: str, *folders: str) -> None:
    from hepml_core.config import build_config
    from hepml_core.stages import config_of
    from hepml_core.storage import open_folder
    from tests.fatal_steps import count_changes

    function = getattr(importlib.import_module(f"hepml_core.ecal.{stage}"), stage)
    config = build_config(config_of(function), json.loads(settings))
    opened = {name: open_folder(path) for name, path in (folder.split("=", 1) for folder in folders)}
    steps = multiprocessing.Value("i", 0)

    count_changes(steps, fatal_step)
    function(**opened, config=config)
    print(steps.value)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
