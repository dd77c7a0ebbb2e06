"""Decompress: archives of jets back to ROOT files with the branches that were."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Output, read_manifest
from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.jets.archive import ENDING, ArchiveReader, Block
from hepml_core.jets.archive_header import Header
from hepml_core.jets.codecs import Codec
from hepml_core.jets.config import DecompressConfig
from hepml_core.jets.events import IntArray
from hepml_core.jets.open_codec import OpenCodec, open_autoencoder, open_columns, open_density
from hepml_core.jets.packing import unpack
from hepml_core.jets.write_root import JetWriter
from hepml_core.memory import memory_kept
from hepml_core.progress import progress
from hepml_core.source_files import split_address
from hepml_core.storage import Folder

log = logging.getLogger(__name__)


def decompress(
    archive: Folder, restored: Folder, config: DecompressConfig, model: Folder | None = None
) -> Mapping[str, float]:
    """Write a ROOT file for each archive: the same tree, branches, types, jets in events and event numbers.

    Where ``restored`` ends in .root, it is the one file of the one archive; else it is a folder of files.

    Raises:
        SettingError: The archive needs a model and none is given, or the range of events lies beyond its end.
        FolderError: The model is not that of the archive.
        DataError: An archive is damaged; the message names the events that are lost.
    """
    folder, names = _find_archives(archive)
    single = str(restored).endswith(".root")
    if single and len(names) > 1:
        raise SettingError(f"{archive} holds {len(names)} archives: name a folder for as many files, not {restored}")
    readers = [ArchiveReader(folder, name) for name in names]
    if single:
        place, name = split_address(restored)
        return _report(_decompress_file(readers[0], place, name, config, model))
    inputs = {name: _digest(reader) for name, reader in zip(names, readers, strict=True)}
    output = Output(restored, "restored", "jets", config, inputs)
    if output.finished:
        log.info("%s is already there", restored)
        return output.finished.metrics
    sums: Counter[str] = Counter()
    for reader, name in zip(readers, names, strict=True):
        file = name.removesuffix(ENDING) + ".root"
        sums.update(output.once(file, partial(_decompress_file, reader, output.files, file, config, model)))
    metrics = _report(sums)
    output.publish(metrics=metrics)
    return metrics


def _report(made: Mapping[str, int]) -> dict[str, float]:
    return {"events": float(made["records"]), "jets": float(made["jets"])}


def _digest(reader: ArchiveReader) -> str:
    """Identify an archive by its header and its index, which has the checksums of all blocks."""
    return hashlib.sha256(f"{reader.header}{reader.blocks}".encode()).hexdigest()


def _find_archives(archive: Folder) -> tuple[Folder, list[str]]:
    if str(archive).endswith(ENDING):
        folder, name = split_address(archive)
        return folder, [name]
    names = sorted(found.name for found in archive.walk() if found.name.endswith(ENDING))
    if not names:
        raise DataError(f"{archive} holds no archive *{ENDING}: compress makes them")
    return archive, names


def _decompress_file(
    reader: ArchiveReader, folder: Folder, name: str, config: DecompressConfig, model: Folder | None
) -> dict[str, int]:
    """Write the ROOT file of an archive; return the numbers of its events (``records``) and jets."""
    header = Header.from_plain(reader.header, reader.where)
    first, last = _event_range(reader, config)
    codec = _open_codec(header, reader.where, config, model).of_file(header.factors, header.dtypes)
    jets = 0
    with (
        folder.staged(name) as path,
        JetWriter(
            path,
            header.tree,
            event_branches=header.event_branches,
            jet_branches={one.branch: one.dtype for one in header.variables.values()},
            compression=config.compression,
            flat=header.flat,
        ) as writer,
        progress("decompress", last - first, "events") as bar,
        memory_kept(),
    ):
        for block in reader.blocks:
            if block.first_event >= last or block.first_event + block.events <= first:
                continue
            decoded = _decode(reader, block, codec, header)
            number_e = np.arange(block.first_event, block.first_event + block.events)
            jets += _write(writer, decoded, (number_e >= first) & (number_e < last), header)
            bar.advance(min(last, block.first_event + block.events) - max(first, block.first_event))
    return {"records": last - first, "jets": jets}


def _event_range(reader: ArchiveReader, config: DecompressConfig) -> tuple[int, int]:
    first, asked = config.event_range()
    last = reader.events if asked is None else asked
    if config.events and not first < last <= reader.events:
        raise SettingError(
            f"{reader.where} holds {reader.events} events, from 0; events={config.events} asks for others"
        )
    return first, last


class Decoded(NamedTuple):
    """A block of events.

    Attributes:
        count_e: Number of jets of each event.
        of_event: Numbers of events and runs, by branch.
        values: Values of each variable.
    """

    count_e: IntArray
    of_event: dict[str, NDArray[Any]]
    values: dict[str, NDArray[Any]]


def _decode(reader: ArchiveReader, block: Block, codec: Codec, header: Header) -> Decoded:
    parts = reader.read(block)
    try:
        numbers = max(1, len(header.event_branches))
        count_e, *number_e = (unpack(part, np.int64, block.events) for part in parts[: 1 + numbers])
        if (count_e < 0).any() or count_e.sum() != block.jets:
            raise DataError(f"{count_e.sum()} jets in place of {block.jets}")
        # Where nothing counts the events, their places do, and there is no branch for them.
        of_event = dict(zip(header.event_branches, number_e, strict=False))
        if block.jets:
            values = codec.decode(parts[1 + numbers :], count_e, header.dtypes)
        else:
            values = {name: np.empty(0, dtype) for name, dtype in header.dtypes.items()}
    except (DataError, *_DAMAGE) as error:
        raise DataError(f"{reader.where}: {reader.lost(block)} ({error})") from error
    return Decoded(count_e, of_event, values)


_DAMAGE = (LookupError, ValueError, TypeError, ArithmeticError, MemoryError, RuntimeError)
"""What comes of content that has the right checksum and was not written by ``compress``."""


def _write(writer: JetWriter, decoded: Decoded, keep_e: NDArray[np.bool_], header: Header) -> int:
    """Write chosen events; return the number of their jets."""
    keep_n = np.repeat(keep_e, decoded.count_e)
    count_e = decoded.count_e[keep_e]
    columns = {header.variables[name].branch: value_n[keep_n] for name, value_n in decoded.values.items()}
    of_event = {branch: value_e[keep_e] for branch, value_e in decoded.of_event.items()}
    writer.extend(of_event, count_e, columns)
    return int(count_e.sum())


def _open_codec(header: Header, where: str, config: DecompressConfig, model: Folder | None) -> OpenCodec:
    if header.codec == "columns":
        return open_columns(header.bounds)
    if model is None:
        raise SettingError(f"{where} was compressed with a model ({header.model[:12]}…): name it with --model")
    digest = read_manifest(model, "model", "jets").digest
    if digest != header.model:
        raise FolderError(
            f"{model} is not the model of {where}: it has the digest {digest[:12]}…, the archive names {header.model[:12]}…"
        )
    if header.codec == "density":
        return open_density(model)
    return open_autoencoder(model, header.bounds, header.latent_step, config.device)
