"""Jets come out of every kind of ROOT file with their values, units and events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepml_core.errors import DataError, SettingError, UnknownNameError
from hepml_core.jets.events import Events
from hepml_core.jets.root_files import JetTree, energy_of, mass_of, open_jets, process_of
from hepml_core.jets.variables import VARIABLES
from tests.hepml_core.jets.jet_files import (
    COUNTS,
    FIRST_NUMBER,
    flat,
    four_vectors,
    identity,
    rntuple,
    write_tree,
    xaod,
)

FOUR = ("pt", "eta", "phi", "m")
EVENTS = len(COUNTS)


def read(path: Path, variables: Sequence[str] = FOUR, step: int = 100, **options: Any) -> Events:
    """Read a file in chunks and put them together."""
    raw = options.pop("raw", False)
    with open_jets(path, variables=variables, **options) as jets:
        chunks = list(jets.chunks(step, raw=raw))
        assert sum(map(len, chunks)) == jets.events
        assert [len(chunk) for chunk in chunks[:-1]] == [step] * (len(chunks) - 1)
    return joined(chunks, variables)


def joined(chunks: Sequence[Events], variables: Sequence[str]) -> Events:
    def together(parts: list[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(parts) if parts else np.empty(0)

    return Events(
        together([chunk.count_e for chunk in chunks]),
        together([chunk.number_e for chunk in chunks]),
        together([chunk.key_e for chunk in chunks]),
        together([chunk.process_e for chunk in chunks]),
        together([chunk.object_n for chunk in chunks]),
        {name: together([chunk.values[name] for chunk in chunks]) for name in variables},
    )


def nanoaod(path: Path, values: dict[str, NDArray[Any]]) -> Path:
    jets = {f"Jet_{'mass' if name == 'm' else name}": value_n for name, value_n in values.items()}
    events: dict[str, NDArray[Any]] = {
        "run": np.full(EVENTS, 7, np.uint32),
        "event": np.arange(EVENTS, dtype=np.uint64) + FIRST_NUMBER,
    }
    return write_tree(path, "Events", events, COUNTS, jets)


def in_mev(values: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: value * np.float32(1000) if name in ("pt", "m") else value for name, value in values.items()}


WRITERS: dict[str, Callable[[Path, dict[str, NDArray[Any]]], Path]] = {
    "xaod": xaod,
    "rntuple": lambda path, values: rntuple(path, in_mev(values)),
    "nanoaod": nanoaod,
    "minitree": lambda path, values: write_tree(
        path,
        "AnalysisMiniTree",
        {name.partition(".")[2]: value_e for name, value_e in identity(EVENTS).items()},
        COUNTS,
        {f"trigger_akt4_pf_{name}": value_n for name, value_n in in_mev(values).items()},
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("step", [1, 4, 100])
def test_every_kind_of_file_gives_the_same_events_in_gev(tmp_path: Path, kind: str, step: int) -> None:
    values = four_vectors(sum(COUNTS))
    events = read(WRITERS[kind](tmp_path / "ttbar.root", values), step=step)
    assert events.count_e.tolist() == list(COUNTS)
    assert events.number_e.tolist() == [FIRST_NUMBER + event for event in range(EVENTS)]
    assert set(events.process_e) == {"ttbar"}
    assert set(events.object_n) == {"j"}
    for name in FOUR:
        assert events.values[name].dtype == np.float32
        np.testing.assert_allclose(events.values[name], values[name], rtol=2e-7)


def test_an_event_has_the_same_key_in_every_file_and_other_events_others(tmp_path: Path) -> None:
    values = four_vectors(sum(COUNTS))
    keys = {kind: read(write(tmp_path / f"{kind}.root", values)).key_e.tolist() for kind, write in WRITERS.items()}
    assert len({tuple(one) for one in keys.values()}) == 1
    other_run = {**identity(EVENTS, run=8)}
    jets = {f"AnalysisJetsAuxDyn.{name}": value_n for name, value_n in values.items()}
    others = read(write_tree(tmp_path / "run8.root", "CollectionTree", other_run, COUNTS, jets)).key_e.tolist()
    assert len({*others, *keys["xaod"]}) == 2 * EVENTS


def test_keys_of_a_million_events_differ(tmp_path: Path) -> None:
    numbers = np.arange(1_000_000, dtype=np.int64)
    path = flat(tmp_path / "a.root", {"eta": np.zeros(len(numbers), np.float32), "eventNumber": numbers})
    assert len(np.unique(read(path, ["eta"], step=300_000).key_e)) == len(numbers)


def test_without_event_numbers_file_and_place_make_the_key(tmp_path: Path) -> None:
    values = {f"Jet_{name}": value for name, value in four_vectors(sum(COUNTS)).items()}
    one, two = (write_tree(tmp_path / name, "Events", {}, COUNTS, values) for name in ("a.root", "b.root"))
    first, second = read(one, ("pt",), step=2), read(two, ("pt",))
    assert first.number_e.tolist() == list(range(EVENTS))
    assert len({*first.key_e.tolist(), *second.key_e.tolist()}) == 2 * EVENTS
    assert first.key_e.tolist() == read(one, ("pt",)).key_e.tolist()


@pytest.mark.parametrize("kind", WRITERS)
def test_a_range_of_events_is_that_part_of_the_whole(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / "a.root", four_vectors(sum(COUNTS)))
    whole = read(path)
    with open_jets(path, variables=FOUR) as jets:
        part = joined(list(jets.chunks(2, first=2, last=5)), FOUR)
        assert list(jets.chunks(2, first=6)) == []
    chosen = whole.select_events(np.array([False, False, True, True, True, False]))
    assert part.key_e.tolist() == chosen.key_e.tolist()
    assert part.values["phi"].tolist() == chosen.values["phi"].tolist()


def test_raw_values_keep_type_and_unit_and_the_factors_lead_to_ours(tmp_path: Path) -> None:
    values = four_vectors(sum(COUNTS)) | {"EMFrac": np.random.default_rng(1).random(sum(COUNTS))}
    path = xaod(tmp_path / "a.root", values)
    variables = (*FOUR, "EMFrac")
    with open_jets(path, variables=variables) as jets:
        assert jets.dtypes == dict.fromkeys(FOUR, "float32") | {"EMFrac": "float64"}
        assert jets.event_dtypes == {"EventInfoAuxDyn.eventNumber": "uint64", "EventInfoAuxDyn.runNumber": "uint32"}
        assert jets.factors == {"pt": 1e-3, "eta": 1, "phi": 1, "m": 1e-3, "EMFrac": 1}
        factors = jets.factors
    raw, ours = read(path, variables, raw=True), read(path, variables)
    assert raw.values["EMFrac"].dtype == np.float64
    assert np.array_equal(raw.values["pt"], values["pt"] * np.float32(1000))
    for name in variables:
        assert np.array_equal((raw.values[name].astype(float) * factors[name]).astype(np.float32), ours.values[name])


@given(pt=st.floats(0.1, 1e4), eta=st.floats(-4.9, 4.9), m=st.floats(0, 500))
def test_energy_and_mass_are_each_others_inverse(pt: float, eta: float, m: float) -> None:
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + m**2)
    assert energy_of(*(np.array([x]) for x in (pt, eta, m)))[0] == pytest.approx(energy, rel=1e-6)
    back = mass_of(*(np.array([x]) for x in (energy, pt, eta)))[0]
    assert back**2 == pytest.approx(m**2, rel=1e-5, abs=1e-12 * energy**2)


def test_a_missing_energy_or_mass_is_computed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    values = four_vectors(sum(COUNTS))
    events = read(xaod(tmp_path / "a.root", values), ("phi", "E"))
    energy_n = energy_of(values["pt"], values["eta"], values["m"])
    np.testing.assert_allclose(events.values["E"], energy_n, rtol=3e-7)
    assert "E is computed from" in caplog.text
    with_energy = {name: values[name] for name in ("pt", "eta", "phi")} | {"E": energy_n}
    found = read(xaod(tmp_path / "b.root", with_energy), FOUR).values["m"]
    np.testing.assert_allclose(found**2, values["m"] ** 2, atol=1e-6 * float(energy_n.max()) ** 2)


def flat_columns(counts: Sequence[int] = COUNTS) -> dict[str, NDArray[Any]]:
    number_n = np.repeat(np.arange(len(counts)) + FIRST_NUMBER, counts)
    return {**four_vectors(sum(counts)), "eventNumber": number_n.astype(np.int64)}


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_rows_of_a_flat_tree_with_the_same_number_are_one_event(tmp_path: Path, step: int) -> None:
    columns = flat_columns()
    events = read(flat(tmp_path / "a.root", columns), units="GeV", step=step)
    kept = [count for count in COUNTS if count]  # events without jets have no row
    assert events.count_e.tolist() == kept
    assert events.number_e.tolist() == np.unique(columns["eventNumber"]).tolist()
    assert np.array_equal(events.values["pt"], columns["pt"])


def test_rows_of_a_flat_tree_without_numbers_are_events_of_their_own(tmp_path: Path) -> None:
    path = flat(tmp_path / "a.root", four_vectors(7))
    events = read(path, units="MeV", step=3)
    assert events.count_e.tolist() == [1] * 7
    assert len(set(events.key_e.tolist())) == 7
    np.testing.assert_allclose(events.values["pt"], four_vectors(7)["pt"] / 1000, rtol=1e-6)


def test_a_flat_tree_can_be_read_from_any_event_on(tmp_path: Path) -> None:
    path = flat(tmp_path / "a.root", flat_columns())
    whole = read(path, units="GeV")
    with open_jets(path, variables=FOUR, units="GeV") as jets:
        rest = joined(list(jets.chunks(2, first=1, last=3)), FOUR)
    assert rest.key_e.tolist() == whole.key_e[1:3].tolist()
    assert rest.values["m"].tolist() == whole.select_events(np.array([False, True, True, False])).values["m"].tolist()


def test_units_must_be_told_where_the_kind_of_tree_does_not_tell_them(tmp_path: Path) -> None:
    path = flat(tmp_path / "a.root", flat_columns())
    with pytest.raises(SettingError, match=r"units=MeV or units=GeV must say the unit of pt in tree 'jets' of a\.root"):
        open_jets(path, variables=FOUR)
    assert open_jets(path, variables=("eta", "phi")).events == 4
    told = read(xaod(tmp_path / "b.root"), units="GeV")  # the user has the last word
    assert np.median(told.values["pt"]) > 1000


def test_an_empty_tree_gives_no_events(tmp_path: Path) -> None:
    path = xaod(tmp_path / "a.root", {name: value[:0] for name, value in four_vectors(1).items()}, counts=())
    with open_jets(path, variables=FOUR) as jets:
        assert jets.events == 0
        assert list(jets.chunks(10)) == []


def test_a_missing_branch_is_named_with_tree_file_and_neighbour(tmp_path: Path) -> None:
    values = four_vectors(sum(COUNTS)) | {"Widht": np.zeros(sum(COUNTS), np.float32)}
    with pytest.raises(UnknownNameError, match=r"'AnalysisJetsAuxDyn\.Width' for the variable Width") as error:
        open_jets(xaod(tmp_path / "a.root", values), variables=("pt", "Width"))
    assert "in tree 'CollectionTree' of a.root. Did you mean 'AnalysisJetsAuxDyn.Widht'?" in str(error.value)


def test_branches_with_different_numbers_of_jets_are_refused(tmp_path: Path) -> None:
    values = four_vectors(6)
    path = tmp_path / "a.root"
    import awkward as ak
    import uproot

    with uproot.recreate(path) as file:
        file.mktree("Events", {"Jet_pt": "var * float32", "Jet_eta": "var * float32"})
        file["Events"].extend(
            {"Jet_pt": ak.unflatten(values["pt"], [3, 3]), "Jet_eta": ak.unflatten(values["eta"], [2, 4])}
        )
    with pytest.raises(DataError, match=r"'Jet_pt' and 'Jet_eta' have different numbers of jets .* a\.root"):
        read(path, ("pt", "eta"))


def test_values_that_are_not_finite_are_passed_on(tmp_path: Path) -> None:
    values = four_vectors(sum(COUNTS))
    values["pt"][2], values["m"][5] = np.nan, np.inf
    found = read(xaod(tmp_path / "a.root", values), (*FOUR, "E")).values
    assert np.flatnonzero(~np.isfinite(found["pt"])).tolist() == [2]
    assert np.flatnonzero(~np.isfinite(found["E"])).tolist() == [2, 5]


def test_the_process_is_the_file_without_its_number() -> None:
    names = ("ttbar.root", "a/ttbar_003.root", "zprime_350.root", "zprime_350_012.root", "DAOD.pool.root")
    assert [process_of(name) for name in names] == ["ttbar", "ttbar", "zprime_350", "zprime_350", "DAOD.pool"]


def open_real(real_data: Path, name: str, variables: Sequence[str] = FOUR) -> JetTree:
    return open_jets(real_data / name, variables=variables)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "collection", "events", "jets"),
    [
        ("root_jets/DAOD_PHYSLITE_700322_100evt.root", "AnalysisJetsAuxDyn", 100, 881),
        ("root_jets/DAOD_PHYSLITE_410470_100evt_split.root", "AnalysisJetsAuxDyn", 100, 1005),
        ("root_jets/ATLAS_AnalysisMiniTree_trigjets_100evt.root", "trigger_akt4_pf", 100, 1951),
        ("root_jets/Delphes_25evt.root", "Jet", 25, 106),
        ("analysis_ntuples/NanoAOD_2015_CMSOpenData_wjets_200evt.root", "Jet", 200, 537),
        ("analysis_ntuples/NanoAODv15_ttbar_200evt.root", "Jet", 200, 1636),
    ],
)
def test_real_files_have_their_jets_in_gev(real_data: Path, name: str, collection: str, events: int, jets: int) -> None:
    with open_real(real_data, name) as tree:
        assert (tree.collection, tree.events) == (collection, events)
        found = joined(list(tree.chunks(30)), FOUR)
    assert len(found.object_n) == jets
    assert len(set(found.key_e.tolist())) == events
    assert 10 < np.median(found.values["pt"]) < 100
    assert np.abs(found.values["phi"]).max() < 3.15


@pytest.mark.real_data
def test_the_same_real_events_split_and_unsplit_read_equal(real_data: Path) -> None:
    split, unsplit = (
        joined(list(open_real(real_data, f"root_jets/DAOD_PHYSLITE_410470_100evt_{kind}.root").chunks(33)), FOUR)
        for kind in ("split", "unsplit")
    )
    assert split.number_e[:3].tolist() == [186045229, 186044674, 186044737]
    for name in ("count_e", "number_e", "key_e"):
        assert np.array_equal(getattr(split, name), getattr(unsplit, name)), name
    for name in FOUR:
        assert np.array_equal(split.values[name], unsplit.values[name])


def test_every_variable_with_another_unit_in_an_xaod_is_converted(tmp_path: Path) -> None:
    names = [name for name in VARIABLES if name != "E"]
    values = {name: np.full(sum(COUNTS), 5, np.float32) for name in names}
    jets = {f"AnalysisJetsAuxDyn.{name}": value_n for name, value_n in values.items()}
    path = write_tree(tmp_path / "a.root", "CollectionTree", identity(EVENTS), COUNTS, jets)
    found = read(path, names).values
    assert {name: float(found[name][0]) for name in names} == {
        name: pytest.approx(5 * VARIABLES[name].from_xaod) for name in names
    }
