"""ecal: 498,000 events, as many as the public sample has, from HDF5 to shards, splits and statistics."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from benchmarks.measure import Numbers, run_stage
from hepml_core.ecal.hdf5_writer import image_writer
from hepml_core.parallel import cores

EVENTS_PER_CLASS = 249_000
DRAWN_PER_CLASS = 3_000
DENSE_BYTES = 21 * 32 * 32 * 4
"""Of an event as a movie of 21 frames in float32."""

_stage = partial(run_stage, "ecal")


def ecal_convert(work: Path) -> None:
    """498,000 events in two HDF5 files to shards, splits and statistics: time, peak memory, bytes against dense movies."""
    source = _source(work)
    size = sum(file.stat().st_size for file in source.iterdir())
    print(f"   two files of {EVENTS_PER_CLASS} events, {size / 1e6:.0f} MB", flush=True)
    shards, dataset, statistics = (work / f"ecal-{name}" for name in ("shards", "dataset", "statistics"))
    for stage, numbers in (
        ("convert", _stage("convert", {}, source=source, shards=shards)),
        ("organize", _stage("organize", {}, shards=shards, dataset=dataset)),
        ("organize by rows", _stage("organize", {"method": "rows"}, shards=shards, dataset=work / "ecal-rows")),
        ("normalize", _stage("normalize", {}, dataset=dataset, statistics=statistics)),
    ):
        _print(stage, numbers)
    written = sum(file.stat().st_size for file in shards.iterdir() if ".tfrecord" in file.name)
    events = json.loads((shards / "manifest.json").read_text())["metrics"]["events"]
    ratio = DENSE_BYTES * events / written
    print(
        f"   {written / events:.0f} bytes an event in shards and indices; dense movies take {ratio:.0f} times as many"
    )
    shutil.rmtree(source)


def _print(stage: str, numbers: Numbers) -> None:
    workers = cores() * numbers["worker_memory_mb"]
    print(
        f"   {stage}: {numbers['seconds']:.1f} s, {2 * EVENTS_PER_CLASS / numbers['seconds']:.0f} events/s; peak memory "
        f"{numbers['memory_mb']:.0f} MB, all workers together at most {workers:.0f} MB",
        flush=True,
    )


def _source(work: Path) -> Path:
    """Write files like those of the public sample: drawn events over and over, with times that differ a little."""
    drawn, source = work / "ecal-drawn", work / "ecal-source"
    _stage("generate", {"events_per_class": DRAWN_PER_CLASS}, source=drawn)
    source.mkdir()
    for path in sorted(drawn.glob("*.hdf5")):
        with h5py.File(path, "r") as file:
            image_eyxc, label_e, eta_e = (file[name][:] for name in ("X", "y", "eta"))
        hit_eyx = image_eyxc[..., 0] > 0
        with image_writer(source / path.name, image_eyxc.shape[1:3]) as writer:
            for first in range(0, EVENTS_PER_CLASS, DRAWN_PER_CLASS):
                some = slice(0, min(DRAWN_PER_CLASS, EVENTS_PER_CLASS - first))
                writer.append(image_eyxc[some], label_e[some], eta_e[some])
                image_eyxc[..., 1] += np.float32(1e-4) * hit_eyx
    return source
