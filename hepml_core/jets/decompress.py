"""Decompress: archives of jets back to ROOT files with the branches that were."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import FileEntry, Output, checksum, read_manifest
from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.jets.archive import ArchiveReader, Block
from hepml_core.jets.codecs import Codec
from hepml_core.jets.compress import ENDING, OpenModel, open_autoencoder, open_columns, open_density
from hepml_core.jets.config import Bound, DecompressConfig
from hepml_core.jets.events import IntArray
from hepml_core.jets.packing import unpack
from hepml_core.jets.sources import split_address
from hepml_core.jets.write_root import JetWriter
from hepml_core.progress import progress
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
        events, jets = _decompress_file(readers[0], place, name, config, model)
        return {"events": events, "jets": jets}
    inputs = {name: f"{reader.blocks}{reader.header}" for name, reader in zip(names, readers, strict=True)}
    output = Output(restored, "restored", "jets", config, inputs)
    if output.finished:
        log.info("%s is already there", restored)
        return output.finished.metrics
    sums = np.zeros(2)
    for reader, name in zip(readers, names, strict=True):
        file = name.removesuffix(ENDING) + ".root"
        found = output.receipt(file)
        made = found[1]["sums"] if found else _decompress_file(reader, output.files, file, config, model)
        if not found:
            stat = output.files.stat(file)
            assert stat is not None
            entry = FileEntry(file, stat.bytes, checksum(output.files, file, stat.bytes), records=int(made[0]))
            output.keep(entry, {"sums": list(made)})
        sums += made
    metrics = {"events": float(sums[0]), "jets": float(sums[1])}
    output.publish(metrics=metrics)
    return metrics


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
) -> tuple[int, int]:
    header = reader.header
    first, last = config.event_range()
    last = reader.events if last is None else last
    if (first or config.events) and (first >= reader.events or last > reader.events):
        raise SettingError(f"the archive holds events 0 to {reader.events - 1}, events={config.events} asks for others")
    described = {one["name"]: one for one in header["variables"]}
    dtypes = {name: np.dtype(one["dtype"]) for name, one in described.items()}
    factors = {name: float(one["factor"]) for name, one in described.items()}
    codec = _open_codec(header, described, config, model).codec(factors, dtypes)
    numbers = [branch for branch in (header["event_branch"], header["run_branch"]) if branch]
    jets = 0
    with (
        folder.staged(name) as path,
        JetWriter(
            path,
            header["tree"],
            event_branches={branch: np.dtype(header["event_dtypes"][branch]) for branch in numbers},
            jet_branches={one["branch"]: dtypes[name] for name, one in described.items()},
            compression=config.compression,
        ) as writer,
        progress("decompress", last - first, "events") as bar,
    ):
        for block in _blocks(reader, first, last):
            count_e, of_event, values = _decode(reader.read(block), block, codec, dtypes, header, str(folder))
            number_e = np.arange(block.first_event, block.first_event + block.events)
            keep_e = (number_e >= first) & (number_e < last)
            keep_n = np.repeat(keep_e, count_e)
            columns = {described[name]["branch"]: value_n[keep_n] for name, value_n in values.items()}
            event_columns = {branch: value_e[keep_e] for branch, value_e in zip(numbers, of_event, strict=False)}
            _write(writer, event_columns, count_e[keep_e], columns, header["flat"])
            jets += int(np.count_nonzero(keep_n))
            bar.advance(int(np.count_nonzero(keep_e)))
    return last - first, jets


def _write(
    writer: JetWriter,
    event_columns: Mapping[str, NDArray[Any]],
    count_e: IntArray,
    columns: Mapping[str, NDArray[Any]],
    flat: bool,
) -> None:
    """Write events with their jets; in a flat tree a row for each jet, which carries its event's numbers."""
    if flat:
        repeated = {branch: np.repeat(value_e, count_e) for branch, value_e in event_columns.items()}
        writer.extend(repeated, None, columns)
    else:
        writer.extend(event_columns, count_e, columns)


def _blocks(reader: ArchiveReader, first: int, last: int) -> Iterator[Block]:
    return (one for one in reader.blocks if one.first_event < last and one.first_event + one.events > first)


def _decode(
    parts: Sequence[bytes],
    block: Block,
    codec: Codec,
    dtypes: Mapping[str, np.dtype[Any]],
    header: Mapping[str, Any],
    where: str,
) -> tuple[IntArray, list[NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return the number of jets of each event, the numbers of events and runs, and the values."""
    try:
        count_e = unpack(parts[0], np.int64, block.events)
        of_event = [unpack(parts[1], np.int64, block.events)]
        if header["run_branch"]:
            of_event.append(unpack(parts[2], np.int64, block.events))
        if not block.jets:
            return count_e, of_event, {name: np.empty(0, kind) for name, kind in dtypes.items()}
        return count_e, of_event, codec.decode(parts[1 + len(of_event) :], count_e, dtypes)
    except DataError as error:
        last = block.first_event + block.events - 1
        raise DataError(f"{where}: events {block.first_event} to {last}: {error}") from None


def _open_codec(
    header: Mapping[str, Any],
    described: Mapping[str, Mapping[str, Any]],
    config: DecompressConfig,
    model: Folder | None,
) -> OpenModel:
    bounds = {name: Bound(one["size"], one["relative"]) for name, one in described.items() if "size" in one}
    if header["codec"] == "columns":
        return open_columns(tuple(described), bounds)
    if model is None:
        raise SettingError(
            f"{header['source']} was compressed with a model ({header['model'][:12]}…): name it with --model"
        )
    digest = read_manifest(model, "model", "jets").digest
    if digest != header["model"]:
        raise FolderError(
            f"{model} is not the model of this archive: it has the digest {digest[:12]}…, the archive names "
            f"{header['model'][:12]}…"
        )
    if header["codec"] == "density":
        return open_density(model)
    return open_autoencoder(model, bounds, header["latent_step"], config.device)
