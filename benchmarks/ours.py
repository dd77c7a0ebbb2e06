"""hepml's side of each comparison; each runs in a process of its own, like the peers.

``python -m benchmarks.ours NAME FOLDER …`` prints ``seconds=…`` of the work without imports, and what else it measured.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from hepml_core.stages import find_stage, run_stage
from hepml_core.storage import open_folder


def stage(domain: str, name: str, settings: str, *folders: str) -> None:
    """Run a stage on folders given as ``name=path``; settings are JSON."""
    find_stage(name, domain)
    import numpy.ma  # noqa: F401 - which pyarrow imports with its first array: an import too

    start = time.perf_counter()
    run_stage(name, domain, json.loads(settings), **dict(folder.split("=", 1) for folder in folders))
    print(f"seconds={time.perf_counter() - start}")
    # The system's ru_maxrss of this process would be that of the parent, where that was larger when it forked.
    status = Path("/proc/self/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"memory_mb={own / 1024}\nworker_memory_mb={workers / 1024}")


def read(dataset: str) -> None:
    """Read, parse, decode and batch the train split in random order; the second of two passes counts."""
    from hepml_core.artifacts import read_manifest
    from hepml_core.event_images.batches import PictureSet

    folder = open_folder(dataset)
    pictures = PictureSet(folder, read_manifest(folder, "dataset", "event_images"), "train")
    for epoch in range(2):
        start, count = time.perf_counter(), 0
        for batch in pictures.shuffled(np.arange(len(pictures)), 32, np.random.default_rng(epoch)):
            count += len(batch.keys)
        seconds = time.perf_counter() - start
    assert "tensorflow" not in sys.modules
    print(f"seconds={seconds}\nimages={count}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
