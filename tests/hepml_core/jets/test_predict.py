"""Jets as the autoencoder reconstructs them, written to files of the same structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.jets.config import ConvertConfig, NormalizeConfig, OrganizeConfig, PredictConfig, TrainConfig
from hepml_core.jets.convert import convert
from hepml_core.jets.inference import Reconstructor
from hepml_core.jets.normalize import normalize
from hepml_core.jets.organize import organize
from hepml_core.jets.predict import predict
from hepml_core.storage import LocalFolder
from tests.hepml_core.jets.coding import FOUR, Models, Values, read_tree
from tests.hepml_core.jets.jet_files import COUNTS, csv, flat, four_vectors, identity, write_tree, xaod
from tests.kills import assert_mends

CPU = PredictConfig(device="cpu")


def expected(models: Models, values: Values) -> Values:
    """Return the four-vectors that the model makes of others, in GeV."""
    reconstructor = Reconstructor(models.autoencoder, "cpu")
    value_nf = np.stack([values[name] for name in reconstructor.variables], axis=1)
    output_nf = reconstructor.reconstruct(value_nf).output_nf
    return dict(zip(reconstructor.variables, output_nf.T, strict=True))


def test_jets_numbers_units_and_types_of_an_xaod_are_kept(models: Models, tmp_path: Path) -> None:
    values = four_vectors(sum(COUNTS))
    source = xaod(tmp_path / "source/a.root", values)
    metrics = predict(LocalFolder(tmp_path / "source"), models.autoencoder, LocalFolder(tmp_path / "out"), CPU)
    assert metrics == {"events": len(COUNTS), "jets": sum(COUNTS)}
    before, after = read_tree(source), read_tree(tmp_path / "out/a.root")
    assert after.count_e == before.count_e
    assert list(after.values) == list(before.values)
    for name in identity(0):
        assert np.array_equal(after.numbers[name], before.numbers[name])
        assert after.numbers[name].dtype == before.numbers[name].dtype
    for name, value_n in expected(models, values).items():
        factor = 1000 if name in ("pt", "m") else 1  # the file is in MeV
        assert after.of(name).dtype == np.float32
        assert np.allclose(after.of(name), value_n * factor, rtol=1e-4, atol=1e-4)


def test_a_flat_tree_in_doubles_stays_one(models: Models, tmp_path: Path) -> None:
    values = four_vectors(12)
    columns = {
        "event": np.repeat([4, 9, 2], 4),
        **{name: value_n.astype(np.float64) for name, value_n in values.items()},
    }
    flat(tmp_path / "a.root", columns)
    config = PredictConfig(units="GeV", device="cpu", events_per_chunk=2)
    predict(LocalFolder(tmp_path / "a.root"), models.autoencoder, LocalFolder(tmp_path / "out"), config)
    with uproot.open(tmp_path / "out/a.root") as file:
        arrays = file["jets"].arrays(library="np")
    assert arrays["event"].tolist() == columns["event"].tolist()
    for name, value_n in expected(models, values).items():
        assert arrays[name].dtype == np.float64
        assert np.allclose(arrays[name], value_n, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("counts", [(), (0, 0, 0), (0, 2, 0)], ids=["no_events", "no_jets", "few_jets"])
def test_files_with_little_or_nothing_give_files_with_as_much(
    models: Models, tmp_path: Path, counts: tuple[int, ...]
) -> None:
    source = xaod(tmp_path / "a.root", counts=counts)
    config = PredictConfig(device="cpu", events_per_chunk=1)
    predict(LocalFolder(source), models.autoencoder, LocalFolder(tmp_path / "out"), config)
    assert read_tree(tmp_path / "out/a.root").count_e == list(counts)


def test_what_the_file_lacks_is_computed_and_written_beside_it(models: Models, tmp_path: Path) -> None:
    values = four_vectors(sum(COUNTS))
    energy_n = np.hypot(values["pt"] * np.cosh(values["eta"]), values["m"]).astype(np.float32)
    source = xaod(tmp_path / "a.root", {"E": energy_n, **{name: values[name] for name in FOUR[:3]}})
    predict(LocalFolder(source), models.autoencoder, LocalFolder(tmp_path / "out"), CPU)
    after = read_tree(tmp_path / "out/a.root")
    assert after.count_e == list(COUNTS)
    assert [name.rpartition(".")[2] for name in after.values] == list(FOUR)
    in_mev = after.of("m") / 1000  # like pt, of which it was computed
    assert np.median(np.abs(in_mev / expected(models, values)["m"] - 1)) < 0.05


@pytest.fixture(scope="module")
def counting_model(tmp_path_factory: pytest.TempPathFactory) -> LocalFolder:
    """An autoencoder of N90Constituents and pt that has learned next to nothing."""
    from hepml_core.jets.train import train

    root = tmp_path_factory.mktemp("counting")
    source, shards, dataset, statistics, model = (LocalFolder(root / one) for one in "abcde")
    chance = np.random.default_rng(0)
    count_n, pt_n = chance.poisson(2, 600).astype(np.int32), chance.uniform(20, 90, 600).astype(np.float32)
    write_tree(root / "a/a.root", "CollectionTree", identity(200), (3,) * 200, columns_of(count_n, pt_n))
    convert(source, shards, ConvertConfig(variables=("N90Constituents", "pt")))
    organize(shards, dataset, OrganizeConfig())
    normalize(dataset, statistics, NormalizeConfig(method="standard"))
    settings: dict[str, Any] = {"nodes": (2, 4, 1, 4, 2), "epochs": 1, "batch_size": 64, "device": "cpu"}
    train(dataset, statistics, model, TrainConfig(**settings))
    return model


def columns_of(count_n: Any, pt_n: Any) -> Values:
    return {"AnalysisJetsAuxDyn.N90Constituents": count_n, "AnalysisJetsAuxDyn.pt": pt_n * np.float32(1000)}


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32])
def test_whole_numbers_stay_whole_and_within_their_type(
    counting_model: LocalFolder, tmp_path: Path, dtype: Any
) -> None:
    count_n, pt_n = np.array([0, 1, 0, 200, 0, 2], dtype), np.array([20, 90, 1e5, 20, 1e-3, 50], np.float32)
    source = write_tree(tmp_path / "a.root", "CollectionTree", identity(2), (3, 3), columns_of(count_n, pt_n))
    predict(LocalFolder(source), counting_model, LocalFolder(tmp_path / "out"), CPU)
    found_n = read_tree(tmp_path / "out/a.root").of("N90Constituents")
    assert found_n.dtype == dtype
    own_nf = np.stack([count_n.astype(np.float32), pt_n], axis=1)
    output_nf = Reconstructor(counting_model, "cpu").reconstruct(own_nf).output_nf
    limits = np.iinfo(dtype)
    assert np.array_equal(found_n, np.clip(output_nf[:, 0].astype(np.float64), limits.min, limits.max))


def test_csv_files_become_trees_in_gev(tmp_path: Path, models: Models) -> None:
    source = csv(tmp_path / "source/a.csv")
    predict(LocalFolder(source), models.autoencoder, LocalFolder(tmp_path / "out"), CPU)
    with uproot.open(tmp_path / "out/a.root") as file:
        assert file["events"]["eventID"].array().tolist() == [0, 1, 2, 3]
        pt_en = file["events"]["pt"].array()
    assert [len(pt_n) for pt_n in pt_en] == [3, 1, 3, 0]
    assert 1 < np.mean(pt_en[0]) < 2000  # and not tens of thousands, as in MeV


def test_a_value_that_the_model_cannot_take_names_file_and_event(models: Models, tmp_path: Path) -> None:
    values = four_vectors(sum(COUNTS))
    values["pt"][3] = np.nan
    source = xaod(tmp_path / "bad.root", values)
    config = PredictConfig(device="cpu", events_per_chunk=2)
    with pytest.raises(DataError, match=r"bad\.root, events from number \[?1002\]?"):
        predict(LocalFolder(source), models.autoencoder, LocalFolder(tmp_path / "out"), config)
    assert not (tmp_path / "out/bad.root").exists()


def test_a_density_and_a_model_of_whole_events_are_refused(models: Models, tmp_path: Path) -> None:
    source = xaod(tmp_path / "a.root")
    with pytest.raises(FolderError, match="is a density, which reconstructs nothing: train an autoencoder"):
        predict(LocalFolder(source), models.density, LocalFolder(tmp_path / "out"), CPU)
    from hepml_core.jets.train import train

    shards, dataset, statistics, model = (LocalFolder(tmp_path / one) for one in "bcde")
    convert(models.source, shards, ConvertConfig(variables=FOUR, rows="events", max_objects=1))
    organize(shards, dataset, OrganizeConfig())
    normalize(dataset, statistics, NormalizeConfig())
    train(dataset, statistics, model, TrainConfig(nodes=(4, 2, 4), epochs=1, batch_size=512, device="cpu"))
    with pytest.raises(SettingError, match="fitted to rows of whole events"):
        predict(LocalFolder(source), model, LocalFolder(tmp_path / "out"), CPU)


def test_files_that_are_there_are_not_made_again(models: Models, tmp_path: Path) -> None:
    for name in ("a.root", "deep/b.root"):
        xaod(tmp_path / "source" / name)
    folders = LocalFolder(tmp_path / "source"), models.autoencoder, LocalFolder(tmp_path / "out")
    first = predict(*folders, CPU)
    before = {one.name: (tmp_path / "out" / one.name).stat().st_mtime_ns for one in folders[2].walk()}
    assert list(before) == ["a.root", "deep/b.root", "manifest.json"]
    assert predict(*folders, CPU) == first
    assert {one.name: (tmp_path / "out" / one.name).stat().st_mtime_ns for one in folders[2].walk()} == before


def test_a_run_that_is_killed_anywhere_ends_with_the_same_bytes(models: Models, tmp_path: Path) -> None:
    for name in "ab":
        xaod(tmp_path / f"source/{name}.root")
    inputs = {"source": tmp_path / "source", "model": models.autoencoder.path}
    assert_mends("jets.predict", {"device": "cpu"}, inputs, "predictions", tmp_path, moments=3)
