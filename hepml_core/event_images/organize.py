"""Organize: split the pictures into train, valid and test; choose categories; shuffle."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import FileEntry, Manifest, Output, check_files, files_of, read_manifest
from hepml_core.errors import DataError
from hepml_core.event_images.config import OrganizeConfig
from hepml_core.examples import decode_example, encode_example
from hepml_core.parallel import in_threads
from hepml_core.progress import progress
from hepml_core.records import Records, duplicate_groups, shuffled
from hepml_core.splits import SPLITS, Categories, assign_splits, assign_splits_exactly, balance, choose_categories
from hepml_core.storage import Folder
from hepml_core.tfrecord import IndexArray, ShardWriter, index_name, payload, write_index

log = logging.getLogger(__name__)

CHUNK_RECORDS = 16
"""Neighbours that travel together into a shard: few enough to mix classes, enough for reads of some 100 kB."""
WRITE_BYTES = 1 << 23
"""Bytes that are fetched and written at once."""

IntArray = NDArray[np.int64]


def organize(shards: Folder, dataset: Folder, config: OrganizeConfig) -> Mapping[str, float]:
    """Split by the hash of each picture's name and the seed; copy the records as they are, shuffled.

    No event is in two splits, none is lost, and which split it is in does not change when pictures are added (unless
    ``exact`` is asked). Only where categories rename or renumber a class are its records written anew.

    Raises:
        FolderError: ``shards`` is no whole shards folder, or ``dataset`` holds something else.
        UnknownNameError: A category is no class.
        DataError: A split that was asked for has no event of some category.
    """
    manifest = read_manifest(shards, "shards", "event_images")
    # Before the output is opened: a typing error must not leave a plan behind, which a right setting then contradicts.
    categories = choose_categories(manifest.facts["class_names"], config.categories)
    output = Output(dataset, "dataset", "event_images", config, {"shards": manifest.digest}, root=config.shards_root)
    if output.finished:
        log.info("%s is already there", dataset)
        _delete_shards(shards, manifest, config)
        return output.finished.metrics
    check_files(shards, manifest)
    records = Records(files_of(shards, manifest), manifest.shards())
    assignment = _assign(records, categories, config)
    counts = _count(assignment, categories, config)
    content = Content(records, assignment.category_n, _relabel(manifest, categories))
    _make_shards(_plan(assignment, config), content, output, int(np.count_nonzero(assignment.split_n >= 0)))
    facts = {
        **{name: manifest.facts[name] for name in ("height", "width", "channels", "bits", "storage", "image_size")},
        "class_names": categories.names,
        "events": counts,
        "duplicates": _report_duplicates(records, assignment),
    }
    metrics = {f"{split}_events": sum(counts[split].values()) for split in SPLITS}
    log.info("kept %d of %d events: %s", sum(metrics.values()), len(records), counts)
    output.publish(metrics=metrics, facts=facts, schema=manifest.schema)
    _delete_shards(shards, manifest, config)
    return metrics


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where each record goes: its split (0 train, 1 valid, 2 test) and category; -1 for one that is left out."""

    split_n: NDArray[np.int8]
    category_n: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class ShardJob:
    """One shard to write."""

    name: str
    split: str
    record_n: IntArray


@dataclass(frozen=True, slots=True)
class Content:
    """What the shards are made from."""

    records: Records
    category_n: NDArray[np.int32]
    names: list[str]
    """Names of the categories, where the records are to be written anew with them."""


def _assign(records: Records, categories: Categories, config: OrganizeConfig) -> Assignment:
    key_n, label_n = records.index_n["key"], records.index_n["label"]
    category_n = categories.of_class_c.astype(np.int32)[label_n]
    if config.duplicates == "drop":
        category_n = _without_duplicates(records, category_n)
    fractions = (config.train_fraction, config.valid_fraction, config.test_fraction)
    kept_n = category_n >= 0
    if config.exact:
        split_n = np.empty(len(records), np.int8)
        split_n[kept_n] = assign_splits_exactly(key_n[kept_n], label_n[kept_n], fractions, config.seed)
    else:
        split_n = assign_splits(key_n, fractions, config.seed).astype(np.int8)
    split_n[~kept_n] = -1
    if config.balanced:
        split_n[~balance(key_n, label_n, category_n, split_n, config.seed)] = -1
    return Assignment(split_n, np.where(split_n >= 0, category_n, np.int32(-1)))


def _without_duplicates(records: Records, category_n: NDArray[np.int32]) -> NDArray[np.int32]:
    """Leave out all copies of a picture but the one with the smallest key; all of them where their classes differ."""
    category_n, before_n = category_n.copy(), category_n
    for group in duplicate_groups(records.index_n["content"]):
        if len(set(records.index_n["label"][group])) > 1:
            category_n[group] = -1
        else:
            category_n[np.delete(group, np.argmin(records.index_n["key"][group]))] = -1
    log.info("dropped %d pictures that stand more than once", np.count_nonzero(category_n != before_n))
    return category_n


def _count(assignment: Assignment, categories: Categories, config: OrganizeConfig) -> dict[str, dict[str, int]]:
    """Count events by split and category; refuse a split that was asked for and lacks a category."""
    counts = {}
    for number, split in enumerate(SPLITS):
        members_k = np.bincount(assignment.category_n[assignment.split_n == number], minlength=len(categories.names))
        counts[split] = {name: int(count) for name, count in zip(categories.names, members_k, strict=True)}
        lacking = [name for name, count in counts[split].items() if not count]
        if lacking and getattr(config, f"{split}_fraction"):
            raise DataError(
                f"the {split} split has no event of {', '.join(lacking)}: add pictures, raise {split}_fraction "
                "(or set it to 0), or ask for exact=true"
            )
    return counts


def _plan(assignment: Assignment, config: OrganizeConfig) -> Iterator[ShardJob]:
    for number, split in enumerate(SPLITS):
        record_n = np.flatnonzero(assignment.split_n == number)
        group = max(1, config.records_per_shard // CHUNK_RECORDS) * CHUNK_RECORDS
        chance = np.random.default_rng([config.seed, number])
        total = -(-len(record_n) // group)
        for part, chosen_n in enumerate(shuffled(record_n, chunk=CHUNK_RECORDS, group=group, chance=chance)):
            yield ShardJob(f"{split}-{part:05d}-of-{total:05d}.tfrecord", split, chosen_n)


def _relabel(manifest: Manifest, categories: Categories) -> list[str]:
    """Return the category names, or nothing where every class keeps its name and number."""
    return [] if manifest.facts["class_names"] == categories.names else categories.names


def _make_shards(jobs: Iterator[ShardJob], content: Content, output: Output, events: int) -> None:
    """Write the shards on all cores, except those that an earlier, killed run has made.

    Reading, checksums and writing leave Python's lock, so threads do; worker processes cost more than they bring.
    """

    def wanted() -> Iterator[ShardJob]:
        for job in jobs:
            if output.receipt(job.name) and output.receipt(index_name(job.name)):
                bar.advance(len(job.record_n))
            else:
                yield job

    with progress("organize", events, "events") as bar:
        for index, shard in in_threads(partial(_make_shard, content, output.files), wanted()):
            output.keep(index)
            output.keep(shard)
            bar.advance(shard.records)


def _make_shard(content: Content, folder: Folder, job: ShardJob) -> tuple[FileEntry, FileEntry]:
    records, names = content.records, content.names
    index_n = records.index_n[job.record_n]
    index_n["label"] = content.category_n[job.record_n]
    step = max(1, int(WRITE_BYTES / max(1.0, index_n["length"].mean())))
    with folder.staged(job.name) as path, ShardWriter(path) as writer:
        for start in range(0, len(index_n), step):
            some = slice(start, start + step)
            if names:
                _write_renamed(writer, records.fetch(job.record_n[some]), index_n[some], names)
            else:
                writer.write_records(records.gather(job.record_n[some]), index_n[some])
    index = write_index(folder, job.name, writer.index_n)
    return index, FileEntry(job.name, writer.bytes, writer.crc32c, writer.records, job.split)


def _write_renamed(writer: ShardWriter, fetched: list[memoryview], index_n: IndexArray, names: list[str]) -> None:
    """Write records with the names and numbers of their categories, for readers that look at nothing else."""
    for record, entry in zip(fetched, index_n, strict=True):
        label = int(entry["label"])
        renamed = encode_example({**decode_example(payload(record)), "label": label, "class": names[label]})
        writer.write(renamed, label=label, key=int(entry["key"]), content=int(entry["content"]))


def _report_duplicates(records: Records, assignment: Assignment) -> dict[str, int]:
    """Count pictures that stand in two splits or two categories: they make a classifier look better than it is."""
    kept_n = assignment.split_n >= 0
    groups = duplicate_groups(records.index_n["content"][kept_n])
    number_n = np.flatnonzero(kept_n)
    groups = [number_n[group] for group in groups]
    found = {
        "copies": sum(map(len, groups)) - len(groups),
        "across_splits": sum(len(group) for group in groups if len(set(assignment.split_n[group])) > 1),
        "across_classes": sum(len(group) for group in groups if len(set(assignment.category_n[group])) > 1),
    }
    if found["across_splits"] or found["across_classes"]:
        log.warning(
            "%d pictures stand in more than one split and %d in more than one class, byte for byte the same: "
            "they make a classifier look better than it is; duplicates=drop leaves them out",
            found["across_splits"],
            found["across_classes"],
        )
    return found


def _delete_shards(shards: Folder, manifest: Manifest, config: OrganizeConfig) -> None:
    """Delete the files that were read, if asked; a run that was killed amid it is ended by the next one."""
    if not config.delete_shards:
        return
    folder = files_of(shards, manifest)
    for file in manifest.files:
        folder.delete(file.name)
    log.info("deleted the %d files of %s", len(manifest.files), folder)
