"""The variables of jets: sets, orders, units."""

from __future__ import annotations

import pytest

from hepml_core.errors import SettingError, UnknownNameError
from hepml_core.jets.variables import MASSLESS, OBJECTS, SETS, VARIABLES, choose_variables, variable_of


def test_the_27_variables_stand_in_the_order_of_the_study() -> None:
    names = SETS["atlas27"]
    assert len(names) == len(set(names)) == 27
    assert names[:9] == (
        *("pt", "eta", "phi", "m"),
        *("ActiveArea", "ActiveArea4vec_eta", "ActiveArea4vec_m", "ActiveArea4vec_phi", "ActiveArea4vec_pt"),
    )
    assert names[16:] == (
        *("DetectorEta", "LeadingClusterCenterLambda", "LeadingClusterPt", "LeadingClusterSecondLambda"),
        *("LeadingClusterSecondR", "N90Constituents", "EMFrac", "HECFrac", "Timing"),
        *("OotFracClusters10", "OotFracClusters5"),
    )


def test_smaller_sets_leave_out_what_the_studies_left_out() -> None:
    assert set(SETS["atlas27"]) - set(SETS["atlas25"]) == {"Width", "WidthPhi"}
    assert [len(SETS[name]) for name in ("atlas16", "atlas4", "tla4", "thesis4", "phenoml4")] == [16, 4, 4, 4, 4]


def test_energies_are_judged_relatively_and_come_from_mev() -> None:
    relative = {name for name, variable in VARIABLES.items() if variable.residual == "relative"}
    assert relative == {"E", "pt", "m", "LeadingClusterPt"}
    assert all(VARIABLES[name].unit == "GeV" and VARIABLES[name].from_xaod == 1e-3 for name in relative)


def test_every_variable_has_a_meaning_and_a_bound() -> None:
    assert all(variable.meaning and variable.bound > 0 for variable in VARIABLES.values())
    assert {name for name, variable in VARIABLES.items() if variable.angle} == {"phi", "ActiveArea4vec_phi"}
    assert set(MASSLESS) < set(OBJECTS)


def test_a_set_may_stand_for_its_variables() -> None:
    assert choose_variables(["atlas4"]) == ("pt", "eta", "phi", "m")
    assert choose_variables(["phi", "pt"]) == ("phi", "pt")


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'Width'"):
        choose_variables(["pt", "Widht"])
    with pytest.raises(SettingError, match="variables must differ"):
        choose_variables(["pt", "pt"])


def test_a_column_of_a_whole_event_is_its_variable_at_a_place() -> None:
    assert variable_of("pt_12").name == "pt"
    assert variable_of("ActiveArea4vec_pt").name == "ActiveArea4vec_pt"
    assert variable_of("ActiveArea4vec_pt_3").name == "ActiveArea4vec_pt"
