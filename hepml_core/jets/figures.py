"""The figures of a report on reconstructed jets.

Suffixes: n object, f variable, z latent variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hepml_core.jets.residuals import (
    Compared,
    Values,
    dijet_masses,
    groups_of,
    kind_of,
    residual_title_of,
    title_of,
)
from hepml_core.jets.variables import OBJECTS
from hepml_core.metrics import FloatArray, Measured, Spread, correlations, measure_spread, profile, residual
from hepml_core.plots import (
    Overlay,
    Residuals,
    Response,
    plot_corner,
    plot_correlations,
    plot_distributions,
    plot_latent_scan,
    plot_overlays,
    plot_residuals,
    plot_residuals_by_kind,
    plot_response,
)
from hepml_core.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABEL = "test split"
PANELS = 9
"""Panels on a page of figures."""
CORNER_ROWS = 300_000
"""Objects that are drawn in corner plots."""
RESPONSE_BINS = 20

Panel = TypeVar("Panel")


def add_figures(page: Report, compared: Compared, residual_nf: Values, spread_f: Sequence[Spread]) -> None:
    """Add what shows how the output differs from the input.

    Args:
        page: Where to add.
        compared: The objects.
        residual_nf: Their residuals.
        spread_f: How those are distributed.
    """
    titles = [residual_title_of(name) for name in compared.variables]
    shown = [Residuals(*each) for each in zip(titles, residual_nf.T, spread_f, strict=True)]
    caption = "Residuals with mean, standard deviation, their errors, and the interval of 68 % (band)."
    _add_pages(page, "residuals", shown, plot_residuals, caption)
    before, after = compared.before(), compared.after()
    overlays = [Overlay(title_of(name), before[name], after[name]) for name in compared.variables]
    caption = "Input and output, and their ratio; its band is the statistical error of the input."
    _add_pages(page, "input_and_output", overlays, plot_overlays, caption)
    _add_correlations(page, compared, residual_nf)
    _add_kinds(page, compared, residual_nf)
    _add_response(page, compared, residual_nf)
    _add_dijet(page, compared)


def add_latent(page: Report, latent_nz: Values) -> None:
    """Add the distributions of the latent variables."""
    caption = "Distributions of the latent variables."
    shown = [(f"$z_{{{z}}}$", latent_nz[:, z - 1]) for z in range(1, latent_nz.shape[1] + 1)]
    _add_pages(
        page, "latent_variables", shown, lambda part, label: plot_distributions(dict(part), label=label), caption, 12
    )


def add_latent_scan(page: Report, latent_m: Sequence[int], sigma_mf: Sequence[Mapping[str, Measured]]) -> None:
    """Add the spread of each variable's residuals against the latent sizes of some models."""

    def draw(part: Sequence[str], label: str) -> Figure:
        return plot_latent_scan(
            latent_m, {residual_title_of(name): [sigma[name] for sigma in sigma_mf] for name in part}, label=label
        )

    caption = "Standard deviation of the residuals against the number of latent variables, one point for each model."
    _add_pages(page, "sigma_against_latent_size", list(sigma_mf[0]), draw, caption)


def _add_pages(
    page: Report,
    name: str,
    shown: Sequence[Panel],
    draw: Callable[..., Figure],
    caption: str,
    panels: int = PANELS,
) -> None:
    """Add as many figures as it takes to show all panels."""
    parts = [shown[start : start + panels] for start in range(0, len(shown), panels)]
    for number, part in enumerate(parts, 1):
        page.add_figure(f"{name}_{number}" if len(parts) > 1 else name, draw(part, label=LABEL), caption)


def _add_correlations(page: Report, compared: Compared, residual_nf: Values) -> None:
    if len(compared.variables) < 2:
        return
    correlation_ff = correlations(residual_nf)
    figure = plot_correlations(compared.variables, correlation_ff, label=LABEL)
    page.add_figure("residual_correlations", figure, "Linear correlation coefficients of the residuals.")
    groups = groups_of(compared.variables)
    for number, columns in enumerate(groups, 1):
        if not np.isfinite(residual_nf[:CORNER_ROWS, columns]).all(axis=1).any():
            continue
        titles = [residual_title_of(compared.variables[f]).replace(" [", "\n[") for f in columns]
        drawn_nf = residual_nf[:CORNER_ROWS, columns]
        page.add_figure(
            f"corner_{number}" if len(groups) > 1 else "corner",
            plot_corner(titles, drawn_nf, correlation_ff[np.ix_(columns, columns)], label=LABEL),
            f"Residuals against one another ({len(drawn_nf)} objects); the darker the background, the more correlated. "
            "Lines: 16, 50 and 84 % quantiles.",
        )


def _add_kinds(page: Report, compared: Compared, residual_nf: Values) -> None:
    kinds = kinds_of(compared)
    if len(kinds) < 2:
        return
    of_kind = {OBJECTS.get(kind, kind): compared.kind_n == kind for kind in kinds}
    shown = [
        (residual_title_of(name), {kind: residual_nf[kind_n, f] for kind, kind_n in of_kind.items()})
        for f, name in enumerate(compared.variables)
    ]
    caption = "Residuals of each kind of object, each of unit sum."

    def draw(part: Sequence[tuple[str, Mapping[str, Values]]], label: str) -> Figure:
        return plot_residuals_by_kind(dict(part), label=label)

    _add_pages(page, "residuals_by_object", shown, draw, caption)


def kinds_of(compared: Compared) -> list[str]:
    """Return the kinds of objects that there are, in the order of ``OBJECTS``."""
    there = set(np.unique(compared.kind_n).tolist()) - {""}
    return [*(kind for kind in OBJECTS if kind in there), *sorted(there - OBJECTS.keys())]


def _add_response(page: Report, compared: Compared, residual_nf: Values) -> None:
    before = compared.before()
    against = [(name, before[name]) for name in ("pt", "eta") if name in before]
    relative = [(f, name) for f, name in enumerate(compared.variables) if kind_of(name) == "relative"]
    responses = [
        _response(of, of_n, name, 1 + residual_nf[:, f].astype(np.float64))
        for f, name in relative
        for of, of_n in against
    ]
    if responses:
        caption = "Output over input: mean and interval of 68 % in bins of the input."
        _add_pages(page, "response", responses, plot_response, caption, 6)


def _response(of: str, of_n: Values, name: str, response_n: FloatArray) -> Response:
    title = f"{title_of(name).partition(' [')[0]} out / in"
    if of == "pt":
        positive_n = of_n[of_n > 0] if (of_n > 0).any() else np.ones(1)
        low, high = (float(edge) for edge in np.quantile(positive_n, (0, 0.999)))
        edges = np.geomspace(low, max(high, 1.01 * low), RESPONSE_BINS + 1)
        return Response(title_of("pt"), title, profile(response_n, of_n, edges), logarithmic=True)
    absolute_n = np.abs(of_n)
    edges = np.linspace(0, float(absolute_n.max()) or 1, RESPONSE_BINS + 1)
    return Response(r"$|\eta|$", title, profile(response_n, absolute_n, edges))


def _add_dijet(page: Report, compared: Compared) -> None:
    """Add the mass of the two leading jets of each event, chosen by the pt that went in or that came out."""
    if not compared.has("pt", "eta", "phi") or not ({"E", "m"} & set(compared.variables)):
        return
    jets = compared.jets()
    before, after = (dijet_masses(jets.event_n, values) for values in (jets.before(), jets.after()))
    if not len(before):
        return
    spread = measure_spread(residual(before, after, "relative"))
    page.add_figure(
        "dijet_mass",
        plot_overlays([Overlay(r"$m_{jj}$ [GeV]", before, after)], label=LABEL),
        f"Invariant mass of the two leading jets of {len(before)} events; its relative residual has mean {spread.mean} "
        f"and standard deviation {spread.sigma}.",
    )
