from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward
import numpy as np
import pytest
import uproot

from hepml_core.config import build_config
from hepml_core.errors import FolderError, SettingError, UnknownNameError
from hepml_core.jets.config import GenerateConfig
from hepml_core.jets.csv_files import read_csv
from hepml_core.jets.events import Events
from hepml_core.jets.generate import COLLECTION, format_events, generate
from hepml_core.jets.toys import make_events
from hepml_core.jets.variables import MASSLESS, SETS, VARIABLES
from hepml_core.storage import LocalFolder
from hepml_core.toy_folders import RECORD
from tests.class_folders import contents
from tests.kills import assert_mends

SMALL = GenerateConfig(events=90, events_per_file=20)
FORMATS: tuple[Any, ...] = ("phenoml_csv", "darkmachines_csv", "xaod_root", "flat_root")


def read_text(path: Path) -> Events:
    (events,) = read_csv(path, events_per_chunk=100_000, on_bad_input="fail", skipped=[])
    return events


def test_events_are_shared_among_processes_and_files(tmp_path: Path) -> None:
    metrics = generate(LocalFolder(tmp_path), SMALL)
    assert metrics == {"events": 90.0, "files": 6.0, "written": 6.0}
    names = {f"{process}_00{n}.csv" for process in ("dijet", "ttbar", "gluino") for n in (0, 1)}
    assert set(contents(tmp_path)) == {RECORD, *names}
    assert [len(read_text(tmp_path / f"ttbar_00{n}.csv")) for n in (0, 1)] == [20, 10]
    numbers = [number for n in (0, 1) for number in read_text(tmp_path / f"ttbar_00{n}.csv").number_e.tolist()]
    assert numbers == list(range(30))
    assert set(read_text(tmp_path / "gluino_000.csv").process_e) == {"gluino"}


def test_an_uneven_number_of_events_is_made_exactly(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), replace(SMALL, events=11, events_per_file=100))
    sizes = [len(read_text(tmp_path / f"{process}_000.csv")) for process in SMALL.processes]
    assert sum(sizes) == 11
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("form", "ends"), [("phenoml_csv", True), ("darkmachines_csv", False)])
def test_lines_have_the_form_of_their_dialect(form: Any, ends: bool, tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), replace(SMALL, format=form))
    for line in (tmp_path / "ttbar_000.csv").read_text().splitlines():
        assert line.endswith(";") == ends
        number, process, *_, met_phi = line.split(";")[:5]
        assert number.isdigit()
        assert process == "ttbar"
        assert abs(float(met_phi)) <= 3.1415928
        for entry in filter(None, line.split(";")[5:]):
            code, energy, pt, eta, phi = entry.split(",")
            assert float(energy) >= float(pt) > 20_000
            assert abs(float(eta)) < 2.8
            assert abs(float(phi)) <= 3.1415928
            if code in MASSLESS:
                assert float(energy) == pytest.approx(float(pt) * np.cosh(float(eta)), rel=1e-6)


def test_text_gives_the_drawn_numbers_back_in_single_precision(tmp_path: Path) -> None:
    drawn = make_events("gluino", 200, 20.0, np.random.default_rng(0))
    drawn = drawn.select_objects(np.repeat(np.arange(200) % 7 != 3, drawn.count_e))  # with empty events
    (tmp_path / "a.csv").write_bytes(format_events(drawn, ";\n"))
    events = read_text(tmp_path / "a.csv")
    assert np.array_equal(events.count_e, drawn.count_e)
    assert np.array_equal(events.object_n, drawn.object_n)
    for name in ("E", "pt", "eta", "phi"):
        assert np.allclose(events.values[name], drawn.values[name], rtol=2e-7)
    for name, value_e in drawn.of_event.items():
        assert np.allclose(events.of_event[name], value_e, rtol=2e-7)


def test_xaod_files_have_27_jagged_branches_in_mev(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), replace(SMALL, format="xaod_root"))
    with uproot.open(tmp_path / "ttbar_001.root") as file:
        assert file.keys(cycle=False) == ["CollectionTree"]
        tree = file["CollectionTree"]
        numbers = ["EventInfoAux.runNumber", "EventInfoAux.eventNumber"]
        assert set(tree.keys()) == {*numbers, f"n{COLLECTION}", *(f"{COLLECTION}.{name}" for name in SETS["atlas27"])}
        assert tree[numbers[1]].array().tolist() == list(range(20, 30))
        for name in SETS["atlas27"]:
            assert tree[f"{COLLECTION}.{name}"].typename == ("int32_t[]" if VARIABLES[name].integer else "float[]")
        pt = tree[f"{COLLECTION}.pt"].array()
        assert 20e3 < float(awkward.min(pt)) < 60e3
        assert float(awkward.max(tree[f"{COLLECTION}.CentroidR"].array())) < 6000  # mm in file and in memory
        second_r = awkward.flatten(tree[f"{COLLECTION}.LeadingClusterSecondR"].array())
        assert 1e3 < np.median(second_r) < 1e5  # mm2


def test_all_formats_of_root_hold_the_jets_of_the_text(tmp_path: Path) -> None:
    for form in FORMATS:
        generate(LocalFolder(tmp_path / form), replace(SMALL, format=form))
    text = read_text(tmp_path / "phenoml_csv/ttbar_001.csv")
    jets = text.select_objects(np.isin(text.object_n, ("j", "b")))
    with uproot.open(tmp_path / "xaod_root/ttbar_001.root") as file:
        pt = file["CollectionTree"][f"{COLLECTION}.pt"].array()
        assert awkward.num(pt).tolist() == jets.count_e.tolist()
        assert np.allclose(awkward.flatten(pt) / 1000, jets.values["pt"], rtol=2e-7)
    with uproot.open(tmp_path / "flat_root/ttbar_001.root") as file:
        assert set(file["jets"].keys()) == {"eventNumber", *SETS["atlas27"]}
        assert np.allclose(file["jets"]["pt"].array(), jets.values["pt"], rtol=2e-7)
        assert file["jets"]["eventNumber"].array().tolist() == np.repeat(jets.number_e, jets.count_e).tolist()
    phenoml, darkmachines = contents(tmp_path / "phenoml_csv"), contents(tmp_path / "darkmachines_csv")
    assert phenoml["dijet_000.csv"].replace(b";\n", b"\n") == darkmachines["dijet_000.csv"]


@pytest.mark.parametrize("form", FORMATS)
def test_one_process_writes_the_same_bytes_as_several(
    form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(SMALL, format=form, events=30)
    generate(LocalFolder(tmp_path / "two"), config)
    monkeypatch.setattr("hepml_core.parallel.cores", lambda: 1)
    generate(LocalFolder(tmp_path / "one"), config)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_files_differ_from_one_another_and_between_seeds(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path / "a"), SMALL)
    generate(LocalFolder(tmp_path / "b"), replace(SMALL, seed=1))
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert all(first[name] != second[name] for name in first)
    energies = [read_text(tmp_path / "a" / f"ttbar_00{n}.csv").values["E"][:9].tolist() for n in (0, 1)]
    assert not set(energies[0]) & set(energies[1])


def test_a_full_file_does_not_depend_on_how_many_others_there_are(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path / "few"), SMALL)
    generate(LocalFolder(tmp_path / "many"), replace(SMALL, events=200, processes=("zprime_350", "ttbar")))
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert few["ttbar_000.csv"] == many["ttbar_000.csv"]


@pytest.mark.parametrize("form", ["phenoml_csv", "xaod_root"])
def test_a_killed_run_goes_on_to_the_same_bytes_as_one_that_was_not(form: Any, tmp_path: Path) -> None:
    settings = {"events": 600, "events_per_file": 50, "format": form}
    runs = assert_mends("jets.generate", settings, {}, "source", tmp_path, moments=3)
    for run in runs:
        assert run.metrics == {"events": 600.0, "files": 12.0, "written": 13.0 - len(run.found | {RECORD})}
        assert run.kept == run.found
    assert 0 < runs[1].metrics["written"] < 12


def test_a_finished_run_writes_nothing_again_and_an_empty_file_is_made_again(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), SMALL)
    before = contents(tmp_path)
    assert generate(LocalFolder(tmp_path), SMALL)["written"] == 0
    (tmp_path / "ttbar_001.csv").write_bytes(b"")
    assert generate(LocalFolder(tmp_path), SMALL)["written"] == 1
    assert contents(tmp_path) == before


def test_files_of_other_settings_are_refused(tmp_path: Path) -> None:
    generate(LocalFolder(tmp_path), SMALL)
    before = contents(tmp_path)
    with pytest.raises(FolderError, match=r"other settings: min_pt 20.0 \(now 30.0\), seed 0 \(now 4\)"):
        generate(LocalFolder(tmp_path), replace(SMALL, seed=4, min_pt=30.0))
    assert contents(tmp_path) == before


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("[1, 2")
    with pytest.raises(FolderError, match=r"generate\.json is damaged"):
        generate(LocalFolder(tmp_path), SMALL)


def test_a_folder_with_files_of_the_user_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.csv").write_bytes(b"years of work")
    with pytest.raises(FolderError, match=r"thesis\.csv"):
        generate(LocalFolder(tmp_path), SMALL)
    assert contents(tmp_path) == {"thesis.csv": b"years of work"}
    (tmp_path / "more").mkdir()
    generate(LocalFolder(tmp_path / "more"), SMALL)
    (tmp_path / "more/own.csv").write_bytes(b"mine")
    with pytest.raises(FolderError, match=r"own\.csv"):
        generate(LocalFolder(tmp_path / "more"), SMALL)


def test_an_unknown_process_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'dijet'"):
        generate(LocalFolder(tmp_path), replace(SMALL, processes=("ttbar", "dijets")))
    assert not contents(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [{"events": 0}, {"processes": "[]"}, {"processes": "ttbar,ttbar"}, {"min_pt": 2}, {"min_pt": 2000}, {"seed": -1}],
)
def test_nonsense_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        build_config(GenerateConfig, settings)
