"""Input over output: common bins, honest ratios, and axes that fit any variable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.plots import Overlay, plot_distributions, plot_overlays, to_png
from hepml_core.plots.overlays import BINS, bins_of


def heights_of(figure: Figure, panel: int = 0) -> list[NDArray[Any]]:
    return [np.asarray(patch.get_data().values) for patch in figure.axes[panel].patches]  # type: ignore[attr-defined]


def pt(count: int = 20_000) -> NDArray[np.float64]:
    return np.asarray(20 * (1 - np.random.default_rng(0).random(count)) ** -0.5)


def test_equal_samples_have_equal_histograms_and_a_ratio_of_one() -> None:
    pt_n = pt()
    figure = plot_overlays([Overlay("$p_T$ [GeV]", pt_n, pt_n.copy())], label="test")
    before_b, after_b = heights_of(figure)
    np.testing.assert_array_equal(before_b, after_b)
    assert before_b.sum() == len(pt_n)
    ratio_b = np.asarray(figure.axes[1].get_lines()[1].get_ydata(), np.float64)
    assert len(ratio_b) == BINS
    assert set(ratio_b[np.isfinite(ratio_b)]) == {1.0}
    assert figure.axes[1].get_xlabel() == "$p_T$ [GeV]"


def test_the_ratio_is_output_over_input_on_the_bins_of_the_input() -> None:
    figure = plot_overlays([Overlay("x", np.array([0.1, 0.2, 0.3, 0.9]), np.array([0.1, 0.9, 0.9, math.nan]))])
    before_b, after_b = heights_of(figure)
    ratio_b = np.asarray(figure.axes[1].get_lines()[1].get_ydata(), np.float64)
    assert (before_b.sum(), after_b.sum()) == (4, 3)
    assert ratio_b[np.isfinite(ratio_b)].tolist() == [1, 0, 0, 2]


def test_a_spectrum_over_decades_has_a_logarithmic_axis_that_shows_every_value() -> None:
    pt_n = pt()
    edges, logarithmic = bins_of(pt_n)
    assert logarithmic
    assert edges[0] <= pt_n.min()
    assert edges[-1] >= pt_n.max()
    assert not bins_of(np.append(pt_n, 0))[1]
    assert np.diff(np.log(edges)) == pytest.approx(np.full(BINS, np.log(edges[-1] / edges[0]) / BINS))


def test_whole_numbers_have_a_bin_each_and_tails_do_not_squeeze_the_rest() -> None:
    edges, logarithmic = bins_of(np.array([2.0, 3.0, 3.0, 5.0]))
    assert edges.tolist() == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert not logarithmic
    timing_n = np.random.default_rng(0).normal(size=100_000)
    timing_n[0] = 1e6
    assert bins_of(timing_n)[0][-1] < 10


@pytest.mark.parametrize("value_n", [np.zeros(5), np.full(5, 7.5), np.array([0.5]), np.empty(0), np.full(3, math.nan)])
def test_a_variable_that_is_always_the_same_or_never_there_is_drawn(value_n: NDArray[np.float64]) -> None:
    figure = plot_overlays([Overlay("x", value_n, value_n)])
    finite = int(np.isfinite(value_n).sum())
    assert [height_b.sum() for height_b in heights_of(figure)] == [finite, finite]
    assert to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [1, 5])
def test_no_panel_overlaps_another_and_the_legend_stands_outside(count: int) -> None:
    figure = plot_overlays([Overlay(f"Variable {number} [GeV]", pt(500), pt(500)) for number in range(count)])
    boxes = [axis.get_window_extent() for axis in figure.axes]
    assert len(boxes) == 2 * count
    for number, box in enumerate(boxes):
        assert not any(box.shrunk(0.98, 0.98).overlaps(other) for other in boxes[number + 1 :])
    (legend,) = figure.legends
    assert all(legend.get_window_extent().y0 >= box.y1 for box in boxes)


def test_distributions_have_a_panel_each_with_all_entries() -> None:
    generator = np.random.default_rng(0)
    shown = {f"$z_{{{number}}}$": generator.normal(size=300).astype(np.float32) for number in range(1, 6)}
    figure = plot_distributions(shown, label="test")
    assert [axis.get_xlabel() for axis in figure.axes] == list(shown)
    assert [int(heights_of(figure, panel)[0].sum()) for panel in range(5)] == [300] * 5


def test_nothing_to_draw_is_refused_in_words() -> None:
    with pytest.raises(DataError, match="no distributions"):
        plot_overlays([])
    with pytest.raises(DataError, match="no distributions"):
        plot_distributions({})
