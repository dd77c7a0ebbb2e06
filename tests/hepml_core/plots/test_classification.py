"""Figures of a classifier: what they show, and that any name is safe."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

from hepml_core import plots
from hepml_core.errors import DataError
from hepml_core.metrics import (
    AucSlice,
    ConfusionMatrix,
    Measured,
    auc_one_vs_rest,
    confusion_matrix,
    roc_curve,
    roc_one_vs_rest,
)

HOSTILE_NAMES = [
    "<script>alert(1)</script>",
    "$\\frac{1}{",
    "_hidden",
    "two\nlines\tand\0more",
    "right \u202e to left",
    "希格斯",
    "a very long name of a simulated sample_2018_13TeV_v7",
    "J/ψ→μμ",
    "\ud800",
]


def class_names(classes: int) -> list[str]:
    return [*HOSTILE_NAMES, *(f"class {number}" for number in range(classes))][:classes]


def classified(classes: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    label_e = generator.integers(classes, size=1000)
    label_e[label_e == 1] = 0 if classes > 2 else 1
    logit_ec = generator.normal(size=(1000, classes)) + 2 * (label_e[:, None] == np.arange(classes))
    return np.exp(logit_ec) / np.exp(logit_ec).sum(axis=1, keepdims=True), label_e


def draw_roc(classes: int) -> Figure:
    probability_ec, label_e = classified(classes)
    found = auc_one_vs_rest(probability_ec, label_e, np.random.default_rng(0), replicas=20)
    names = class_names(classes)
    curves = dict(zip(names, roc_one_vs_rest(probability_ec, label_e), strict=True))
    return plots.plot_roc(curves, dict(zip(names, found.auc_c, strict=True)), label="simulation")


def draw_confusion(classes: int) -> Figure:
    probability_ec, label_e = classified(classes)
    matrix = confusion_matrix(label_e, probability_ec.argmax(axis=1), classes)
    return plots.plot_confusion(matrix, class_names(classes), label="simulation")


def draw_scores(classes: int) -> Figure:
    return plots.plot_scores(*classified(classes), class_names(classes), label="simulation")


def texts(figure: Figure) -> list[str]:
    return [artist.get_text() for artist in figure.findobj(Text) if isinstance(artist, Text) and artist.get_text()]


@pytest.mark.parametrize("classes", [2, 9, 25])
@pytest.mark.parametrize("draw", [draw_roc, draw_confusion, draw_scores])
def test_any_number_of_classes_with_any_names_is_drawn_without_a_word_of_complaint(
    draw: Any, classes: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        figure = draw(classes)
        if classes == 2:
            assert plots.to_png(figure).startswith(b"\x89PNG")
    assert not caplog.records
    for legend in figure.legends:
        assert all(legend.get_window_extent().x0 >= axis.get_window_extent().x1 for axis in figure.axes)
        assert legend.get_window_extent().y0 >= 0


def test_names_are_shown_not_read_as_formulas_and_a_name_with_an_underscore_is_in_the_legend() -> None:
    (legend,) = draw_roc(9).legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert len(shown) == 10
    assert shown[1] == r" \$\frac{1}{  no curve"
    assert shown[2].startswith(" _hidden  AUC 0.")
    assert shown[3].startswith(" two lines and more  ")
    assert shown[5].startswith(r" \u5e0c\u683c\u65af  ")


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    figure = draw_confusion(8)
    assert figure.axes[0].get_yticklabels()[6].get_text() == "a very long nam…13TeV_v7"


def test_twenty_five_curves_look_different() -> None:
    lines = draw_roc(25).axes[0].get_lines()[:25]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 25


def test_the_legend_tells_the_area_and_its_error() -> None:
    curve = roc_curve([3, 2, 1, 0], [True, False, True, False])
    figure = plots.plot_roc({"higgs": curve}, {"higgs": Measured(0.9123, 0.9093, 0.9153)})
    assert " higgs  AUC 0.9123 ± 0.0030" in texts(figure)


def test_a_curve_of_a_million_points_is_drawn_with_few_that_lie_on_it() -> None:
    generator = np.random.default_rng(0)
    signal_e = generator.random(200_000) < 0.5
    curve = roc_curve(generator.normal(size=200_000) + signal_e, signal_e)
    figure = plots.plot_roc({"higgs": curve}, {"higgs": Measured(0.7, 0.6, 0.8)})
    drawn_p = np.asarray(figure.axes[0].get_lines()[0].get_xydata())
    assert len(drawn_p) < 2000
    assert drawn_p[-1].tolist() == [1, 1]
    exact_p = np.interp(drawn_p[:, 0], curve.false_positive_rate, curve.true_positive_rate)
    assert np.abs(drawn_p[:, 1] - exact_p).max() < 1e-3
    assert abs(np.trapezoid(drawn_p[:, 1], drawn_p[:, 0]) - curve.auc) < 1e-4


def test_cells_hold_fraction_and_count_in_white_on_dark() -> None:
    matrix = confusion_matrix([0] * 10 + [1] * 10, [0] * 9 + [1] + [1] * 10, 2)
    axis = plots.plot_confusion(matrix, ["higgs", "QCD"]).axes[0]
    cells = {text.get_text(): to_rgba(text.get_color()) for text in axis.texts}
    assert {"0.90", "9", "0.10", "1", "1.00", "10", "0.00", "0"} <= cells.keys()
    assert cells["0.90"] == cells["9"] == to_rgba("white")
    assert cells["0.10"] == to_rgba("black")


def test_a_class_without_events_has_a_row_without_numbers() -> None:
    axis = plots.plot_confusion(confusion_matrix([0, 0], [0, 1], 2), ["higgs", "QCD"]).axes[0]
    assert [text.get_text() for text in axis.texts].count("-") == 2


def test_large_counts_and_sums_of_weights_are_short() -> None:
    count_cc = np.zeros((9, 9))
    count_cc[0, :6] = [7, 9999, 12345, 2.5e6, 3.14159, -2]
    axis = plots.plot_confusion(ConfusionMatrix(count_cc, count_cc), class_names(9)).axes[0]
    assert [text.get_text() for text in axis.texts][1:12:2] == ["7", "9999", "12.3k", "2.5M", "3.14", "-2"]


def test_distributions_have_unit_sum_and_poisson_errors() -> None:
    figure = plots.plot_scores([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.0, 1.0000001]], [0, 0, 0, 1], ["higgs", "QCD"])
    (axis,) = figure.axes
    heights = [np.asarray(patch.get_data().values) for patch in axis.patches]  # type: ignore[attr-defined]
    assert [height.sum() for height in heights] == pytest.approx([1, 1])
    segments = axis.collections[0].get_segments()  # type: ignore[attr-defined]
    assert segments[0][1][1] - segments[0][0][1] == pytest.approx(2 * np.sqrt(2) / 3)


def test_weighted_distributions_may_have_negative_weights() -> None:
    probability_ec, label_e = classified(2)
    weight_e = np.random.default_rng(0).normal(0.5, 1, size=1000)
    assert plots.to_png(plots.plot_scores(probability_ec, label_e, class_names(2), weight_e))


def test_areas_in_slices_stand_where_they_are_and_undefined_ones_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    nan = float("nan")
    slices = [
        AucSlice(40, 50, 10, 12, Measured(0.7, 0.68, 0.72)),
        AucSlice(50, 70, 11, 11, Measured(0.8, nan, nan)),
        AucSlice(70, 90, 0, 22, Measured(nan, nan, nan)),
    ]
    overall = Measured(0.75, 0.74, 0.76)
    with caplog.at_level(logging.WARNING):
        figure = plots.plot_auc_slices({"energy": slices, "eta": slices[2:]}, overall, label="test split")
        assert plots.to_png(figure).startswith(b"\x89PNG")
    assert not caplog.records
    (points,) = figure.axes[0].containers
    assert points[0].get_xydata() == pytest.approx(np.array([[45, 0.7], [60, 0.8]]))
    with pytest.raises(DataError, match="no slices"):
        plots.plot_auc_slices({}, overall)
