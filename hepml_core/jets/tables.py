"""The tables of a report on compressed jets.

Suffixes: n object, r row, f variable.
"""

from __future__ import annotations

from collections.abc import Mapping

from hepml_core.artifacts import Manifest
from hepml_core.jets.figures import kinds_of
from hepml_core.jets.residuals import Compared, Values, kind_of, massless_residual
from hepml_core.jets.variables import OBJECTS, VARIABLES
from hepml_core.metrics import Spread, measure_spread
from hepml_core.report import Cell, Report
from hepml_core.splits import SPLITS

FLOAT_BYTES = 4


def add_residuals(page: Report, compared: Compared, spreads: Mapping[str, Spread]) -> None:
    """Add the residuals of each variable, and what E = pt cosh(eta) does without a network."""
    rows = [[name, VARIABLES[name].unit, kind_of(name), *_cells(spread)] for name, spread in spreads.items()]
    if compared.has("E", "pt", "eta"):
        baseline = measure_spread(massless_residual(compared.before()))
        rows.append(["E = pt cosh eta, no network", "GeV", "relative", *_cells(baseline)])
    page.add_table(
        "residuals",
        ["variable", "unit", "residual", "mean", "sigma", "68 % interval", "core", "beyond 5 sigma", "undefined"],
        rows,
        "relative: (out - in)/in; difference: out - in; angle: difference between -pi and pi. Core: median absolute "
        "deviation, scaled to be sigma for a normal distribution. Undefined: relative to zero, or not finite."
        + ("" if len(rows) == len(spreads) else " Last row: what leaving out the energy costs without any network."),
    )


def add_objects(page: Report, compared: Compared, residual_nf: Values, loss_r: Values) -> None:
    """Add the residuals and losses of each kind of object, where rows are objects of several kinds."""
    kinds = kinds_of(compared)
    if len(kinds) < 2:
        return
    rows: list[list[Cell]] = []
    losses: list[list[Cell]] = []
    for kind in kinds:
        # A row is an object here: whole events have kinds that differ from place to place, and tell none.
        kind_n = compared.kind_n == kind
        called, number = OBJECTS.get(kind, kind), int(kind_n.sum())
        losses.append([called, number, measure_spread(loss_r[kind_n]).mean])
        for f, name in enumerate(compared.variables):
            rows.append([called, number, name, *_cells(measure_spread(residual_nf[kind_n, f]))[:4]])
    columns = ["object", "number", "variable", "mean", "sigma", "68 % interval", "core"]
    page.add_table("objects", columns, rows, "Residuals of each kind of object.")
    page.add_table(
        "losses", ["object", "number", "mean squared error"], losses, "Of scaled variables, as training counts it."
    )


def add_sizes(page: Report, columns: int, latent: int) -> None:
    """Add how many bytes the numbers of a row and of its latent variables take."""
    page.add_table(
        "bytes_per_row",
        ["what", "numbers", "bytes"],
        [["variables, float32", columns, FLOAT_BYTES * columns], ["latent, float32", latent, FLOAT_BYTES * latent]],
        "Numbers only: the decoder's own size, and what entropy coding saves on either, do not count. Bytes at a bound on "
        "the error are in the comparison of compress.",
    )


def add_dataset(page: Report, manifest: Manifest) -> None:
    """Add what each split of the dataset holds."""
    counts = manifest.facts["counts"]
    rows: list[list[Cell]] = [[unit, *(counts[split][unit] for split in SPLITS)] for unit in ("events", "rows")]
    for group, unit in (("processes", "events of {}"), ("objects", "objects {}")):
        names = dict.fromkeys(name for split in SPLITS for name in counts[split][group])
        rows += [[unit.format(name), *(counts[split][group].get(name, 0) for split in SPLITS)] for name in names]
    page.add_table("dataset", ["what", *SPLITS], rows, "Events, rows, processes and kinds of objects by split.")


def _cells(spread: Spread) -> list[Cell]:
    interval = f"{spread.low:.3g} … {spread.high:.3g}" if spread.rows else None
    return [spread.mean, spread.sigma, interval, spread.core, spread.tail, spread.undefined]
