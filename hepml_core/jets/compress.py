"""Compress: jets of ROOT files to archives of few bytes, every value within its bound."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hepml_core import __version__
from hepml_core.artifacts import FileEntry, Manifest, Output, checksum, read_manifest
from hepml_core.errors import DataError, SettingError
from hepml_core.jets.archive import ArchiveWriter
from hepml_core.jets.codecs import AutoencoderCodec, Codec, ColumnCodec
from hepml_core.jets.config import Bound, CompressConfig, bound_of, parse_bounds
from hepml_core.jets.events import Events
from hepml_core.jets.grids import Grid, check_grid
from hepml_core.jets.packing import pack
from hepml_core.jets.root_files import JetTree, open_jets
from hepml_core.jets.sources import SourceFile, digest_of, find_files, split_address
from hepml_core.jets.variables import SETS, VARIABLES, choose_variables
from hepml_core.progress import progress
from hepml_core.storage import Folder, open_folder
from hepml_core.training.config import Device

log = logging.getLogger(__name__)

ENDING = ".hepml"


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
    kind = _open_model(model, config)
    single = str(archive).endswith(ENDING)
    if single and len(files) > 1:
        raise SettingError(f"{source} holds {len(files)} ROOT files: name a folder for as many archives, not {archive}")
    if single:
        folder, name = split_address(archive)
        return _report(*_compress_file(files[0], folder, name, kind, config))
    inputs = {"source": digest_of(files), **({"model": kind.manifest.digest} if kind.manifest else {})}
    output = Output(archive, "archive", "jets", config, inputs)
    if output.finished:
        log.info("%s is already there", archive)
        return output.finished.metrics
    sums = np.zeros(4)
    for file in files:
        name = file.name.removesuffix(".root") + ENDING
        found = output.receipt(name)
        made = np.array(found[1]["sums"] if found else _compress_file(file, output.files, name, kind, config))
        if not found:
            size = int(made[3])
            entry = FileEntry(name, size, checksum(output.files, name, size), records=int(made[1]))
            output.keep(entry, {"sums": made.tolist()})
        sums += made
    metrics = _report(*sums)
    output.publish(metrics=metrics)
    return metrics


@dataclasses.dataclass(frozen=True)
class OpenModel:
    """What a codec needs of a model.

    Attributes:
        variables: Variables to store.
        bounds: Bound of each; empty for none.
        manifest: The model folder's manifest, if there is a model.
        codec: Makes the codec for a file's factors and types.
        name: Name of the codec in archives.
    """

    variables: tuple[str, ...]
    bounds: Mapping[str, Bound]
    manifest: Manifest | None
    codec: Any
    name: str


def open_columns(variables: tuple[str, ...], bounds: Mapping[str, Bound]) -> OpenModel:
    """Return what codes each variable by itself."""

    def codec(factors: Mapping[str, float], dtypes: Mapping[str, np.dtype[Any]]) -> Codec:
        return ColumnCodec(grids_of(variables, bounds, factors, dtypes))

    return OpenModel(variables, bounds, None, codec, "columns")


def open_autoencoder(model: Folder, bounds: Mapping[str, Bound], latent_step: float, device: Device) -> OpenModel:
    """Return what codes latent variables and corrections."""
    from hepml_core.jets.inference import Reconstructor

    reconstructor = Reconstructor(model, device)

    def codec(factors: Mapping[str, float], dtypes: Mapping[str, np.dtype[Any]]) -> Codec:
        grids = grids_of(reconstructor.variables, bounds, factors, dtypes) if bounds else {}
        return AutoencoderCodec(reconstructor, grids, factors, latent_step)

    return OpenModel(reconstructor.variables, bounds, reconstructor.manifest, codec, "autoencoder")


def open_density(model: Folder) -> OpenModel:
    """Return what codes by a learned density."""
    from hepml_core.jets.density_fit import read_density

    density = read_density(model)

    def codec(factors: Mapping[str, float], dtypes: Mapping[str, np.dtype[Any]]) -> Codec:  # noqa: ARG001
        return density.coder(factors)

    return OpenModel(density.variables, density.bounds, density.manifest, codec, "density")


def grids_of(
    variables: tuple[str, ...],
    bounds: Mapping[str, Bound],
    factors: Mapping[str, float],
    dtypes: Mapping[str, np.dtype[Any]],
) -> dict[str, Grid | None]:
    """Return the grid of each variable; None for values that are to be exact and are no whole numbers."""
    grids: dict[str, Grid | None] = {}
    for name in variables:
        bound = bounds[name]
        whole = dtypes[name].kind in "iu"
        if not bound.size and not whole:
            grids[name] = None
        else:
            # Whole numbers are kept as the file counts them.
            grids[name] = Grid(name, bound, factors[name] if bound.size else 1.0)
            check_grid(name, bound, dtypes[name])
    return grids


def _open_model(model: Folder | None, config: CompressConfig) -> OpenModel:
    no_bounds = config.bounds == ("none",)
    asked = {} if no_bounds else parse_bounds(config.bounds)
    if config.codec == "columns":
        if no_bounds:
            raise SettingError("codec=columns needs bounds; bounds=pt=exact,… keeps values as they are")
        variables = choose_variables(config.variables) or SETS["atlas4"]
        return open_columns(variables, {name: bound_of(name, asked) for name in variables})
    if model is None:
        raise SettingError("codec=model needs --model, a folder that train made; codec=columns needs none")
    manifest = read_manifest(model, "model", "jets")
    names = tuple(manifest.facts["variables"])
    if config.variables and choose_variables(config.variables) != names:
        raise SettingError(f"{model} has the variables {', '.join(names)}; others need another model, or codec=columns")
    if any(name not in VARIABLES for name in names):
        raise SettingError(f"{model} is fitted to rows of whole events; archives hold jets: train on rows=objects")
    if manifest.facts["method"] == "autoencoder":
        bounds = {} if no_bounds else {name: bound_of(name, asked) for name in names}
        return open_autoencoder(model, bounds, config.latent_step, config.device)
    opened = open_density(model)
    for name, bound in asked.items():
        if no_bounds or opened.bounds.get(name) != bound:
            own = ", ".join(
                f"{key}={one.size:g} {'relative' if one.relative else 'absolute'}" for key, one in opened.bounds.items()
            )
            raise SettingError(
                f"{model} is a density for the bounds {own}: train one for others, or take codec=columns"
            )
    return opened


def _compress_file(
    file: SourceFile, folder: Folder, name: str, kind: OpenModel, config: CompressConfig
) -> tuple[int, int, int, int]:
    """Write the archive of a file; return its events, jets, bytes of values in the file's types, and bytes."""
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
                f"{file.name} has no branch of {', '.join(lacking)}, which could be computed but not be given back: take a "
                f"model of {', '.join(jets.branches)}"
            )
        dtypes = {one: np.dtype(kind_of_value) for one, kind_of_value in jets.dtypes.items()}
        codec = kind.codec(jets.factors, dtypes)
        with (
            ArchiveWriter(staged, _header(jets, kind, config)) as writer,
            progress("compress", jets.events, "events") as bar,
        ):
            for events in jets.chunks(config.events_per_block, raw=True):
                jets_in_block = int(events.count_e.sum())
                writer.write([*_structure(events), *_encode(codec, events, file.name)], len(events), jets_in_block)
                bar.advance(len(events))
        total = sum(block.jets for block in writer.blocks)
        return jets.events, total, total * sum(one.itemsize for one in dtypes.values()), _size(staged)


def _structure(events: Events) -> Iterator[bytes]:
    """Yield how many jets each event has, and the numbers of events and runs."""
    yield pack(events.count_e)
    yield pack(events.number_e)
    if "run" in events.of_event:
        yield pack(events.of_event["run"].astype(np.int64))


def _encode(codec: Codec, events: Events, name: str) -> list[bytes]:
    if not events.count_e.sum():
        return []
    try:
        return codec.encode(events.values, events.count_e)
    except DataError as error:
        raise DataError(f"{name}, events from number {events.number_e[0]}: {error}") from None


def _header(jets: JetTree, kind: OpenModel, config: CompressConfig) -> dict[str, Any]:
    manifest = kind.manifest
    return {
        "program": f"hepml {__version__}",
        "source": jets.name,
        "tree": jets.tree,
        "flat": jets.flat,
        "event_branch": jets.event_branch,
        "run_branch": jets.run_branch,
        "event_dtypes": {branch: str(kind) for branch, kind in jets.event_dtypes.items()},
        "codec": kind.name,
        "model": manifest.digest if manifest else "",
        "statistics": manifest.inputs.get("statistics", "") if manifest else "",
        "latent_step": config.latent_step,
        "variables": [
            {
                "name": name,
                "branch": jets.branches[name],
                "dtype": jets.dtypes[name],
                "factor": jets.factors[name],
                **(dataclasses.asdict(kind.bounds[name]) if kind.bounds else {}),
            }
            for name in kind.variables
        ],
    }


def _size(path: Path) -> int:
    return path.stat().st_size


def _report(events: float, jets: float, raw: float, written: float) -> dict[str, float]:
    per_jet = written / jets if jets else 0.0
    log.info("%.2f bytes a jet, of %.2f: %d jets in %d events", per_jet, raw / max(jets, 1), jets, events)
    return {
        "events": events,
        "jets": jets,
        "bytes": written,
        "bytes_per_jet": per_jet,
        "ratio": raw / written if written else 0.0,
    }
