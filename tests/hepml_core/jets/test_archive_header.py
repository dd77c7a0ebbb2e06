from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from hepml_core.errors import DataError
from hepml_core.jets.archive_header import Header, StoredVariable
from hepml_core.jets.bounds import Bound

HEADER = Header(
    program="hepml 1",
    source="a.root",
    tree="CollectionTree",
    flat=False,
    event_branches={"eventNumber": np.dtype(np.uint64), "runNumber": np.dtype(np.uint32)},
    codec="density",
    model="0123",
    statistics="4567",
    latent_step=1e-3,
    variables={
        "pt": StoredVariable("Jets.pt", np.dtype(np.float32), 1e-3, Bound(1e-3, True)),
        "m": StoredVariable("Jets.m", np.dtype(np.float64), 1e-3, Bound(0.0, True)),
        "N90Constituents": StoredVariable("Jets.N90Constituents", np.dtype(np.int32), 1.0, None),
    },
)


def test_a_header_comes_back_from_json_with_its_order() -> None:
    again = Header.from_plain(json.loads(json.dumps(HEADER.to_plain(), sort_keys=True)), "a.hepml")
    assert again == HEADER
    assert list(again.variables) == ["pt", "m", "N90Constituents"]
    assert list(again.event_branches) == ["eventNumber", "runNumber"]
    assert again.factors == {"pt": 1e-3, "m": 1e-3, "N90Constituents": 1.0}
    assert again.dtypes["m"] == np.float64
    assert again.bounds == {"pt": Bound(1e-3, True), "m": Bound(0.0, True)}


def changed(**values: Any) -> dict[str, Any]:
    return HEADER.to_plain() | values


def variable(**values: Any) -> dict[str, Any]:
    return changed(variables=[HEADER.to_plain()["variables"][0] | values])


@pytest.mark.parametrize(
    ("plain", "what"),
    [
        (None, "NoneType"),
        ([], "list"),
        ({}, "program"),
        ({name: value for name, value in changed().items() if name != "tree"}, "'tree'"),
        (changed(codec="zip"), "the codec zip"),
        (changed(variables=5), "int"),
        (changed(variables=[7]), "int"),
        (changed(event_branches=[["n", "f4"]]), "n of type float32"),
        (changed(event_branches=[["n", "what"]]), "what"),
        (variable(name="charm"), "the variable charm"),
        (variable(dtype="O"), "Jets.pt of type object"),
        (variable(factor=0), "the factor 0"),
        (variable(factor="nan"), "the factor nan"),
        (variable(factor=None), "NoneType"),
        (variable(bound={"size": -1, "relative": True}), "Jets.pt with the factor"),
        (variable(bound={"size": "x", "relative": True}), "not supported"),
        (variable(bound={"size": 1}), "relative"),
        (variable(bound=7), "mapping"),
    ],
)
def test_what_is_no_header_is_told_with_the_archive_and_what_is_wrong(plain: Any, what: str) -> None:
    with pytest.raises(DataError, match=r"a\.hepml is damaged or of another version: its header has or lacks") as error:
        Header.from_plain(plain, "a.hepml")
    assert what in str(error.value)
