"""Response, spread against latent size, bits: the numbers that went in are drawn, in their order."""

from __future__ import annotations

import numpy as np
import pytest

from hepml_core.errors import DataError
from hepml_core.metrics import Measured, profile
from hepml_core.plots import Response, plot_bits, plot_latent_scan, plot_response, to_png


def test_the_response_of_a_scaled_pt_is_drawn_at_its_scale_and_an_empty_bin_is_a_gap() -> None:
    pt_n = np.geomspace(20, 100, 1000)
    found = profile(np.full(1000, 1.02), pt_n, np.array([20, 50, 101, 200.0]))
    figure = plot_response([Response("$p_T$ [GeV]", "$p_T$ out / in", found, logarithmic=True)], label="test")
    (axis,) = figure.axes
    points = np.asarray(axis.get_lines()[0].get_ydata(), np.float64)
    assert points[:2] == pytest.approx([1.02, 1.02])
    assert np.isnan(points[2])
    assert axis.get_xscale() == "log"
    assert to_png(figure).startswith(b"\x89PNG")
    shown = [label.get_text() for label in axis.get_xticklabels()]
    assert {"20", "50", "100", "200"} <= set(shown)


def test_models_are_drawn_in_the_order_of_their_latent_sizes() -> None:
    sigma_m = [Measured(value, 0.9 * value, 1.1 * value) for value in (0.01, 0.07, 0.03)]
    figure = plot_latent_scan([20, 8, 14], {"pt": sigma_m}, label="test")
    drawn = figure.axes[0].get_lines()[0].get_xydata()
    assert np.asarray(drawn).tolist() == [[8, 0.07], [14, 0.03], [20, 0.01]]
    assert figure.axes[0].get_ylabel() == r"$\sigma$(pt)"


def test_bits_are_bars_with_their_numbers_the_first_variable_on_top() -> None:
    (axis,) = plot_bits({"pt": 11.5, "$x_": 0.0}, label="test").axes
    assert [bar.get_width() for bar in axis.patches] == [11.5, 0]  # type: ignore[attr-defined]
    assert {"11.50", "0.00"} <= {text.get_text() for text in axis.texts}
    assert [label.get_text() for label in axis.get_yticklabels()] == ["pt", r"\$x_"]
    bottom, top = axis.get_ylim()
    assert bottom > top


def test_nothing_to_draw_is_refused_in_words() -> None:
    with pytest.raises(DataError, match="no responses"):
        plot_response([])
    with pytest.raises(DataError, match="no models"):
        plot_latent_scan([], {})
    with pytest.raises(DataError, match="no variables"):
        plot_bits({})
