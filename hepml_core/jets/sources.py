"""Find the files of a source and read their events, whatever kind of files they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from hepml_core import source_files
from hepml_core.errors import DataError, UnknownNameError
from hepml_core.jets.config import ConvertConfig, Format
from hepml_core.jets.csv_files import BadLine, read_csv
from hepml_core.jets.cuts import CUTS
from hepml_core.jets.events import Events
from hepml_core.jets.root_files import JetTree, mass_of, open_jets
from hepml_core.jets.variables import MEV, SETS, choose_variables
from hepml_core.storage import Folder, open_folder

Kind = Literal["root", "csv"]
ENDINGS: dict[str, Kind] = {".root": "root", ".csv": "csv"}
DEFAULT_VARIABLES: dict[Kind, tuple[str, ...]] = {"root": SETS["atlas4"], "csv": SETS["phenoml4"]}
CSV_VARIABLES = ("E", "pt", "eta", "phi", "m")
"""What CSV files hold, and the mass that is computed from it."""


SourceFile: TypeAlias = source_files.SourceFile[Kind]
"""A file with events of jets."""


def find_files(source: Folder, format: Format) -> list[SourceFile]:  # noqa: A002 - the setting's name
    """List the ROOT or CSV files of a source, sorted by name; the source may be such a file itself.

    Raises:
        DataError: There is no such folder, no such file in it, or there are files of both kinds.
    """
    only = None if format == "auto" else (format,)
    files = source_files.find_files(source, ENDINGS, "ROOT or CSV files", only)
    if len({file.kind for file in files}) > 1:
        raise DataError(f"{source} holds ROOT and CSV files: format=root or format=csv chooses")
    return files


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
