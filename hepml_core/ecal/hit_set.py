"""The events of one split of a dataset, in memory: half a million of them take some 200 MB."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hepml_core.artifacts import Manifest, files_of
from hepml_core.ecal.event_records import Events, decode_events
from hepml_core.ecal.hits import IntArray, join
from hepml_core.errors import DataError
from hepml_core.progress import progress
from hepml_core.records import Records
from hepml_core.storage import Folder
from hepml_core.tfrecord import payload

RECORDS_PER_READ = 4096


def read_events(dataset: Folder, manifest: Manifest, split: str, limit_per_class: int = 0) -> Events:
    """Read the events of a split.

    Args:
        dataset: A dataset folder.
        manifest: Its manifest.
        split: train, valid or test.
        limit_per_class: Take only so many events of each class, those of the smallest keys, which are the same
            events in every run and a part of any larger number; 0 takes all.

    Raises:
        DataError: A record is damaged; the message names its place. Or a class has fewer events than asked for.
    """
    records = Records(files_of(dataset, manifest), manifest.shards(split))
    names = manifest.facts["class_names"]
    count_c = np.bincount(records.index_n["label"], minlength=len(names))
    for name, count in zip(names, count_c, strict=True):
        if count < limit_per_class:
            raise DataError(
                f"the {split} split of {dataset} has {count} events of class {name}, {limit_per_class} are asked for"
            )
    record_n = choose_records(records, limit_per_class)
    parts = []
    with progress(f"read {split}", len(record_n), "events") as bar:
        for part in iter_events(records, manifest, record_n):
            parts.append(part)
            bar.advance(len(part))
    return Events(
        join([part.hits for part in parts]),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("label_e", "file_e", "row_e", "eta_e")),
    )


def choose_records(records: Records, limit_per_class: int) -> IntArray:
    """Return the numbers of the records of the smallest keys, at most so many of each class; 0 returns all."""
    key_n, label_n = records.index_n["key"], records.index_n["label"]
    if not limit_per_class or not len(records):
        return np.arange(len(records))
    order_n = np.argsort(key_n, kind="stable")
    chosen = [order_n[label_n[order_n] == label][:limit_per_class] for label in np.unique(label_n)]
    return np.sort(np.concatenate(chosen))


def iter_events(records: Records, manifest: Manifest, record_n: IntArray) -> Iterator[Events]:
    """Yield the events of the given record numbers in parts, at least one.

    Raises:
        DataError: A record is damaged; the message names its place.
    """
    shape = (int(manifest.facts["height"]), int(manifest.facts["width"]))
    for start in range(0, max(1, len(record_n)), RECORDS_PER_READ):
        fetched = records.fetch(record_n[start : start + RECORDS_PER_READ])
        yield decode_events([payload(record) for record in fetched], shape)
