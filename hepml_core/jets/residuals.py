"""What a reconstruction of jets is compared by: residuals of each variable, di-jet masses, and what axes are called.

Suffixes: n object (a row, or an object of a row of a whole event), r row, f variable, k place in the event, e event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepml_core.jets.variables import VARIABLES, variable_of
from hepml_core.metrics import FloatArray, residual
from hepml_core.metrics.residuals import Kind

Values = NDArray[np.float32]

SYMBOLS = {"E": "$E$", "pt": r"$p_\mathrm{T}$", "eta": r"$\eta$", "phi": r"$\phi$", "m": "$m$"}
GROUPS = (
    ("E", "pt", "eta", "phi", "m"),
    ("ActiveArea", "ActiveArea4vec_pt", "ActiveArea4vec_m"),
    ("ActiveArea4vec_eta", "ActiveArea4vec_phi", "DetectorEta"),
    ("Width", "WidthPhi", "LeadingClusterSecondR"),
    ("CentroidR", "LeadingClusterCenterLambda", "LeadingClusterSecondLambda"),
    ("LeadingClusterPt", "N90Constituents", "NegativeE"),
    ("EMFrac", "HECFrac"),
    ("AverageLArQF", "HECQuality", "LArQuality"),
    ("Timing", "OotFracClusters10", "OotFracClusters5"),
    ("Jvt", "JVFCorr", "JvtRpt"),
    ("FracSamplingMax", "FracSamplingMaxIndex"),
)
"""Variables that belong together, for corner plots."""
JETS = ("j", "b")
ONE_HOT = "is_"
"""Beginning of the columns of a row of a whole event that name its process."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Objects before and after.

    Attributes:
        variables: The columns.
        input_nf: Variables that went in.
        output_nf: Variables that came out.
        event_n: Identity of each object's event.
        kind_n: Code of each object's kind; empty where it is not known.
    """

    variables: tuple[str, ...]
    input_nf: Values
    output_nf: Values
    event_n: NDArray[np.uint64]
    kind_n: NDArray[np.str_]

    def has(self, *names: str) -> bool:
        """Return whether all of these are variables."""
        return set(names) <= set(self.variables)

    def before(self) -> dict[str, Values]:
        """Return each variable's values that went in."""
        return dict(zip(self.variables, self.input_nf.T, strict=True))

    def after(self) -> dict[str, Values]:
        """Return each variable's values that came out."""
        return dict(zip(self.variables, self.output_nf.T, strict=True))

    def residuals(self) -> Values:
        """Return the residual (n, f) of each variable; NaN where it is relative to zero."""
        residual_nf = np.empty_like(self.input_nf)
        for f, name in enumerate(self.variables):
            residual_nf[:, f] = residual(self.input_nf[:, f], self.output_nf[:, f], kind_of(name))
        return residual_nf

    def jets(self) -> Compared:
        """Return only the jets, and what may be jets because its kind is not known."""
        jet_n = np.isin(self.kind_n, [*JETS, ""])
        before, after, event_n, kind_n = self.input_nf, self.output_nf, self.event_n, self.kind_n
        return Compared(self.variables, before[jet_n], after[jet_n], event_n[jet_n], kind_n[jet_n])


def unfold_events(columns: Sequence[str], input_rf: Values, output_rf: Values, event_r: NDArray[np.uint64]) -> Compared:
    """Return the objects of rows of whole events (``E_0``, ``E_1`` … ``pt_0`` …); places of zeros hold none."""
    variables = tuple(dict.fromkeys(variable_of(name).name for name in columns if not name.startswith(ONE_HOT)))
    places = 1 + max(int(name.rpartition("_")[2]) for name in columns if not name.startswith(ONE_HOT))
    column_fk = np.array([[columns.index(f"{name}_{place}") for place in range(places)] for name in variables])
    there_rk = np.zeros((len(input_rf), places), np.bool_)
    for column_k in column_fk:
        there_rk |= input_rf[:, column_k] != 0
    before, after = (
        np.stack([value_rf[:, column_k][there_rk] for column_k in column_fk], axis=1)
        for value_rf in (input_rf, output_rf)
    )
    event_n = np.repeat(event_r, there_rk.sum(axis=1))
    return Compared(variables, before, after, event_n, np.full(len(event_n), "", np.str_))


def dijet_masses(event_n: NDArray[np.uint64], value_by_name: Mapping[str, Values]) -> FloatArray:
    """Return the invariant mass (e,) of the two objects of the largest pt of each event that has two, in GeV.

    Args:
        event_n: Identity of each object's event; masses are in its order.
        value_by_name: ``pt``, ``eta``, ``phi`` and ``E`` or ``m``.
    """
    order_n = np.lexsort((-value_by_name["pt"], event_n))
    _, first_e, count_e = np.unique(event_n[order_n], return_index=True, return_counts=True)
    leading_e = first_e[count_e > 1]
    momentum = [
        _momenta({name: v[order_n[leading_e + place]] for name, v in value_by_name.items()}) for place in (0, 1)
    ]
    energy_e, x_e, y_e, z_e = (momentum[0] + momentum[1]).T
    mass_e: FloatArray = np.sqrt(np.maximum(energy_e**2 - x_e**2 - y_e**2 - z_e**2, 0))
    return mass_e


def _momenta(value_by_name: Mapping[str, Values]) -> FloatArray:
    """Return four-momenta (n, 4): energy, x, y, z."""
    values = {name: value_n.astype(np.float64) for name, value_n in value_by_name.items()}
    pt_n, eta_n, phi_n = values["pt"], values["eta"], values["phi"]
    energy_n = values["E"] if "E" in values else np.sqrt((pt_n * np.cosh(eta_n)) ** 2 + values["m"] ** 2)
    return np.stack([energy_n, pt_n * np.cos(phi_n), pt_n * np.sin(phi_n), pt_n * np.sinh(eta_n)], axis=1)


def massless_residual(value_by_name: Mapping[str, Values]) -> Values:
    """Return the residual of E = pt cosh(eta): what is lost by storing no energy at all, and no network."""
    energy_n = value_by_name["pt"].astype(np.float64) * np.cosh(value_by_name["eta"].astype(np.float64))
    return residual(value_by_name["E"], energy_n, "relative")


def kind_of(variable: str) -> Kind:
    """Return how a variable's residual is calculated."""
    return "angle" if VARIABLES[variable].angle else VARIABLES[variable].residual


def title_of(variable: str) -> str:
    """Return what an axis of the variable says: symbol and unit."""
    return SYMBOLS.get(variable, variable) + _unit(variable)


def residual_title_of(variable: str) -> str:
    """Return what an axis of the variable's residual says."""
    symbol = SYMBOLS.get(variable)
    if kind_of(variable) == "relative":
        return rf"$\Delta${symbol} / {symbol}" if symbol else rf"$\Delta${variable}, relative"
    return rf"$\Delta${symbol or variable}{_unit(variable)}"


def groups_of(variables: Sequence[str]) -> list[list[int]]:
    """Return the columns of variables that belong together, two or more each."""
    found = [[list(variables).index(name) for name in group if name in variables] for group in GROUPS]
    return [columns for columns in found if len(columns) > 1]


def _unit(variable: str) -> str:
    unit = VARIABLES[variable].unit.replace("mm2", "mm$^2$")
    return f" [{unit}]" if unit else ""
