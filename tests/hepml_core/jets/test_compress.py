"""Archives of files, end to end: bounds, structure, numbers and types; what is refused, and what a killed run leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.jets.archive import ArchiveReader
from hepml_core.jets.bounds import parse_bounds
from hepml_core.jets.compress import compress
from hepml_core.jets.config import CompressConfig
from hepml_core.jets.root_files import energy_of
from hepml_core.storage import LocalFolder
from tests.class_folders import contents
from tests.hepml_core.jets.coding import (
    BOUNDS,
    FINE,
    FOUR,
    Models,
    Values,
    assert_within,
    odd_jets,
    read_tree,
    round_trip,
)
from tests.hepml_core.jets.jet_files import COUNTS, XAOD, flat, four_vectors, identity, rntuple, write_tree, xaod
from tests.kills import assert_mends

CODECS = ["columns", "density", "autoencoder"]
COLUMNS = CompressConfig(codec="columns")
MODEL = CompressConfig(device="cpu")


def in_file(values: Values, unit: str) -> Values:
    """Return branches of an xAOD; values are in GeV."""
    factor = 1000 if unit == "MeV" else 1
    return {
        f"{XAOD}{name}": value_n * value_n.dtype.type(factor if name in ("pt", "m") else 1)
        for name, value_n in values.items()
    }


def number_of(counts: tuple[int, ...], seed: int = 3) -> Values:
    """Return run and event numbers that do not simply run, some as large as their types allow."""
    numbers = identity(len(counts), run=400_000)
    numbers["EventInfoAuxDyn.eventNumber"] = np.random.default_rng(seed).permutation(
        numbers["EventInfoAuxDyn.eventNumber"]
    )
    if counts:
        numbers["EventInfoAuxDyn.eventNumber"][0] = np.iinfo(np.uint64).max
        numbers["EventInfoAuxDyn.runNumber"][-1] = np.iinfo(np.uint32).max
    return numbers


def odd_file(path: Path, dtype: Any = np.float32, unit: str = "MeV", events: int = 120) -> Path:
    counts = tuple(int(one) for one in np.random.default_rng(1).integers(0, 6, events))
    with np.errstate(over="ignore"):
        return write_tree(
            path, "CollectionTree", number_of(counts), counts, in_file(odd_jets(sum(counts), dtype), unit)
        )


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("unit", ["MeV", "GeV"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_odd_jets_keep_bounds_structure_numbers_and_types(
    models: Models, tmp_path: Path, codec: str, unit: str, dtype: Any
) -> None:
    source = odd_file(tmp_path / "a.root", dtype, unit)
    restored = round_trip(source, models.of(codec), units=unit, events_per_block=50)
    before, after = read_tree(source), read_tree(restored)
    assert after.count_e == before.count_e
    assert 0 in after.count_e
    assert_within(before.four, after.four, BOUNDS)
    for name, number_e in identity(0).items():
        assert np.array_equal(after.numbers[name], before.numbers[name])
        assert after.numbers[name].dtype == number_e.dtype
    assert list(after.values) == list(before.values)


@pytest.mark.parametrize("codec", ["columns", "autoencoder"])
@pytest.mark.parametrize(
    "bounds",
    [FINE, ("pt=0.05 absolute", "m=exact", "eta=1e-2 relative", "phi=0.5"), tuple(f"{name}=exact" for name in FOUR)],
    ids=["fine", "mixed", "exact"],
)
def test_bounds_that_are_asked_for_are_kept(
    models: Models, tmp_path: Path, codec: str, bounds: tuple[str, ...]
) -> None:
    source = odd_file(tmp_path / "a.root", unit="GeV")
    restored = round_trip(source, models.of(codec), bounds=bounds, units="GeV")
    assert_within(read_tree(source).four, read_tree(restored).four, BOUNDS | parse_bounds(bounds))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("counts", [(), (0, 0, 0), (0, 1)], ids=["no_events", "no_jets", "one_jet"])
def test_trees_with_little_or_nothing_come_back(
    models: Models, tmp_path: Path, codec: str, counts: tuple[int, ...]
) -> None:
    source = xaod(tmp_path / "a.root", counts=counts)
    after = read_tree(round_trip(source, models.of(codec), events_per_block=1))
    assert after.count_e == list(counts)
    assert len(after.numbers["EventInfoAuxDyn.eventNumber"]) == len(counts)
    assert_within(read_tree(source).four, after.four, BOUNDS)


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8", "u1", "i2"])
def test_whole_numbers_are_kept_exactly_in_every_type(tmp_path: Path, dtype: str) -> None:
    limits = np.iinfo(dtype)
    number_n = np.array([0, 1, 17, limits.max, limits.min, limits.max - 1, 5, 5, 5, 99], dtype)
    source = write_tree(
        tmp_path / "a.root", "CollectionTree", identity(6), COUNTS, {f"{XAOD}N90Constituents": number_n}
    )
    after = read_tree(round_trip(source, variables=("N90Constituents",))).of("N90Constituents")
    assert after.dtype == number_n.dtype
    assert np.array_equal(after, number_n)


@pytest.mark.parametrize("codec", CODECS)
def test_a_flat_tree_stays_flat_with_its_rows_and_numbers(models: Models, tmp_path: Path, codec: str) -> None:
    values = odd_jets(60)
    number_n = np.repeat(np.arange(20, dtype=np.int32) * 7, 3)
    columns = {"eventNumber": number_n, "runNumber": np.full(60, 9, np.uint32), **values}
    source = flat(tmp_path / "a.root", columns)
    restored = round_trip(source, models.of(codec), units="GeV", events_per_block=6)
    with uproot.open(restored) as file:
        arrays = file["jets"].arrays(library="np")
    assert sorted(arrays) == sorted(columns)
    assert_within(columns, arrays, BOUNDS)
    for name in ("eventNumber", "runNumber"):
        assert np.array_equal(arrays[name], columns[name])
        assert arrays[name].dtype == columns[name].dtype


def test_a_flat_tree_without_event_numbers_gets_none(tmp_path: Path) -> None:
    values = four_vectors(30)
    restored = round_trip(flat(tmp_path / "a.root", values), units="GeV")
    with uproot.open(restored) as file:
        arrays = file["jets"].arrays(library="np")
    assert sorted(arrays) == sorted(FOUR)
    assert_within(values, arrays, BOUNDS)


def test_an_rntuple_comes_back_as_a_tree_with_its_names(tmp_path: Path) -> None:
    values = four_vectors(sum(COUNTS))
    after = read_tree(round_trip(rntuple(tmp_path / "a.root", values)), "EventData")
    assert after.count_e == list(COUNTS)
    assert_within(values, {name: after.of(name) for name in FOUR}, BOUNDS)
    assert after.numbers["EventInfoAuxDyn:eventNumber"].tolist() == [1000, 1001, 1002, 1003, 1004, 1005]


@pytest.mark.parametrize("codec", CODECS)
def test_blocks_change_the_bytes_and_not_the_bounds(models: Models, tmp_path: Path, codec: str) -> None:
    counts = (4,) * 30
    source = xaod(tmp_path / "a.root", four_vectors(120), counts)
    found = []
    for events_per_block in (1, 7, 1000):
        restored = round_trip(source, models.of(codec), events_per_block=events_per_block)
        reader = ArchiveReader(LocalFolder(tmp_path), "a.hepml")
        assert len(reader.blocks) == -(-30 // events_per_block)
        found.append(read_tree(restored))
    assert_within(read_tree(source).four, found[0].four, BOUNDS)
    if codec != "autoencoder":  # whose latent steps are those of the block
        for name in FOUR:
            assert found[0].of(name).tobytes() == found[1].of(name).tobytes() == found[2].of(name).tobytes()


def test_without_bounds_the_latent_numbers_alone_are_stored(models: Models, tmp_path: Path) -> None:
    counts = (4,) * 100
    source = xaod(tmp_path / "a.root", four_vectors(400), counts)
    sizes = []
    for bounds in (("none",), ()):
        restored = round_trip(source, models.autoencoder, bounds=bounds)
        sizes.append((tmp_path / "a.hepml").stat().st_size)
        assert read_tree(restored).count_e == list(counts)
    assert sizes[0] < 0.8 * sizes[1]


def test_the_same_file_gives_the_same_bytes_and_numbers_to_report(models: Models, tmp_path: Path) -> None:
    source = odd_file(tmp_path / "a.root", unit="GeV")
    for codec in CODECS:
        config = CompressConfig(codec="columns" if codec == "columns" else "model", units="GeV", device="cpu")
        made = []
        for name in ("first.hepml", "second.hepml"):
            metrics = compress(LocalFolder(source), LocalFolder(tmp_path / name), config, models.of(codec))
            made.append((tmp_path / name).read_bytes())
        assert made[0] == made[1]
        jets = len(read_tree(source).of("pt"))
        assert metrics == {
            "events": 120,
            "jets": jets,
            "bytes": len(made[0]),
            "bytes_per_jet": pytest.approx(len(made[0]) / jets),
            "ratio": pytest.approx(16 * jets / len(made[0])),
        }


def test_many_jets_take_far_fewer_bytes_than_their_floats(models: Models, tmp_path: Path) -> None:
    source = xaod(tmp_path / "a.root", four_vectors(30_000), (3,) * 10_000)
    archive = LocalFolder(tmp_path / "a.hepml")
    assert compress(LocalFolder(source), archive, COLUMNS)["ratio"] > 2.4
    assert compress(LocalFolder(source), archive, MODEL, models.density)["ratio"] > 2.4


def test_a_folder_of_files_becomes_a_folder_of_archives(tmp_path: Path) -> None:
    for name in ("a.root", "deep/b.root"):
        xaod(tmp_path / "source" / name)
    archive = LocalFolder(tmp_path / "archive")
    metrics = compress(LocalFolder(tmp_path / "source"), archive, COLUMNS)
    assert metrics["events"] == 2 * len(COUNTS)
    assert [found.name for found in archive.walk()] == ["a.hepml", "deep/b.hepml", "manifest.json"]
    before = {found.name: archive.read(found.name) for found in archive.walk()}
    assert compress(LocalFolder(tmp_path / "source"), archive, COLUMNS) == metrics
    assert {found.name: archive.read(found.name) for found in archive.walk()} == before
    with pytest.raises(FolderError, match="made otherwise"):
        compress(LocalFolder(tmp_path / "source"), archive, CompressConfig(codec="columns", bounds=("pt=1e-2",)))


def test_several_files_do_not_fit_one_archive(tmp_path: Path) -> None:
    for name in ("a.root", "b.root"):
        xaod(tmp_path / "source" / name)
    with pytest.raises(SettingError, match="holds 2 ROOT files: name a folder for as many archives"):
        compress(LocalFolder(tmp_path / "source"), LocalFolder(tmp_path / "a.hepml"), COLUMNS)
    assert not (tmp_path / "a.hepml").exists()


def test_a_run_that_fails_leaves_an_older_archive_as_it_was(tmp_path: Path) -> None:
    source = xaod(tmp_path / "a.root", four_vectors(3000), (3,) * 1000)
    archive = tmp_path / "a.hepml"
    compress(LocalFolder(source), LocalFolder(archive), COLUMNS)
    before = archive.read_bytes()
    with uproot.open(source) as file:
        start = file["CollectionTree"][f"{XAOD}m"].member("fBasketSeek")[0]
    damaged = bytearray(source.read_bytes())
    damaged[start + 100 : start + 2000] = bytes(1900)
    source.write_bytes(damaged)
    with pytest.raises(DataError, match=r"a\.root"):
        compress(LocalFolder(source), LocalFolder(archive), COLUMNS)
    assert archive.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hepml", "a.root"]
    compress(LocalFolder(xaod(tmp_path / "b.root")), LocalFolder(archive), COLUMNS)
    assert ArchiveReader(LocalFolder(tmp_path), "a.hepml").events == len(COUNTS)


@pytest.mark.parametrize(
    ("codec", "settings", "message"),
    [
        ("", {}, "codec=model needs --model, a folder that train made; codec=columns needs none"),
        ("", {"codec": "columns", "bounds": ("none",)}, "codec=columns needs bounds"),
        ("", {"codec": "columns", "bounds": ("E=1e-3",)}, "bounds names E, but what is stored is pt, eta, phi, m"),
        ("", {"codec": "columns", "bounds": ("pt=1e-9",)}, "finer than float32"),
        ("density", {"bounds": ("pt=1e-4",)}, r"is a density for the bounds pt=0\.001 relative, eta=0\.001 absolute"),
        ("density", {"bounds": ("pt=1e-3 absolute",)}, "train one for others, or take codec=columns"),
        ("density", {"bounds": ("none",)}, "is a density for the bounds"),
        ("density", {"bounds": ("E=1e-3",)}, "bounds names E, but what is stored is pt, eta, phi, m"),
        ("autoencoder", {"bounds": ("E=1e-3",)}, "bounds names E, but what is stored is pt, eta, phi, m"),
        ("autoencoder", {"variables": ("pt", "eta")}, "has the variables pt, eta, phi, m; others need another model"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(
    models: Models, tmp_path: Path, codec: str, settings: dict[str, Any], message: str
) -> None:
    source, model = xaod(tmp_path / "a.root"), models.of(codec) if codec else None
    with pytest.raises(SettingError, match=message):
        compress(LocalFolder(source), LocalFolder(tmp_path / "a.hepml"), CompressConfig(**settings), model)
    assert not (tmp_path / "a.hepml").exists()


def test_the_bounds_of_a_density_may_be_named_and_variables_in_any_order(models: Models, tmp_path: Path) -> None:
    source = xaod(tmp_path / "a.root")
    after = read_tree(
        round_trip(source, models.density, bounds=("pt=1e-3 relative",), variables=("m", "phi", "eta", "pt"))
    )
    assert_within(read_tree(source).four, after.four, BOUNDS)


def test_what_the_file_has_not_cannot_be_given_back(tmp_path: Path) -> None:
    values = four_vectors(sum(COUNTS))
    with_energy = {
        "E": energy_of(values["pt"], values["eta"], values["m"]),
        **{name: values[name] for name in FOUR[:3]},
    }
    source = xaod(tmp_path / "a.root", with_energy)
    with pytest.raises(DataError, match=r"a\.root has no branch of m, which could be computed but not be given back"):
        compress(LocalFolder(source), LocalFolder(tmp_path / "a.hepml"), COLUMNS)
    after = read_tree(round_trip(source, variables=("E", "pt", "eta", "phi")))
    assert after.count_e == list(COUNTS)


def test_a_run_number_that_no_double_holds_is_refused(tmp_path: Path) -> None:
    numbers = {"eventNumber": np.arange(2, dtype=np.int64), "runNumber": np.array([5, (1 << 60) + 1])}
    source = write_tree(tmp_path / "a.root", "CollectionTree", numbers, (1, 1), in_file(four_vectors(2), "MeV"))
    with pytest.raises(DataError, match="run number"):
        compress(LocalFolder(source), LocalFolder(tmp_path / "a.hepml"), COLUMNS)


def test_without_bounds_latent_numbers_are_rounded_to_a_thousandth_of_their_spread(
    models: Models, tmp_path: Path
) -> None:
    source, archives = xaod(tmp_path / "a.root"), []
    for number, step in enumerate((0.0, 1e-3, 1e-1)):
        config = CompressConfig(bounds=("none",), latent_step=step, device="cpu")
        compress(LocalFolder(source), LocalFolder(tmp_path / f"{number}.hepml"), config, models.autoencoder)
        archives.append((tmp_path / f"{number}.hepml").read_bytes())
    assert archives[0] == archives[1] != archives[2]
    with pytest.raises(SettingError, match=r"latent_step must not be negative, got -1\.0"):
        CompressConfig(latent_step=-1.0)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    source = xaod(tmp_path / "a.root")
    with pytest.raises(FolderError, match=r"has no manifest\.json"):
        compress(LocalFolder(source), LocalFolder(tmp_path / "a.hepml"), MODEL, LocalFolder(tmp_path))


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    for number in range(4):
        xaod(tmp_path / "source" / f"jets_{number}.root", four_vectors(60, number), (3,) * 20)
    settings = {"codec": "columns", "events_per_block": 5}
    runs = assert_mends("jets.compress", settings, {"source": tmp_path / "source"}, "archive", tmp_path, moments=4)
    for run in runs[:-1]:
        assert "manifest.json" not in run.found
    assert "jets_0.hepml" in runs[2].kept, "what was whole is not made again"
    assert len(contents(tmp_path / "whole")) == 5


REAL = {
    "DAOD_PHYSLITE_700322_100evt.root": ("root_jets", "CollectionTree", "AnalysisJetsAuxDyn."),
    "ATLAS_AnalysisMiniTree_trigjets_100evt.root": ("root_jets", "AnalysisMiniTree", "trigger_akt4_pf_"),
    "NanoAODv15_ttbar_200evt.root": ("analysis_ntuples", "Events", "Jet_"),
}
NUMBERS = ("EventInfoAuxDyn.eventNumber", "EventInfoAuxDyn.runNumber", "eventNumber", "runNumber", "event", "run")


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_jets_of_a_real_file_come_back_within_a_ten_thousandth(
    models: Models, real_data: Path, tmp_path: Path, name: str
) -> None:
    folder, tree, stem = REAL[name]
    (tmp_path / name).symlink_to((real_data / folder / name).resolve())
    with uproot.open(tmp_path / name) as file:
        branches = {path.rpartition("/")[2]: branch for path, branch in file[tree].items()}
        arrays = {one: branches[f"{stem}{one}"].array() for one in ("pt", "eta", "phi")}
        arrays["m"] = branches[f"{stem}mass" if stem == "Jet_" else f"{stem}m"].array()
        numbers = {one: branches[one].array(library="np") for one in NUMBERS if one in branches}
    before = {one: ak.to_numpy(ak.flatten(array)) for one, array in arrays.items()}
    for codec in ("columns", "autoencoder") if tree == "AnalysisMiniTree" else ("columns",):
        after = read_tree(round_trip(tmp_path / name, models.of(codec), bounds=FINE), tree)
        assert after.count_e == ak.num(arrays["pt"]).tolist()
        assert sum(after.count_e) > 800
        kept = {one: after.of("m(ass)?" if one == "m" else one) for one in FOUR}
        assert_within(before, kept, parse_bounds(FINE))
        for one, number_e in numbers.items():
            assert np.array_equal(after.numbers[one], number_e)
            assert after.numbers[one].dtype == number_e.dtype
        assert len(numbers) == 2


@pytest.mark.real_data
def test_jets_of_a_delphes_file_come_back_within_a_ten_thousandth(real_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "delphes.root"
    source.symlink_to((real_data / "root_jets/Delphes_25evt.root").resolve())
    after = read_tree(round_trip(source, bounds=FINE), "Delphes")
    spelled = {"pt": "PT", "eta": "Eta", "phi": "Phi", "m": "Mass"}
    with uproot.open(source) as file:
        arrays = {name: file["Delphes"][f"Jet/Jet.{one}"].array() for name, one in spelled.items()}
        number_e = ak.flatten(file["Delphes"]["Event/Event.Number"].array())
    assert after.count_e == ak.num(arrays["pt"]).tolist()
    before = {name: ak.to_numpy(ak.flatten(array)) for name, array in arrays.items()}
    assert_within(before, {name: after.of(one) for name, one in spelled.items()}, parse_bounds(FINE))
    assert np.array_equal(after.numbers["Event.Number"], ak.to_numpy(number_e))


@pytest.mark.real_data
def test_split_and_unsplit_files_of_the_same_events_give_the_same_jets(real_data: Path, tmp_path: Path) -> None:
    kept = []
    for kind in ("split", "unsplit"):
        source = tmp_path / f"{kind}.root"
        source.symlink_to((real_data / f"root_jets/DAOD_PHYSLITE_410470_100evt_{kind}.root").resolve())
        kept.append(read_tree(round_trip(source, bounds=FINE)))
    assert kept[0].count_e == kept[1].count_e
    with uproot.open(tmp_path / "split.root") as file:
        tree = file["CollectionTree"]
        before = {name: ak.to_numpy(ak.flatten(tree[f"AnalysisJetsAuxDyn.{name}"].array())) for name in FOUR}
        number_e = tree["EventInfoAux.eventNumber"].array(library="np")
    for one in kept:
        assert_within(before, one.four, parse_bounds(FINE))
        assert np.array_equal(one.numbers["EventInfoAux.eventNumber"], number_e)
