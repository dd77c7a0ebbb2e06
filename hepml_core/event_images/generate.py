"""Write toy event displays as folders of pictures, one folder a class: data for whoever has none at hand."""

from __future__ import annotations

import logging
from functools import partial

from hepml_core.errors import UnknownNameError
from hepml_core.event_images.config import GenerateConfig
from hepml_core.event_images.displays import draw_display
from hepml_core.event_images.physics import PROCESSES
from hepml_core.event_images.pictures import encode_png
from hepml_core.parallel import in_processes
from hepml_core.progress import progress
from hepml_core.storage import Folder, in_parallel, open_folder
from hepml_core.toy_folders import claim

log = logging.getLogger(__name__)

RECIPE = 1
"""Counts changes that make other pictures from the same settings."""
FREE_SETTINGS = ("classes", "events_per_class")
"""Settings that may differ between two runs into one folder: they leave every single picture as it is."""

PICTURES_PER_JOB = 25

Job = tuple[str, range]
"""A class and the numbers of its pictures."""


def generate(source: Folder, config: GenerateConfig) -> dict[str, float]:
    """Draw toy CMS-like event displays and write them as ``<class>/<class>_000000.png``.

    A picture is a pure function of its class, its number and the settings, so a run that was killed goes on where it
    stopped, with the same bytes; pictures that are there are not drawn again. The README tells the physics.

    Args:
        source: Folder to write to; empty, or with pictures of an earlier run with the same settings.
        config: What to draw.

    Returns:
        The number of pictures in the folder (``pictures``) and of those, the ones drawn by this run (``drawn``).

    Raises:
        UnknownNameError: A class is no known process.
        FolderError: The folder holds something else, or pictures of other settings. Nothing is deleted or replaced.
        StorageError: The store refused a file.
    """
    for name in config.classes:
        if name not in PROCESSES:
            raise UnknownNameError("class", name, PROCESSES)
    wanted = {
        picture_name(name, number): (name, number)
        for name in config.classes
        for number in range(config.events_per_class)
    }
    missing = dict(wanted)
    for name in claim(source, config, recipe=RECIPE, wanted=wanted, free=FREE_SETTINGS):
        missing.pop(name, None)
    jobs = _jobs(list(missing.values()))
    log.info("drawing %d of %d pictures", len(missing), len(wanted))
    with progress("generate", len(missing), "pictures") as bar:
        for drawn in in_processes(partial(_draw, str(source), config), jobs):
            bar.advance(drawn)
    return {"pictures": float(len(wanted)), "drawn": float(len(missing))}


def picture_name(process: str, number: int) -> str:
    """Return the name of a picture in the folder."""
    return f"{process}/{process}_{number:06d}.png"


def _jobs(pictures: list[tuple[str, int]]) -> list[Job]:
    """Group pictures that follow each other within a class."""
    jobs: list[Job] = []
    for name, number in pictures:
        if jobs and jobs[-1][0] == name and jobs[-1][1].stop == number and len(jobs[-1][1]) < PICTURES_PER_JOB:
            jobs[-1] = (name, range(jobs[-1][1].start, number + 1))
        else:
            jobs.append((name, range(number, number + 1)))
    return jobs


def _draw(address: str, config: GenerateConfig, job: Job) -> int:
    """Draw and write the pictures of a job; return how many."""
    source = open_folder(address)
    name, numbers = job
    contents = {picture_name(name, number): encode_png(draw_display(name, number, config)) for number in numbers}
    in_parallel(lambda name: source.write(name, contents[name]), contents)  # an object store answers slowly
    return len(contents)
