"""Compile pipelines as a person does, and look into what comes out."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
DECIDING = ("HEPML_IMAGES", "HEPML_TAG", "HEPML_ACCELERATOR")


@functools.cache
def compiled(domain: str, seed: int = 1, wishes: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    """Compile in a process of its own; return the files' texts by name."""
    plain = {name: value for name, value in os.environ.items() if name not in DECIDING}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pipelines", "compile", domain, "--out", folder]
        environment = {**plain, **dict(wishes), "PYTHONHASHSEED": str(seed)}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        return {path.stem: path.read_text() for path in sorted(Path(folder).iterdir())}


def parameters_of(text: str) -> dict[str, Any]:
    """Return the parameters of a pipeline with their defaults."""
    spec, *_ = yaml.safe_load_all(text)
    parameters: dict[str, Any] = spec["root"]["inputDefinitions"]["parameters"]
    return parameters


def tasks_of(text: str) -> dict[str, Any]:
    """Return the tasks of the pipeline and of those inside it."""
    spec, *_ = yaml.safe_load_all(text)
    dags = [spec["root"]["dag"], *(part["dag"] for part in spec["components"].values() if "dag" in part)]
    return {name: task for dag in dags for name, task in dag["tasks"].items()}


def executors_of(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the containers, and what Kubernetes adds to them, by name of the stage."""
    spec, platform = yaml.safe_load_all(text)
    added = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    containers = spec["deploymentSpec"]["executors"]
    return (
        {name.removeprefix("exec-"): part["container"] for name, part in containers.items()},
        {name.removeprefix("exec-"): part for name, part in added.items()},
    )


def without_kfp_version(text: str) -> str:
    """Leave out the line that changes with kfp."""
    return re.sub(r"^sdkVersion: .*$", "", text, flags=re.MULTILINE)
