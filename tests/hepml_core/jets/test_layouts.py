"""Branches of jets are found under the names that each kind of file gives them."""

from __future__ import annotations

import pytest

from hepml_core.errors import UnknownNameError
from hepml_core.jets.layouts import LAYOUTS, OTHER, find_collection, find_identity

FOUR = ("pt", "eta", "phi", "m")


def spelled(pattern: str, *names: str) -> list[str]:
    return [pattern.format(name) for name in names]


@pytest.mark.parametrize(
    ("tree", "pattern", "names", "collection"),
    [
        ("CollectionTree", "AntiKt4EMTopoJetsAux.{}", FOUR, "AntiKt4EMTopoJetsAux"),
        ("CollectionTree", "HLT_xAOD__JetContainer_a4tcemsubjesISFSAuxDyn.{}", FOUR, None),
        ("EventData", "AnalysisJetsAuxDyn:{}", FOUR, "AnalysisJetsAuxDyn"),
        ("Events", "Jet_{}", ("pt", "eta", "phi", "mass"), "Jet"),
        ("Delphes", "Jet.{}", ("PT", "Eta", "Phi", "Mass"), "Jet"),
        ("AnalysisMiniTree", "trigger_akt4_pf_{}", FOUR, "trigger_akt4_pf"),
        ("mine", "{}", FOUR, ""),
        ("mine", "jets_{}", FOUR, "jets"),
    ],
)
def test_each_kind_of_file_is_understood(
    tree: str, pattern: str, names: tuple[str, ...], collection: str | None
) -> None:
    branches = spelled(pattern, *names)
    found, by_variable = find_collection(LAYOUTS.get(tree, OTHER), "", FOUR, branches, "here")
    assert found == (collection if collection is not None else pattern.removesuffix(".{}"))
    assert by_variable == dict(zip(FOUR, branches, strict=True))


def test_the_first_known_collection_with_all_variables_is_taken() -> None:
    names = [*spelled("AnalysisJetsAuxDyn.{}", *FOUR), *spelled("AntiKt4EMTopoJetsAuxDyn.{}", *FOUR, "Width")]
    assert find_collection(LAYOUTS["CollectionTree"], "", FOUR, names, "here")[0] == "AnalysisJetsAuxDyn"
    wide = find_collection(LAYOUTS["CollectionTree"], "", (*FOUR, "Width"), names, "here")
    assert wide[0] == "AntiKt4EMTopoJetsAuxDyn"


def test_a_container_may_be_spread_over_aux_and_auxdyn() -> None:
    names = [*spelled("AntiKt4EMTopoJetsAux.{}", *FOUR), "AntiKt4EMTopoJetsAuxDyn.Width"]
    for asked in ("", "AntiKt4EMTopoJetsAux", "AntiKt4EMTopoJetsAuxDyn."):
        _, branches = find_collection(LAYOUTS["CollectionTree"], asked, (*FOUR, "Width"), names, "here")
        assert list(branches.values()) == names


def test_energy_and_mass_stand_for_one_another() -> None:
    without_energy = spelled("Jet_{}", "pt", "eta", "phi", "mass")
    assert find_collection(LAYOUTS["Events"], "", ("E", "phi"), without_energy, "here")[1] == {
        "pt": "Jet_pt",
        "eta": "Jet_eta",
        "m": "Jet_mass",
        "phi": "Jet_phi",
    }
    with pytest.raises(UnknownNameError, match=r"branch 'Jet\.E'.*variable E here"):
        find_collection(LAYOUTS["Events"], "", ("E",), spelled("Jet_{}", "pt", "eta"), "here")


def test_an_unknown_branch_is_named_with_its_nearest_neighbours_only() -> None:
    names = [*spelled("Jet_{}", "pt", "eta", "phi", "mass", "Widht"), *(f"Other_{n}" for n in range(2000))]
    with pytest.raises(UnknownNameError, match=r"Did you mean 'Jet_Widht'") as error:
        find_collection(LAYOUTS["Events"], "", ("pt", "Width"), names, "in file.root")
    assert "in file.root" in str(error.value)
    assert len(str(error.value)) < 1000


def test_an_unknown_collection_is_named_with_those_that_there_are() -> None:
    names = [*spelled("Jet_{}", "pt", "eta"), *spelled("FatJet_{}", "pt", "eta"), "MET_pt"]
    with pytest.raises(UnknownNameError, match=r"collection 'FatJets' here\. Did you mean 'FatJet'") as error:
        find_collection(LAYOUTS["Events"], "FatJets", ("pt",), names, "here")
    assert "FatJet, Jet, MET" in str(error.value)


def test_numbers_of_event_and_run_are_found_together() -> None:
    assert find_identity(["event", "run", "Jet_pt"]) == ("event", "run")
    assert find_identity(["eventNumber"]) == ("eventNumber", "")
    assert find_identity(["run", "Jet_pt"]) == ("", "")
