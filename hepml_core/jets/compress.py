"""Compress: jets of ROOT files to archives of few bytes, every value within its bound."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from hepml_core import __version__
from hepml_core.artifacts import Output, read_manifest
from hepml_core.errors import DataError, SettingError
from hepml_core.jets.archive import ENDING, ArchiveWriter
from hepml_core.jets.archive_header import Header, StoredVariable
from hepml_core.jets.bounds import Bound, bound_of, parse_bounds
from hepml_core.jets.codecs import Codec
from hepml_core.jets.config import CompressConfig
from hepml_core.jets.events import Events
from hepml_core.jets.open_codec import OpenCodec, open_autoencoder, open_columns, open_density
from hepml_core.jets.packing import pack
from hepml_core.jets.root_files import JetTree, open_jets
from hepml_core.jets.sources import SourceFile, find_files
from hepml_core.jets.variables import SETS, VARIABLES, choose_variables
from hepml_core.memory import memory_kept
from hepml_core.progress import progress
from hepml_core.source_files import digest_of, split_address
from hepml_core.storage import Folder, open_folder

log = logging.getLogger(__name__)

MOST_RUN = 1 << 53
"""Readers give run numbers as doubles, which hold whole numbers up to here."""

STEP_WITHOUT_BOUNDS = 1e-3
"""Step of latent variables, in units of their spread, where no correction makes good what rounding loses."""


def compress(
    source: Folder, archive: Folder, config: CompressConfig, model: Folder | None = None
) -> Mapping[str, float]:
    """Write an archive for each ROOT file; ``decompress`` gives ROOT files with the same branches back.

    Kept are the variables' branches, the structure of jets in events, and the events' numbers. Where ``archive`` ends in
    .hepml, it is the one archive of the one file of the source; else it is a folder of archives.

    Raises:
        SettingError: No model is given and none needed is asked for; the model has other bounds or variables.
        DataError: A file is damaged or has no branch for a variable.
        FolderError: ``model`` is no whole model folder.
    """
    files = find_files(source, "root")
    kind = _open_codec(model, config)
    single = str(archive).endswith(ENDING)
    if single and len(files) > 1:
        raise SettingError(f"{source} holds {len(files)} ROOT files: name a folder for as many archives, not {archive}")
    if single:
        folder, name = split_address(archive)
        return _report(_compress_file(files[0], folder, name, kind, config))
    inputs = {"source": digest_of(files), **({"model": kind.manifest.digest} if kind.manifest else {})}
    output = Output(archive, "archive", "jets", config, inputs)
    if output.finished:
        log.info("%s is already there", archive)
        return output.finished.metrics
    sums: Counter[str] = Counter()
    for file in files:
        name = file.name.removesuffix(".root") + ENDING
        sums.update(output.once(name, partial(_compress_file, file, output.files, name, kind, config)))
    metrics = _report(sums)
    output.publish(metrics=metrics)
    return metrics


def _open_codec(model: Folder | None, config: CompressConfig) -> OpenCodec:
    no_bounds = config.bounds == ("none",)
    asked = {} if no_bounds else parse_bounds(config.bounds)
    if config.codec == "columns":
        if no_bounds:
            raise SettingError("codec=columns needs bounds; bounds=pt=exact,… keeps values as they are")
        variables = choose_variables(config.variables) or SETS["atlas4"]
        _check_asked(asked, variables)
        return open_columns({name: bound_of(name, asked) for name in variables})
    if model is None:
        raise SettingError("codec=model needs --model, a folder that train made; codec=columns needs none")
    manifest = read_manifest(model, "model", "jets")
    names = tuple(manifest.facts["variables"])
    if any(name not in VARIABLES for name in names):
        raise SettingError(f"{model} is fitted to rows of whole events; archives hold jets: train on rows=objects")
    if config.variables and set(choose_variables(config.variables)) != set(names):
        raise SettingError(f"{model} has the variables {', '.join(names)}; others need another model, or codec=columns")
    _check_asked(asked, names)
    if manifest.facts["method"] == "autoencoder":
        bounds = {} if no_bounds else {name: bound_of(name, asked) for name in names}
        return open_autoencoder(model, bounds, _latent_step(config), config.device)
    opened = open_density(model)
    if no_bounds or any(opened.bounds[name] != bound for name, bound in asked.items()):
        own = ", ".join(f"{name}={bound}" for name, bound in opened.bounds.items())
        raise SettingError(f"{model} is a density for the bounds {own}: train one for others, or take codec=columns")
    return opened


def _latent_step(config: CompressConfig) -> float:
    return config.latent_step or (STEP_WITHOUT_BOUNDS if config.bounds == ("none",) else 0.0)


def _check_asked(asked: Mapping[str, Bound], variables: tuple[str, ...]) -> None:
    for name in asked:
        if name not in variables:
            raise SettingError(f"bounds names {name}, but what is stored is {', '.join(variables)}")


def _compress_file(
    file: SourceFile, folder: Folder, name: str, kind: OpenCodec, config: CompressConfig
) -> dict[str, int]:
    """Write the archive of a file; return the numbers of its ``records`` (events) and ``jets``, and its sizes in bytes."""
    with (
        open_folder(file.folder).local(file.name) as path,
        open_jets(
            path,
            variables=kind.variables,
            tree=config.tree,
            collection=config.collection,
            units=config.units,
            name=file.name,
        ) as jets,
        folder.staged(name) as staged,
    ):
        lacking = [one for one in kind.variables if one not in jets.branches]
        if lacking:
            raise DataError(
                f"{file.name} has no branch of {', '.join(lacking)}, which could be computed but not be given back: store "
                f"{', '.join(jets.branches)}"
            )
        header = _header(jets, kind, config)
        codec = kind.of_file(header.factors, header.dtypes)
        with (
            ArchiveWriter(staged, header.to_plain()) as writer,
            progress("compress", jets.events, "events") as bar,
            memory_kept(),
        ):
            for events in jets.chunks(config.events_per_block, raw=True):
                jets_in_block = int(events.count_e.sum())
                writer.write([*_structure(events), *_encode(codec, events, file.name)], len(events), jets_in_block)
                bar.advance(len(events))
        total = sum(block.jets for block in writer.blocks)
        raw = total * sum(one.itemsize for one in header.dtypes.values())
        return {"records": jets.events, "jets": total, "raw_bytes": raw, "bytes": staged.stat().st_size}


def _structure(events: Events) -> Iterator[bytes]:
    """Yield how many jets each event has, and the numbers of events and runs."""
    yield pack(events.count_e)
    yield pack(events.number_e)
    if "run" in events.of_event:
        run_e = events.of_event["run"]
        if np.abs(run_e).max(initial=0) > MOST_RUN:
            raise DataError(f"the run number {run_e[np.argmax(np.abs(run_e))]:.0f} is above {MOST_RUN}, which none is")
        yield pack(run_e.astype(np.int64))


def _encode(codec: Codec, events: Events, name: str) -> list[bytes]:
    if not events.count_e.sum():
        return []
    try:
        return codec.encode(events.values, events.count_e)
    except DataError as error:
        raise DataError(f"{name}, events from number {events.number_e[0]}: {error}") from None


def _header(jets: JetTree, kind: OpenCodec, config: CompressConfig) -> Header:
    dtypes = {name: np.dtype(dtype) for name, dtype in jets.dtypes.items()}
    variables = {
        name: StoredVariable(jets.branches[name], dtypes[name], jets.factors[name], kind.bounds.get(name))
        for name in kind.variables
    }
    return Header(
        program=f"hepml {__version__}",
        source=jets.name,
        tree=jets.tree,
        flat=jets.flat,
        event_branches=jets.event_dtypes,
        codec=kind.name,
        model=kind.manifest.digest if kind.manifest else "",
        statistics=kind.manifest.inputs.get("statistics", "") if kind.manifest else "",
        latent_step=_latent_step(config),
        variables=variables,
    )


def _report(made: Mapping[str, int]) -> dict[str, float]:
    events, jets, raw, written = (made[name] for name in ("records", "jets", "raw_bytes", "bytes"))
    per_jet = written / jets if jets else 0.0
    log.info("%.2f bytes a jet, of %.2f: %d jets in %d events", per_jet, raw / max(jets, 1), jets, events)
    return {
        "events": events,
        "jets": jets,
        "bytes": written,
        "bytes_per_jet": per_jet,
        "ratio": raw / written if written else 0.0,
    }
