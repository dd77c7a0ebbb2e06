"""Predictions as a table for people and programs: one line an event.

Suffixes: e event.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hepml_core.ecal.event_records import CLASSES, Events

PREDICTIONS = "predictions.csv"


def header(*, truth: bool) -> bytes:
    """Return the first line, with or without the true class."""
    return _lines([["file", "row", *(["true"] if truth else []), "predicted", f"p_{CLASSES[1]}"]])


def lines_of(events: Events, electron_e: NDArray[np.float64], files: Sequence[str], *, truth: bool) -> bytes:
    """Return the lines of some events: where each comes from, its true class, what it is taken for, how surely.

    Args:
        events: The events.
        electron_e: Their probabilities of an electron.
        files: Names of the source files.
        truth: Whether to tell the true class.
    """
    true_e = [[CLASSES[label]] for label in events.label_e.tolist()] if truth else [[]] * len(events)
    columns = (events.file_e.tolist(), events.row_e.tolist(), true_e, electron_e.tolist())
    return _lines(
        [
            [files[file], str(row), *true, predicted_class(electron), f"{electron:.6g}"]
            for file, row, true, electron in zip(*columns, strict=True)
        ]
    )


def predicted_class(electron: float) -> str:
    """Return the more probable class; of equal ones the photon."""
    return CLASSES[electron > 0.5]


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
