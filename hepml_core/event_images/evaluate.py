"""Evaluate: judge a model on the test split, which nothing before has looked at.

Axes: e event, c class.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Manifest, Output, check_files, read_manifest
from hepml_core.errors import DataError, FolderError
from hepml_core.event_images.batches import PictureSet
from hepml_core.event_images.config import EvaluateConfig
from hepml_core.event_images.inference import Classifier
from hepml_core.metrics import (
    Measured,
    OneVsRest,
    accuracy,
    auc_one_vs_rest,
    confusion_matrix,
    roc_one_vs_rest,
    working_points,
)
from hepml_core.plots import Picture, plot_confusion, plot_history, plot_pictures, plot_roc, plot_scores
from hepml_core.progress import progress
from hepml_core.provenance import describe_run
from hepml_core.report import Report
from hepml_core.splits import SPLITS
from hepml_core.storage import Folder
from hepml_core.training.history import read_history

log = logging.getLogger(__name__)

PREDICTIONS = "predictions.csv"
EXAMPLES_PER_CLASS = 4
LABEL = "test split"


def evaluate(dataset: Folder, model: Folder, report: Folder, config: EvaluateConfig) -> Mapping[str, float]:
    """Classify the test split; write a report page with figures, ``metrics.json`` and ``predictions.csv``.

    Raises:
        FolderError: An input is not whole, its classes are not the model's, or ``report`` holds something else.
        DataError: There is no test split, or a picture is damaged.
    """
    manifest = read_manifest(dataset, "dataset", "event_images")
    classifier = Classifier(model, config.device)
    inputs = {"dataset": manifest.digest, "model": classifier.manifest.digest}
    output = Output(report, "report", "event_images", config, inputs)
    if output.finished:
        log.info("%s is already there", report)
        return output.finished.metrics
    _check_match(dataset, manifest, model, classifier)
    check_files(dataset, manifest)
    pictures = PictureSet(dataset, manifest, "test")
    if not len(pictures):
        raise DataError(f"{dataset} has no test split: organize with test_fraction above 0")
    judged = _classify(classifier, pictures, config)
    class_names = manifest.facts["class_names"]
    areas = auc_one_vs_rest(
        judged.probability_ec, judged.label_e, np.random.default_rng(config.seed), replicas=config.replicas
    )
    correct = accuracy(judged.label_e, judged.predicted_e)
    metrics = _to_metrics(class_names, correct, areas, len(pictures))
    page = Report("Event display classification", f"{' · '.join(class_names)}, {len(pictures)} test pictures")
    page.add_numbers({"accuracy": correct, "AUC (mean over classes)": areas.macro, "test pictures": len(pictures)})
    _add_performance(page, judged, class_names, areas)
    _add_history(page, model, classifier)
    _add_pictures(page, judged, pictures, class_names, config)
    _add_dataset(page, manifest, classifier)
    output.files.write(PREDICTIONS, to_csv(judged.keys, judged.probability_ec, class_names, judged.label_e))
    page.write(output.files, metrics, describe_run(inputs, evaluate=config, train=classifier.manifest.settings))
    output.keep_written()
    output.publish(metrics=metrics, facts={"class_names": class_names})
    log.info("accuracy %s, area under the ROC curve %s on %d test pictures", correct, areas.macro, len(pictures))
    return metrics


@dataclass(frozen=True, slots=True)
class Judged:
    """The test events with the model's probabilities, in the order of the dataset."""

    probability_ec: NDArray[np.float64]
    label_e: NDArray[np.int64]
    keys: list[str]

    @property
    def predicted_e(self) -> NDArray[np.int64]:
        """The class of the highest probability."""
        return np.asarray(self.probability_ec.argmax(1), np.int64)


def to_csv(
    keys: Sequence[str],
    probability_ec: NDArray[np.float64],
    class_names: Sequence[str],
    label_e: Iterable[int] | None = None,
) -> bytes:
    """Write one line an event: key, true class where it is known, predicted class, probability of each class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    truth = [] if label_e is None else [[class_names[label]] for label in label_e]
    writer.writerow(["key", *(["true"] if truth else []), "predicted", *(f"p_{name}" for name in class_names)])
    for number, (key, probability_c) in enumerate(zip(keys, probability_ec, strict=True)):
        true = truth[number] if truth else []
        predicted = class_names[int(probability_c.argmax())]
        writer.writerow([key, *true, predicted, *(f"{probability:.6g}" for probability in probability_c)])
    return text.getvalue().encode()


def _check_match(dataset: Folder, manifest: Manifest, model: Folder, classifier: Classifier) -> None:
    for name in ("class_names", "channels"):
        if manifest.facts[name] != classifier.facts[name]:
            raise FolderError(
                f"{model} knows {name} {classifier.facts[name]}, {dataset} has {manifest.facts[name]}: "
                "evaluate on the dataset that the model was fitted to, or on one of the same classes"
            )
    if classifier.manifest.inputs["dataset"] != manifest.digest:
        log.warning(
            "%s was fitted to another dataset: some of these test pictures may have been in its training", model
        )


def _classify(classifier: Classifier, pictures: PictureSet, config: EvaluateConfig) -> Judged:
    probabilities: list[NDArray[np.float64]] = []
    keys: list[str] = []
    batches = pictures.in_order(np.arange(len(pictures)), config.batch_size)
    with progress("evaluate", len(pictures), "images") as bar:
        for batch, probability_ec in classifier.classify(batches):
            probabilities.append(probability_ec)
            keys += batch.keys
            bar.advance(len(batch.keys))
    return Judged(np.concatenate(probabilities), pictures.label_n, keys)


def _to_metrics(class_names: Sequence[str], correct: Measured, areas: OneVsRest, events: int) -> dict[str, float]:
    metrics = {
        "auc": areas.macro.value,
        "auc_error": areas.macro.error,
        "accuracy": correct.value,
        "accuracy_error": correct.error,
        "test_events": events,
    }
    return metrics | {f"auc_{name}": area.value for name, area in zip(class_names, areas.auc_c, strict=True)}


def _add_performance(page: Report, judged: Judged, class_names: Sequence[str], areas: OneVsRest) -> None:
    curves = roc_one_vs_rest(judged.probability_ec, judged.label_e)
    by_class = dict(zip(class_names, areas.auc_c, strict=True))
    page.add_figure(
        "ROC_curves",
        plot_roc(dict(zip(class_names, curves, strict=True)), by_class, label=LABEL),
        "Each class against all others. Errors are standard deviations over bootstrap replicas of the test events.",
    )
    matrix = confusion_matrix(judged.label_e, judged.predicted_e, len(class_names))
    page.add_figure(
        "confusion_matrix",
        plot_confusion(matrix, class_names, label=LABEL),
        "Rows are true classes and sum to one; below the fractions, numbers of events.",
    )
    page.add_figure(
        "probabilities",
        plot_scores(judged.probability_ec, judged.label_e, class_names, label=LABEL),
        "Probability that the model gives to each class, by true class.",
    )
    rows = []
    for number, name in enumerate(class_names):
        curve = curves[number]
        points = [point.background_rejection for point in working_points(curve)] if curve else [None] * 3
        own_e = judged.label_e == number
        rows.append(
            [
                name,
                int(own_e.sum()),
                accuracy(judged.label_e[own_e], judged.predicted_e[own_e]),
                by_class[name],
                *points,
            ]
        )
    page.add_table(
        "classes",
        ["class", "events", "efficiency", "AUC", "rejection at 50 %", "rejection at 70 %", "rejection at 90 %"],
        rows,
        "Efficiency: part of a class that is recognized. Rejection: one over the part of all other events that passes "
        "a cut that keeps the given part of the class.",
    )


def _add_history(page: Report, model: Folder, classifier: Classifier) -> None:
    rows = read_history(model)
    best = int(classifier.manifest.metrics["best_epoch"])
    page.add_figure("training_history", plot_history(rows, best_epoch=best), f"The weights of epoch {best} are used.")


def _add_pictures(
    page: Report, judged: Judged, pictures: PictureSet, class_names: Sequence[str], config: EvaluateConfig
) -> None:
    """Show some test pictures of each class, and those that the model is most sure of and wrong about."""
    first = [np.flatnonzero(judged.label_e == label)[:EXAMPLES_PER_CLASS] for label in range(len(class_names))]
    shown = _load(pictures, np.concatenate(first))
    examples = [
        Picture(shown[event], (class_names[judged.label_e[event]], judged.keys[event]))
        for event in np.concatenate(first)
    ]
    page.add_figure(
        "examples", plot_pictures(examples, columns=EXAMPLES_PER_CLASS), "The first test pictures of each class."
    )
    wrong_e = np.flatnonzero(judged.predicted_e != judged.label_e)
    sure_e = judged.probability_ec[wrong_e].max(1, initial=0)
    worst_e = wrong_e[np.argsort(-sure_e, kind="stable")[: config.confused_events]]
    if not len(worst_e):
        return
    shown = _load(pictures, worst_e)
    confused = [
        Picture(
            shown[event],
            (
                f"is {class_names[judged.label_e[event]]}",
                f"taken for {class_names[judged.predicted_e[event]]}, p = {judged.probability_ec[event].max():.2f}",
                judged.keys[event],
            ),
        )
        for event in worst_e
    ]
    page.add_figure(
        "most_confused", plot_pictures(confused), "Test pictures that the model is most sure of and wrong about."
    )


def _load(pictures: PictureSet, record_n: NDArray[np.int64]) -> dict[int, NDArray[Any]]:
    batches = pictures.in_order(record_n, max(1, len(record_n)))
    return {int(n): image for batch in batches for n, image in zip(batch.record_b, batch.image_byxc, strict=True)}


def _add_dataset(page: Report, manifest: Manifest, classifier: Classifier) -> None:
    facts = manifest.facts
    splits = {split: facts["events"][split] for split in SPLITS}
    page.add_table(
        "dataset",
        ["class", *splits],
        [[name, *(splits[split][name] for split in splits)] for name in facts["class_names"]],
        "Pictures by class and split.",
    )
    channels = ["grey"] if facts["channels"] == 1 else ["red", "green", "blue"]
    page.add_table(
        "normalization",
        ["channel", "mean", "standard deviation"],
        [
            [channel, f"{mean:.6f}", f"{std:.6f}"]
            for channel, mean, std in zip(channels, classifier.facts["mean"], classifier.facts["std"], strict=True)
        ],
        "Over all pixels of the training pictures, as fractions of full scale.",
    )
    found = facts["duplicates"]
    page.add_text(
        "Duplicates",
        f"{found['copies']} pictures are byte for byte the same as another one of the dataset. Of all pictures, "
        f"{found['across_splits']} stand in more than one split and {found['across_classes']} in more than one class: "
        "such pictures make a classifier look better, or worse, than it is.",
    )
