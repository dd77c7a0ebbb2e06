"""ecal: movies made of hits, against the original's double loop over events and frames.

``python -m benchmarks.ecal_movie NAME EVENTS BATCH`` runs one side and prints ``seconds=…`` of the work without imports.

Suffixes: e event, k frame, y row, x column, c channel (energy, time).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import compare, run_module
from hepml_core.ecal.config import GenerateConfig
from hepml_core.ecal.hits import Hits
from hepml_core.ecal.toys import make_events

EVENTS, LOOPED_EVENTS, BATCH = 20_000, 2_000, 100
MIN_ENERGY, T_MIN, T_MAX, T_STEP = 0.005, -0.1, 0.1, 0.0099


def ecal_movie(work: Path) -> None:  # noqa: ARG001
    """Make movies of 20 frames of 32 x 32: ours of 20,000 events, against the original's loop over 2,000, per event."""
    peer = partial(run_module, "benchmarks.ecal_movie", "loop", str(LOOPED_EVENTS), str(LOOPED_EVENTS))
    for batch, what in ((BATCH, f"in batches of {BATCH}"), (EVENTS, "at once")):
        print(f"   {EVENTS} events {what}:")
        ours = partial(run_module, "benchmarks.ecal_movie", "movie", str(EVENTS), str(batch))
        compare(ours, peer, 1.0, "events", per="events")


def movie(events: int, batch: int) -> None:
    """Make the movies, from hits that are not padded yet."""
    import torch

    from hepml_core.ecal.movie import to_movie, window_edges

    hits, edges = toy_hits(events), window_edges(T_MIN, T_MAX, T_STEP)

    def make(first: int) -> torch.Tensor:
        padded = hits.of(np.arange(first, min(first + batch, events))).padded()
        crystal_bh, energy_bh, time_bh = map(torch.from_numpy, (padded.crystal_bh, padded.energy_bh, padded.time_bh))
        shown_bh = energy_bh * (energy_bh > MIN_ENERGY)
        return to_movie(crystal_bh, shown_bh, time_bh, edges=edges, shape=hits.shape, cumulative=True, early="first")

    few = min(batch, BATCH)
    check = original_movie(hits.of(np.arange(few)).to_images())[:, :-1]
    np.testing.assert_allclose(make(0)[:few].numpy(), check, rtol=1e-6)

    def make_all() -> None:
        for first in range(0, events, batch):
            make(first)

    make_all()
    _timed(make_all, events)


def loop(events: int, batch: int) -> None:
    """Make the movies as the original did, of dense images."""
    image_eyxc = toy_hits(min(events, batch)).to_images()
    original_movie(image_eyxc[:BATCH])
    _timed(lambda: original_movie(image_eyxc), len(image_eyxc))


def original_movie(image_eyxc: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return frames of energies as the original made them: in float64, event by event, with those of times beside them."""
    image_eyxc = image_eyxc.copy()
    image_eyxc[image_eyxc[..., 0] <= MIN_ENERGY] = np.nan
    edge_k = np.arange(T_MIN, T_MAX, T_STEP)
    energy_ekyx, time_ekyx = (np.zeros((len(image_eyxc), len(edge_k), *image_eyxc.shape[1:3])) for _ in range(2))
    for event in range(len(image_eyxc)):
        for k in range(len(edge_k) - 1):
            seen_yx = image_eyxc[event, ..., 1] <= edge_k[k + 1]
            energy_ekyx[event, k] = np.where(seen_yx, image_eyxc[event, ..., 0], np.nan)
            time_ekyx[event, k] = np.where(seen_yx, image_eyxc[event, ..., 1], np.nan)
    return np.nan_to_num(energy_ekyx)


def toy_hits(events: int) -> Hits:
    """Draw electrons; times are kept off the edges, which the original rounded otherwise."""
    return make_events(1, events, GenerateConfig(), np.random.default_rng(0)).hits


def _timed(work: Callable[[], object], events: int) -> None:
    start, used = time.perf_counter(), time.process_time()
    work()
    print(f"seconds={time.perf_counter() - start}\ncpu_seconds={time.process_time() - used}\nevents={events}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(int, sys.argv[2:]))
