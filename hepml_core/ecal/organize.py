"""Organize: split the events into train, valid and test; shuffle."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from hepml_core.artifacts import Manifest, Output, check_files, files_of, read_manifest
from hepml_core.ecal.config import OrganizeConfig
from hepml_core.ecal.hit_set import iter_events
from hepml_core.errors import DataError
from hepml_core.progress import progress
from hepml_core.records import Records
from hepml_core.split_shards import ClassArray, assign_records, count_events, find_copies, write_splits
from hepml_core.splits import SPLITS, SplitArray, balance
from hepml_core.storage import Folder

log = logging.getLogger(__name__)


def organize(shards: Folder, dataset: Folder, config: OrganizeConfig) -> Mapping[str, float]:
    """Split by the hash of each event's file and row, or by rows; copy the records as they are, shuffled.

    No event is in two splits, and which split it is in does not change when events are added (unless ``exact`` is asked).

    Raises:
        FolderError: ``shards`` is no whole shards folder, or ``dataset`` holds something else.
        DataError: A split that was asked for has no event of some class, or no file is as long as ``test_row``.
    """
    manifest = read_manifest(shards, "shards", "ecal")
    if config.method == "rows":
        _check_rows(shards, manifest, config)
    output = Output(dataset, "dataset", "ecal", config, {"shards": manifest.digest}, root=config.shards_root)
    if output.finished:
        log.info("%s is already there", dataset)
        return output.finished.metrics
    check_files(shards, manifest)
    records = Records(files_of(shards, manifest), manifest.shards())
    label_n = records.index_n["label"].astype(np.int32)
    split_n = _assign(records, manifest, config)
    counts = _count(split_n, label_n, manifest, config)
    write_splits(records, split_n, label_n, output, seed=config.seed, records_per_shard=config.records_per_shard)
    kept = ("class_names", "height", "width", "files", "rows", "reading", "eta_known")
    copies = _report_copies(records, split_n, label_n)
    facts = {**{name: manifest.facts[name] for name in kept}, "events": counts, "duplicates": copies}
    metrics = {f"{split}_events": sum(counts[split].values()) for split in SPLITS}
    log.info("kept %d of %d events: %s", sum(metrics.values()), len(records), counts)
    output.publish(metrics=metrics, facts=facts, schema=manifest.schema)
    return metrics


def _check_rows(shards: Folder, manifest: Manifest, config: OrganizeConfig) -> None:
    """Refuse a split by rows that no file reaches."""
    stops = {file: stop for file, (_, stop) in zip(manifest.facts["files"], manifest.facts["rows"], strict=True)}
    longest = max(stops, key=lambda file: stops[file])
    if stops[longest] <= config.test_row:
        raise DataError(
            f"no file of {shards} reaches row test_row={config.test_row}, {longest} ends at row {stops[longest]}: "
            "lower valid_row and test_row, or split by method=hash"
        )


def _assign(records: Records, manifest: Manifest, config: OrganizeConfig) -> SplitArray:
    """Return the split of each record, -1 for those that a balanced split leaves out."""
    key_n, label_n = records.index_n["key"], records.index_n["label"].astype(np.int64)
    split_n: SplitArray
    if config.method == "rows":
        split_n = _split_by_rows(records, manifest, config)
    else:
        fractions = (config.train_fraction, config.valid_fraction, config.test_fraction)
        split_n = assign_records(records, np.ones(len(records), bool), fractions, config.seed, exact=config.exact)
    if config.balanced:
        split_n[~balance(key_n, label_n, label_n, split_n, config.seed)] = -1
    return split_n


def _split_by_rows(records: Records, manifest: Manifest, config: OrganizeConfig) -> SplitArray:
    parts = []
    with progress("rows", len(records), "events") as bar:
        for events in iter_events(records, manifest, np.arange(len(records))):
            parts.append(np.digitize(events.row_e, (config.valid_row, config.test_row)))
            bar.advance(len(events))
    return np.concatenate(parts)


def _count(
    split_n: SplitArray, label_n: ClassArray, manifest: Manifest, config: OrganizeConfig
) -> dict[str, dict[str, int]]:
    """Count events by split and class; refuse a split that was asked for and lacks a class."""
    counts = count_events(split_n, label_n, manifest.facts["class_names"])
    for split in SPLITS:
        lacking = [name for name, count in counts[split].items() if not count]
        by_rows = config.method == "rows"
        remedy = (
            "change valid_row and test_row, or split by method=hash"
            if by_rows
            else f"add events, raise {split}_fraction (or set it to 0), or ask for exact=true"
        )
        if lacking and (by_rows or getattr(config, f"{split}_fraction")):
            raise DataError(f"the {split} split has no event of {', '.join(lacking)}: {remedy}")
    return counts


def _report_copies(records: Records, split_n: SplitArray, label_n: ClassArray) -> dict[str, int]:
    found = find_copies(records, split_n, label_n)
    if found["across_splits"] or found["across_classes"]:
        log.warning(
            "%d events stand in more than one split and %d in both classes, hit for hit the same: they make a classifier "
            "look better than it is",
            found["across_splits"],
            found["across_classes"],
        )
    return found
