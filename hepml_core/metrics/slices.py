"""How well a score separates signal from background in slices of some quantity.

Axes: e event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hepml_core.metrics.classification import check_column, check_scores
from hepml_core.metrics.measured import Measured
from hepml_core.metrics.roc import measure_auc


@dataclass(frozen=True, slots=True)
class AucSlice:
    """The area under the ROC curve of the events in a range of some quantity."""

    low: float
    high: float
    signal: int
    background: int
    auc: Measured
    """Undefined where signal or background is missing."""


def auc_by_slice(
    score_e: ArrayLike,
    is_signal_e: ArrayLike,
    of_e: ArrayLike,
    slices: int,
    generator: np.random.Generator,
    *,
    replicas: int = 200,
) -> tuple[AucSlice, ...]:
    """Return the area in slices of equal numbers of events, from small to large values of a quantity.

    Args:
        score_e: Score of each event.
        is_signal_e: Whether it is signal.
        of_e: The quantity; events where it is NaN are in no slice.
        slices: How many; there are fewer where many events have the same value, and none without a value.
        generator: Source of the bootstrap replicas.
        replicas: Their number.

    Raises:
        DataError: A score is not a number, or the lengths differ.
    """
    scores_e = check_scores(score_e)
    signal_e = check_column(is_signal_e, len(scores_e), "is_signal_e").astype(np.bool_)
    values_e = check_column(of_e, len(scores_e), "of_e").astype(np.float64)
    known_e = ~np.isnan(values_e)
    if not known_e.any():
        return ()
    edges = np.unique(np.quantile(values_e[known_e], np.linspace(0, 1, slices + 1)))
    slice_e = np.searchsorted(edges, values_e, side="right") - 1
    slice_e[values_e == edges[-1]] = max(len(edges) - 2, 0)  # the last slice holds its upper edge
    found = []
    for number in range(max(len(edges) - 1, 1)):
        inside_e = known_e & (slice_e == number)
        signal, events = int(signal_e[inside_e].sum()), int(inside_e.sum())
        auc = measure_auc(scores_e[inside_e], signal_e[inside_e], generator, replicas=replicas)
        found.append(
            AucSlice(float(edges[number]), float(edges[min(number + 1, len(edges) - 1)]), signal, events - signal, auc)
        )
    return tuple(found)
