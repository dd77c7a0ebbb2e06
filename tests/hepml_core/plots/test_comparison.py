"""Comparisons show every value, and the mean of each candidate."""

from __future__ import annotations

import numpy as np
import pytest

from hepml_core.errors import DataError
from hepml_core.plots import plot_comparison, to_png


def test_every_value_and_the_mean_of_each_candidate_are_drawn() -> None:
    values = {"2D": [0.78, 0.79, 0.80], "a candidate with quite a long name, of hits": [0.81]}
    figure = plot_comparison(values, "area under the curve", label="toys")
    (axis,) = figure.axes
    points = [line for line in axis.lines if line.get_marker() == "o"]
    assert [list(np.asarray(line.get_xdata())) for line in points] == list(values.values())
    means = [
        float(np.asarray(line.get_xdata())[0])
        for line in axis.lines
        if line.get_marker() == "|" and line.get_markersize() == 16
    ]
    assert means == pytest.approx([0.79, 0.81])
    assert axis.get_ylim()[0] > axis.get_ylim()[1], "the first candidate stands at the top"
    assert to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("values", [{}, {"a": []}])
def test_nothing_to_compare_is_an_error(values: dict[str, list[float]]) -> None:
    with pytest.raises(DataError, match="at least one value"):
        plot_comparison(values, "area")
