"""Evaluate: judge a model on the test split, which nothing before has looked at.

Suffixes: e event, h hit, k frame, y row, x column.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepml_core.artifacts import Manifest, Output, check_files, read_manifest
from hepml_core.ecal.config import EvaluateConfig, TimeOrigin
from hepml_core.ecal.event_records import CLASSES
from hepml_core.ecal.figures import EFFICIENCIES, Judged, Performance, add_performance, add_showers, add_slices
from hepml_core.ecal.hit_set import read_events
from hepml_core.ecal.hits import ENERGY_UNIT_GEV, TIME_UNIT_NS, Hits, IntArray
from hepml_core.ecal.inference import Classifier
from hepml_core.ecal.movie import to_movie, window_edges
from hepml_core.ecal.normalize import origin_of
from hepml_core.ecal.prediction_table import PREDICTIONS, header, lines_of
from hepml_core.ecal.train import cropped
from hepml_core.errors import DataError, FolderError
from hepml_core.metrics import FloatArray, accuracy, log_loss, measure_auc, measure_rejection
from hepml_core.plots import Movie, movie_gifs, plot_history
from hepml_core.progress import progress
from hepml_core.provenance import describe_run
from hepml_core.report import Report
from hepml_core.splits import SPLITS
from hepml_core.storage import Folder
from hepml_core.training.history import read_history

log = logging.getLogger(__name__)

ORIGINS: dict[TimeOrigin, str] = {
    "trigger": "the trigger",
    "seed": "the seed",
    "energy_weighted": "the energy's mean",
}
"""What times are measured against, in words."""


def evaluate(dataset: Folder, model: Folder, report: Folder, config: EvaluateConfig) -> Mapping[str, float]:
    """Classify the test split; write a report page with figures and movies, ``metrics.json`` and ``predictions.csv``.

    A rejection is among the metrics only where photons are left to tell it.

    Raises:
        FolderError: An input is not whole, its images are not the model's, or ``report`` holds something else.
        DataError: There is no test split, it lacks a class, or a record is damaged.
    """
    manifest = read_manifest(dataset, "dataset", "ecal")
    classifier = Classifier(model, config.device)
    inputs = {"dataset": manifest.digest, "model": classifier.manifest.digest}
    output = Output(report, "report", "ecal", config, inputs)
    if output.finished:
        log.info("%s is already there", report)
        return output.finished.metrics
    _check_match(dataset, manifest, model, classifier)
    check_files(dataset, manifest)
    judged = _classify(dataset, manifest, classifier, config)
    found = _measure(judged, config)
    metrics = _to_metrics(found, len(judged.events))
    page = Report("Electrons and photons", f"{len(judged.events)} test events, {_describe(classifier)}")
    _add_numbers(page, found, len(judged.events))
    add_performance(page, judged, found)
    _add_history(page, model, classifier)
    add_slices(page, judged, found.auc, config)
    _add_movies(page, judged, classifier, config)
    add_showers(page, judged)
    _add_dataset(page, manifest, classifier)
    lines = lines_of(judged.events, judged.electron_e, judged.files, truth=True)
    output.files.write(PREDICTIONS, header(truth=True) + lines)
    page.write(output.files, metrics, describe_run(inputs, evaluate=config, train=classifier.manifest.settings))
    output.keep_written()
    output.publish(metrics=metrics, facts={"class_names": list(CLASSES)})
    log.info(
        "area under the ROC curve %s, accuracy %s on %d test events", found.auc, found.accuracy, len(judged.events)
    )
    return metrics


def _check_match(dataset: Folder, manifest: Manifest, model: Folder, classifier: Classifier) -> None:
    sizes = [f"{facts['height']} x {facts['width']}" for facts in (classifier.facts, manifest.facts)]
    if sizes[0] != sizes[1]:
        raise FolderError(
            f"{model} was fitted to images of {sizes[0]} crystals, {dataset} has {sizes[1]}: evaluate on the dataset that "
            "the model was fitted to, or on one of the same crop"
        )
    if classifier.manifest.inputs["dataset"] != manifest.digest:
        log.warning("%s was fitted to another dataset: some of these test events may have been in its training", model)


def _classify(dataset: Folder, manifest: Manifest, classifier: Classifier, config: EvaluateConfig) -> Judged:
    if not sum(entry.records for entry in manifest.shards("test")):
        raise DataError(f"{dataset} has no test split: organize with test_fraction above 0")
    events = read_events(dataset, manifest, "test")
    for label, name in enumerate(CLASSES):
        if not (events.label_e == label).any():
            raise DataError(f"the test split of {dataset} has no {name}s: nothing can be told from one class alone")
    parts = []
    with progress("evaluate", len(events), "events") as bar:
        for part_e in classifier.electron_probabilities(events.hits, config.batch_size):
            parts.append(part_e)
            bar.advance(len(part_e))
    return Judged(events, np.concatenate(parts), manifest.facts["files"])


def _measure(judged: Judged, config: EvaluateConfig) -> Performance:
    signal_e = judged.label_e == 1
    generator = np.random.default_rng(config.seed)
    rejections = measure_rejection(
        judged.electron_e, signal_e, generator, signal_efficiencies=EFFICIENCIES, replicas=config.replicas
    )
    return Performance(
        auc=measure_auc(judged.electron_e, signal_e, generator, replicas=config.replicas),
        accuracy=accuracy(judged.label_e, judged.predicted_e),
        log_loss=log_loss(judged.probability_ec, judged.label_e),
        rejection_by_efficiency=dict(zip(EFFICIENCIES, rejections, strict=True)),
    )


def _to_metrics(found: Performance, events: int) -> dict[str, float]:
    metrics = {
        "auc": found.auc.value,
        "auc_error": found.auc.error,
        "accuracy": found.accuracy.value,
        "accuracy_error": found.accuracy.error,
        "log_loss": found.log_loss.value,
        **{f"rejection_{100 * kept:.0f}": one.value for kept, one in found.rejection_by_efficiency.items()},
        "test_events": events,
    }
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _describe(classifier: Classifier) -> str:
    settings = classifier.manifest.settings
    times = "energies and times" if settings["use_time"] else "energies alone"
    return f"network {settings['architecture']} on {times}"


def _add_numbers(page: Report, found: Performance, events: int) -> None:
    page.add_numbers(
        {
            "AUC": found.auc,
            "accuracy": found.accuracy,
            "logarithmic loss": found.log_loss,
            **{
                f"photon rejection at {100 * kept:.0f} % of the electrons": one
                for kept, one in found.rejection_by_efficiency.items()
            },
            "test events": events,
        }
    )


def _add_movies(page: Report, judged: Judged, classifier: Classifier, config: EvaluateConfig) -> None:
    """Show, of each class, the first test event and those that the model is most sure of and wrong about."""
    settings = classifier.manifest.settings
    edge_k = window_edges(settings["t_min"], settings["t_max"], settings["t_step"])
    origin: TimeOrigin = classifier.facts["normalization"]["time"]
    for label, name in enumerate(CLASSES):
        event_e = _chosen(judged, label, config.movies)
        if not len(event_e):
            continue
        shown = cropped(judged.events.hits.of(event_e), classifier.facts["crop"])
        frame_ekyx = _frames(shown, edge_k, origin, settings)
        windows = _windows(edge_k * TIME_UNIT_NS, cumulative=settings["cumulative"], early=settings["early"])
        movies, titles = [], []
        for event, frame_kyx in zip(event_e, frame_ekyx, strict=True):
            wrong = "" if judged.predicted_e[event] == label else f" taken for {CLASSES[1 - label]}"
            title = f"{name}{wrong}, p(electron) = {judged.electron_e[event]:.3f}"
            titles.append(f"{title}, {judged.place_of(event)}")
            movies.append(
                Movie(frame_kyx, edge_k * TIME_UNIT_NS, windows, (title, judged.place_of(event)), ORIGINS[origin])
            )
        lowest = max(settings["min_energy"] * ENERGY_UNIT_GEV, 0.05)
        page.add_movies(
            f"movies_of_{name}s",
            dict(zip(titles, movie_gifs(movies, lowest=lowest), strict=True)),
            f"The first {name} of the test split, then those that the model is most sure of and wrong about. Hits above "
            f"{settings['min_energy'] * ENERGY_UNIT_GEV:.3g} GeV, "
            f"{'which stay in all later frames' if settings['cumulative'] else 'each in the frame of its time alone'}. "
            "Below, the energy in each frame.",
        )


def _chosen(judged: Judged, label: int, count: int) -> IntArray:
    own_e = np.flatnonzero(judged.label_e == label)
    wrong_e = own_e[judged.predicted_e[own_e] != label]
    sure_e = np.abs(judged.electron_e[wrong_e] - label)
    worst_e = wrong_e[np.argsort(-sure_e, kind="stable")]
    return np.concatenate([own_e[:1], worst_e[worst_e != own_e[0]]])[:count]


def _frames(hits: Hits, edge_k: FloatArray, origin: TimeOrigin, settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return frames (event, frame, row, column) of energies in GeV, over the windows of the fit."""
    shown = hits.where(hits.energy_h > settings["min_energy"])
    padded = shown.padded()
    frame_ekyx: NDArray[np.float32] = to_movie(
        torch.from_numpy(padded.crystal_bh),
        torch.from_numpy(padded.energy_bh * np.float32(ENERGY_UNIT_GEV)),
        torch.from_numpy(padded.time_bh - origin_of(hits, origin)[:, None]),
        edges=edge_k,
        shape=hits.shape,
        cumulative=settings["cumulative"],
        early=settings["early"],
    ).numpy()
    return frame_ekyx


def _windows(edge_k: FloatArray, *, cumulative: bool, early: str) -> list[str]:
    """Say what times, in ns, each frame shows."""
    windows = []
    for number, (start, stop) in enumerate(pairwise(edge_k)):
        first = edge_k[0] if cumulative else start
        whole = early == "first" and (cumulative or number == 0)
        windows.append(f"t ≤ {stop:+.2f} ns" if whole else f"{first:+.2f} < t ≤ {stop:+.2f} ns")
    return windows


def _add_history(page: Report, model: Folder, classifier: Classifier) -> None:
    best = int(classifier.manifest.metrics["best_epoch"])
    figure = plot_history(read_history(model), best_epoch=best)
    page.add_figure("training_history", figure, f"The weights of epoch {best} are used.")


def _add_dataset(page: Report, manifest: Manifest, classifier: Classifier) -> None:
    splits = {split: manifest.facts["events"][split] for split in SPLITS}
    page.add_table(
        "dataset",
        ["class", *splits],
        [[name, *(splits[split][name] for split in splits)] for name in CLASSES],
        "Events by class and split.",
    )
    normalization = classifier.facts["normalization"]
    page.add_table(
        "normalization",
        ["quantity", "value"],
        [
            [name.replace("_", " "), f"{value:.6g}" if isinstance(value, float) else str(value)]
            for name, value in normalization.items()
        ],
        "Of the hits of the training events, in units of 50 GeV and 25 ns.",
    )
