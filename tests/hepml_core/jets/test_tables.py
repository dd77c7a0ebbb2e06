"""Which tables a report has, and which rows: what has no meaning for the sample is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hepml_core.jets.residuals import Compared
from hepml_core.jets.tables import add_objects, add_residuals
from hepml_core.metrics import measure_spread


class Page:
    """Notes what is added to it."""

    def __init__(self) -> None:
        self.tables: dict[str, list[list[Any]]] = {}

    def add_table(self, name: str, columns: list[str], rows: list[list[Any]], caption: str) -> None:
        assert caption
        assert all(len(row) == len(columns) for row in rows)
        self.tables[name] = rows


def compared(variables: tuple[str, ...], kinds: tuple[str, ...]) -> Compared:
    before_nf = np.full((len(kinds), len(variables)), 2, np.float32)
    return Compared(
        variables, before_nf, before_nf * np.float32(1.5), np.arange(len(kinds), dtype=np.uint64), np.array(kinds)
    )


@pytest.mark.parametrize("kinds", [("j", "j"), ("", "")], ids=["one", "not_known"])
def test_objects_of_one_kind_have_no_rows_of_their_own(kinds: tuple[str, ...]) -> None:
    page, objects = Page(), compared(("pt",), kinds)
    add_objects(page, objects, objects.residuals(), np.zeros(2, np.float32))  # type: ignore[arg-type]
    assert page.tables == {}


def test_each_kind_of_object_has_its_own_residuals_and_loss() -> None:
    page, objects = Page(), compared(("pt", "eta"), ("g", "j", "g", "j", "j"))
    add_objects(page, objects, objects.residuals(), np.array([1, 5, 3, 5, 5], np.float32))  # type: ignore[arg-type]
    assert [row[:3] for row in page.tables["objects"]] == [
        [called, number, name] for called, number in (("jet", 3), ("photon", 2)) for name in ("pt", "eta")
    ]
    assert [row[3].value for row in page.tables["objects"]] == [0.5, 1.0, 0.5, 1.0]  # relative, and a difference
    assert [(*row[:2], row[2].value) for row in page.tables["losses"]] == [("jet", 3, 5.0), ("photon", 2, 2.0)]


@pytest.mark.parametrize(("variables", "rows"), [(("E", "pt", "eta"), 4), (("pt", "eta"), 2)])
def test_what_leaving_out_the_energy_costs_is_told_where_there_is_one(variables: tuple[str, ...], rows: int) -> None:
    page, objects = Page(), compared(variables, ("j", "j"))
    spreads = {name: measure_spread(objects.residuals()[:, f]) for f, name in enumerate(variables)}
    add_residuals(page, objects, spreads)  # type: ignore[arg-type]
    assert len(page.tables["residuals"]) == rows
