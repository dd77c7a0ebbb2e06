"""The history of a fit, drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hepml_core import plots
from hepml_core.errors import DataError


def history(epochs: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "phase": "head" if epoch < 3 else "whole",
            "train_loss": 1 / epoch,
            "valid_loss": 1.2 / epoch,
            "train_accuracy": 1 - 0.5 / epoch,
            "valid_accuracy": 1 - 0.6 / epoch,
            "learning_rate": 1e-3 / epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def test_the_history_marks_the_phases_and_the_best_epoch() -> None:
    figure = plots.plot_history(history(6), best_epoch=5, label="simulation")
    loss, accuracy, rate = figure.axes
    for axis in (loss, accuracy, rate):
        ends = [np.asarray(line.get_xdata())[[0, -1]].tolist() for line in axis.get_lines()]
        upright = [start for start, end in ends if start == end]
        assert upright == [2.5, 5]
    assert [loss.get_ylabel(), accuracy.get_ylabel(), rate.get_ylabel()] == ["Loss", "Accuracy", "Learning rate"]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["training", "validation", "phase: head", "phase: whole", "best epoch: 5"]


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([0.7, 0.4, 0.3], "linear"), ([1e-2, 1e-4, 7e-7], "log"), ([3.0, -1.0, -40.0], "linear"), ([1.0, 0.0], "linear")],
)
def test_a_loss_that_falls_by_orders_of_magnitude_is_drawn_on_a_logarithmic_axis(
    losses: list[float], scale: str
) -> None:
    rows = [{"epoch": epoch, "train_loss": loss, "valid_loss": loss} for epoch, loss in enumerate(losses, 1)]
    figure = plots.plot_history(rows)
    assert figure.axes[0].get_yscale() == scale
    assert plots.to_png(figure)


@pytest.mark.parametrize("epochs", [1, 100])
def test_short_and_long_histories_are_drawn(epochs: int) -> None:
    assert plots.to_png(plots.plot_history(history(epochs), best_epoch=1))


def test_a_history_without_accuracies_has_no_panel_for_them_and_missing_values_are_gaps() -> None:
    rows: list[dict[str, Any]] = [
        {"epoch": 1.0, "train_loss": 1.0},
        {"epoch": 2.0, "train_loss": float("nan"), "valid_loss": None},
    ]
    figure = plots.plot_history(rows)
    assert [axis.get_ylabel() for axis in figure.axes] == ["Loss"]
    assert plots.to_png(figure)
    with pytest.raises(DataError, match="without epochs"):
        plots.plot_history([])
