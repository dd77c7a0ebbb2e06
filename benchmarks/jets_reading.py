"""jets: reading ROOT against bare uproot, reading CSV against list loops, and the memory that a large file takes."""

from __future__ import annotations

import shutil
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from benchmarks.jets_samples import Sizes, toy_source
from benchmarks.measure import Numbers, compare, run_module, run_stage

ORIGINAL_LINES = 20_000
"""Where the original's scripts stop."""


def jets_convert(work: Path, sizes: Sizes) -> None:
    """Read ROOT files: ours against bare uproot; CSV: ours against list loops; memory of a file of some GB."""
    _read_root(toy_source("xaod_root", sizes))
    _read_csv(work, toy_source("phenoml_csv", sizes))
    _large_csv(work, toy_source("phenoml_csv", sizes), sizes.large_bytes)
    _large_root(work, toy_source("xaod_root", sizes), sizes.large_bytes)


def _read_root(source: Path) -> None:
    size = sum(file.stat().st_size for file in source.glob("*.root"))
    for variables in ("atlas4", "atlas27"):
        print(f"   ROOT, {variables}, files of {size / 1e6:.0f} MB; jets from the file to arrays in our units:")
        _, peer = compare(
            partial(run_module, "benchmarks.jets_ours", "read", str(source), variables),
            partial(run_module, "benchmarks.jets_peers", "read_root", str(source), variables),
            1e-6,
            "M jets",
            per="jets",
        )
        print(f"   {peer['jets']:.0f} jets")


def _read_csv(work: Path, source: Path) -> None:
    """Compare the stage, with its Parquet files, with loops over the first lines, which write a pickle."""
    lines = work / "lines" / "lines.csv"
    lines.parent.mkdir(exist_ok=True)
    with lines.open("wb") as out:
        for file in sorted(source.glob("*.csv")):
            with file.open("rb") as whole:
                out.writelines(islice(whole, ORIGINAL_LINES // 3))
    megabytes = lines.stat().st_size / 1e6
    shards = work / "shards"

    def ours() -> Numbers:
        shutil.rmtree(shards, ignore_errors=True)
        return run_stage("jets", "convert", {}, source=lines.parent, shards=shards)

    for what, name in (("the original's loops", "csv_as_original"), ("list loops without its faults", "csv_loops")):
        print(f"   CSV of {megabytes:.1f} MB, whole conversion, against {what}:")
        peer = partial(run_module, "benchmarks.jets_peers", name, str(lines), str(work))
        compare(ours, peer, megabytes, "MB")


def _large_csv(work: Path, source: Path, size: int) -> None:
    """Repeat the lines of a file until it has the size."""
    large = work / "large_csv" / "large.csv"
    large.parent.mkdir(exist_ok=True)
    contents = [file.read_bytes() for file in sorted(source.glob("*.csv"))]
    with large.open("wb") as out:
        for content in cycle(contents):
            out.write(content)
            if out.tell() >= size:
                break
    _convert_large(large, work / "large_shards", {})


def _large_root(work: Path, source: Path, size: int) -> None:
    """Repeat the events of a file until it has the size."""
    large = work / "large_root" / "large.root"
    large.parent.mkdir(exist_ok=True)
    run_module("benchmarks.jets_ours", "repeat", str(source), str(large), str(size))
    _convert_large(large, work / "large_shards", {"variables": "atlas27"})


def _convert_large(large: Path, shards: Path, settings: dict[str, str]) -> None:
    numbers = run_stage("jets", "convert", settings, source=large.parent, shards=shards)
    memory = max(numbers["memory_mb"], numbers["worker_memory_mb"])
    size = large.stat().st_size / 1e6
    rate = size / numbers["seconds"]
    print(f"   {large.name} of {size:.0f} MB: {numbers['seconds']:.0f} s, {rate:.0f} MB/s, peak memory {memory:.0f} MB")
    shutil.rmtree(shards)
    shutil.rmtree(large.parent)
