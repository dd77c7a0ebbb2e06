"""The fixed transforms of the original studies, with their constants.

They compute in double precision on single columns. Suffix n: row. Source: section 1.5 of the description of
HEPAutoencoders; energies are in GeV, where not said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hepml_core.errors import SettingError
from hepml_core.jets.variables import SETS, variable_of

FloatArray = NDArray[np.float64]
Method = Literal["standard", "log", "custom", "quantile"]

MEV_PER_GEV = 1000.0


@dataclass(frozen=True, slots=True)
class Line:
    """``(x - offset) / scale``."""

    offset: float
    scale: float

    def __post_init__(self) -> None:
        _check_numbers(self)

    def forward(self, value_n: FloatArray) -> FloatArray:
        """Return scaled values (n,) of values (n,)."""
        return (value_n - self.offset) / self.scale

    def inverse(self, scaled_n: FloatArray) -> FloatArray:
        """Return values (n,) of scaled values (n,)."""
        return scaled_n * self.scale + self.offset


@dataclass(frozen=True, slots=True)
class Log:
    """``(log10(shift + factor x) - offset) / scale``; not a number where the logarithm has none."""

    offset: float
    scale: float
    shift: float = 0.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        _check_numbers(self)
        if self.shift < 0 or not self.factor:
            raise ValueError("shift must not be negative and factor not 0")

    @property
    def domain(self) -> str:
        """Say which values have a logarithm."""
        return f"{'above' if self.factor > 0 else 'below'} {0.0 - self.shift / self.factor:g}"

    @property
    def _at_shift(self) -> float:
        """What the logarithm of the shift alone scales to, before the division by ``scale``."""
        return (math.log10(self.shift) if self.shift else 0.0) - self.offset

    def forward(self, value_n: FloatArray) -> FloatArray:
        """Return scaled values (n,) of values (n,)."""
        # log1p keeps the digits of values that are small beside the shift.
        shift, factor = self.shift, self.factor
        with np.errstate(divide="ignore", invalid="ignore"):
            log_n = np.log1p(value_n * (factor / shift)) if shift else np.log(value_n * factor)
        return (log_n / math.log(10) + self._at_shift) / self.scale

    def inverse(self, scaled_n: FloatArray) -> FloatArray:
        """Return values (n,) of scaled values (n,)."""
        log_n = (scaled_n * self.scale - self._at_shift) * math.log(10)
        if self.shift:
            return np.expm1(log_n) * (self.shift / self.factor)
        return np.exp(log_n) / self.factor


def _check_numbers(transform: Line | Log) -> None:
    if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in asdict(transform).values()):
        raise ValueError(f"parameters must be finite numbers, got {transform}")
    if not transform.scale:
        raise ValueError("scale must not be 0")


Fixed = Line | Log
IDENTITY = Line(0.0, 1.0)


def _lambda(scale: float) -> Log:
    return Log(2.0, scale, shift=100.0)


ATLAS: Mapping[str, Fixed] = {
    "pt": Log(1.3, 1.2),
    **dict.fromkeys(("eta", "DetectorEta", "ActiveArea4vec_eta"), Line(0.0, 5.0)),
    **dict.fromkeys(("phi", "ActiveArea4vec_phi"), Line(0.0, 3.0)),
    "m": Log(0.0, 1.8, shift=1.0),
    "ActiveArea": Line(0.0, 0.8),
    "ActiveArea4vec_m": Line(0.15 * 0.18, 0.18),
    "ActiveArea4vec_pt": Line(0.0, 0.7),
    "AverageLArQF": _lambda(2.5),
    "NegativeE": Log(0.0, 1.6, shift=1.0, factor=-1.0),
    "HECQuality": IDENTITY,
    **dict.fromkeys(("LArQuality", "Width", "WidthPhi"), Line(0.0, 0.6)),
    "CentroidR": Log(3.0, 0.8),
    "LeadingClusterPt": Log(0.0, 1.2),
    "LeadingClusterCenterLambda": _lambda(2.0),
    "LeadingClusterSecondLambda": _lambda(1.0),
    "LeadingClusterSecondR": _lambda(0.6),
    "N90Constituents": Line(0.0, 20.0),
    "EMFrac": Line(0.0, 1.6),
    "HECFrac": IDENTITY,
    "Timing": Line(0.0, 40.0),
    **dict.fromkeys(("OotFracClusters10", "OotFracClusters5"), Log(0.0, 0.3, shift=1.0)),
}
"""Of the 27 variables and of ATLAS four-vectors."""
PHENOML: Mapping[str, Fixed] = {
    **dict.fromkeys(("E", "pt"), Log(0.0, 1.0)),
    "eta": Line(0.0, 5.0),
    "phi": Line(0.0, 3.0),
}
THESIS: Mapping[str, Fixed] = {
    **dict.fromkeys(("pt", "E"), Log(0.0, 3.0)),
    **dict.fromkeys(("eta", "phi"), Line(0.0, 3.0)),
}


def _in_mev(pt_shift: float, m_shift: float) -> Mapping[str, Fixed]:
    """Return ATLAS's transforms of four-vectors in MeV, moved after the scaling."""
    return {
        "pt": Log(1.3 + 1.2 * pt_shift, 1.2, factor=MEV_PER_GEV),
        "m": Log(1.8 * m_shift, 1.8, shift=1.0, factor=MEV_PER_GEV),
        "eta": ATLAS["eta"],
        "phi": ATLAS["phi"],
    }


TLA = _in_mev(pt_shift=3.0, m_shift=2.0)
TRUNCATION = _in_mev(pt_shift=2.4, m_shift=1.4)
"""Of the study of truncated floats; its other variables are standardized."""


def fixed_transforms(method: Method, columns: Sequence[str]) -> dict[str, Fixed]:
    """Return the transforms of all columns that need no measurement.

    With ``custom`` the variables decide whose constants: those of the set atlas16 have the truncation study's (only pt,
    eta, phi and m), m, pt, phi, eta in this order (the set tla4) have TLA's, with E PhenoML's, and all others ATLAS's.

    Raises:
        SettingError: The method has no constants for a variable.
    """
    fixed: dict[str, Fixed] = {name: IDENTITY for name in columns if name.startswith("is_")}
    if method in ("standard", "quantile"):
        return fixed
    variable_of_column = {name: variable_of(name).name for name in columns if name not in fixed}
    variables = tuple(dict.fromkeys(variable_of_column.values()))
    table = THESIS if method == "log" else _custom_table(variables)
    lacking = [name for name in variables if name not in table]
    if lacking and table is not TRUNCATION:
        raise SettingError(
            f"method={method} has no constants for {', '.join(lacking)} (it has them for {', '.join(table)}): "
            "choose method=standard or quantile, or other variables in convert"
        )
    return fixed | {name: table[variable] for name, variable in variable_of_column.items() if variable in table}


def _custom_table(variables: tuple[str, ...]) -> Mapping[str, Fixed]:
    if set(variables) == set(SETS["atlas16"]):
        return TRUNCATION
    if variables == SETS["tla4"]:
        return TLA
    return PHENOML if "E" in variables else ATLAS
