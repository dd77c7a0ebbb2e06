"""Fitting densities: fewer bits than the variables take alone, and a folder that codes what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepml_core.artifacts import read_manifest
from hepml_core.config import build_config
from hepml_core.errors import FolderError, SettingError
from hepml_core.jets.batches import TrainingRows
from hepml_core.jets.bounds import Bound
from hepml_core.jets.config import NormalizeConfig, OrganizeConfig, TrainConfig
from hepml_core.jets.density_fit import CHOICE, ChoosingRows, bits_per_variable, read_density
from hepml_core.jets.normalize import normalize
from hepml_core.jets.organize import organize
from hepml_core.jets.rows import read_rows, read_values
from hepml_core.jets.train import train
from hepml_core.storage import LocalFolder
from tests.jet_shards import jets, make_shards, whole_events

QUICK = {"method": "density", "epochs": 3, "batch_size": 256, "hidden": 12, "contexts": 6, "weight_decay": 0}


def prepare(root: Path, columns: Any, **facts: Any) -> tuple[LocalFolder, LocalFolder]:
    dataset, statistics = LocalFolder(root / "dataset"), LocalFolder(root / "statistics")
    organize(LocalFolder(make_shards(root / "shards", columns, **facts)), dataset, OrganizeConfig(exact=True))
    normalize(dataset, statistics, NormalizeConfig(method="standard"))
    return dataset, statistics


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalFolder, LocalFolder]:
    """Massless objects: their energy follows from pt and eta."""
    return prepare(tmp_path_factory.mktemp("massless"), jets(600))


@pytest.fixture(scope="module")
def model(prepared: tuple[LocalFolder, LocalFolder], tmp_path_factory: pytest.TempPathFactory) -> LocalFolder:
    folder = LocalFolder(tmp_path_factory.mktemp("density") / "model")
    train(*prepared, folder, build_config(TrainConfig, QUICK))
    return folder


def test_what_follows_from_other_variables_takes_hardly_any_bits(model: LocalFolder) -> None:
    metrics = read_manifest(model, "model", "jets").metrics
    assert metrics["bits_E"] < 4
    assert metrics["bits_phi"] == pytest.approx(np.log2(2 * np.pi / 2e-3), abs=0.5)
    parts = sum(metrics[f"bits_{name}"] for name in ("E", "pt", "eta", "phi"))
    assert metrics["bits_per_row"] == pytest.approx(parts)


@pytest.mark.parametrize("world", [1, 3])
def test_a_clear_choice_counts_the_more_the_longer_a_training_has_lasted(world: int) -> None:
    rows = ChoosingRows(TrainingRows({"input": torch.zeros(1200, 1)}, 10, seed=0), epochs=20)
    choices = [float(batch["choice"]) for epoch in range(20) for batch in rows.epoch(epoch, 0, world)]
    assert len(choices) == 20 * rows.steps(world)
    assert choices == sorted(choices)
    assert set(choices[: int(0.14 * len(choices))]) == {0.0}
    assert choices[int(0.4 * len(choices))] == pytest.approx(CHOICE / 2)
    assert set(choices[int(0.66 * len(choices)) :]) == {CHOICE}


def test_the_epoch_that_is_kept_is_that_of_the_smallest_file(model: LocalFolder) -> None:
    metrics = read_manifest(model, "model", "jets").metrics
    assert metrics["valid_loss"] == metrics["valid_chosen"]
    assert metrics["train_loss"] != metrics["train_chosen"]


def test_the_bits_of_a_file_are_those_that_were_promised(
    prepared: tuple[LocalFolder, LocalFolder], model: LocalFolder
) -> None:
    manifest = read_manifest(prepared[0], "dataset", "jets")
    value_nf = read_values(prepared[0], manifest, "test")
    event_n = read_rows(prepared[0], manifest, "test", ["event"])["event"]
    promised = bits_per_variable(model, value_nf, event_n)
    count_e = np.unique(event_n, return_counts=True)[1][np.argsort(np.unique(event_n, return_index=True)[1])]
    coder = read_density(model).coder()
    values = dict(zip(read_density(model).variables, value_nf.T.copy(), strict=True))
    parts = coder.encode(values, count_e.astype(np.int64))
    # The states of the coder's lanes and the packing of escaped values come on top.
    assert 8 * len(parts[0]) == pytest.approx(sum(promised.values()) * len(value_nf), rel=0.1, abs=8 * 2048 + 4096)
    back = coder.decode(parts, count_e.astype(np.int64), dict.fromkeys(values, np.dtype(np.float32)))
    for name, value_n in values.items():
        assert coder.grids[name].holds(value_n, back[name]).all()


def test_the_folder_tells_its_bounds_and_order(model: LocalFolder) -> None:
    density = read_density(model)
    assert density.bounds["pt"] == Bound(1e-3, relative=True)
    assert density.bounds["eta"] == Bound(1e-3, relative=False)
    assert density.manifest.facts["order"][-1] == "E"


def test_the_same_seed_gives_the_same_density(
    prepared: tuple[LocalFolder, LocalFolder], model: LocalFolder, tmp_path: Path
) -> None:
    assert model.path
    train(*prepared, LocalFolder(tmp_path / "again"), build_config(TrainConfig, QUICK))
    assert (tmp_path / "again/density.safetensors").read_bytes() == (model.path / "density.safetensors").read_bytes()


def test_tighter_bounds_take_more_bits(
    prepared: tuple[LocalFolder, LocalFolder], model: LocalFolder, tmp_path: Path
) -> None:
    tight = {**QUICK, "bounds": "phi=1e-4"}
    metrics = train(*prepared, LocalFolder(tmp_path / "tight"), build_config(TrainConfig, tight))
    before = read_manifest(model, "model", "jets").metrics["bits_phi"]
    assert metrics["bits_phi"] - before == pytest.approx(np.log2(10), abs=0.3)


def test_rows_of_whole_events_and_exact_fractions_have_no_density(
    prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path
) -> None:
    columns = whole_events(100)
    variables = [name for name in columns if name.rpartition("_")[2].isdigit()]
    whole = prepare(tmp_path, columns, rows="events", variables=variables, objects=[])
    with pytest.raises(SettingError, match="rows of objects, not of whole events"):
        train(*whole, LocalFolder(tmp_path / "whole"), build_config(TrainConfig, QUICK))
    with pytest.raises(SettingError, match="eta is not a whole number"):
        train(*prepared, LocalFolder(tmp_path / "exact"), build_config(TrainConfig, {**QUICK, "bounds": "eta=exact"}))


def test_an_autoencoder_is_not_taken_for_a_density(prepared: tuple[LocalFolder, LocalFolder], tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "model")
    train(*prepared, folder, build_config(TrainConfig, {"nodes": "4,8,3,8,4", "epochs": 1, "batch_size": 256}))
    with pytest.raises(FolderError, match="is an autoencoder, not a density"):
        read_density(folder)
