"""jets: our batches against a plain DataLoader over a TensorDataset of the same rows, alone and in whole training steps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.jets_samples import Sizes
from benchmarks.measure import compare, run_module

NODES = (4, 400, 400, 200, 3, 200, 400, 400, 4)
BATCH_SIZES = (256, 1024, 8192)


def jets_training(work: Path, sizes: Sizes) -> None:  # noqa: ARG001
    """Rows per second into training: our batches against a DataLoader over a TensorDataset, alone and in whole steps."""
    for name, rows, what in (
        ("deliver", sizes.delivered_rows, "delivery alone"),
        ("steps", sizes.trained_rows, f"training steps of {'-'.join(map(str, NODES))}"),
    ):
        for batch_size in BATCH_SIZES:
            print(f"   {what}, batches of {batch_size}:")
            words = (name, str(rows), str(batch_size))
            compare(
                partial(run_module, "benchmarks.jets_ours", *words),
                partial(run_module, "benchmarks.jets_peers", *words),
                1e-3,
                "k rows",
                per="rows",
            )


def made_rows(count: int) -> NDArray[np.float32]:
    """Return rows (count, 4) of normal numbers."""
    return np.random.default_rng(0).standard_normal((count, NODES[0])).astype(np.float32)
