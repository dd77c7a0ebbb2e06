"""Write toy electrons and photons as the HDF5 files of the public sample: data for whoever has none at hand."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from hepml_core.ecal.config import GenerateConfig
from hepml_core.ecal.crystals import SIZE
from hepml_core.ecal.event_records import CLASSES
from hepml_core.ecal.hdf5_writer import image_writer
from hepml_core.ecal.toys import ToyEvents, make_events
from hepml_core.parallel import in_processes
from hepml_core.progress import progress
from hepml_core.storage import Folder, open_folder
from hepml_core.toy_folders import claim

log = logging.getLogger(__name__)

RECIPE = 1
"""Counts changes that make other events from the same settings."""
EVENTS_PER_BLOCK = 512
"""Events that are drawn at once: what bounds the memory. Each block has its own stream of chance."""


class Job(NamedTuple):
    """One file."""

    name: str
    label: int
    number: int
    events: int


def generate(source: Folder, config: GenerateConfig) -> dict[str, float]:
    """Draw toy events and write them as ``photon_000.hdf5`` and ``electron_000.hdf5``.

    Files hold ``X`` (event, row, column, 2), energy in units of 50 GeV and time in units of 25 ns, ``y``, 0 for photons
    and 1 for electrons, and ``eta``, the particle's true pseudorapidity, all float32. Rows follow eta, columns phi; the
    crystal of highest energy is at (16, 16). A file is a pure function of the settings, its class, its number and how
    many events it holds, so a run that was killed goes on where it stopped, with the same bytes; files that are there are
    not made again. The README tells the physics.

    Args:
        source: Folder to write to; empty, or with files of an earlier run with the same settings.
        config: What to draw.

    Returns:
        The number of ``events`` and ``files`` in the folder, and of those, the files ``written`` by this run.

    Raises:
        FolderError: The folder holds something else, or files of other settings. Nothing is deleted or replaced.
        StorageError: The store refused a file.
    """
    jobs = _jobs(config)
    found = claim(source, config, recipe=RECIPE, wanted={job.name for job in jobs})
    missing = [job for job in jobs if job.name not in found]
    log.info("drawing %d of %d files", len(missing), len(jobs))
    with progress("generate", sum(job.events for job in missing), "events") as bar:
        for events in in_processes(partial(_write, str(source), config), missing):
            bar.advance(events)
    total = float(sum(job.events for job in jobs))
    return {"events": total, "files": float(len(jobs)), "written": float(len(missing))}


def _jobs(config: GenerateConfig) -> list[Job]:
    """List the files of the folder."""
    return [
        Job(f"{name}_{number:03d}.hdf5", label, number, min(config.events_per_file, config.events_per_class - first))
        for number, first in enumerate(range(0, config.events_per_class, config.events_per_file))
        for label, name in enumerate(CLASSES)
    ]


def _write(address: str, config: GenerateConfig, job: Job) -> int:
    """Draw and write one file; return its number of events."""
    with open_folder(address).staged(job.name) as path, image_writer(path, (SIZE, SIZE)) as writer:
        for block in _blocks(config, job):
            label_e = np.full(len(block.eta_e), job.label, np.float32)
            writer.append(block.hits.to_images(), label_e, block.eta_e.astype(np.float32))
    return job.events


def _blocks(config: GenerateConfig, job: Job) -> Iterator[ToyEvents]:
    for number, first in enumerate(range(0, job.events, EVENTS_PER_BLOCK)):
        rng = np.random.default_rng([config.seed, job.label, job.number, number])
        yield make_events(job.label, min(EVENTS_PER_BLOCK, job.events - first), config, rng)
