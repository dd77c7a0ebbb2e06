"""Organize: split the pictures into train, valid and test; choose categories; shuffle."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Manifest, Output, check_files, files_of, read_manifest
from hepml_core.errors import DataError
from hepml_core.event_images.config import OrganizeConfig
from hepml_core.examples import decode_example, encode_example
from hepml_core.records import Records, duplicate_groups
from hepml_core.split_shards import (
    CopyRecords,
    IntArray,
    assign_records,
    copy_as_they_are,
    count_events,
    find_copies,
    write_splits,
)
from hepml_core.splits import SPLITS, Categories, balance, choose_categories
from hepml_core.storage import Folder
from hepml_core.tfrecord import IndexArray, ShardWriter, payload

log = logging.getLogger(__name__)


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
    write_splits(
        records,
        assignment.split_n,
        assignment.category_n,
        output,
        seed=config.seed,
        records_per_shard=config.records_per_shard,
        copy=_copy_of(manifest, categories),
    )
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


def _assign(records: Records, categories: Categories, config: OrganizeConfig) -> Assignment:
    key_n, label_n = records.index_n["key"], records.index_n["label"]
    category_n = categories.of_class_c.astype(np.int32)[label_n]
    if config.duplicates == "drop":
        category_n = _without_duplicates(records, category_n)
    fractions = (config.train_fraction, config.valid_fraction, config.test_fraction)
    split_n = assign_records(records, category_n >= 0, fractions, config.seed, exact=config.exact)
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
    counts = count_events(assignment.split_n, assignment.category_n, categories.names)
    for split in SPLITS:
        lacking = [name for name, count in counts[split].items() if not count]
        if lacking and getattr(config, f"{split}_fraction"):
            raise DataError(
                f"the {split} split has no event of {', '.join(lacking)}: add pictures, raise {split}_fraction "
                "(or set it to 0), or ask for exact=true"
            )
    return counts


def _copy_of(manifest: Manifest, categories: Categories) -> CopyRecords:
    """Return how to copy: with the names of the categories, unless every class keeps its name and number."""
    names = categories.names
    return copy_as_they_are if manifest.facts["class_names"] == names else partial(_copy_renamed, names)


def _copy_renamed(
    names: list[str], writer: ShardWriter, records: Records, record_n: IntArray, index_n: IndexArray
) -> None:
    """Write records with the names and numbers of their categories, for readers that look at nothing else."""
    for record, entry in zip(records.fetch(record_n), index_n, strict=True):
        label = int(entry["label"])
        renamed = encode_example({**decode_example(payload(record)), "label": label, "class": names[label]})
        writer.write(renamed, label=label, key=int(entry["key"]), content=int(entry["content"]))


def _report_duplicates(records: Records, assignment: Assignment) -> dict[str, int]:
    """Count pictures that stand in two splits or two categories: they make a classifier look better than it is."""
    found = find_copies(records, assignment.split_n, assignment.category_n)
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
