"""There and back over the whole domain; zeros that mean nothing; errors outside."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.jets.quantiles import Quantile
from hepml_core.jets.scalers import ROWS_PER_BLOCK, Scaler
from hepml_core.jets.transforms import ATLAS, PHENOML, THESIS, TLA, TRUNCATION, Line, Log
from hepml_core.jets.variables import SETS

TABLES = {"atlas": ATLAS, "phenoml": PHENOML, "thesis": THESIS, "tla": TLA, "truncation": TRUNCATION}
CASES = [(table, name) for table, transforms in TABLES.items() for name in transforms]


def domain_of(transform: Line | Log) -> NDArray[np.float32]:
    """Values all over a transform's domain: tiny, small and large on both sides of 0, and close to its edge."""
    size_n = np.logspace(-12, 7, 1901)
    value_n = np.concatenate([size_n, -size_n, [0]])
    if isinstance(transform, Log):
        edge = -transform.shift / transform.factor
        above = transform.factor > 0
        near_n = edge + (1 if above else -1) * np.logspace(-5, 1, 601)
        value_n = np.concatenate([value_n, near_n]).astype(np.float32)
        # Of pt = 10**-12 GeV float32 cannot keep 1e-6: the logarithm is too far from where it is 0.
        argument_n = transform.shift + transform.factor * value_n.astype(np.float64)
        value_n = value_n[argument_n > 10 ** (transform.offset - 7) if not transform.shift else argument_n > 0]
    return value_n.astype(np.float32)


def one(name: str, transform: Line | Log | Quantile) -> Scaler:
    return Scaler((name,), (transform,))


@pytest.mark.parametrize(("table", "name"), CASES)
def test_there_and_back_keeps_a_millionth_in_float32(table: str, name: str) -> None:
    transform = TABLES[table][name]
    value_nf = domain_of(transform)[:, None]
    scaled_nf = one(name, transform).forward(value_nf)
    again_nf = one(name, transform).inverse(scaled_nf)
    assert scaled_nf.dtype == again_nf.dtype == np.float32
    # Near 0, what has an offset is as good as that offset: the exceptions that the module names.
    floor = abs(transform.offset) / 15 if isinstance(transform, Line) else 0.0
    if isinstance(transform, Log) and transform.shift == 1 and transform.offset:
        floor = 0.002
    error_nf = np.abs(again_nf.astype(np.float64) - value_nf)
    assert (error_nf <= 1e-6 * np.maximum(np.abs(value_nf), floor)).all()


@pytest.mark.parametrize(("table", "name"), CASES)
def test_there_and_back_in_double_precision_keeps_all_digits_of_a_float32(table: str, name: str) -> None:
    transform = TABLES[table][name]
    value_nf = domain_of(transform)[:, None]
    scaler = one(name, transform)
    again_nf = scaler.inverse(scaler.forward(value_nf, dtype=np.float64), dtype=np.float64)
    floor = 1e-6 * abs(transform.offset)
    assert (np.abs(again_nf - value_nf) <= 1e-9 * np.maximum(np.abs(value_nf), floor)).all()


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4), st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50))
def test_a_standard_scaler_is_as_good_as_its_offset(mean: float, std: float, values: list[float]) -> None:
    scaler, value_nf = one("Timing", Line(mean, std)), np.array(values, np.float32)[:, None]
    again_nf = scaler.inverse(scaler.forward(value_nf))
    assert (np.abs(again_nf - value_nf) <= 1e-6 * np.maximum(np.abs(value_nf), max(abs(mean) / 15, 1e-30))).all()


@pytest.mark.parametrize(("table", "name"), CASES)
def test_transforms_are_monotonic(table: str, name: str) -> None:
    value_n = np.unique(domain_of(TABLES[table][name])).astype(np.float64)
    steps = np.diff(TABLES[table][name].forward(value_n))
    assert (steps <= 0).all() if name == "NegativeE" else (steps >= 0).all()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("pt", 0.0, r"pt is 0 GeV in row 5, it must be above 0 GeV to have a logarithm: .*cuts.*method=standard"),
        ("LeadingClusterPt", -3.5, "LeadingClusterPt is -3.5 GeV in row 5, it must be above 0 GeV"),
        ("CentroidR", -1.0, "CentroidR is -1 mm in row 5, it must be above 0 mm"),
        ("NegativeE", 1.0, "NegativeE is 1 GeV in row 5, it must be below 1 GeV"),
        ("m", -1.0, "m is -1 GeV in row 5, it must be above -1 GeV"),
        ("LeadingClusterCenterLambda", -100.0, "is -100 mm in row 5, it must be above -100 mm"),
        ("LeadingClusterSecondR", -200.0, "is -200 1000 mm2 in row 5, it must be above -100 1000 mm2"),
        ("AverageLArQF", -101.0, "AverageLArQF is -101 in row 5, it must be above -100 to"),
        ("OotFracClusters5", -1.0, "OotFracClusters5 is -1 in row 5, it must be above -1 to"),
        ("pt", math.nan, "pt is nan GeV in row 5, it must be finite: .*on_bad_input"),
        ("eta", math.inf, "eta is inf in row 5, it must be finite"),
        ("m", math.inf, "m is inf GeV in row 5, it must be finite"),
    ],
)
def test_a_value_outside_the_domain_is_named_with_its_row_and_the_condition(name: str, value: float, said: str) -> None:
    columns = SETS["atlas27"]
    value_nf = np.full((9, 27), 0.5, np.float32)
    value_nf[5, columns.index(name)] = value
    with pytest.raises(DataError, match=said):
        Scaler(columns, tuple(ATLAS[column] for column in columns)).forward(value_nf)


def test_the_row_in_an_error_counts_blocks_and_rows_before() -> None:
    value_nf = np.ones((3 * ROWS_PER_BLOCK, 1), np.float32)
    value_nf[2 * ROWS_PER_BLOCK + 7] = -1
    with pytest.raises(DataError, match=f"in row {1000 + 2 * ROWS_PER_BLOCK + 7},"):
        one("pt", PHENOML["pt"]).forward(value_nf, first_row=1000)


def test_blocks_and_places_to_write_change_no_number() -> None:
    columns = SETS["phenoml4"]
    scaler = Scaler(columns, tuple(PHENOML[name] for name in columns))
    value_nf = np.random.default_rng(0).uniform(0.1, 5, (2 * ROWS_PER_BLOCK + 3, 4)).astype(np.float32)
    scaled_nf = scaler.forward(value_nf)
    assert np.array_equal(scaled_nf[::5000], scaler.forward(value_nf[::5000]))
    inverse_nf = scaler.inverse(scaled_nf)
    given_nf = value_nf.copy()
    assert scaler.forward(given_nf, out=given_nf) is given_nf
    assert np.array_equal(given_nf, scaled_nf)
    assert scaler.inverse(given_nf, out=given_nf) is given_nf
    assert np.array_equal(given_nf, inverse_nf)


def test_rows_with_other_columns_are_refused() -> None:
    with pytest.raises(DataError, match=r"rows of pt are needed, got an array of shape \(3, 2\)"):
        one("pt", ATLAS["pt"]).forward(np.ones((3, 2), np.float32))


def test_wild_output_of_a_network_becomes_infinite_without_a_warning() -> None:
    again_nf = one("pt", ATLAS["pt"]).inverse(np.array([[1000.0], [-1000.0]], np.float32))
    assert again_nf.tolist() == [[math.inf], [0.0]]


PADDED = {
    "atlas": ("m_0", ATLAS["m"]),
    "threshold": ("pt_1", ATLAS["pt"]),
    "phenoml": ("E_12", PHENOML["E"]),
    "thesis": ("pt_3", THESIS["pt"]),
    "angle": ("phi_0", ATLAS["phi"]),
    "standard": ("E_0", Line(33.3, 47.1)),
    "area": ("ActiveArea4vec_m_2", ATLAS["ActiveArea4vec_m"]),
    "quantile": ("pt_0", Quantile(np.array([0.0, 0, 0, 20, 21, 25, 40, 90]), "uniform")),
    "gauss": ("pt_0", Quantile(np.array([10.0, 20, 21, 25, 40, 90]), "gauss")),
}


@pytest.mark.parametrize("case", PADDED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_objects_that_are_not_there_come_back_as_exactly_zero_and_no_other_does(case: str, dtype: Any) -> None:
    name, transform = PADDED[case]
    # 1 and 10**1.3 GeV scale to 0 of some of these: the numbers that an absent object could be mistaken for.
    value_nf = np.array([[0.0], [1.0], [10**1.3], [2.5], [0.0], [20.0], [90.0], [300.0]], dtype)
    scaled_nf = one(name, transform).forward(value_nf, dtype=dtype)
    again_nf = one(name, transform).inverse(scaled_nf, dtype=dtype)
    assert np.isfinite(scaled_nf).all()
    assert ((again_nf == 0) == (value_nf == 0)).all()
    other = np.float64 if dtype == np.float32 else np.float32  # a network may compute in the other precision
    assert ((one(name, transform).inverse(scaled_nf.astype(other), dtype=other) == 0) == (value_nf == 0)).all()
    if not isinstance(transform, Quantile):
        np.testing.assert_allclose(again_nf, value_nf, rtol=2e-6)


def test_an_absent_object_scales_to_what_one_gev_does_where_zero_has_no_logarithm() -> None:
    assert one("E_0", PHENOML["E"]).forward(np.zeros((1, 1)))[0, 0] == 0
    assert one("pt_0", ATLAS["pt"]).forward(np.zeros((1, 1)))[0, 0] == np.float32(-1.3 / 1.2)


def test_a_negative_energy_of_a_whole_event_is_still_refused() -> None:
    with pytest.raises(DataError, match=r"E_1 is -5 GeV in row 1, it must be above 0 GeV"):
        one("E_1", PHENOML["E"]).forward(np.array([[0.0], [-5.0]], np.float32))


def test_a_zero_in_rows_of_objects_has_no_special_meaning() -> None:
    with pytest.raises(DataError, match=r"E is 0 GeV"):
        one("E", PHENOML["E"]).forward(np.zeros((1, 1), np.float32))


def test_plain_json_gives_the_same_scaler_back() -> None:
    columns = (*SETS["atlas27"], "E", "Jvt", "is_ttbar")
    sample_n = np.sort(np.random.default_rng(0).exponential(size=50).astype(np.float32)).astype(np.float64)
    transforms = (*(ATLAS[name] for name in SETS["atlas27"]), Quantile(sample_n, "gauss"), Line(0.1, 1 / 3), Line(0, 1))
    scaler = Scaler(columns, transforms)
    again = Scaler.from_json(json.loads(json.dumps(scaler.to_json())))
    value_nf = np.random.default_rng(1).uniform(0.01, 0.9, (20, len(columns)))
    assert again.columns == scaler.columns
    assert np.array_equal(again.forward(value_nf, dtype=np.float64), scaler.forward(value_nf, dtype=np.float64))
