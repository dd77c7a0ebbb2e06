"""Figures of showers: the numbers that went in are those that are drawn."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hepml_core import plots
from hepml_core.errors import DataError


def shower(seed: int, label: str = "photon", size: int = 32) -> plots.Shower:
    generator = np.random.default_rng(seed)
    energy_yx = np.where(generator.random((size, size)) < 0.03, generator.exponential(0.2, (size, size)), 0)
    energy_yx[size // 2, size // 2] = 40
    time_yx = np.where(energy_yx > 0, generator.normal(0, 8, (size, size)), 0)
    time_yx[size // 2, size // 2] = 0.05
    return plots.Shower(energy_yx, time_yx, (label, f"row {seed}"))


def images(figure: Figure) -> list[Any]:
    """Return the arrays that are drawn as images; crystals that are left white are masked."""
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


@pytest.mark.parametrize("count", [1, 4, 6, 8])
def test_energies_and_times_of_every_shower_are_drawn_and_empty_crystals_are_white(
    count: int, caplog: pytest.LogCaptureFixture
) -> None:
    showers = [shower(number) for number in range(count)]
    with caplog.at_level(logging.WARNING):
        figure = plots.plot_showers(showers, label="test split")
        assert plots.to_png(figure).startswith(b"\x89PNG")
    assert not caplog.records
    drawn = images(figure)
    assert len(drawn) == 2 * count
    for one in showers:
        energy_yx, time_yx = (
            next(image for image in drawn if image.shape == value.shape and image.sum() == pytest.approx(value.sum()))
            for value in (one.energy_yx, one.time_yx)
        )
        for shown_yx, value_yx in ((energy_yx, one.energy_yx), (time_yx, one.time_yx)):
            np.testing.assert_array_equal(np.ma.getmaskarray(shown_yx), one.energy_yx == 0)
            np.testing.assert_array_equal(shown_yx.filled(0), value_yx)


def test_the_middle_crystal_is_at_the_origin_and_eta_points_up() -> None:
    energy_yx = np.zeros((9, 9))
    energy_yx[4, 4], energy_yx[8, 4] = 10, 1
    figure = plots.plot_showers([plots.Shower(energy_yx, energy_yx, ())])
    image = figure.axes[0].images[0]
    assert tuple(image.get_extent()) == (-4.5, 4.5, -4.5, 4.5)
    assert image.origin == "lower"
    assert figure.axes[0].get_ylim() == (-4.5, 4.5)


def test_hits_stand_at_their_crystal_and_time_with_areas_that_grow_with_energy() -> None:
    one = shower(3)
    figure = plots.plot_spacetime([one, shower(4)])
    assert plots.to_png(figure).startswith(b"\x89PNG")
    row_h, column_h = np.nonzero(one.energy_yx)
    expected = sorted(zip(column_h - 16, row_h - 16, one.time_yx[row_h, column_h], strict=True))
    above, below = (_points(figure.axes[number]) for number in (0, 2))
    offsets = [np.asarray(points.get_offsets()) for points in (above, below)]
    shown = sorted(zip(offsets[0][:, 0], offsets[0][:, 1], offsets[1][:, 1], strict=True))
    np.testing.assert_allclose(shown, expected)
    seed = np.argmin(np.abs(offsets[0]).sum(1))
    assert above.get_sizes()[seed] == max(above.get_sizes())
    assert np.argmax(above.get_sizes()) == 0, "the largest is drawn first, under the others"


def _points(axis: Any) -> PathCollection:
    (points,) = [one for one in axis.collections if isinstance(one, PathCollection)]
    return points


def test_means_and_their_difference_are_drawn() -> None:
    mean = {"photon": shower(1).energy_yx, "electron": shower(2).energy_yx}
    drawn = images(plots.plot_mean_showers(mean, label="test split"))
    np.testing.assert_array_equal(drawn[0].filled(0), mean["photon"])
    np.testing.assert_array_equal(drawn[1].filled(0), mean["electron"])
    np.testing.assert_allclose(np.asarray(drawn[2]), mean["electron"] - mean["photon"])


def test_equal_means_have_a_difference_of_nothing_that_can_be_drawn() -> None:
    mean_yx: NDArray[Any] = shower(1).energy_yx
    figure = plots.plot_mean_showers({"photon": mean_yx, "electron": mean_yx})
    assert plots.to_png(figure).startswith(b"\x89PNG")
    assert not np.asarray(images(figure)[2]).any()


def test_summed_up_spectra_end_at_the_part_of_hits_and_energy_within_the_axis() -> None:
    time_h = np.array([0.001, 0.1, -0.5, 2.0, -30.0, 500.0], np.float32)
    hits = {"photon": plots.TimedHits(time_h, np.array([50, 20, 10, 10, 5, 5], np.float32))}
    figure = plots.plot_time_spectra(hits)
    hits_below, energy_below = (np.asarray(figure.axes[number].lines[0].get_ydata()) for number in (2, 3))
    # What is faster than the axis shows counts from its start, what is slower is missing at its end.
    assert hits_below[[0, -1]] == pytest.approx([1 / 6, 5 / 6])
    assert energy_below[[0, -1]] == pytest.approx([0.5, 0.95])
    middle = np.searchsorted(np.asarray(figure.axes[2].lines[0].get_xdata()), 1.0)
    assert hits_below[middle] == pytest.approx(3 / 6)
    assert energy_below[middle] == pytest.approx(0.8)


def test_times_on_the_edge_of_the_axis_are_within_it() -> None:
    hits = {"photon": plots.TimedHits(np.array([0.01, 100], np.float32), np.ones(2, np.float32))}
    assert np.asarray(plots.plot_time_spectra(hits).axes[2].lines[0].get_ydata())[-1] == 1


def test_an_empty_event_and_a_class_without_hits_can_be_drawn() -> None:
    nothing = plots.Shower(np.zeros((5, 5)), np.zeros((5, 5)), ("photon",))
    for figure in (
        plots.plot_showers([nothing]),
        plots.plot_spacetime([nothing]),
        plots.plot_mean_showers({"photon": nothing.energy_yx, "electron": nothing.energy_yx}),
        plots.plot_time_spectra({"photon": plots.TimedHits(np.empty(0), np.empty(0))}),
    ):
        assert plots.to_png(figure).startswith(b"\x89PNG")


def test_names_and_lines_are_shown_and_never_read_as_formulas() -> None:
    hostile = "$\\frac{1}{<script>"
    figure = plots.plot_showers([plots.Shower(np.ones((4, 4)), np.ones((4, 4)), (hostile,))])
    assert plots.to_png(figure).startswith(b"\x89PNG")
    assert "script" in figure.axes[0].get_title(loc="left")


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(DataError, match="no showers"):
        plots.plot_showers([])
    with pytest.raises(DataError, match="no showers"):
        plots.plot_spacetime([])
    with pytest.raises(DataError, match="no classes"):
        plots.plot_time_spectra({})
    with pytest.raises(DataError, match="two classes"):
        plots.plot_mean_showers({"photon": np.zeros((4, 4))})
    with pytest.raises(DataError, match="two classes"):
        plots.plot_mean_showers({"photon": np.zeros((4, 4)), "electron": np.zeros((5, 5))})
