"""Predict: apply a model folder to new files."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hepml_core.artifacts import FileEntry, Output, checksum
from hepml_core.ecal.config import PredictConfig
from hepml_core.ecal.convert import ENDINGS, EVENTS_TRIED, SKIPPED_SHOWN, on_this_disk
from hepml_core.ecal.event_records import CLASSES
from hepml_core.ecal.hdf5_files import BadEvent, Reading, read_chunks
from hepml_core.ecal.hdf5_layout import describe_file
from hepml_core.ecal.inference import Classifier
from hepml_core.ecal.prediction_table import PREDICTIONS, header, lines_of
from hepml_core.errors import DataError
from hepml_core.progress import progress
from hepml_core.source_files import digest_of, find_files
from hepml_core.storage import Folder

log = logging.getLogger(__name__)


def predict(source: Folder, model: Folder, predictions: Folder, config: PredictConfig) -> Mapping[str, float]:
    """Classify every event of every file, labelled or not; write ``predictions.csv``.

    Hits are cut and images cropped as convert did for the events that the model was fitted to. Only a block of events is
    in memory at a time. Files in an object store are copied to the local disk for the time being.

    Raises:
        FolderError: ``model`` is no whole model folder, or ``predictions`` holds something else.
        DataError: There are no files, one is damaged or its images are not the model's, units look wrong, or an event is
            bad and ``on_bad_input=fail``.
        UnknownNameError: A file has no images.
    """
    classifier = Classifier(model, config.device)
    files = find_files(source, ENDINGS, "HDF5 files")
    names = [file.name for file in files]
    reading = _reading_of(classifier, config)
    with on_this_disk(files) as folder:
        # Before the output is opened: a wrong unit must not leave a plan behind, which the right setting then contradicts.
        rows = sum(_check_file(folder, name, reading, classifier) for name in names)
        inputs = {"model": classifier.manifest.digest, "source": digest_of(files)}
        output = Output(predictions, "predictions", "ecal", config, inputs)
        if output.finished:
            log.info("%s is already there", predictions)
            return output.finished.metrics
        with output.files.staged(PREDICTIONS) as path, progress("predict", rows, "events") as bar:
            done = _write_table(path, folder, names, reading, classifier, config.batch_size, bar.advance)
            size = path.stat().st_size
    output.keep(FileEntry(PREDICTIONS, size, checksum(output.files, PREDICTIONS, size)), receipt=False)
    metrics = {"events": done.events, "skipped": done.skipped}
    facts = {"class_names": list(CLASSES), "skipped": [dataclasses.asdict(one) for one in done.bad]}
    output.publish(metrics=metrics, facts=facts)
    log.info("classified %d of %d events", done.events, rows)
    return metrics


@dataclass(slots=True)
class Done:
    """What became of the events."""

    events: int = 0
    skipped: int = 0
    bad: list[BadEvent] = field(default_factory=list)
    """The first of those that were skipped."""


def _reading_of(classifier: Classifier, config: PredictConfig) -> Reading:
    """Return how to read: units and what to do with bad events as asked, cuts and crop as the model's events had them."""
    known = classifier.facts["reading"]
    return Reading(
        energy_scale=config.energy_scale,
        time_scale=config.time_scale,
        min_energy=known["min_energy"],
        max_time=known["max_time"],
        crop=known["crop"],
        check_units=config.check_units,
        on_bad_input=config.on_bad_input,
    )


def _check_file(folder: Folder, name: str, reading: Reading, classifier: Classifier) -> int:
    """See that a file holds images of the model's size, in the right units; return its number of events."""
    shape = describe_file(folder, name, labels=False)
    fitted = (classifier.facts["height"], classifier.facts["width"])
    # What is larger than a crop is cropped; without one, or where it does not suffice, sizes must agree.
    found = (reading.crop, reading.crop) if 0 < reading.crop <= min(shape.image) else shape.image
    if found != fitted:
        raise DataError(
            f"{folder}/{name} has images of {shape.image[0]} x {shape.image[1]} crystals, the model was fitted to "
            f"{fitted[0]} x {fitted[1]}{f' (crop={reading.crop})' if reading.crop else ''}: it needs a model of its own"
        )
    for _ in read_chunks(folder, name, 0, reading, stop=min(shape.rows, EVENTS_TRIED), labels=False):
        pass
    return shape.rows


def _write_table(
    path: Path,
    folder: Folder,
    names: Sequence[str],
    reading: Reading,
    classifier: Classifier,
    batch_size: int,
    advance: Callable[[int], None],
) -> Done:
    done = Done()
    with path.open("wb") as table:
        table.write(header(truth=False))
        for number, name in enumerate(names):
            for chunk in read_chunks(folder, name, number, reading, labels=False):
                if len(chunk.events):
                    electron_e = np.concatenate([*classifier.electron_probabilities(chunk.events.hits, batch_size)])
                    table.write(lines_of(chunk.events, electron_e, names, truth=False))
                done.events += len(chunk.events)
                done.skipped += len(chunk.bad)
                done.bad += chunk.bad[: SKIPPED_SHOWN - len(done.bad)]
                advance(chunk.rows)
    if not done.events:
        raise DataError(
            f"none of the events in {folder} can be used; the first: {done.bad[0].file}, row {done.bad[0].row}: "
            f"{done.bad[0].reason}"
        )
    return done
