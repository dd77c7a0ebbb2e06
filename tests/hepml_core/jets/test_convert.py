"""ROOT and CSV files become Parquet shards: nothing is lost, changed or kept secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hepml_core import parallel
from hepml_core.artifacts import Manifest, Output, check_files, files_of, read_manifest
from hepml_core.errors import DataError, FolderError, SettingError, UnknownNameError
from hepml_core.jets.config import ConvertConfig
from hepml_core.jets.convert import convert
from hepml_core.storage import LocalFolder
from hepml_core.tables import read_table
from tests.class_folders import contents
from tests.hepml_core.jets.jet_files import COUNTS, CSV_LINES, csv, flat, four_vectors, xaod
from tests.kills import assert_mends

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in this process; one test asks for more."""
    monkeypatch.setattr(parallel, "cores", lambda: 1)


def run(source: Path, shards: Path, **settings: Any) -> dict[str, float]:
    return dict(convert(LocalFolder(source), LocalFolder(shards), ConvertConfig(**settings)))


def manifest_of(shards: Path) -> Manifest:
    manifest = read_manifest(LocalFolder(shards), "shards", "jets")
    check_files(LocalFolder(shards), manifest)
    return manifest


def rows_of(shards: Path) -> dict[str, NDArray[Any]]:
    """Return all rows, after checking that they are what the manifest says."""
    manifest = manifest_of(shards)
    folder = files_of(LocalFolder(shards), manifest)
    parts = [read_table(folder, entry) for entry in manifest.files]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    assert list(columns) == [column.name for column in manifest.schema]
    assert {len(column) for column in columns.values()} == {manifest.facts["row_count"]}
    return columns


@pytest.fixture
def root_source(tmp_path: Path) -> Path:
    """Two processes with the same numbers of jets and other values."""
    for seed, name in enumerate(("ttbar_000", "dijet_000")):
        xaod(tmp_path / f"source/{name}.root", four_vectors(sum(COUNTS), seed))
    return tmp_path / "source"


@pytest.fixture
def csv_source(tmp_path: Path) -> Path:
    csv(tmp_path / "source/a.csv")
    return tmp_path / "source"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return tmp_path / "shards"


def test_every_jet_of_root_files_becomes_a_row_in_gev(root_source: Path, shards: Path) -> None:
    jets = sum(COUNTS)
    assert run(root_source, shards) == {"events": 12, "rows": 2 * jets, "removed": 0, "skipped": 0}
    rows = rows_of(shards)
    assert rows["process"].tolist() == ["dijet"] * jets + ["ttbar"] * jets
    assert rows["position"].tolist() == [place for count in (*COUNTS, *COUNTS) for place in range(count)]
    for name, value_n in four_vectors(jets, seed=1).items():
        np.testing.assert_allclose(rows[name][:jets], value_n, rtol=2e-7)
    assert [column.unit for column in manifest_of(shards).schema][-4:] == ["GeV", "", "rad", "GeV"]


def test_rows_of_csv_files_keep_codes_numbers_weights_and_missing_momentum(csv_source: Path, shards: Path) -> None:
    assert run(csv_source, shards) == {"events": 4, "rows": 7, "removed": 0, "skipped": 0}
    rows = rows_of(shards)
    assert rows["object"].tolist() == ["j", "b", "e-", "j", "j", "j", "j"]
    assert rows["event_number"].tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert rows["process"].tolist() == ["ttbar"] * 4 + ["dijet"] * 3
    assert rows["weight"].tolist() == [1.5, 1.5, 1.5, -0.5, 1, 1, 1]
    assert rows["met"].tolist() == [30, 30, 30, 10, 5, 5, 5]
    assert rows["E"].tolist() == [100, 60, 45, 200, 70, 55, 30]
    facts = manifest_of(shards).facts
    assert (facts["variables"], facts["format"], facts["rows"]) == (["E", "pt", "eta", "phi"], "csv", "objects")
    assert (facts["processes"], facts["objects"]) == (["dijet", "ttbar"], ["j", "b", "e-"])


def test_rows_of_whole_events_are_padded_with_zeros_and_marked_by_process(csv_source: Path, shards: Path) -> None:
    assert run(csv_source, shards, rows="events")["rows"] == 4
    rows, facts = rows_of(shards), manifest_of(shards).facts
    assert facts["variables"] == [f"{name}_{place}" for name in ("E", "pt", "eta", "phi") for place in range(3)]
    assert [rows[f"E_{place}"].tolist() for place in range(3)] == [[100, 200, 70, 0], [60, 0, 55, 0], [45, 0, 30, 0]]
    assert rows["is_dijet"].tolist() == [0, 0, 1, 1]
    assert (rows["is_dijet"] + rows["is_ttbar"]).tolist() == [1] * 4


def test_whole_events_may_be_cut_at_some_number_of_objects(csv_source: Path, shards: Path) -> None:
    run(csv_source, shards, rows="events", max_objects=2, variables=("pt",))
    assert manifest_of(shards).facts["variables"] == ["pt_0", "pt_1"]
    assert rows_of(shards)["pt_1"].tolist() == [50, 0, 50, 0]


def test_settings_choose_events_objects_and_jets(csv_source: Path, tmp_path: Path) -> None:
    run(csv_source, tmp_path / "jets", objects=("j", "b"), leading_jets=1)
    assert rows_of(tmp_path / "jets")["E"].tolist() == [100, 200, 70]
    metrics = run(csv_source, tmp_path / "clean", only_jets_in_event=True)
    assert (metrics["events"], metrics["rows"]) == (3, 4)
    assert manifest_of(tmp_path / "clean").facts["events_read"] == 4


def test_cuts_are_counted_in_metrics_facts_and_log(
    tmp_path: Path, shards: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    values = four_vectors(sum(COUNTS))
    values["m"][[0, 4]] = 0
    xaod(tmp_path / "a.root", values)
    metrics = run(tmp_path / "a.root", shards, cuts="four_vector", variables=("pt", "eta"))
    assert (metrics["removed"], metrics["rows"]) == (2, sum(COUNTS) - 2)
    assert manifest_of(shards).facts["removed"] == {"|m| > 1e-9": 2}
    assert "|m| > 1e-9: removed 2" in caplog.text
    assert "m" not in rows_of(shards)


def test_many_shards_hold_the_same_rows_as_one(tmp_path: Path) -> None:
    counts = [n % 4 for n in range(60)]
    for seed, name in enumerate("ab"):
        xaod(tmp_path / f"source/{name}.root", four_vectors(sum(counts), seed), counts)
    run(tmp_path / "source", tmp_path / "one")
    run(tmp_path / "source", tmp_path / "many", rows_per_shard=20)
    one, many = rows_of(tmp_path / "one"), rows_of(tmp_path / "many")
    assert all(np.array_equal(one[name], many[name]) for name in one)
    entries = manifest_of(tmp_path / "many").files
    assert len(entries) > 5
    assert max(entry.records for entry in entries) < 20 + 20 * 3
    assert [entry.name for entry in entries][:2] == ["part-00000-00000.parquet", "part-00000-00001.parquet"]


def test_several_processes_write_the_same_bytes_as_one(
    root_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root_source, tmp_path / "one", rows_per_shard=4)
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    run(root_source, tmp_path / "two", rows_per_shard=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not any("unfinished" in name for name in contents(tmp_path / "two"))


def test_a_second_run_does_nothing_and_another_source_is_refused(csv_source: Path, shards: Path) -> None:
    first, before = run(csv_source, shards), contents(shards)
    assert run(csv_source, shards) == first
    with pytest.raises(FolderError, match="leading_jets was 0, is 1"):
        run(csv_source, shards, leading_jets=1)
    csv(csv_source / "b.csv", CSV_LINES[:1])
    with pytest.raises(FolderError, match="the source changed"):
        run(csv_source, shards)
    assert contents(shards) == before


@pytest.mark.parametrize("kind", ["csv", "root"])
def test_a_killed_run_ends_with_the_same_bytes_when_it_is_run_again(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    for name in "ab":
        if kind == "csv":
            csv(source / f"{name}.csv", ["broken", *CSV_LINES[:2], "1;2;3", *CSV_LINES[2:], "4;", "5;"])
        else:
            values = four_vectors(sum(COUNTS))
            values["pt"][4] = np.nan
            xaod(source / f"{name}.root", values)
    settings = {"rows_per_shard": 2, "on_bad_input": "skip"}
    assert_mends("jets.convert", settings, {"source": source}, "shards", tmp_path, moments=3)


def test_shards_that_are_whole_are_not_made_again(
    csv_source: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Output.publish
    monkeypatch.setattr(Output, "publish", lambda *_, **__: None)  # as if killed before its manifest
    run(csv_source, shards, rows_per_shard=2)
    first, *_, last = sorted(shards.glob("*.parquet"))
    last.unlink()
    made = first.stat().st_ino
    monkeypatch.setattr(Output, "publish", publish)
    run(csv_source, shards, rows_per_shard=2)
    assert first.stat().st_ino == made
    assert len(rows_of(shards)["E"]) == 7


def test_a_value_that_is_not_finite_stops_or_leaves_its_event_out(tmp_path: Path) -> None:
    values = four_vectors(sum(COUNTS))
    values["m"][4] = np.inf
    source = xaod(tmp_path / "a.root", values)
    with pytest.raises(DataError, match=r"a\.root: m is inf in event 1002"):
        run(source, tmp_path / "fail")
    metrics = run(source, tmp_path / "skip", on_bad_input="skip")
    assert (metrics["skipped"], metrics["events"], metrics["rows"]) == (1, 5, sum(COUNTS) - COUNTS[2])
    assert manifest_of(tmp_path / "skip").facts["skipped"] == [{"file": "a.root", "event": 1002, "reason": "m is inf"}]


def test_malformed_lines_stop_or_are_listed(tmp_path: Path) -> None:
    source = csv(tmp_path / "a.csv", [CSV_LINES[0], "1;ttbar;oops", CSV_LINES[2]])
    with pytest.raises(DataError, match=r"a\.csv, line 2"):
        run(source, tmp_path / "fail")
    assert run(source, tmp_path / "skip", on_bad_input="skip")["skipped"] == 1
    (told,) = manifest_of(tmp_path / "skip").facts["skipped"]
    assert (told["file"], told["line"]) == ("a.csv", 2)
    assert rows_of(tmp_path / "skip")["event_number"].tolist() == [0, 0, 0, 2, 2, 2]


@pytest.mark.parametrize(("scale", "units", "remedy"), [(1000, "GeV", "units=MeV"), (1, "MeV", "units=GeV")])
def test_a_wrong_unit_is_seen_by_the_median_pt(
    tmp_path: Path, shards: Path, caplog: pytest.LogCaptureFixture, scale: float, units: str, remedy: str
) -> None:
    values = {name: value * np.float32(scale if name in ("pt", "m") else 1) for name, value in four_vectors(50).items()}
    flat(tmp_path / "a.root", values)
    run(tmp_path / "a.root", shards, units=units, rows_per_shard=10)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert warnings[0].startswith("the median pt in a.root is")
    assert remedy in warnings[0]


def test_right_units_give_no_warning(root_source: Path, shards: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(root_source, shards)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_what_is_missing_is_told_before_anything_is_written(root_source: Path, tmp_path: Path, shards: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'AnalysisJetsAuxDyn\.Width'"):
        run(root_source, shards, variables=("pt", "Width"))
    with pytest.raises(SettingError, match="units=MeV or units=GeV"):
        run(flat(tmp_path / "flat.root", four_vectors(3)), shards)
    (tmp_path / "bad.root").write_bytes(b"no ROOT file at all, only words" * 20)
    with pytest.raises(DataError, match=r"bad\.root"):
        run(tmp_path / "bad.root", shards)
    assert not shards.exists()


def test_an_empty_tree_among_others_gives_no_rows_and_alone_is_refused(tmp_path: Path) -> None:
    empty = {name: value[:0] for name, value in four_vectors(1).items()}
    xaod(tmp_path / "source/empty.root", empty, counts=())
    with pytest.raises(DataError, match="no row is left of the 0 events"):
        run(tmp_path / "source", tmp_path / "refused")
    xaod(tmp_path / "source/full.root")
    assert run(tmp_path / "source", tmp_path / "shards")["rows"] == sum(COUNTS)


def test_shards_may_lie_elsewhere_than_their_manifest(csv_source: Path, tmp_path: Path, shards: Path) -> None:
    run(csv_source, shards, shards_root=str(tmp_path / "bucket"))
    assert [path.name for path in shards.iterdir() if not path.name.startswith(".")] == ["manifest.json"]
    assert len(rows_of(shards)["E"]) == 7


@pytest.mark.real_data
def test_all_real_root_files_convert_at_once_and_same_events_share_keys(real_data: Path, shards: Path) -> None:
    metrics = run(real_data / "root_jets", shards, variables=("pt", "eta", "phi", "E"))
    assert metrics == {"events": 425, "rows": 1951 + 2 * 1005 + 881 + 106, "removed": 0, "skipped": 0}
    rows = rows_of(shards)
    split, unsplit = (rows["process"] == f"DAOD_PHYSLITE_410470_100evt_{kind}" for kind in ("split", "unsplit"))
    assert np.array_equal(rows["event"][split], rows["event"][unsplit])
    assert {*rows["event"][rows["process"] == "Delphes_25evt"]}.isdisjoint(rows["event"][split])
    assert (rows["E"] >= rows["pt"] * np.cosh(rows["eta"]) * (1 - 1e-6)).all()


@pytest.mark.real_data
def test_real_csv_events_convert_in_gev(real_data: Path, shards: Path) -> None:
    metrics = run(real_data / "phenoml_csv/events", shards)
    assert (metrics["events"], metrics["rows"]) == (10_055, 25_205)
    rows = rows_of(shards)
    assert 20 < np.median(rows["pt"]) < 100
    assert rows["weight"].min() < 0
