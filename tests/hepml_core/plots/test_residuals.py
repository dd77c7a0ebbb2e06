"""Residuals: the text says what was measured, the heat map and the corners show what is correlated."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.metrics import correlations, measure_spread
from hepml_core.plots import (
    Residuals,
    plot_corner,
    plot_correlations,
    plot_residuals,
    plot_residuals_by_kind,
    to_png,
)
from hepml_core.plots.residuals import LIMITS


def smeared(sigma: float = 0.004, count: int = 20_000, seed: int = 0) -> NDArray[np.float32]:
    return (sigma * np.random.default_rng(seed).normal(size=count)).astype(np.float32)


def test_a_panel_tells_mean_sigma_and_interval_as_they_were_measured() -> None:
    residual_n = smeared() + np.float32(0.001)
    spread = measure_spread(residual_n)
    (axis,) = plot_residuals([Residuals(r"$\Delta p / p$", residual_n, spread)], label="test").axes
    lines = axis.texts[0].get_text().split("\n")
    assert lines[0] == f"mean {spread.mean}"
    assert lines[1].endswith(str(spread.sigma))
    assert lines[2] == f"68 %: {spread.low:.2g} … {spread.high:.2g}"
    height_b = np.asarray(axis.patches[0].get_data().values)  # type: ignore[attr-defined]
    assert height_b.sum() > 0.98 * len(residual_n)


@pytest.mark.parametrize("value", [0.0, 1e-9, math.nan])
def test_residuals_that_are_all_the_same_or_undefined_are_drawn(value: float) -> None:
    residual_n = np.full(10, value, np.float32)
    figure = plot_residuals([Residuals("x", residual_n, measure_spread(residual_n))] * 4)
    assert len(figure.axes) == 4
    assert to_png(figure).startswith(b"\x89PNG")


def test_each_kind_has_unit_sum_and_its_name_is_never_read_as_a_formula() -> None:
    kinds = {"jet": smeared(), "$\\frac{1}{": smeared(0.008, 500, 1)}
    figure = plot_residuals_by_kind({"x": kinds, "y": kinds}, label="test")
    for axis in figure.axes:
        sums = [np.asarray(patch.get_data().values).sum() for patch in axis.patches]  # type: ignore[attr-defined]
        assert sums == pytest.approx([1, 1], abs=0.02)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [" jet", r" \$\frac{1}{"]


def test_the_heat_map_shows_the_lower_triangle_with_two_digits() -> None:
    correlation_ff = np.array([[1, -0.5, 0.123], [-0.5, 1, math.nan], [0.123, math.nan, 1]])
    axis = plot_correlations(["pt", "eta", "phi"], correlation_ff, label="test").axes[0]
    shown = {tuple(map(int, text.get_position())): text.get_text() for text in axis.texts if text.get_text() != "test"}
    assert shown == {(0, 0): "1.00", (0, 1): "-0.50", (1, 1): "1.00", (0, 2): "0.12", (1, 2): "-", (2, 2): "1.00"}
    drawn_ff: Any = axis.images[0].get_array()
    assert drawn_ff.mask.tolist() == [[False, True, True], [False, False, True], [False, True, False]]


def test_names_of_27_variables_do_not_overlap() -> None:
    names = [f"LeadingClusterVariable{number}" for number in range(27)]
    axis = plot_correlations(names, np.eye(27)).axes[0]
    boxes = [label.get_window_extent() for label in axis.get_xticklabels()]
    assert all(one.x1 <= other.x0 for one, other in itertools.pairwise(boxes))


def corner(residual_nf: NDArray[Any]) -> Any:
    return plot_corner(["a", "b"], residual_nf, correlations(residual_nf), label="test")


def test_a_corner_has_quantiles_on_its_diagonal_and_a_background_as_dark_as_the_correlation() -> None:
    first_n, second_n = smeared(1, 5000), smeared(1, 5000, 1)
    loose = corner(np.stack([first_n, second_n], axis=1))
    tight = corner(np.stack([first_n, first_n + 0.12 * second_n], axis=1))
    alone, pair, _ = loose.axes
    upright = [float(np.asarray(line.get_xdata())[0]) for line in alone.get_lines()]
    assert upright == pytest.approx(np.quantile(first_n, (0.16, 0.5, 0.84)).tolist())
    assert alone.get_xlim() == pytest.approx(np.quantile(first_n, LIMITS).tolist())
    brightness = [sum(to_rgba(figure.axes[1].get_facecolor())[:3]) for figure in (loose, tight)]
    assert brightness[0] > brightness[1] + 0.3
    assert pair.get_ylabel() == "b"
    assert tight.axes[1].texts[0].get_text() == "0.99"


def test_a_corner_of_residuals_of_which_one_is_always_zero_is_drawn() -> None:
    figure = corner(np.stack([smeared(), np.zeros(20_000, np.float32)], axis=1))
    assert to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("low", "middle", "high", "text"),
    [
        (-0.0029, 0.0001, 0.0031, r"$0.1^{+3.0}_{-3.0}\times 10^{-3}$"),
        (-1, -1e-9, 1, "$0.0^{+1.0}_{-1.0}$"),
        (12.0, 15.0, 19.0, "$15.0^{+4.0}_{-3.0}$"),
        (0, 0, 0, r"$0^{+0}_{-0}$"),
    ],
)
def test_a_median_is_written_with_two_digits_of_its_interval(low: float, middle: float, high: float, text: str) -> None:
    residual_n = np.array([low, middle, high])
    # Quantiles 16, 50 and 84 % of these five values are the three.
    spread_n = np.interp(np.linspace(0, 1, 26), [0, 0.16, 0.5, 0.84, 1], [low, *residual_n, high])
    figure = corner(np.stack([spread_n, smeared(1, 26)], axis=1))
    assert figure.axes[0].get_title() == text


def test_nothing_to_draw_is_refused_in_words() -> None:
    with pytest.raises(DataError, match="no residuals"):
        plot_residuals([])
    with pytest.raises(DataError, match="no residuals"):
        plot_residuals_by_kind({})
    with pytest.raises(DataError, match="no residuals"):
        plot_corner(["x"], np.full((3, 1), math.nan), np.eye(1))
    with pytest.raises(DataError, match="two variables"):
        plot_correlations(["x"], np.eye(1))
