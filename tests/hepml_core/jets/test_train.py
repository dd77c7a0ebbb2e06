"""Training of autoencoders: what the model folder holds, resuming, and what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepml_core.artifacts import read_manifest
from hepml_core.config import build_config
from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.jets.config import NormalizeConfig, OrganizeConfig, TrainConfig
from hepml_core.jets.inference import Reconstructor
from hepml_core.jets.normalize import normalize
from hepml_core.jets.organize import organize
from hepml_core.jets.rows import read_values
from hepml_core.jets.train import train
from hepml_core.storage import LocalFolder
from hepml_core.training.history import read_history
from tests.jet_shards import jets, make_shards, whole_events
from tests.kills import assert_mends

QUICK = {"nodes": "4,8,3,8,4", "epochs": 2, "batch_size": 128, "device": "cpu"}


def config_of(**settings: Any) -> TrainConfig:
    return build_config(TrainConfig, {**QUICK, **settings})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalFolder, LocalFolder]:
    """A dataset and its statistics, to be read only."""
    return prepare(tmp_path_factory.mktemp("jets"), jets(300))


def prepare(root: Path, columns: Any, **facts: Any) -> tuple[LocalFolder, LocalFolder]:
    dataset, statistics = LocalFolder(root / "dataset"), LocalFolder(root / "statistics")
    organize(LocalFolder(make_shards(root / "shards", columns, **facts)), dataset, OrganizeConfig(exact=True))
    normalize(dataset, statistics, NormalizeConfig())
    return dataset, statistics


def test_a_model_folder_can_be_used_alone(prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path) -> None:
    model = LocalFolder(tmp_path / "model")
    metrics = train(*prepared, model, config_of())
    assert metrics["valid_loss"] > 0
    facts = read_manifest(model, "model", "jets").facts
    assert (facts["method"], facts["variables"], facts["features"]) == ("autoencoder", ["E", "pt", "eta", "phi"], 4)
    reconstructor = Reconstructor(model, "cpu")
    value_nf = read_values(prepared[0], read_manifest(prepared[0], "dataset", "jets"), "test")
    found = reconstructor.reconstruct(value_nf, 32)
    assert found.output_nf.shape == value_nf.shape
    assert found.latent_nz.shape == (len(value_nf), 3)
    whole = reconstructor.reconstruct(value_nf)
    np.testing.assert_allclose(found.output_nf, whole.output_nf, rtol=1e-4)


def test_the_loss_of_the_folder_is_that_of_its_network(
    prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path
) -> None:
    metrics = train(*prepared, LocalFolder(tmp_path / "model"), config_of())
    value_nf = read_values(prepared[0], read_manifest(prepared[0], "dataset", "jets"), "valid")
    found = Reconstructor(LocalFolder(tmp_path / "model"), "cpu").reconstruct(value_nf, 32)
    assert found.loss_n.mean() == pytest.approx(metrics["valid_loss"], rel=1e-4)


def test_a_network_learns_what_it_can_keep(prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path) -> None:
    losses = [
        train(*prepared, LocalFolder(tmp_path / str(epochs)), config_of(nodes="4,32,4,32,4", epochs=epochs))[
            "valid_loss"
        ]
        for epochs in (1, 40)
    ]
    assert losses[1] < losses[0] / 20


def test_a_fit_begins_at_the_principal_components_and_comes_closer(
    prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    nodes = {"nodes": "4,32,3,32,4", "epochs": 20, "settle_epochs": 10}
    found = train(*prepared, LocalFolder(tmp_path / "principal"), config_of(**nodes))["valid_loss"]
    told = [record.args for record in caplog.records if "principal components alone" in record.msg]
    random = train(*prepared, LocalFolder(tmp_path / "random"), config_of(**nodes, network="AE_bn_LeakyReLU"))
    assert len(told) == 1
    assert isinstance(told[0], tuple)
    assert found < float(str(told[0][0])) / 2
    assert found < random["valid_loss"] / 2


def test_a_finished_model_is_not_fitted_again(
    prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LocalFolder(tmp_path / "model")
    first = train(*prepared, model, config_of())
    with caplog.at_level(logging.INFO):
        again = train(*prepared, model, config_of())
    assert "is already there" in caplog.text
    assert again == first
    with pytest.raises(FolderError, match="learning_rate was"):
        train(*prepared, model, config_of(learning_rate=0.1))


def test_the_same_seed_gives_the_same_weights(prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(*prepared, LocalFolder(tmp_path / name), config_of())
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_angles_on_a_circle_make_the_network_wider(prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="the rows have 5 features, nodes begin with 4: give nodes=5,8,3,8,5"):
        train(*prepared, LocalFolder(tmp_path / "four"), config_of(angles="circle"))
    model = LocalFolder(tmp_path / "five")
    train(*prepared, model, config_of(angles="circle", nodes="5,8,3,8,5"))
    value_nf = read_values(prepared[0], read_manifest(prepared[0], "dataset", "jets"), "test")
    phi_n = Reconstructor(model, "cpu").reconstruct(value_nf).output_nf[:, 3]
    assert np.all(np.abs(phi_n) <= np.float32(np.pi))


def test_rate_steps_are_phases_of_constant_rate(prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path) -> None:
    settings = {"rate_steps": "2:1e-3,1:1e-4", "schedule": "constant", "double": True}
    train(*prepared, LocalFolder(tmp_path / "model"), config_of(**settings))
    lines = (tmp_path / "model/history.csv").read_text().splitlines()
    place = lines[0].split(",").index("learning_rate")
    assert [float(line.split(",")[place]) for line in lines[1:]] == [1e-3, 1e-3, 1e-4]


def test_rows_of_whole_events_are_fitted_by_widths_of_their_own(tmp_path: Path) -> None:
    columns = whole_events(200)
    variables = [name for name in columns if name.rpartition("_")[2].isdigit()]
    dataset, statistics = prepare(tmp_path, columns, rows="events", variables=variables, objects=[])
    train(dataset, statistics, LocalFolder(tmp_path / "model"), config_of(nodes="", epochs=1))
    facts = read_manifest(LocalFolder(tmp_path / "model"), "model", "jets").facts
    assert facts["features"] == len(variables)


def test_statistics_of_another_dataset_are_refused(prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path) -> None:
    other, _ = prepare(tmp_path / "other", jets(60, seed=3))
    with pytest.raises(FolderError, match="was measured on another dataset"):
        train(other, prepared[1], LocalFolder(tmp_path / "model"), config_of())


def test_a_dataset_without_a_valid_split_is_refused(tmp_path: Path) -> None:
    dataset, statistics = LocalFolder(tmp_path / "dataset"), LocalFolder(tmp_path / "statistics")
    fractions = OrganizeConfig(train_fraction=0.9, valid_fraction=0.0, test_fraction=0.1)
    organize(LocalFolder(make_shards(tmp_path / "shards", jets(60))), dataset, fractions)
    normalize(dataset, statistics, NormalizeConfig())
    with pytest.raises(DataError, match="has no valid split: organize with valid_fraction above 0"):
        train(dataset, statistics, LocalFolder(tmp_path / "model"), config_of())


def test_areas_are_reconstructed_to_values_that_occur(tmp_path: Path) -> None:
    columns = jets(200)
    chance = np.random.default_rng(0)
    area_n = (chance.integers(40, 60, len(columns["pt"])) / np.float32(100)).astype(np.float32)
    columns |= {"ActiveArea": area_n, "N90Constituents": chance.integers(1, 9, len(area_n)).astype(np.float32)}
    names = ["pt", "ActiveArea", "N90Constituents"]
    dataset, statistics = prepare(tmp_path, {**columns}, variables=names)
    model = LocalFolder(tmp_path / "model")
    train(dataset, statistics, model, config_of(nodes="3,8,2,8,3"))
    value_nf = read_values(dataset, read_manifest(dataset, "dataset", "jets"), "test")
    output_nf = Reconstructor(model, "cpu").reconstruct(value_nf).output_nf
    assert set(output_nf[:, 1]) <= set(area_n)
    assert np.array_equal(output_nf[:, 2], np.rint(output_nf[:, 2]))
    weights = (tmp_path / "model/model.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    assert json.loads(header["__metadata__"]["jets"])["variables"] == names


def weights_and_losses(model: Path) -> tuple[bytes, list[Any]]:
    rows = read_history(LocalFolder(model))
    return (model / "model.safetensors").read_bytes(), [(row["epoch"], row["valid_loss"]) for row in rows]


def test_a_fit_killed_anywhere_ends_with_the_same_weights(
    prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path
) -> None:
    inputs = {"dataset": prepared[0].path, "statistics": prepared[1].path}
    assert_mends("jets.train", QUICK, inputs, "model", tmp_path, moments=4, look=weights_and_losses)
