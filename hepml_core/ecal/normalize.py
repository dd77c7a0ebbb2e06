"""Normalize: the spread of energies and times of the training hits.

A network sees energy / energy_scale, or log(1 + energy / log_energy) / energy_scale, and (time - origin) / time_scale.

Suffixes: e event, h hit, q quantity.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from functools import reduce

import numpy as np

from hepml_core.artifacts import Manifest, Output, check_files, files_of, read_manifest
from hepml_core.ecal.config import NormalizeConfig, TimeOrigin
from hepml_core.ecal.event_records import Events
from hepml_core.ecal.hit_set import choose_records, iter_events
from hepml_core.ecal.hits import FloatArray, Hits, IntArray
from hepml_core.errors import DataError
from hepml_core.moments import Moments
from hepml_core.progress import progress
from hepml_core.records import Records
from hepml_core.storage import Folder

log = logging.getLogger(__name__)

STATISTICS = "statistics.json"


def normalize(dataset: Folder, statistics: Folder, config: NormalizeConfig) -> Mapping[str, float]:
    """Measure energies and times of the hits of the train split, in one pass; valid and test are not read.

    Every hit counts the same; standard deviations are those of the population.

    Raises:
        FolderError: ``dataset`` is no whole dataset folder, or ``statistics`` holds something else.
        DataError: No training event has a hit, or a record is damaged.
    """
    manifest = read_manifest(dataset, "dataset", "ecal")
    output = Output(statistics, "statistics", "ecal", config, {"dataset": manifest.digest})
    if output.finished:
        log.info("%s is already there", statistics)
        return output.finished.metrics
    check_files(dataset, manifest)
    records = Records(files_of(dataset, manifest), manifest.shards("train"))
    record_n = choose_records(records, config.max_samples)
    parts: list[Moments] = []
    largest = 0.0
    for events in _with_progress(records, manifest, record_n):
        if len(events.hits.energy_h):
            parts.append(_moments(events.hits, config))
            largest = max(largest, float(events.hits.energy_h.max()))
    if not parts:
        raise DataError(f"no training event of {dataset} has a hit: convert with a lower min_energy")
    moments = reduce(Moments.merge, parts)
    mean, std = moments.mean_c.tolist(), moments.std_c.tolist()
    scales = {"none": 1.0, "max": largest, "standard": std[0], "log": std[1]}
    content = {
        "energy": config.energy,
        "energy_scale": _or_one(scales[config.energy], "energies"),
        "log_energy": config.log_energy,
        "time": config.time,
        "time_scale": _or_one(std[2], "times"),
        "events": len(record_n),
        "hits": moments.count,
        "energy_mean": mean[0],
        "energy_std": std[0],
        "energy_max": largest,
        "log_energy_mean": mean[1],
        "log_energy_std": std[1],
        "time_mean": mean[2],
        "time_std": std[2],
    }
    output.write(STATISTICS, (json.dumps(content, indent=1) + "\n").encode())
    log.info(
        "%d hits of %d events: energies %s / %.4g, times against the %s / %.4g",
        moments.count,
        len(record_n),
        config.energy,
        content["energy_scale"],
        config.time,
        content["time_scale"],
    )
    numbers = ("events", "hits", "energy_scale", "time_scale", "energy_mean", "energy_std", "time_mean", "time_std")
    metrics = {name: content[name] for name in numbers}
    output.publish(metrics=metrics)
    return metrics


def origin_of(hits: Hits, method: TimeOrigin) -> FloatArray:
    """Return what the times of each event are measured against; 0 where an event has no hits.

    Args:
        hits: Hits of any number of events.
        method: ``trigger`` is 0; ``seed`` the time of the hit of highest energy, of several the one of the first crystal;
            ``energy_weighted`` the mean of the times weighted by energy.
    """
    origin_e = np.zeros(len(hits), np.float32)
    count_e = np.diff(hits.first_e)
    if method == "trigger" or not len(hits.energy_h):
        return origin_e
    some_e = np.flatnonzero(count_e)
    if method == "energy_weighted":
        weight_e, sum_e = (
            np.bincount(hits.event_h, value_h, minlength=len(hits))
            for value_h in (hits.energy_h.astype(np.float64), hits.energy_h.astype(np.float64) * hits.time_h)
        )
        origin_e[some_e] = (sum_e[some_e] / weight_e[some_e]).astype(np.float32)
        return origin_e
    # Sorted by event, then from the highest energy down: the first of each event is its seed.
    order_h = np.lexsort((-hits.energy_h, hits.event_h))
    origin_e[some_e] = hits.time_h[order_h[hits.first_e[some_e]]]
    return origin_e


def _with_progress(records: Records, manifest: Manifest, record_n: IntArray) -> Iterator[Events]:
    with progress("normalize", len(record_n), "events") as bar:
        for events in iter_events(records, manifest, record_n):
            yield events
            bar.advance(len(events))


def _moments(hits: Hits, config: NormalizeConfig) -> Moments:
    """Return the moments of energy, its logarithm and time."""
    energy_h = hits.energy_h.astype(np.float64)
    time_h = hits.time_h - origin_of(hits, config.time)[hits.event_h].astype(np.float64)
    value_hq = np.stack([energy_h, np.log1p(energy_h / config.log_energy), time_h], 1)
    mean_q = value_hq.mean(0)
    return Moments(len(value_hq), mean_q, ((value_hq - mean_q) ** 2).sum(0))


def _or_one(scale: float, what: str) -> float:
    if not scale > 0:
        log.warning("all %s are the same: they are left unscaled", what)
        return 1.0
    return scale
