"""The variables of a jet: names, units, what they are, and what they are called in each kind of file.

Units everywhere in this package: energies, momenta and masses in GeV, lengths in mm, times in ns, angles in rad. What a
file holds in other units is converted when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hepml_core.errors import SettingError, UnknownNameError

Residual = Literal["relative", "difference"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a jet.

    Attributes:
        name: Name, the xAOD one where there is one.
        unit: Unit of the values in shards, datasets and models; empty for pure numbers.
        meaning: What it is.
        residual: Whether a reconstruction is judged by (out - in)/in or by out - in.
        integer: Whether values are whole numbers.
        angle: Whether values are angles, of which -pi and pi are the same.
        from_xaod: Factor from the unit in xAOD files to ``unit``.
        bound: Largest error of compression where none is asked for: a relative one where residuals are, else in ``unit``;
            about a thousandth of the spread.
    """

    name: str
    unit: str
    meaning: str
    residual: Residual = "difference"
    integer: bool = False
    angle: bool = False
    from_xaod: float = 1.0
    bound: float = 1e-3


MEV = 1e-3
"""GeV in a MeV."""

_ALL = (
    Variable("E", "GeV", "energy", "relative", from_xaod=MEV),
    Variable("pt", "GeV", "momentum across the beam", "relative", from_xaod=MEV),
    Variable("eta", "", "pseudorapidity"),
    Variable("phi", "rad", "azimuth", angle=True),
    Variable("m", "GeV", "mass", "relative", from_xaod=MEV),
    Variable("ActiveArea", "", "catchment area in ghosts, a whole number of ghost areas", bound=2e-05),
    Variable("ActiveArea4vec_eta", "", "pseudorapidity of the area four-vector"),
    Variable("ActiveArea4vec_m", "", "mass of the area four-vector", bound=1e-05),
    Variable("ActiveArea4vec_phi", "rad", "azimuth of the area four-vector", angle=True),
    Variable("ActiveArea4vec_pt", "", "transverse part of the area four-vector", bound=2e-05),
    Variable("AverageLArQF", "", "mean quality of the pulses in liquid argon, a 16-bit number", bound=1),
    Variable("NegativeE", "GeV", "sum of the negative energies", from_xaod=MEV, bound=0.01),
    Variable("HECQuality", "", "part of the energy in badly shaped pulses of the hadronic end-cap", bound=5e-05),
    Variable("LArQuality", "", "part of the energy in badly shaped pulses of the liquid argon", bound=5e-05),
    Variable("Width", "", "transverse-momentum-weighted mean distance of the constituents from the axis", bound=0.0001),
    Variable("WidthPhi", "", "the same, in azimuth", bound=0.0001),
    Variable("CentroidR", "mm", "distance of the energy-weighted centre from the interaction point", bound=1),
    Variable("DetectorEta", "", "pseudorapidity seen from the centre of the detector"),
    Variable("LeadingClusterCenterLambda", "mm", "depth of the leading cluster in the calorimeter", bound=0.1),
    Variable("LeadingClusterPt", "GeV", "transverse momentum of the leading cluster", "relative", from_xaod=MEV),
    # Squared lengths. The original divided them by 1000 and called that GeV; the factor stays, for its constants need it.
    Variable(
        "LeadingClusterSecondLambda",
        "1000 mm2",
        "second moment of the leading cluster in depth",
        from_xaod=1e-3,
        bound=0.05,
    ),
    Variable(
        "LeadingClusterSecondR", "1000 mm2", "second moment of the leading cluster across", from_xaod=1e-3, bound=0.005
    ),
    Variable("N90Constituents", "", "number of constituents that hold 90 % of the energy", integer=True),
    Variable("EMFrac", "", "part of the energy in electromagnetic calorimeters", bound=0.0002),
    Variable("HECFrac", "", "part of the energy in the hadronic end-cap", bound=0.0001),
    Variable("Timing", "ns", "energy-weighted mean time", bound=0.01),
    Variable("OotFracClusters10", "", "part of the energy in clusters more than 10 ns out of time", bound=0.0001),
    Variable("OotFracClusters5", "", "part of the energy in clusters more than 5 ns out of time", bound=0.0001),
    Variable("Jvt", "", "jet vertex tagger", bound=0.0001),
    Variable("JVFCorr", "", "corrected part of the track momentum from the hard interaction", bound=0.0001),
    Variable("JvtRpt", "", "track momentum from the hard interaction over the jet's", bound=0.0001),
    Variable("FracSamplingMax", "", "part of the energy in the layer with the most", bound=0.0001),
    Variable("FracSamplingMaxIndex", "", "number of the layer with the most energy", integer=True),
)
VARIABLES = {variable.name: variable for variable in _ALL}

_27 = tuple(name for name in VARIABLES if name != "E")[:27]
SETS: dict[str, tuple[str, ...]] = {
    "atlas27": _27,
    "atlas25": tuple(name for name in _27 if name not in ("Width", "WidthPhi")),
    "atlas16": (
        *("pt", "eta", "phi", "m"),
        *("ActiveArea4vec_eta", "ActiveArea4vec_m", "ActiveArea4vec_phi", "ActiveArea4vec_pt"),
        *("Jvt", "JVFCorr", "JvtRpt", "FracSamplingMax", "FracSamplingMaxIndex", "Width", "EMFrac", "Timing"),
    ),
    "thesis4": ("pt", "eta", "phi", "E"),
    "tla4": ("m", "pt", "phi", "eta"),
    "atlas4": ("pt", "eta", "phi", "m"),
    "phenoml4": ("E", "pt", "eta", "phi"),
}
"""Sets of variables by name, in the orders of the original studies."""

OBJECTS = {
    "j": "jet",
    "b": "b jet",
    "e-": "electron",
    "e+": "positron",
    "m-": "muon",
    "m+": "antimuon",
    "g": "photon",
}
"""Codes of the kinds of objects, as PhenoML and DarkMachines files write them."""
MASSLESS = ("e-", "e+", "m-", "m+", "g")
"""Objects whose mass is far below any energy here."""


def choose_variables(names: Sequence[str]) -> tuple[str, ...]:
    """Return a list of variables, where the only name may be that of a set (``atlas27``).

    Raises:
        UnknownNameError: A name is neither a variable nor a set.
        SettingError: A variable stands twice.
    """
    if len(names) == 1 and names[0] in SETS:
        return SETS[names[0]]
    for name in names:
        if name not in VARIABLES:
            raise UnknownNameError("variable", name, [*SETS, *VARIABLES])
    if len(set(names)) != len(names):
        raise SettingError(f"variables must differ, got {', '.join(names)}")
    return tuple(names)


def check_objects(**given: tuple[str, ...]) -> None:
    """Refuse codes of objects that do not exist.

    Raises:
        UnknownNameError: One does not; the message names the setting.
    """
    for setting, objects in given.items():
        for code in objects:
            if code not in OBJECTS:
                raise UnknownNameError("object", code, OBJECTS, f"in {setting}")


def variable_of(column: str) -> Variable:
    """Return the variable of a column, which in tables of whole events carries the object's place: ``pt_3`` is a ``pt``."""
    stem, _, place = column.rpartition("_")
    return VARIABLES[stem] if place.isdigit() and stem in VARIABLES else VARIABLES[column]
