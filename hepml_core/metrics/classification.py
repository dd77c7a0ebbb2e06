"""How good a classifier is, in numbers with errors: accuracy and confusion matrix.

Axes: e event, c class. Event weights may be negative, as those of simulated events are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepml_core.errors import DataError
from hepml_core.metrics.measured import FloatArray, IntArray, Measured


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """Which class was taken for which: rows are true classes, columns predicted ones."""

    count_cc: FloatArray
    """Sums of weights; events where there are no weights."""
    fraction_cc: FloatArray
    """Rows divided by their sums; NaN in the row of a class that has no events."""


def accuracy(label_e: ArrayLike, predicted_e: ArrayLike, weight_e: ArrayLike | None = None) -> Measured:
    """Return the part of events whose predicted class is the true one.

    The interval is Wilson's, which stays honest near 0 and 1; with weights it takes the effective number of events,
    (sum w)^2 / sum w^2.

    Raises:
        DataError: There are no events, their weights sum to zero or less, or the lengths differ.
    """
    correct_e = check_labels(label_e) == check_labels(predicted_e, np.size(label_e))
    weights_e = check_weights(weight_e, len(correct_e))
    total = weights_e.sum()
    if total <= 0:
        raise DataError("accuracy needs events whose weights sum to more than zero")
    value = float(weights_e[correct_e].sum() / total)
    events = float(total**2 / np.square(weights_e).sum())
    inside = min(max(value, 0.0), 1.0)  # mixed signs of weights can lead beyond
    centre = (inside + 0.5 / events) / (1 + 1 / events)
    half = math.sqrt(inside * (1 - inside) / events + 0.25 / events**2) / (1 + 1 / events)
    return Measured(value, min(centre - half, value), max(centre + half, value))


def log_loss(probability_ec: ArrayLike, label_e: ArrayLike) -> Measured:
    """Return the mean of minus the logarithm of the probability (e, c) of the true class, with its standard error.

    A probability below 1e-15 counts as that, so that one sure mistake does not make the mean infinite.

    Raises:
        DataError: There are no events, a label is out of range, or the lengths differ.
    """
    probabilities_ec = np.asarray(probability_ec, np.float64)
    labels_e = check_labels(label_e, len(probabilities_ec), probabilities_ec.shape[1])
    if not len(labels_e):
        raise DataError("the logarithmic loss needs events")
    loss_e = -np.log(np.maximum(probabilities_ec[np.arange(len(labels_e)), labels_e], 1e-15))
    value = float(loss_e.mean())
    error = float(loss_e.std(ddof=1) / math.sqrt(len(loss_e))) if len(loss_e) > 1 else math.nan
    return Measured(value, value - error, value + error)


def confusion_matrix(
    label_e: ArrayLike, predicted_e: ArrayLike, classes: int, weight_e: ArrayLike | None = None
) -> ConfusionMatrix:
    """Count the events of each true and predicted class; both are indices below ``classes``.

    Raises:
        DataError: A class index is out of range or the lengths differ.
    """
    true_e = check_labels(label_e, classes=classes)
    guess_e = check_labels(predicted_e, len(true_e), classes)
    weights_e = check_weights(weight_e, len(true_e))
    count_cc: FloatArray = (
        np.bincount(true_e * classes + guess_e, weights_e, classes**2).reshape(classes, classes).astype(np.float64)
    )
    total_c = count_cc.sum(axis=1, keepdims=True)
    return ConfusionMatrix(
        count_cc, np.divide(count_cc, total_c, out=np.full_like(count_cc, np.nan), where=total_c > 0)
    )


def check_scores(score_e: ArrayLike) -> FloatArray:
    """Return scores; refuse those that are not a number."""
    scores_e = np.asarray(score_e, dtype=np.float64)
    wrong = int(np.isnan(scores_e).sum())
    if wrong:
        raise DataError(f"{wrong} of {scores_e.size} scores are not a number")
    return check_column(scores_e, len(scores_e), "score_e")


def check_labels(label_e: ArrayLike, events: int | None = None, classes: int | None = None) -> IntArray:
    """Return class indices; refuse what is not a whole number, or not one of ``classes``, or not one for each event."""
    labels_e = check_column(label_e, np.size(label_e) if events is None else events, "label_e")
    if labels_e.size and labels_e.dtype.kind not in "iub":
        raise DataError(f"class indices must be whole numbers, got {labels_e.dtype}")
    if classes is not None and labels_e.size and not 0 <= labels_e.min() <= labels_e.max() < classes:
        raise DataError(f"class indices must be 0 to {classes - 1}, got {labels_e.min()} to {labels_e.max()}")
    return labels_e.astype(np.int64)


def check_weights(weight_e: ArrayLike | None, events: int) -> FloatArray:
    """Return weights, ones where there are none; refuse those that are not finite."""
    if weight_e is None:
        return np.ones(events)
    weights_e: FloatArray = check_column(weight_e, events, "weight_e").astype(np.float64)
    if not np.isfinite(weights_e).all():
        raise DataError(f"{int((~np.isfinite(weights_e)).sum())} of {events} event weights are not finite")
    return weights_e


def check_column(values_e: ArrayLike, events: int, name: str) -> NDArray[Any]:
    """Return values; refuse them if there is not one for each event."""
    column_e = np.asarray(values_e)
    if column_e.shape != (events,):
        raise DataError(f"{name} must have one value for each of {events} events, got the shape {column_e.shape}")
    return column_e
