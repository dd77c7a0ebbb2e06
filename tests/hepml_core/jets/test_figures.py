"""Which figures a report has: pages of many variables, groups, and what is left out where it says nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hepml_core.jets import figures
from hepml_core.jets.figures import add_figures, add_latent, kinds_of
from hepml_core.jets.residuals import Compared
from hepml_core.jets.variables import SETS
from hepml_core.metrics import measure_spread


class Page:
    """Notes what is added to it."""

    def __init__(self) -> None:
        self.captions: dict[str, str] = {}
        self.figures: dict[str, Any] = {}

    def add_figure(self, name: str, figure: Any, caption: str) -> None:
        self.figures[name], self.captions[name] = figure, caption


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what would be drawn, for drawing takes seconds and has tests of its own."""
    for name in [name for name in vars(figures) if name.startswith("plot_")]:
        monkeypatch.setattr(figures, name, lambda *shown, **_: shown)


def page_of(variables: tuple[str, ...], kinds: tuple[str, ...] = ("j",), events: int = 100, each: int = 2) -> Page:
    chance = np.random.default_rng(0)
    before_nf = (20 + chance.exponential(20, (events * each, len(variables)))).astype(np.float32)
    after_nf = (before_nf * (1 + 0.01 * chance.normal(size=before_nf.shape))).astype(np.float32)
    if "eta" in variables:
        before_nf[:, variables.index("eta")] = after_nf[:, variables.index("eta")] = 1
    event_n = np.repeat(np.arange(events, dtype=np.uint64), each)
    compared = Compared(variables, before_nf, after_nf, event_n, np.resize(np.array(kinds), events * each))
    residual_nf = compared.residuals()
    page: Any = Page()
    add_figures(page, compared, residual_nf, [measure_spread(residual_n) for residual_n in residual_nf.T])
    made: Page = page
    return made


def test_27_variables_take_three_pages_of_nine_and_nine_corners() -> None:
    page = page_of(SETS["atlas27"])
    pages = {f"{name}_{number}" for name in ("residuals", "input_and_output") for number in (1, 2, 3)}
    corners = {f"corner_{number}" for number in range(1, 10)}
    assert set(page.figures) == pages | corners | {"residual_correlations", "response", "dijet_mass"}
    assert [len(page.figures[f"residuals_{number}"][0]) for number in (1, 2, 3)] == [9, 9, 9]
    assert len(page.figures["response"][0]) == 6


def test_what_cannot_be_calculated_is_left_out() -> None:
    page = page_of(("EMFrac", "HECFrac"))
    assert set(page.figures) == {"residuals", "input_and_output", "residual_correlations", "corner"}
    assert "dijet_mass" not in page_of(SETS["phenoml4"], kinds=("e-", "g")).figures
    assert set(page_of(("Timing",)).figures) == {"residuals", "input_and_output"}


def test_the_dijet_figure_tells_how_many_events_and_how_far_the_mass_is_off() -> None:
    caption = page_of(SETS["atlas4"], events=60).captions["dijet_mass"]
    assert "of 60 events" in caption
    assert "standard deviation 0.0" in caption


def test_kinds_are_listed_in_their_order_and_unknown_ones_last() -> None:
    kind_n = np.array(["g", "x", "", "j", "e-", "j"])
    nothing_nf = np.empty((6, 0), np.float32)
    assert kinds_of(Compared((), nothing_nf, nothing_nf, np.arange(6, dtype=np.uint64), kind_n)) == [
        "j",
        "e-",
        "g",
        "x",
    ]
    page = page_of(SETS["phenoml4"], kinds=("j", "e-", "g"))
    (by_title,) = page.figures["residuals_by_object"]
    assert [list(by_kind) for by_kind in by_title.values()] == [["jet", "electron", "photon"]] * 4
    sizes = [len(residual_n) for residual_n in next(iter(by_title.values())).values()]
    assert sizes == [67, 67, 66]


def test_latent_variables_take_pages_of_twelve() -> None:
    page: Any = Page()
    add_latent(page, np.random.default_rng(0).normal(size=(50, 14)).astype(np.float32))
    assert [list(shown[0]) for shown in page.figures.values()] == [
        [f"$z_{{{z}}}$" for z in range(1, 13)],
        ["$z_{13}$", "$z_{14}$"],
    ]


def test_the_response_to_a_scaled_pt_is_its_scale_in_bins_of_pt_and_eta() -> None:
    (responses,) = page_of(SETS["phenoml4"], events=5000).figures["response"]
    assert [(one.of, one.logarithmic) for one in responses[:2]] == [
        (r"$p_\mathrm{T}$ [GeV]", True),
        (r"$|\eta|$", False),
    ]
    for one in responses:
        filled_b = one.found.count_b > 100
        np.testing.assert_allclose(one.found.mean_b[filled_b], 1, atol=0.005)
        assert one.found.count_b.sum() > 0.998 * 10_000
