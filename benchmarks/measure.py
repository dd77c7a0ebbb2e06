"""Run ours and the peer's in turn, each in a process of its own; rates, ratios and memory."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
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
    ours: Callable[[], Numbers], peer: Callable[[], Numbers], amount: float, unit: str, per: str = ""
) -> tuple[Numbers, Numbers]:
    """Run both in turn, print rates and their ratio; return the last numbers of each.

    Args:
        ours: Runs our side.
        peer: Runs the other.
        amount: How much a run does, or by what to multiply what it says.
        unit: Of the amount.
        per: Name of the number that says how much a run did; empty: it did ``amount``.
    """
    rounds = [(ours(), peer()) for _ in range(ROUNDS)]
    for clock, suffix in (("seconds", "s"), ("cpu_seconds", "s of CPU")):
        if all(clock in numbers for both in rounds for numbers in both):
            _print_rates(rounds, clock, amount, per, f"{unit}/{suffix}")
    return rounds[-1]


def _print_rates(rounds: Sequence[tuple[Numbers, Numbers]], clock: str, amount: float, per: str, unit: str) -> None:
    rates = [[amount * numbers.get(per, 1) / numbers[clock] for numbers in side] for side in zip(*rounds, strict=True)]
    own, other = (statistics.median(side) for side in rates)
    digits = 0 if min(own, other) >= 10 else 2
    spread = [f"{min(side):.{digits}f}-{max(side):.{digits}f}" for side in rates]
    said = [f"{rate:.{digits}f} {unit} ({span})" for rate, span in zip((own, other), spread, strict=True)]
    print(f"   ours {said[0]}, peer {said[1]}: ratio {own / other:.2f}", flush=True)


def importable(package: str) -> bool:
    """Tell whether a package is installed."""
    return importlib.util.find_spec(package) is not None
