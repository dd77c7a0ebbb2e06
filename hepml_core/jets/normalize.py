"""Normalize: the transforms of all variables, measured on the training rows alone.

Suffixes: n row, f variable, m variable that is measured, s row of the sample.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Manifest, Output, check_files, read_manifest
from hepml_core.errors import DataError, FolderError
from hepml_core.jets.config import NormalizeConfig
from hepml_core.jets.quantiles import Quantile
from hepml_core.jets.rows import ROWS_AT_ONCE, count_rows, fill_values, iter_rows
from hepml_core.jets.scalers import Scaler, Transform
from hepml_core.jets.transforms import IDENTITY, Line, fixed_transforms
from hepml_core.moments import Moments
from hepml_core.progress import progress
from hepml_core.storage import Folder

log = logging.getLogger(__name__)

STATISTICS = "statistics.json"

Values = NDArray[np.float32]
Pieces = Iterator[tuple[int, Values]]


def normalize(dataset: Folder, statistics: Folder, config: NormalizeConfig) -> Mapping[str, float]:
    """Choose the transform of each variable, measure what it needs, and see that it can scale every training row.

    One pass over the train split; valid and test are not read. Memory: some rows, and for ``quantile`` the sample, which
    is drawn evenly over the training rows (they lie in random order). In rows of whole events, an object that is not
    there counts as zeros, as in the original.

    Raises:
        FolderError: ``dataset`` is no whole dataset folder, or ``statistics`` holds something else.
        SettingError: The method has no constants for a variable.
        DataError: A value is not finite or outside its transform's domain, or there are fewer than two rows.
    """
    manifest = read_manifest(dataset, "dataset", "jets")
    variables = list(manifest.facts["variables"])
    fixed = fixed_transforms(config.method, variables)
    rows = count_rows(manifest, "train")
    if rows < 2:
        raise DataError(f"{dataset} has too few training rows to normalize ({rows}): organize more events")
    output = Output(statistics, "statistics", "jets", config, {"dataset": manifest.digest})
    if output.finished:
        log.info("%s is already there", statistics)
        return output.finished.metrics
    check_files(dataset, manifest)
    known = Scaler(tuple(variables), tuple(fixed.get(name, IDENTITY) for name in variables))
    columns = [number for number, name in enumerate(variables) if name not in fixed]
    pieces = _checked(_pieces(dataset, manifest, variables), known, rows, f"{dataset}, train split")
    made: Sequence[Transform]
    if config.method == "quantile":
        made = _quantiles(pieces, columns, min(rows, config.max_samples), rows, config)
    else:
        made = _lines(pieces, columns)
    transforms: dict[str, Transform] = dict(fixed)
    transforms.update(zip((variables[number] for number in columns), made, strict=True))
    scaler = Scaler(tuple(variables), tuple(transforms[name] for name in variables))
    content = {"method": config.method, "rows": rows, "variables": scaler.to_json()}
    output.write(STATISTICS, (json.dumps(content, indent=1) + "\n").encode())
    log.info(
        "transforms of %d variables (%s), %d of them measured on %d rows",
        len(variables),
        config.method,
        len(made),
        rows,
    )
    metrics = {"events": manifest.facts["counts"]["train"]["events"], "rows": rows}
    output.publish(metrics=metrics, facts={"variables": variables})
    return metrics


def read_statistics(statistics: Folder) -> tuple[Manifest, Scaler]:
    """Read a statistics folder: its manifest, and the scaler of rows in the order of the dataset's variables.

    Raises:
        FolderError: It is no statistics folder of jets, or damaged.
    """
    manifest = read_manifest(statistics, "statistics", "jets")
    check_files(statistics, manifest)
    return manifest, read_scaler(statistics)


def read_scaler(folder: Folder) -> Scaler:
    """Read the scaler from the ``statistics.json`` of a statistics or model folder.

    Raises:
        FolderError: There is none, or it is damaged.
    """
    try:
        return Scaler.from_json(json.loads(folder.read(STATISTICS))["variables"])
    except FileNotFoundError:
        raise FolderError(f"{folder}/{STATISTICS} is missing: run the stage that made the folder again") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FolderError(f"{folder}/{STATISTICS} is damaged ({error}): run the stage that made it again") from error


def _pieces(dataset: Folder, manifest: Manifest, variables: Sequence[str]) -> Pieces:
    """Yield the training rows, some at once, with the number of rows before them."""
    buffer_nf = np.empty((ROWS_AT_ONCE, len(variables)), np.float32)
    start = 0
    for some in iter_rows(dataset, manifest, "train", variables):
        value_nf = fill_values(buffer_nf, some, variables)
        yield start, value_nf
        start += len(value_nf)


def _checked(pieces: Pieces, scaler: Scaler, rows: int, where: str) -> Pieces:
    """Scale all rows by what is known of the transforms, to refuse what they cannot scale; yield them unscaled."""
    with progress("normalize", rows, "rows") as bar:
        for start, value_nf in pieces:
            try:
                scaler.forward(value_nf, first_row=start)
            except DataError as error:
                raise DataError(f"{where}: {error}") from error
            yield start, value_nf
            bar.advance(len(value_nf))


def _lines(pieces: Pieces, columns: list[int]) -> list[Line]:
    """Measure mean and standard deviation (n - 1, as the original's) of some columns."""
    parts: list[Moments] = []
    origin_m = np.zeros(len(columns))
    for start, value_nf in pieces:
        value_nm = value_nf[:, columns].astype(np.float64)
        # From the first row on: values that are all equal have exactly no spread, large ones keep their digits.
        origin_m = origin_m if start else value_nm[0].copy()
        value_nm -= origin_m
        mean_m = value_nm.mean(0)
        parts.append(Moments(len(value_nm), mean_m, ((value_nm - mean_m) ** 2).sum(0)))
    whole = reduce(Moments.merge, parts)
    mean_m, std_m = whole.mean_c + origin_m, np.sqrt(whole.m2_c / (whole.count - 1))
    if not std_m.all():
        log.warning(
            "%d variables are the same in every training row: they are moved to 0, not scaled", (std_m == 0).sum()
        )
    return [Line(mean, std or 1.0) for mean, std in zip(mean_m.tolist(), std_m.tolist(), strict=True)]


def _quantiles(pieces: Pieces, columns: list[int], samples: int, rows: int, config: NormalizeConfig) -> list[Quantile]:
    """Keep every so manieth row, and sort each column."""
    chosen_s = np.arange(samples) * rows // samples
    sample_sm = np.empty((samples, len(columns)), np.float32)
    for start, value_nf in pieces:
        first, last = np.searchsorted(chosen_s, (start, start + len(value_nf)))
        sample_sm[first:last] = value_nf[chosen_s[first:last] - start][:, columns]
    return [Quantile(np.sort(sample_n).astype(np.float64), config.target) for sample_n in sample_sm.T]
