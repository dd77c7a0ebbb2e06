"""``python -m benchmarks [--small] [NAME …]``: measure ours and the peer's in turn, print times and ratios.

Without names all are run; ``--small`` takes few jets and short fits, to see that everything works. Where two sides are timed
they alternate, three times, and the medians count. Data are made first, and read from the page cache, for both sides.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import (
    ecal_comparison,
    ecal_convert,
    ecal_movie,
    ecal_step,
    event_images,
    jets_compression,
    jets_network,
    jets_reading,
    jets_training,
)
from benchmarks.jets_samples import FULL, SMALL, Sizes
from hepml_core.errors import UnknownNameError

Benchmark = Callable[[Path], None]


def main(words: list[str]) -> None:
    """Run the benchmarks of the given names, or all."""
    benchmarks = choose(SMALL if "--small" in words else FULL)
    names = [word for word in words if word != "--small"]
    for name in names:
        if name not in benchmarks:
            raise UnknownNameError("benchmark", name, benchmarks)
    with tempfile.TemporaryDirectory(prefix="hepml-bench-") as folder:
        for name in names or benchmarks:
            print(f"== {name}: {meaning(benchmarks[name])}", flush=True)
            start = time.perf_counter()
            benchmarks[name](Path(folder))
            print(f"   ({time.perf_counter() - start:.0f} s)\n", flush=True)


def choose(sizes: Sizes) -> dict[str, Benchmark]:
    """Return the benchmarks by name, with their sizes."""
    return {
        "convert": event_images.convert,
        "organize": event_images.organize,
        "normalize": event_images.normalize,
        "read": event_images.read,
        "memory": event_images.memory,
        "compression": partial(jets_compression.compression, sizes=sizes),
        "jets_convert": partial(jets_reading.jets_convert, sizes=sizes),
        "jets_training": partial(jets_training.jets_training, sizes=sizes),
        "jets_network": partial(jets_network.jets_network, sizes=sizes),
        "ecal_convert": ecal_convert.ecal_convert,
        "ecal_movie": ecal_movie.ecal_movie,
        "ecal_step": ecal_step.ecal_step,
        "ecal_comparison": partial(
            ecal_comparison.ecal_comparison,
            sizes=ecal_comparison.SMALL if sizes is SMALL else ecal_comparison.FULL,
        ),
    }


def meaning(benchmark: Benchmark) -> str:
    """Return the first line of what a benchmark says of itself."""
    function = benchmark.func if isinstance(benchmark, partial) else benchmark
    return (function.__doc__ or "").splitlines()[0]


if __name__ == "__main__":
    main(sys.argv[1:])
