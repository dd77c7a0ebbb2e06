"""How well a score separates signal from background: ROC curves, areas under them, working points.

Axes: e event, c class, r bootstrap replica, p point on a curve, t threshold, s signal and b background event. Event
weights may be negative, as those of simulated events are; what they make undefined (a class that weighs nothing) is
told, not divided by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hepml_core.errors import DataError
from hepml_core.metrics.classification import check_column, check_labels, check_scores, check_weights
from hepml_core.metrics.measured import BoolArray, FloatArray, IntArray, Measured

EVENTS_PER_BATCH = 1 << 17
"""Resampled events held in memory at a time."""


@dataclass(frozen=True, slots=True)
class RocCurve:
    """Background efficiency against signal efficiency of the cuts ``score >= threshold``, from none to all accepted."""

    false_positive_rate: FloatArray
    true_positive_rate: FloatArray
    threshold: FloatArray
    """Falling; the first is infinite, the others are the distinct scores."""
    auc: float


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """The tightest cut that keeps at least the asked part of the signal."""

    signal_efficiency: float
    background_efficiency: float
    threshold: float

    @property
    def background_rejection(self) -> float:
        """One over the background efficiency; infinite where no background is left."""
        return 1 / self.background_efficiency if self.background_efficiency > 0 else math.inf


@dataclass(frozen=True, slots=True)
class OneVsRest:
    """Area under the ROC curve of each class against all others."""

    auc_c: tuple[Measured, ...]
    reason_c: tuple[str, ...]
    """Why a class has no area or no error; empty where it has both."""
    macro: Measured
    """Plain mean over the classes that have an area."""


def roc_curve(score_e: ArrayLike, is_signal_e: ArrayLike, weight_e: ArrayLike | None = None) -> RocCurve:
    """Scan the cut on a score; events with equal scores pass together.

    Raises:
        DataError: A score is not a number, or signal or background is missing (or weighs zero or less).
    """
    scores_e = check_scores(score_e)
    signal_e = check_column(is_signal_e, len(scores_e), "is_signal_e").astype(np.bool_)
    weights_e = check_weights(weight_e, len(scores_e))
    if lacking := _lacking(signal_e, weights_e):
        raise DataError(f"no ROC curve: {lacking}")
    order_e = np.argsort(-scores_e, kind="stable")
    scores_e, signal_e, weights_e = scores_e[order_e], signal_e[order_e], weights_e[order_e]
    last_t = np.append(np.flatnonzero(scores_e[1:] != scores_e[:-1]), len(scores_e) - 1)
    true_p = np.append(0.0, np.cumsum(weights_e * signal_e)[last_t])
    false_p = np.append(0.0, np.cumsum(weights_e * ~signal_e)[last_t])
    true_p, false_p = true_p / true_p[-1], false_p / false_p[-1]
    area = float(np.trapezoid(true_p, false_p))
    return RocCurve(false_p, true_p, np.append(np.inf, scores_e[last_t]), area)


def working_points(curve: RocCurve, signal_efficiencies: Sequence[float] = (0.5, 0.7, 0.9)) -> tuple[WorkingPoint, ...]:
    """Find, for each signal efficiency, the tightest cut that reaches it."""
    efficiency_p = np.maximum.accumulate(curve.true_positive_rate)  # negative weights can make it fall
    found = np.searchsorted(efficiency_p, np.minimum(signal_efficiencies, efficiency_p[-1]))
    return tuple(
        WorkingPoint(float(curve.true_positive_rate[p]), float(curve.false_positive_rate[p]), float(curve.threshold[p]))
        for p in found
    )


def roc_one_vs_rest(
    probability_ec: ArrayLike, label_e: ArrayLike, weight_e: ArrayLike | None = None
) -> tuple[RocCurve | None, ...]:
    """Return the ROC curve of each class against all others; None where a side is missing.

    Raises:
        DataError: A probability is not a number, a label is out of range or the lengths differ.
    """
    scores_ec, labels_e, weights_e = _classified(probability_ec, label_e, weight_e)
    return tuple(
        None if _lacking(labels_e == c, weights_e) else roc_curve(scores_ec[:, c], labels_e == c, weights_e)
        for c in range(scores_ec.shape[1])
    )


def auc_one_vs_rest(
    probability_ec: ArrayLike,
    label_e: ArrayLike,
    generator: np.random.Generator,
    *,
    weight_e: ArrayLike | None = None,
    replicas: int = 200,
) -> OneVsRest:
    """Return the area under each class's ROC curve and their mean, with bootstrap errors.

    Events are resampled with replacement, all classes from the same replica, so the error of the mean knows how the
    classes move together. Scores are sorted once; a replica only changes how often each event counts. A class that is
    perfectly separated gets the error 0: no resampling can show what the sample does not hold.

    Args:
        probability_ec: Score of each class; only the order of events matters.
        label_e: True class of each event.
        generator: Source of the replicas.
        weight_e: Weight of each event.
        replicas: Number of bootstrap replicas.

    Raises:
        DataError: A probability is not a number, a label is out of range or the lengths differ.
    """
    scores_ec, labels_e, weights_e = _classified(probability_ec, label_e, weight_e)
    signal_ce = labels_e == np.arange(scores_ec.shape[1])[:, None]
    lacking_c = [_lacking(signal_e, weights_e) for signal_e in signal_ce]
    lonely_c = ["" if lacking else _lonely(signal_e) for lacking, signal_e in zip(lacking_c, signal_ce, strict=True)]
    ranked_c = [
        None if lacking else _rank(scores_e, signal_e)
        for lacking, scores_e, signal_e in zip(lacking_c, scores_ec.T, signal_ce, strict=True)
    ]
    value_c = _areas(ranked_c, weights_e[None])[0]
    area_rc = _replicate(ranked_c, weights_e, generator, replicas)
    error_c = [math.nan if lonely else _spread(area_rc[:, c]) for c, lonely in enumerate(lonely_c)]
    macro_error = math.nan if any(lonely_c) else _spread(_means(area_rc))
    return OneVsRest(
        auc_c=tuple(_measured(value, error) for value, error in zip(value_c, error_c, strict=True)),
        reason_c=tuple(lacking or lonely for lacking, lonely in zip(lacking_c, lonely_c, strict=True)),
        macro=_measured(_means(value_c[None])[0], macro_error),
    )


def measure_auc(
    score_e: ArrayLike,
    is_signal_e: ArrayLike,
    generator: np.random.Generator,
    *,
    weight_e: ArrayLike | None = None,
    replicas: int = 200,
) -> Measured:
    """Return the area under one ROC curve with its bootstrap error; undefined where signal or background is missing.

    Raises:
        DataError: A score is not a number, or the lengths differ.
    """
    scores_e = check_scores(score_e)
    signal_e = check_column(is_signal_e, len(scores_e), "is_signal_e").astype(np.bool_)
    weights_e = check_weights(weight_e, len(scores_e))
    if _lacking(signal_e, weights_e):
        return _measured(math.nan, math.nan)
    ranked = _rank(scores_e, signal_e)
    area_r = _replicate([ranked], weights_e, generator, replicas)[:, 0]
    return _measured(ranked.area(weights_e[None])[0], math.nan if _lonely(signal_e) else _spread(area_r))


def measure_rejection(
    score_e: ArrayLike,
    is_signal_e: ArrayLike,
    generator: np.random.Generator,
    *,
    signal_efficiencies: Sequence[float] = (0.5, 0.7, 0.9),
    weight_e: ArrayLike | None = None,
    replicas: int = 200,
) -> tuple[Measured, ...]:
    """Return the background rejection of each working point with its bootstrap error, as ``working_points`` finds them.

    Each replica finds its own cuts, so the error knows how well the sample fixes them. Where no background is left the
    rejection is infinite and has no error.

    Raises:
        DataError: A score is not a number, or signal or background is missing (or weighs zero or less).
    """
    scores_e = check_scores(score_e)
    weights_e = check_weights(weight_e, len(scores_e))
    points = working_points(roc_curve(scores_e, is_signal_e, weights_e), signal_efficiencies)
    order_e = np.argsort(-scores_e, kind="stable")  # sorted once: sorting the replicas again is quick
    scores_e, signal_e, weights_e = scores_e[order_e], np.asarray(is_signal_e, np.bool_)[order_e], weights_e[order_e]
    passing = []
    for _ in range(replicas):
        events = len(scores_e)
        count_e = np.bincount(generator.integers(events, size=events), minlength=events)
        if not _lacking(signal_e, count_e * weights_e):
            curve = roc_curve(scores_e, signal_e, count_e * weights_e)
            passing.append([point.background_efficiency for point in working_points(curve, signal_efficiencies)])
    passing_rp = np.reshape(passing, (-1, len(points)))
    rejections = [point.background_rejection for point in points]
    return tuple(
        _measured(rejection, rejection**2 * _spread(passing_r) if math.isfinite(rejection) else math.nan)
        for rejection, passing_r in zip(rejections, passing_rp.T, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A class's signal and background (s, b: positions among the events) and how their scores compare."""

    signal_s: IntArray
    background_b: IntArray
    """In rising order of the score."""
    below_s: IntArray
    """How many background events score less than each signal event."""
    not_above_s: IntArray
    """How many score no more than it."""

    def area(self, weight_re: FloatArray) -> FloatArray:
        """Return each replica's area: the part of signal-background pairs in right order, ties counted half."""
        signal_rs = weight_re[:, self.signal_s]
        sum_rb = np.zeros((len(weight_re), len(self.background_b) + 1))
        np.cumsum(weight_re[:, self.background_b], axis=1, out=sum_rb[:, 1:])
        below_rs = (sum_rb[:, self.below_s] + sum_rb[:, self.not_above_s]) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            area_r: FloatArray = np.einsum("rs,rs->r", signal_rs, below_rs) / (signal_rs.sum(axis=1) * sum_rb[:, -1])
        return area_r


def _rank(score_e: FloatArray, signal_e: BoolArray) -> _Ranked:
    order_e = np.argsort(score_e, kind="stable")
    signal_s, background_b = order_e[signal_e[order_e]], order_e[~signal_e[order_e]]
    rising_b, score_s = score_e[background_b], score_e[signal_s]
    below_s = np.searchsorted(rising_b, score_s, side="left")
    return _Ranked(signal_s, background_b, below_s, np.searchsorted(rising_b, score_s, side="right"))


def _replicate(
    ranked_c: Sequence[_Ranked | None], weight_e: FloatArray, generator: np.random.Generator, replicas: int
) -> FloatArray:
    events = len(weight_e)
    batch = max(1, EVENTS_PER_BATCH // events)
    areas = [np.empty((0, len(ranked_c)))]
    for start in range(0, replicas, batch):
        size = min(batch, replicas - start)
        drawn_re = generator.integers(events, size=(size, events)) + events * np.arange(size)[:, None]
        count_re = np.bincount(drawn_re.ravel(), minlength=size * events).reshape(size, events)
        areas.append(_areas(ranked_c, count_re * weight_e))
    return np.concatenate(areas)


def _areas(ranked_c: Sequence[_Ranked | None], weight_re: FloatArray) -> FloatArray:
    nothing_r = np.full(len(weight_re), np.nan)
    return np.stack([ranked.area(weight_re) if ranked else nothing_r for ranked in ranked_c], axis=1)


def _means(area_rc: FloatArray) -> FloatArray:
    """Return each row's mean over what is finite, NaN where nothing is."""
    finite_rc = np.isfinite(area_rc)
    count_r = finite_rc.sum(axis=1)
    means_r: FloatArray = np.where(finite_rc, area_rc, 0.0).sum(axis=1) / np.where(count_r, count_r, np.nan)
    return means_r


def _spread(area_r: FloatArray) -> float:
    finite_r = area_r[np.isfinite(area_r)]
    return float(finite_r.std(ddof=1)) if len(finite_r) > 1 else math.nan


def _measured(value: float, error: float) -> Measured:
    return Measured(float(value), float(value) - error, float(value) + error)


def _lacking(signal_e: BoolArray, weight_e: FloatArray) -> str:
    """Say which side of a comparison is missing; nothing where both are there."""
    for side_e, name in ((signal_e, "of this class"), (~signal_e, "of any other class")):
        if not side_e.any():
            return f"there are no events {name}"
        if not weight_e[side_e].sum() > 0:
            return f"the weights of the events {name} do not sum to more than zero"
    return ""


def _lonely(signal_e: BoolArray) -> str:
    """Say that a bootstrap cannot tell the error because a side is a single event, which is equal in all replicas."""
    signal = int(signal_e.sum())
    return "a single event gives no error" if min(signal, len(signal_e) - signal) == 1 else ""


def _classified(
    probability_ec: ArrayLike, label_e: ArrayLike, weight_e: ArrayLike | None
) -> tuple[FloatArray, IntArray, FloatArray]:
    scores_ec = np.asarray(probability_ec, dtype=np.float64)
    if scores_ec.ndim != 2 or not scores_ec.size:
        raise DataError(f"probabilities must be events x classes, got the shape {scores_ec.shape}")
    check_scores(scores_ec.ravel())
    labels_e = check_labels(label_e, len(scores_ec), scores_ec.shape[1])
    return scores_ec, labels_e, check_weights(weight_e, len(scores_ec))
