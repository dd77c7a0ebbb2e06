"""Run ours and the peer's in turn, each in a process of its own; rates, ratios and memory."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROUNDS = 3

Numbers = dict[str, float]


def run_stage(domain: str, name: str, settings: Mapping[str, object], **folders: Path) -> Numbers:
    """Run one of our stages in a process of its own; return what it took."""
    words = [f"{folder}={path}" for folder, path in folders.items()]
    return run_module("benchmarks.ours", "stage", domain, name, json.dumps(dict(settings)), *words)


def run_module(module: str, *words: str) -> Numbers:
    """Run ``python -m module words``; return the numbers that it prints as ``name=number``."""
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(words)} failed:\n{done.stderr}")
    return numbers_of(done.stdout)


def numbers_of(printed: str) -> Numbers:
    """Return the numbers in lines ``name=number``."""
    pairs = (line.partition("=") for line in printed.splitlines())
    return {name: float(value) for name, separator, value in pairs if separator}


def compare(
    ours: Callable[[], Numbers], peer: Callable[[], Numbers], amount: float, unit: str
) -> tuple[Numbers, Numbers]:
    """Run both in turn, print rates and their ratio; return the last numbers of each."""
    rounds = [(ours(), peer()) for _ in range(ROUNDS)]
    rates = [[amount / numbers["seconds"] for numbers in side] for side in zip(*rounds, strict=True)]
    own, other = (statistics.median(side) for side in rates)
    spread = [f"{min(side):.0f}-{max(side):.0f}" for side in rates]
    print(f"   ours {own:.0f} {unit}/s ({spread[0]}), peer {other:.0f} {unit}/s ({spread[1]}): ratio {own / other:.2f}")
    return rounds[-1]


def importable(package: str) -> bool:
    """Tell whether a package is installed."""
    return importlib.util.find_spec(package) is not None
