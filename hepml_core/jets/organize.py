"""Organize: split the jets into train, valid and test by their events; shuffle the rows of train.

Suffixes: e run of neighbouring rows of one event, u distinct event, n row, s split, p process, o kind of object.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import FileEntry, Manifest, Output, check_files, read_manifest
from hepml_core.errors import DataError, SettingError, UnknownNameError
from hepml_core.jets.config import OrganizeConfig
from hepml_core.jets.event_table import EventTable, Texts, iter_coded, read_events
from hepml_core.jets.rows import ROWS_AT_ONCE, Columns
from hepml_core.jets.spill import Dealer, Spill
from hepml_core.progress import Bar, progress
from hepml_core.splits import SPLITS, assign_splits, assign_splits_exactly
from hepml_core.storage import Folder
from hepml_core.tables import TableWriter

log = logging.getLogger(__name__)

TRAIN = SPLITS.index("train")
LEFT_OUT = -1
FRACTION_SEED = 0x6672616374696F6E
"""Makes the chance of data_fraction another one than that of the splits."""

IntArray = NDArray[np.int64]
Counts = Mapping[str, Any]


def organize(shards: Folder, dataset: Folder, config: OrganizeConfig) -> Mapping[str, float]:
    """Split by the hash of each event's identity and the seed, so that no event is in two splits.

    Rows of train lie in random order; those of valid and test in the order of the source, all rows of an event in one
    shard. The shards are read three times, twice of them only events and kinds of objects; then all rows go through a
    temporary file, in which each new shard has its place (beside the dataset, or in the folder for temporary files where
    the dataset is in an object store). Memory: some 40 bytes an event, twice that while they are sorted, and one shard.

    Raises:
        FolderError: ``shards`` is no whole shards folder, or ``dataset`` holds something else.
        UnknownNameError: A chosen process or kind of object is not in the shards.
        SettingError: Kinds of objects are chosen from rows of whole events.
        DataError: A split that was asked for has no rows.
        StorageError: The disk or store refused.
    """
    manifest = read_manifest(shards, "shards", "jets")
    _check_choices(manifest, config)
    output = Output(dataset, "dataset", "jets", config, {"shards": manifest.digest}, root=config.shards_root)
    if output.finished:
        log.info("%s is already there", dataset)
        return output.finished.metrics
    check_files(shards, manifest)
    table = read_events(shards, manifest)
    _warn_of_repetition(table)
    source = Source(shards, manifest, table, _assign(table, manifest, config), _allowed_objects(manifest, config))
    kept_e, rows_so = _count_rows(source)
    counts = _counts(source, kept_e, rows_so)
    _refuse_empty(counts, config)
    _make_shards(_plan(source, kept_e, config.rows_per_shard), source, output, config.seed)
    metrics = {f"{split}_{unit}": counts[split][unit] for split in SPLITS for unit in ("events", "rows")}
    log.info("made %s", ", ".join(f"{name}={value}" for name, value in metrics.items()))
    facts = {**manifest.facts, "events": {split: counts[split]["events"] for split in SPLITS}, "counts": counts}
    output.publish(metrics=metrics, facts=facts, schema=manifest.schema)
    return metrics


@dataclass(frozen=True, slots=True)
class Source:
    """The shards, and where their rows go.

    Attributes:
        split_e: Split of each run of rows, -1 for one that is left out.
        allowed_so: Which kinds of objects each split takes (one more row, for -1, takes none); None where they do not
            matter.
    """

    shards: Folder
    manifest: Manifest
    table: EventTable
    split_e: IntArray
    allowed_so: NDArray[np.bool_] | None

    def pieces(self, columns: list[str] | None = None) -> Iterator[tuple[IntArray, IntArray, Columns]]:
        """Yield the run and the split of some rows at once, and their columns with texts as codes."""
        for first, last, some in iter_coded(self.shards, self.manifest, columns):
            run_n = self.table.runs_of(first, last)
            split_n = self.split_e[run_n]
            if self.allowed_so is not None:
                split_n[~self.allowed_so[split_n, some["object"]]] = LEFT_OUT
            yield run_n, split_n, some


@dataclass(frozen=True, slots=True)
class ShardJob:
    """One shard to write: rows that lie together in the temporary file."""

    name: str
    split: str
    start: int
    rows: int


def _check_choices(manifest: Manifest, config: OrganizeConfig) -> None:
    """Refuse names that the shards do not have."""
    for setting in ("train_processes", "test_processes", "train_objects", "test_objects"):
        kind, chosen = setting.partition("_")[2], getattr(config, setting)
        if chosen and kind == "objects" and manifest.facts["rows"] == "events":
            raise SettingError(f"{setting} cannot choose from rows of whole events: convert with rows=objects")
        for name in chosen:
            if name not in manifest.facts[kind]:
                singular = {"processes": "process", "objects": "object"}[kind]
                raise UnknownNameError(singular, name, manifest.facts[kind], f"in {setting}")


def _warn_of_repetition(table: EventTable) -> None:
    runs = 1 + np.count_nonzero(np.diff(table.event_e))
    if runs > len(table.key_u):
        log.warning(
            "%d times an event goes on after another one: is it in two of the source files, or twice in one? "
            "All of its rows go to one split",
            runs - len(table.key_u),
        )


def _assign(table: EventTable, manifest: Manifest, config: OrganizeConfig) -> IntArray:
    """Return the split of each run, -1 for one that is left out."""
    fractions = (config.train_fraction, config.valid_fraction, config.test_fraction)
    split_u = _parts(table.key_u, table.process_u, fractions, config.seed, config.exact)
    processes = Texts(manifest).names["process"]
    for number, split in enumerate(SPLITS):
        chosen = config.test_processes if split == "test" else config.train_processes
        if chosen:
            wanted_u = np.isin(table.process_u, [processes.index(name) for name in chosen])
            split_u[(split_u == number) & ~wanted_u] = LEFT_OUT
    if config.data_fraction < 1:
        train_u = np.flatnonzero(split_u == TRAIN)
        halves = (config.data_fraction, 1 - config.data_fraction)
        seed = config.seed ^ FRACTION_SEED
        part_u = _parts(table.key_u[train_u], table.process_u[train_u], halves, seed, config.exact)
        split_u[train_u[part_u > 0]] = LEFT_OUT
    return split_u[table.event_e]


def _parts(
    key_u: NDArray[np.uint64], process_u: NDArray[Any], fractions: tuple[float, ...], seed: int, exact: bool
) -> IntArray:
    if exact:
        return assign_splits_exactly(key_u, process_u.astype(np.int64), fractions, seed)
    return assign_splits(key_u, fractions, seed)


def _allowed_objects(manifest: Manifest, config: OrganizeConfig) -> NDArray[np.bool_] | None:
    objects = Texts(manifest).names.get("object")
    if objects is None:
        return None
    chosen = [config.test_objects if split == "test" else config.train_objects for split in SPLITS]
    allowed = [[not names or name in names for name in objects] for names in chosen]
    return np.array([*allowed, [False] * len(objects)])


def _count_rows(source: Source) -> tuple[IntArray, IntArray]:
    """Count the rows that are kept, by run (e,) and by split and kind of object (s, o)."""
    if source.allowed_so is None:
        rows_e = np.diff(source.table.end_e, prepend=0)
        return np.where(source.split_e >= 0, rows_e, 0), np.zeros((len(SPLITS), 0), np.int64)
    kept_e = np.zeros(len(source.split_e), np.int64)
    rows_so = np.zeros((len(SPLITS), source.allowed_so.shape[1]), np.int64)
    for run_n, split_n, some in source.pieces(["object"]):
        kept_n = split_n >= 0
        kept_e[run_n[0] : run_n[-1] + 1] += np.bincount(run_n[kept_n] - run_n[0], minlength=run_n[-1] - run_n[0] + 1)
        np.add.at(rows_so, (split_n[kept_n], some["object"][kept_n]), 1)
    return kept_e, rows_so


def _counts(source: Source, kept_e: IntArray, rows_so: IntArray) -> dict[str, Counts]:
    """Count distinct events by split and process, and rows by split and kind of object."""
    names, table = Texts(source.manifest).names, source.table
    counts: dict[str, Counts] = {}
    for number, split in enumerate(SPLITS):
        here_e = (source.split_e == number) & (kept_e > 0)
        event_u = np.unique(table.event_e[here_e])
        events_p = np.bincount(table.process_u[event_u], minlength=len(names["process"])).tolist()
        counts[split] = {
            "events": len(event_u),
            "rows": int(kept_e[here_e].sum()),
            "processes": dict(zip(names["process"], events_p, strict=True)),
            "objects": dict(zip(names.get("object", []), rows_so[number].tolist(), strict=True)),
        }
    return counts


def _refuse_empty(counts: Mapping[str, Counts], config: OrganizeConfig) -> None:
    for split in SPLITS:
        if getattr(config, f"{split}_fraction") and not counts[split]["rows"]:
            prefix = "test" if split == "test" else "train"
            raise DataError(
                f"the {split} split has no rows: convert more events, raise {split}_fraction (or set it to 0), ask for "
                f"exact=true, or choose more of {prefix}_processes and {prefix}_objects"
            )


def _plan(source: Source, kept_e: IntArray, rows_per_shard: int) -> list[ShardJob]:
    """Lay out all shards one after the other."""
    jobs: list[ShardJob] = []
    start = 0
    for number, split in enumerate(SPLITS):
        here_e = np.flatnonzero((source.split_e == number) & (kept_e > 0))
        rows = int(kept_e[here_e].sum())
        if number == TRAIN:
            shards = -(-rows // rows_per_shard)
            sizes = [rows // shards + (shard < rows % shards) for shard in range(shards)]
        else:
            event_e, end_e = source.table.event_e[here_e], np.cumsum(kept_e[here_e])
            is_last_e = np.append(event_e[1:] != event_e[:-1], rows > 0)
            sizes = _whole_events(end_e[is_last_e[: len(end_e)]], rows_per_shard)
        for part, size in enumerate(sizes):
            jobs.append(ShardJob(f"{split}-{part:05d}-of-{len(sizes):05d}.parquet", split, start, size))
            start += size
    return jobs


def _whole_events(end_e: IntArray, most: int) -> list[int]:
    """Cut rows into parts of at most so many (more where one event has more), given where events end."""
    cuts = [0]
    while len(end_e) and cuts[-1] < end_e[-1]:
        fits, next_end = np.searchsorted(end_e, (cuts[-1] + most, cuts[-1]), side="right")
        cuts.append(int(end_e[max(fits - 1, next_end)]))
    return np.diff(cuts).tolist()


def _make_shards(jobs: list[ShardJob], source: Source, output: Output, seed: int) -> None:
    """Write the shards that an earlier, killed run has not left whole."""
    waiting = [job for job in jobs if not output.receipt(job.name)]
    if not waiting:
        return
    texts = Texts(source.manifest)
    dtypes = {one.name: "uint16" if one.name in texts.names else one.dtype for one in source.manifest.schema}
    total = sum(job.rows for job in jobs)
    shuffled = total + sum(job.rows for job in waiting)
    with progress("organize", shuffled, "rows") as bar, Spill(output.files.path, dtypes, total) as spill:
        _spill_rows(spill, jobs, source, seed, bar)
        for job in waiting:
            columns = spill.read(job.start, job.rows)
            order_n = np.arange(job.rows)
            if job.split == "train":
                order_n = np.random.default_rng([seed, 1, job.start]).permutation(job.rows)
            output.keep(_write_shard(output.files, job, source.manifest, columns, order_n))
            bar.advance(job.rows)


def _spill_rows(spill: Spill, jobs: list[ShardJob], source: Source, seed: int, bar: Bar) -> None:
    starts = {split: [job.start for job in jobs if job.split == split] for split in SPLITS}
    dealer = Dealer(spill, starts["train"], np.random.default_rng([seed, 0]))
    place = {split: starts[split][0] for split in SPLITS if split != "train" and starts[split]}
    for _, split_n, some in source.pieces():
        for number, split in enumerate(SPLITS):
            here_n = np.flatnonzero(split_n == number)
            if not len(here_n):
                continue
            chosen = {name: value_n[here_n] for name, value_n in some.items()}
            if number == TRAIN:
                dealer.deal(chosen)
            else:
                spill.write(place[split], chosen)
                place[split] += len(here_n)
            bar.advance(len(here_n))


def _write_shard(folder: Folder, job: ShardJob, manifest: Manifest, columns: Columns, order_n: IntArray) -> FileEntry:
    texts = Texts(manifest)
    with folder.staged(job.name) as path, TableWriter(path, manifest.schema) as writer:
        for start in range(0, job.rows, ROWS_AT_ONCE):
            some_n = order_n[start : start + ROWS_AT_ONCE]
            writer.write(texts.decode({name: value_n[some_n] for name, value_n in columns.items()}))
    return FileEntry(job.name, writer.bytes, writer.crc32c, writer.rows, job.split)
