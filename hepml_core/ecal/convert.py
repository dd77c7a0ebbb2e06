"""Convert: HDF5 images of energy and time to TFRecord shards of hits."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hepml_core.artifacts import FileEntry, Output
from hepml_core.ecal.config import ConvertConfig
from hepml_core.ecal.event_records import CLASSES, SCHEMA, Events, encode_events
from hepml_core.ecal.hdf5_files import Reading, count_labels, read_chunks
from hepml_core.ecal.hdf5_layout import FileShape, describe_file
from hepml_core.errors import DataError
from hepml_core.parallel import in_processes
from hepml_core.progress import progress
from hepml_core.records import duplicate_groups, read_index
from hepml_core.source_files import SourceFile, digest_of, find_files
from hepml_core.storage import Folder, LocalFolder, open_folder
from hepml_core.tfrecord import INDEX, IndexArray, ShardWriter, frame, hash64, index_name, write_index

log = logging.getLogger(__name__)

ENDINGS = {".h5": "hdf5", ".hdf5": "hdf5", ".hdf": "hdf5"}
EVENTS_TRIED = 256
"""Events of each file that are read before work starts, to see wrong units at once."""
SKIPPED_SHOWN = 100
DENSE_FRAMES = 21
"""Frames of the original's movies, to compare sizes with."""


def convert(source: Folder, shards: Folder, config: ConvertConfig) -> Mapping[str, float]:
    """Write the hits of each event of all files to TFRecord shards; a file becomes one or more of them.

    A hit is kept where its energy is not 0, above ``min_energy``, and its time within ``max_time``. Events are told apart
    by the name of their file and their row in it. Files in an object store are copied to the local disk for the time being.

    Raises:
        DataError: There are no files, one is damaged or of another shape, has fewer rows than asked for or units that look
            wrong, an event is bad and ``on_bad_input=fail``, or there are events of one class only.
        UnknownNameError: A file lacks a dataset.
        SettingError: The images are smaller than ``crop``.
        FolderError: ``shards`` holds something else.
    """
    files = find_files(source, ENDINGS, "HDF5 files")
    with on_this_disk(files) as folder:
        # Before the output is opened: a wrong unit must not leave a plan behind, which the right setting then contradicts.
        shapes = _check_files(folder, files, config)
        output = Output(shards, "shards", "ecal", config, {"source": digest_of(files)}, root=config.shards_root)
        if output.finished:
            log.info("%s is already there", shards)
            return output.finished.metrics
        made = _make_shards(_plan(folder, files, shapes, output, config), output)
    facts = _facts(files, shapes, made, config)
    lacking = [name for name in CLASSES if not facts["events"][name]]
    if lacking:
        raise DataError(f"no {lacking[0]} of {source} can be used, the first: {_first_words(facts['skipped'])}")
    facts["duplicates"] = _find_copies(output, made)
    events = sum(facts["events"].values())
    written = sum(part.entry.bytes + part.index.bytes for part in made)
    dense = events * DENSE_FRAMES * facts["height"] * facts["width"] * 4
    metrics = {
        "events": events,
        "hits": facts["hits"],
        "skipped": facts["skipped_events"],
        "duplicates": facts["duplicates"]["copies"],
        "dense_ratio": dense / written,
    }
    log.info("kept %d events with %d hits, skipped %d", events, facts["hits"], facts["skipped_events"])
    output.publish(metrics=metrics, facts=facts, schema=SCHEMA)
    return metrics


@dataclass(frozen=True, slots=True)
class ShardJob:
    """What a worker process needs to make one shard."""

    folder: str
    file: str
    number: int
    start: int
    stop: int
    files: str
    shard: str
    config: ConvertConfig


@dataclass(slots=True)
class MadeShard:
    """A finished shard, and what its receipt notes of it."""

    entry: FileEntry
    index: FileEntry
    hits: int = 0
    events: dict[str, int] = field(default_factory=dict)
    skipped_events: int = 0
    skipped: list[dict[str, Any]] = field(default_factory=list)
    """The first of them."""


def reading_of(config: ConvertConfig) -> Reading:
    """Return how to read files."""
    names = (one.name for one in dataclasses.fields(Reading))
    return Reading(**{name: getattr(config, name) for name in names})


@contextmanager
def on_this_disk(files: Sequence[SourceFile[str]]) -> Iterator[Folder]:
    """Lend the folder of the files, or a copy: HDF5 jumps to and fro in a file, and several processes read it."""
    folder = open_folder(files[0].folder)
    if folder.path is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hepml-ecal-") as copies:
        folder.download([file.name for file in files], Path(copies))
        yield LocalFolder(Path(copies))


def _check_files(folder: Folder, files: Sequence[SourceFile[str]], config: ConvertConfig) -> list[FileShape]:
    """See that all files hold what is needed, agree, and have both classes; read some events of each."""
    shapes = [describe_file(folder, file.name, labels=True) for file in files]
    for file, shape in zip(files, shapes, strict=True):
        if shape.image != shapes[0].image:
            raise DataError(
                f"{folder}: images have {shapes[0].image} crystals in {files[0].name} and {shape.image} in {file.name}: "
                "convert them to folders of their own"
            )
    labels: Counter[float] = Counter()
    for number, (file, shape) in enumerate(zip(files, shapes, strict=True)):
        stop = config.stop or shape.rows
        labels += _check_labels(folder, file.name, config, stop)
        some = read_chunks(
            folder,
            file.name,
            number,
            reading_of(config),
            start=config.start,
            stop=min(stop, config.start + EVENTS_TRIED),
        )
        for _ in some:
            pass
    there = [name for label, name in enumerate(CLASSES) if labels[label]]
    if len(there) < 2:
        raise DataError(
            f"there are events of {' and '.join(there) or 'no known class'} only in {folder}: a classifier needs two "
            f"classes, labels 0 ({CLASSES[0]}) and 1 ({CLASSES[1]}) in y"
        )
    return shapes


def _check_labels(folder: Folder, name: str, config: ConvertConfig, stop: int) -> Counter[float]:
    counts = count_labels(folder, name, config.start, stop)
    wrong = [label for label in counts if label not in (0, 1)]
    if wrong and config.on_bad_input == "fail":
        raise DataError(
            f"{folder}/{name}: y says {wrong[0]:g} of {counts[wrong[0]]} events, labels are 0 ({CLASSES[0]}) and 1 "
            f"({CLASSES[1]}) (on_bad_input=skip leaves such events out)"
        )
    return counts


def _plan(
    folder: Folder, files: Sequence[SourceFile[str]], shapes: Sequence[FileShape], output: Output, config: ConvertConfig
) -> list[ShardJob]:
    ranges = [
        (number, file.name, start, min(start + config.records_per_shard, config.stop or shape.rows))
        for number, (file, shape) in enumerate(zip(files, shapes, strict=True))
        for start in range(config.start, config.stop or shape.rows, config.records_per_shard)
    ]
    return [
        ShardJob(
            str(folder),
            name,
            number,
            start,
            stop,
            str(output.files),
            f"part-{part:05d}-of-{len(ranges):05d}.tfrecord",
            config,
        )
        for part, (number, name, start, stop) in enumerate(ranges)
    ]


def _make_shards(jobs: Sequence[ShardJob], output: Output) -> list[MadeShard]:
    """Make the shards on all cores, except those that an earlier, killed run has made."""
    made: list[MadeShard] = []

    def wanted() -> Iterator[ShardJob]:
        for job in jobs:
            found, index = output.receipt(job.shard), output.receipt(index_name(job.shard))
            if found and index:
                made.append(MadeShard(found[0], index[0], **found[1]))
                bar.advance(job.stop - job.start)
            else:
                yield job

    with progress("convert", sum(job.stop - job.start for job in jobs), "events") as bar:
        for part in in_processes(_make_shard, wanted()):
            output.keep(part.index)
            notes = dataclasses.asdict(part)
            output.keep(part.entry, {name: notes[name] for name in ("hits", "events", "skipped_events", "skipped")})
            made.append(part)
            bar.advance(part.entry.records + part.skipped_events)
    return sorted(made, key=lambda part: part.entry.name)


def _make_shard(job: ShardJob) -> MadeShard:
    folder = open_folder(job.files)
    hits, skipped_events = 0, 0
    events: Counter[str] = Counter()
    skipped: list[dict[str, Any]] = []
    chunks = read_chunks(
        open_folder(job.folder), job.file, job.number, reading_of(job.config), start=job.start, stop=job.stop
    )
    with folder.staged(job.shard) as path, ShardWriter(path) as writer:
        for chunk in chunks:
            _write(writer, chunk.events, job.file)
            hits += len(chunk.events.hits.energy_h)
            for label, name in enumerate(CLASSES):
                events[name] += int(np.count_nonzero(chunk.events.label_e == label))
            skipped_events += len(chunk.bad)
            skipped += [dataclasses.asdict(one) for one in islice(chunk.bad, SKIPPED_SHOWN - len(skipped))]
    entry = FileEntry(job.shard, writer.bytes, writer.crc32c, writer.records)
    index = write_index(folder, job.shard, writer.index_n)
    return MadeShard(entry, index, hits, dict(events), skipped_events, skipped)


def _write(writer: ShardWriter, events: Events, file: str) -> None:
    """Append events; their index tells events of the same hits."""
    records = [frame(payload) for payload in encode_events(events)]
    index_n: IndexArray = np.empty(len(records), INDEX)
    index_n["length"] = [len(record) for record in records]
    index_n["label"] = events.label_e
    index_n["key"] = [hash64(f"{file}:{row}".encode()) for row in events.row_e.tolist()]
    index_n["content"] = _contents(events, index_n["key"].tolist())
    writer.write_records(b"".join(records), index_n)


def _contents(events: Events, keys: Sequence[int]) -> list[int]:
    """Hash the hits of each event; events without any are no copies of one another."""
    hits = events.hits
    parts = [(part.tobytes(), part.itemsize) for part in (hits.crystal_h, hits.energy_h, hits.time_h)]
    first_e = hits.first_e.tolist()
    return [
        hash64(b"".join(content[first * size : stop * size] for content, size in parts)) if stop > first else key
        for first, stop, key in zip(first_e[:-1], first_e[1:], keys, strict=True)
    ]


def _facts(
    files: Sequence[SourceFile[str]], shapes: Sequence[FileShape], made: Sequence[MadeShard], config: ConvertConfig
) -> dict[str, Any]:
    events = sum((Counter(part.events) for part in made), Counter[str]())
    height, width = (config.crop, config.crop) if config.crop else shapes[0].image
    skipped = [one for part in made for one in part.skipped]
    return {
        "class_names": list(CLASSES),
        "height": height,
        "width": width,
        "files": [file.name for file in files],
        "rows": [[config.start, config.stop or shape.rows] for shape in shapes],
        "events": {name: events[name] for name in CLASSES},
        "hits": sum(part.hits for part in made),
        "reading": {
            name: getattr(config, name) for name in ("min_energy", "max_time", "crop", "energy_scale", "time_scale")
        },
        "eta_known": all(shape.has_eta for shape in shapes),
        "skipped": skipped[:SKIPPED_SHOWN],
        "skipped_events": sum(part.skipped_events for part in made),
    }


def _first_words(skipped: Sequence[Mapping[str, Any]]) -> str:
    return "{file}, row {row}: {reason}".format(**skipped[0]) if skipped else "there is none"


def _find_copies(output: Output, made: Sequence[MadeShard]) -> dict[str, int]:
    """Count events whose hits are those of an earlier one, and events that stand in two classes."""
    indices = [read_index(output.files, part.entry) for part in made]
    label_n = np.concatenate([index["label"] for index in indices])
    groups = duplicate_groups(np.concatenate([index["content"] for index in indices]))
    copies = sum(len(group) - 1 for group in groups)
    torn = sum(len(group) for group in groups if len(set(label_n[group])) > 1)
    if copies:
        log.warning("%d events are copies of others, hit for hit (%d stand in both classes)", copies, torn)
    return {"copies": copies, "across_classes": torn}
