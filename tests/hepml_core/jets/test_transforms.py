"""The constants of the original studies, against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepml_core.errors import SettingError
from hepml_core.jets.transforms import ATLAS, IDENTITY, Line, Log, Method, fixed_transforms
from hepml_core.jets.variables import SETS

VECTORS = {
    "pt": (100.0, 0.583333),
    "m": (10.0, 0.578551),
    "NegativeE": (-50.0, 1.067231),
    "ActiveArea4vec_m": (0.2, 0.961111),
    "LeadingClusterCenterLambda": (1000.0, 0.520696),
    "LeadingClusterSecondR": (1000.0, 1.735654),
    "CentroidR": (2000.0, 0.376287),
    "OotFracClusters10": (0.05, 0.070631),
    "eta": (2.5, 0.5),
    "phi": (3.0, 1.0),
    "N90Constituents": (10.0, 0.5),
    "Timing": (-20.0, -0.5),
    # By the formulas of the table, for what the list above leaves out.
    "LeadingClusterPt": (100.0, 2 / 1.2),
    "LeadingClusterSecondLambda": (900.0, 1.0),
    "AverageLArQF": (9900.0, 0.8),
    "ActiveArea": (0.4, 0.5),
    "ActiveArea4vec_pt": (0.35, 0.5),
    "HECQuality": (0.7, 0.7),
    "LArQuality": (0.3, 0.5),
    "Width": (0.15, 0.25),
    "WidthPhi": (0.15, 0.25),
    "EMFrac": (0.8, 0.5),
    "HECFrac": (0.3, 0.3),
    "OotFracClusters5": (9.0, 1 / 0.3),
    "DetectorEta": (-2.5, -0.5),
    "ActiveArea4vec_eta": (1.0, 0.2),
    "ActiveArea4vec_phi": (-3.0, -1.0),
}


def scaled(method: Method, columns: tuple[str, ...], **values: float) -> dict[str, float]:
    fixed = fixed_transforms(method, columns)
    return {name: fixed[name].forward(np.array([value]))[0] for name, value in values.items()}


def test_the_vectors_cover_all_27_variables() -> None:
    assert set(VECTORS) == set(SETS["atlas27"]) == set(ATLAS)


@pytest.mark.parametrize("name", VECTORS)
def test_the_custom_transforms_give_the_published_numbers(name: str) -> None:
    value, expected = VECTORS[name]
    assert scaled("custom", SETS["atlas27"], **{name: value})[name] == pytest.approx(expected, abs=5e-7)


def test_the_thesis_takes_logarithms_of_pt_and_energy_over_three() -> None:
    found = scaled("log", SETS["thesis4"], pt=1000.0, E=10.0, eta=1.5, phi=-3.0)
    assert found == pytest.approx({"pt": 1.0, "E": 1 / 3, "eta": 0.5, "phi": -1.0})


def test_phenoml_takes_plain_logarithms_in_gev() -> None:
    found = scaled("custom", SETS["phenoml4"], E=1000.0, pt=100.0, eta=2.5, phi=3.0)
    assert found == pytest.approx({"E": 3.0, "pt": 2.0, "eta": 0.5, "phi": 1.0})


@pytest.mark.parametrize(
    ("name", "pt_shift", "m_shift"), [("tla4", 3.0, 2.0), ("atlas16", 2.4, 1.4), ("atlas4", 0.0, 0.0)]
)
def test_the_set_of_variables_decides_whose_constants(name: str, pt_shift: float, m_shift: float) -> None:
    """TLA's and the truncation study's formulas are of MeV; shards hold GeV."""
    unit = 1000 if pt_shift else 1
    pt, m = 85.0, 8.3
    found = scaled("custom", SETS[name], pt=pt, m=m, eta=2.5, phi=3.0)
    assert found["pt"] == pytest.approx((math.log10(pt * unit) - 1.3) / 1.2 - pt_shift)
    assert found["m"] == pytest.approx(math.log10(m * unit + 1) / 1.8 - m_shift)
    assert (found["eta"], found["phi"]) == (0.5, 1.0)


def test_the_truncation_study_leaves_other_variables_to_be_measured() -> None:
    assert set(fixed_transforms("custom", SETS["atlas16"])) == {"pt", "eta", "phi", "m"}


def test_columns_of_whole_events_take_the_transform_of_their_variable() -> None:
    fixed = fixed_transforms("custom", ["E_0", "E_1", "pt_0", "pt_1", "is_ttbar"])
    assert fixed == {"E_0": Log(0, 1), "E_1": Log(0, 1), "pt_0": Log(0, 1), "pt_1": Log(0, 1), "is_ttbar": IDENTITY}


@pytest.mark.parametrize("method", ["standard", "quantile"])
def test_measured_methods_fix_only_the_flags_of_processes(method: Method) -> None:
    assert fixed_transforms(method, ["pt", "is_ttbar"]) == {"is_ttbar": IDENTITY}


def test_a_variable_without_constants_is_refused_by_name() -> None:
    with pytest.raises(SettingError, match=r"method=custom has no constants for Jvt \(it has them for pt, .*standard"):
        fixed_transforms("custom", ["pt", "Jvt"])
    with pytest.raises(SettingError, match=r"method=log has no constants for m"):
        fixed_transforms("log", SETS["atlas4"])


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"scale": math.inf}, {"offset": math.nan}, {"offset": "1"}])
def test_parameters_that_have_no_inverse_are_refused(wrong: dict[str, float]) -> None:
    for kind in (Line, Log):
        with pytest.raises(ValueError, match=r"finite numbers|scale must not"):
            kind(**{"offset": 0.0, "scale": 1.0, **wrong})
