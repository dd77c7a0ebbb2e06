"""Convert: ROOT or CSV files with jets and other objects to Parquet shards."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hepml_core.artifacts import FileEntry, Output
from hepml_core.errors import DataError
from hepml_core.jets.config import ConvertConfig
from hepml_core.jets.csv_files import BadLine
from hepml_core.jets.row_kinds import OF_EVENT, EventRows, ObjectRows, RowKind
from hepml_core.jets.selection import Tally, select
from hepml_core.jets.sources import SourceFile, check_file, find_files, read_events, variables_of
from hepml_core.jets.variables import OBJECTS
from hepml_core.parallel import in_processes
from hepml_core.progress import progress
from hepml_core.source_files import digest_of
from hepml_core.storage import Folder
from hepml_core.tables import TableWriter

log = logging.getLogger(__name__)

PLAUSIBLE_PT_GEV = (0.5, 3000.0)
"""Between these lies the median pt of any sample; beside them its unit is wrong."""


def convert(source: Folder, shards: Folder, config: ConvertConfig) -> Mapping[str, float]:
    """Write the objects of all files to Parquet shards, a row for each object or for each event.

    A file becomes one or more shards, ``part-<file>-<shard>.parquet``; a shard ends with the first chunk of events that
    fills it. Energies, momenta and masses are in GeV whatever the files have.

    Raises:
        DataError: There are no files, one is damaged, or a line or value is bad and ``on_bad_input=fail``.
        UnknownNameError: There is no such tree, collection, branch or variable.
        SettingError: The unit of energies, or the tree, has to be told.
        FolderError: ``shards`` holds something else.
    """
    files = find_files(source, config.format)
    variables = variables_of(config, files[0].kind)
    check_file(files[0], config)
    output = Output(shards, "shards", "jets", config, {"source": digest_of(files)}, root=config.shards_root)
    if output.finished:
        log.info("%s is already there", shards)
        return output.finished.metrics
    kind = _row_kind(files, variables, config)
    made = _make_shards(files, kind, output, config)
    total = Tally()
    for part in made:
        total.add(part.tally)
    rows = sum(part.entry.records for part in made)
    if not rows:
        raise DataError(f"no row is left of the {total.events_read} events in {source}: the settings leave out all")
    _warn_of_units(made)
    for cut, count in total.removed.items():
        log.info("%s: removed %d", cut, count)
    log.info("kept %d of %d events, %d rows", total.events, total.events_read, rows)
    removed = sum(total.removed.values())
    metrics = {"events": total.events, "rows": rows, "removed": removed, "skipped": total.skipped}
    facts = {
        "variables": kind.features,
        "rows": config.rows,
        "format": files[0].kind,
        "processes": sorted(total.processes),
        "objects": [code for code in OBJECTS if code in total.objects],
        "max_objects": kind.places if isinstance(kind, EventRows) else total.longest,
        "events_read": total.events_read,
        "events": total.events,
        "row_count": rows,
        "removed": total.removed,
        "skipped": total.examples,
    }
    output.publish(metrics=metrics, facts=facts, schema=kind.schema)
    return metrics


@dataclass(frozen=True, slots=True)
class FileJob:
    """What a worker process needs to make the shards of a file, or those that an earlier, killed run did not make."""

    file: SourceFile
    number: int
    kind: RowKind
    output: Output
    config: ConvertConfig
    shards_done: int
    chunks_done: int


@dataclass(frozen=True, slots=True)
class MadeShard:
    """A finished shard, and what its receipt notes of it."""

    entry: FileEntry
    tally: Tally
    file: str
    chunks: int
    """Chunks of the file up to here."""
    is_last: bool
    """Whether it is the file's last shard."""


def _row_kind(files: Sequence[SourceFile], variables: tuple[str, ...], config: ConvertConfig) -> RowKind:
    """Say what the rows hold; for whole events, the files are read once more to find the longest and all processes."""
    of_event = tuple(OF_EVENT) if files[0].kind == "csv" else ()
    if config.rows == "objects":
        return ObjectRows(variables, of_event)
    total = Tally()
    with progress("measure", len(files), "files") as bar:
        for tally in in_processes(_measure, [(file, config) for file in files]):
            total.add(tally)
            bar.advance()
    places = config.max_objects or total.longest
    log.info("the longest event has %d objects, a row holds %d", total.longest, places)
    return EventRows(variables, of_event, places, tuple(sorted(total.processes)))


def _measure(job: tuple[SourceFile, ConvertConfig]) -> Tally:
    file, config = job
    tally = Tally()
    for events in read_events(file, config):
        select(events, config, file.name, tally)
    return tally


def _make_shards(files: Sequence[SourceFile], kind: RowKind, output: Output, config: ConvertConfig) -> list[MadeShard]:
    """Make the shards of all files on all cores, except those that an earlier, killed run has made."""
    made: list[MadeShard] = []

    def wanted() -> Iterator[FileJob]:
        for number, file in enumerate(files):
            found = list(_find_shards(number, output))
            made.extend(found)
            if found and found[-1].is_last:
                bar.advance()
            else:
                yield FileJob(file, number, kind, output, config, len(found), found[-1].chunks if found else 0)

    with progress("convert", len(files), "files") as bar:
        for parts in in_processes(_convert_file, wanted()):
            for part in parts:
                output.keep(part.entry, receipt=False)  # the worker has left one
            made.extend(parts)
            bar.advance()
    return sorted(made, key=lambda part: part.entry.name)


def _shard_name(file: int, shard: int) -> str:
    return f"part-{file:05d}-{shard:05d}.parquet"


def _find_shards(file: int, output: Output) -> Iterator[MadeShard]:
    """Yield the shards of a file that an earlier run has made, up to the first that is missing."""
    shard, is_last = 0, False
    while not is_last and (found := output.receipt(_shard_name(file, shard))):
        entry, notes = found
        is_last = notes["is_last"]
        yield MadeShard(entry, **{**notes, "tally": Tally(**notes["tally"])})
        shard += 1


def _convert_file(job: FileJob) -> list[MadeShard]:
    config, files = job.config, job.output.files
    lines: list[BadLine] = []
    chunks = read_events(job.file, config, lines, chunks_done=job.chunks_done)
    chunk, done = next(chunks, None), job.chunks_done
    made: list[MadeShard] = []
    while not made or chunk is not None:
        name, tally = _shard_name(job.number, job.shards_done + len(made)), Tally()
        with files.staged(name) as path, TableWriter(path, job.kind.schema) as writer:
            while chunk is not None and writer.rows < config.rows_per_shard:
                tally.skip_lines(lines)
                lines.clear()
                writer.write(job.kind.columns(select(chunk, config, job.file.name, tally)))
                chunk, done = next(chunks, None), done + 1
        if chunk is None:
            tally.skip_lines(lines)
        part = MadeShard(
            FileEntry(name, writer.bytes, writer.crc32c, writer.rows), tally, job.file.name, done, chunk is None
        )
        job.output.keep(part.entry, _notes(part))
        made.append(part)
    return made


def _notes(part: MadeShard) -> dict[str, Any]:
    return {"tally": asdict(part.tally), "file": part.file, "chunks": part.chunks, "is_last": part.is_last}


def _warn_of_units(made: Sequence[MadeShard]) -> None:
    """Say which files have a median pt that no sample has."""
    least, most = PLAUSIBLE_PT_GEV
    first_shards = {part.file: part for part in reversed(made)}
    for part in reversed(first_shards.values()):
        median = part.tally.median_pt
        if median > most or 0 < median < least:
            remedy = "MeV" if median > most else "GeV"
            log.warning(
                "the median pt in %s is %.4g GeV: its energies seem to be in %s; units=%s says so",
                part.file,
                median,
                remedy,
                remedy,
            )
