"""Find the files of a source and read their events, whatever kind of files they are."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from hepml_core.errors import DataError, UnknownNameError
from hepml_core.jets.config import ConvertConfig, Format
from hepml_core.jets.csv_files import BadLine, read_csv
from hepml_core.jets.cuts import CUTS
from hepml_core.jets.events import Events
from hepml_core.jets.root_files import JetTree, mass_of, open_jets
from hepml_core.jets.variables import MEV, SETS, choose_variables
from hepml_core.storage import Folder, open_folder

log = logging.getLogger(__name__)

Kind = Literal["root", "csv"]
ENDINGS: dict[str, Kind] = {".root": "root", ".csv": "csv"}
DEFAULT_VARIABLES: dict[Kind, tuple[str, ...]] = {"root": SETS["atlas4"], "csv": SETS["phenoml4"]}
CSV_VARIABLES = ("E", "pt", "eta", "phi", "m")
"""What CSV files hold, and the mass that is computed from it."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file with events."""

    folder: str
    """Address of the source's folder."""
    name: str
    """Name in that folder."""
    kind: Kind
    bytes: int
    version: str
    """Changes when the content does."""


def find_files(source: Folder, format: Format) -> list[SourceFile]:  # noqa: A002 - the setting's name
    """List the ROOT or CSV files of a source, sorted by name; the source may be such a file itself.

    Raises:
        DataError: There is no such folder, no such file in it, or there are files of both kinds.
    """
    if _kind_of(str(source)) and (source.path is None or source.path.is_file()):
        folder, name = split_address(source)
        stats = [found for found in [folder.stat(name)] if found]
    elif source.path is not None and not source.path.is_dir():
        raise DataError(f"{source} is no folder: --source names a folder of ROOT or CSV files, or one such file")
    else:
        folder = source
        stats = [one for one in source.walk() if not any(part.startswith(".") for part in one.name.split("/"))]
    files = [
        SourceFile(str(folder), one.name, kind, one.bytes, one.version)
        for one in stats
        if (kind := _kind_of(one.name)) and format in ("auto", kind)
    ]
    if not files:
        wanted = "*.root or *.csv" if format == "auto" else f"*.{format}"
        raise DataError(f"{source} holds no file {wanted}")
    if len({file.kind for file in files}) > 1:
        raise DataError(f"{source} holds ROOT and CSV files: format=root or format=csv chooses")
    if len(files) < len(stats):
        log.info("left out %d files of %s that are not %s", len(stats) - len(files), source, files[0].kind)
    return sorted(files, key=lambda file: file.name)


def split_address(file: Folder) -> tuple[Folder, str]:
    """Return the folder and the name of what was opened as a folder and is a file."""
    if file.path is not None:
        return open_folder(file.path.parent), file.path.name
    address, _, name = str(file).rpartition("/")
    return open_folder(address), name


def digest_of(files: Sequence[SourceFile]) -> str:
    """Return a digest that changes when a file is added, removed, renamed or changed."""
    content = "\n".join(f"{file.name}\0{file.bytes}\0{file.version}" for file in files)
    return hashlib.sha256(content.encode()).hexdigest()


def variables_of(config: ConvertConfig, kind: Kind) -> tuple[str, ...]:
    """Return the variables to keep: the asked ones, or those that each kind of file has.

    Raises:
        UnknownNameError: CSV files do not hold one of them, or one that the cuts look at.
    """
    variables = choose_variables(config.variables) or DEFAULT_VARIABLES[kind]
    if kind == "csv":
        for needed_by, names in (("", variables), (f" for cuts={config.cuts}", _needed_by_cuts(config))):
            for name in names:
                if name not in CSV_VARIABLES:
                    raise UnknownNameError("variable", name, CSV_VARIABLES, f"of CSV files{needed_by}")
    return variables


def read_events(
    file: SourceFile, config: ConvertConfig, skipped: list[BadLine] | None = None, *, chunks_done: int = 0
) -> Iterator[Events]:
    """Read a file's events in chunks, with the variables to keep and those that the cuts look at.

    Args:
        file: The file; one in an object store is copied to the local disk for the time being.
        config: What to read.
        skipped: Where malformed lines that are left out are noted.
        chunks_done: Chunks to pass over, which an earlier run has done.

    Raises:
        DataError: The file is damaged, or a line is malformed and is not to be skipped.
        UnknownNameError: There is no such tree, collection or branch.
        SettingError: The unit of energies, or the tree, has to be told.
    """
    size = min(config.events_per_chunk, config.rows_per_shard)
    with open_folder(file.folder).local(file.name) as path:
        if file.kind == "root":
            with _open_root(path, file, config) as jets:
                yield from jets.chunks(size, first=chunks_done * size)
            return
        variables = _variables_to_read(config, file.kind)
        bad: list[BadLine] = []
        chunks = read_csv(path, events_per_chunk=size, on_bad_input=config.on_bad_input, skipped=bad)
        for number, events in enumerate(chunks):
            if skipped is not None and number >= chunks_done:
                skipped += [dataclasses.replace(one, file=file.name) for one in bad]
            bad.clear()
            if number >= chunks_done:
                yield _with_variables(events, variables, config)
        if skipped is not None:
            skipped += [dataclasses.replace(one, file=file.name) for one in bad]


def check_file(file: SourceFile, config: ConvertConfig) -> None:
    """Find what is asked for in a file on this machine's disks, before work on many starts.

    Raises:
        DataError, UnknownNameError, SettingError: As read_events does.
    """
    folder = open_folder(file.folder).path
    if file.kind == "root" and folder is not None:
        with _open_root(folder / file.name, file, config):
            pass


def _open_root(path: Path, file: SourceFile, config: ConvertConfig) -> JetTree:
    return open_jets(
        path,
        variables=_variables_to_read(config, file.kind),
        tree=config.tree,
        collection=config.collection,
        units=config.units,
        name=file.name,
    )


def _variables_to_read(config: ConvertConfig, kind: Kind) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*variables_of(config, kind), *_needed_by_cuts(config))))


def _needed_by_cuts(config: ConvertConfig) -> list[str]:
    return [name for cut in CUTS[config.cuts] for name in cut.needs]


def _with_variables(events: Events, variables: Sequence[str], config: ConvertConfig) -> Events:
    """Return events of a CSV file with the asked variables in the asked order, in GeV whatever the file has."""
    values, of_event = dict(events.values), dict(events.of_event)
    if config.units == "GeV":  # the reader took them for MeV
        values |= {name: (values[name] / np.float64(MEV)).astype(np.float32) for name in ("E", "pt")}
        of_event["met"] = of_event["met"] / MEV
    if "m" in variables:
        values["m"] = mass_of(values["E"], values["pt"], values["eta"])
    return dataclasses.replace(events, values={name: values[name] for name in variables}, of_event=of_event)


def _kind_of(name: str) -> Kind | None:
    return ENDINGS.get(PurePosixPath(name).suffix.lower())
