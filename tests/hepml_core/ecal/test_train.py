"""A fit of showers: what the model folder is good for, what is refused, and that a killed fit ends as one that was not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepml_core.artifacts import read_manifest
from hepml_core.config import build_config
from hepml_core.ecal import train as train_module
from hepml_core.ecal.config import TrainConfig
from hepml_core.ecal.hit_set import read_events
from hepml_core.ecal.inference import Classifier
from hepml_core.ecal.presets import PRESETS
from hepml_core.ecal.train import train
from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.storage import LocalFolder
from hepml_core.training.checkpoints import Checkpoints
from hepml_core.training.history import read_history
from tests.ecal_shards import ToyFolders, events_of, make_dataset, make_folders, make_statistics

ROOT = Path(__file__).parents[3]
QUICK = {"epochs": 2, "batch_size": 16, "device": "cpu"}


def config_of(**settings: Any) -> TrainConfig:
    return build_config(TrainConfig, {**QUICK, **settings})


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> ToyFolders:
    """Folders of 60 events of each class, to be read only."""
    return make_folders(tmp_path_factory.mktemp("toys"))


def fit_to(toys: ToyFolders, model: Path, **settings: Any) -> dict[str, float]:
    dataset, statistics, place = (LocalFolder(path) for path in (toys.dataset, toys.statistics, model))
    return dict(train(dataset, statistics, place, config_of(**settings)))


def contents(folder: Path) -> tuple[bytes, list[list[Any]]]:
    """Return the weights, and the history but for what tells the time."""
    timed = ("seconds", "wall_time", "events_per_second", "data_wait")
    rows = read_history(LocalFolder(folder))
    history = [[value for name, value in row.items() if name not in timed] for row in rows]
    return (folder / "model.safetensors").read_bytes(), history


def test_a_fit_learns_to_tell_the_toys(toys: ToyFolders, tmp_path: Path) -> None:
    metrics = fit_to(toys, tmp_path / "model", epochs=12, learning_rate=3e-3)
    assert metrics["valid_accuracy"] > 0.9
    history = read_history(LocalFolder(tmp_path / "model"))
    assert metrics["valid_loss"] == pytest.approx(min(float(row["valid_loss"]) for row in history))


@pytest.mark.parametrize("architecture", ["hit_transformer", "bearnet", "cnn3d"])
def test_the_model_folder_alone_classifies(toys: ToyFolders, tmp_path: Path, architecture: str) -> None:
    settings = {"architecture": architecture, "epochs": 1, "crop": 16, "t_step": 0.05}
    metrics = fit_to(toys, tmp_path / "model", **settings)
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    for name in ("manifest.json", "model.safetensors", "history.csv"):
        shutil.copy(tmp_path / "model" / name, kept / name)
    classifier = Classifier(LocalFolder(kept), "cpu")
    valid = events_of(toys.dataset, "valid")
    parts = list(classifier.electron_probabilities(valid.hits, 7))
    assert [len(part) for part in parts] == [7, 7, 7, 3]
    probability_e = np.concatenate(parts)
    right_e = np.where(valid.label_e == 1, probability_e, 1 - probability_e)
    assert -np.log(right_e).mean() == pytest.approx(metrics["valid_loss"], rel=1e-4)
    assert (right_e > 0.5).mean() == pytest.approx(metrics["valid_accuracy"])


def test_the_facts_say_what_the_model_was_made_of(toys: ToyFolders, tmp_path: Path) -> None:
    fit_to(toys, tmp_path / "model", epochs=1, crop=20, t_min=-0.05, early="drop")
    facts = read_manifest(LocalFolder(tmp_path / "model"), "model", "ecal").facts
    dataset = read_manifest(LocalFolder(toys.dataset), "dataset", "ecal").facts
    assert facts["class_names"] == ["photon", "electron"]
    assert (facts["height"], facts["width"], facts["crop"]) == (32, 32, 20)
    assert facts["reading"] == dataset["reading"]
    assert facts["network"]["t_min"] == -0.05
    assert facts["network"]["early"] == "drop"
    assert facts["normalization"]["energy"] == "log"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_runs_of_the_original_can_be_had_by_name(preset: str, toys: ToyFolders, tmp_path: Path) -> None:
    small = {"events_per_class": 8, "valid_events_per_class": 4, "epochs": 1, "crop": 16}
    fit_to(toys, tmp_path / "model", preset=preset, **small)
    manifest = read_manifest(LocalFolder(tmp_path / "model"), "model", "ecal")
    assert manifest.facts["network"]["architecture"] == PRESETS[preset]["architecture"]
    assert manifest.settings["learning_rate"] == PRESETS[preset]["learning_rate"]


def test_only_the_asked_events_of_train_and_valid_are_read(
    toys: ToyFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    original = read_events

    def watched(*given: Any) -> Any:
        events = original(*given)
        read.append((given[2], np.bincount(events.label_e).tolist()))
        return events

    monkeypatch.setattr(train_module, "read_events", watched)
    fit_to(toys, tmp_path / "model", epochs=1, events_per_class=9, valid_events_per_class=5)
    assert read == [("train", [9, 9]), ("valid", [5, 5])]


def test_a_finished_model_is_not_fitted_again(toys: ToyFolders, tmp_path: Path) -> None:
    first = fit_to(toys, tmp_path / "model", epochs=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "model").rglob("*")}
    assert fit_to(toys, tmp_path / "model", epochs=1) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "model").rglob("*")} == before
    with pytest.raises(FolderError, match="t_step was"):
        fit_to(toys, tmp_path / "model", epochs=1, t_step=0.02)


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("architecture", ["hit_transformer", "cnn3d"])
def test_a_fit_that_ended_between_two_epochs_goes_on_to_the_same_bytes(
    architecture: str, toys: ToyFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"architecture": architecture, "epochs": 3, "mirror": True, "crop": 16, "t_step": 0.05}
    fit_to(toys, tmp_path / "whole", **settings)
    write = Checkpoints.write

    def write_and_end(self: Checkpoints, model: Any, optimizer: Any, state: Any) -> None:
        write(self, model, optimizer, state)
        if state.epoch == 1:
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "write", write_and_end)
        with pytest.raises(KilledError):
            fit_to(toys, tmp_path / "halves", **settings)
    fit_to(toys, tmp_path / "halves", **settings)
    assert contents(tmp_path / "halves") == contents(tmp_path / "whole")


DYING_FIT = """
import json, os, signal, sys
import torch
from hepml_core.config import build_config
from hepml_core.ecal import train as module
from hepml_core.ecal.config import TrainConfig
from hepml_core.storage import open_folder

torch.set_num_threads(1)
*folders, settings, fatal_batch = sys.argv[1:]
loss_of, seen = module.classification_loss, 0

def dying(*given):
    global seen
    seen += 1
    if seen == int(fatal_batch):
        os.kill(os.getpid(), signal.SIGKILL)
    return loss_of(*given)

module.classification_loss = dying
module.train(*map(open_folder, folders), config=build_config(TrainConfig, json.loads(settings)))
"""
"""Fits, and is killed when the given batch is computed; one that is not there lets it finish."""


def test_a_fit_killed_in_the_middle_of_an_epoch_ends_with_the_same_bytes(toys: ToyFolders, tmp_path: Path) -> None:
    """An epoch has 3 batches of train and 2 of valid: the seventh batch is within the second epoch."""
    settings = json.dumps({**QUICK, "epochs": 3, "mirror": True, "dropout": 0.3})

    def fit_until(model: str, fatal_batch: int) -> int:
        folders = [str(folder) for folder in (toys.dataset, toys.statistics, tmp_path / model)]
        command = [sys.executable, "-c", DYING_FIT, *folders, settings, str(fatal_batch)]
        done = subprocess.run(command, check=False, capture_output=True, cwd=ROOT)
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done.returncode

    assert fit_until("whole", 1000) == 0
    assert fit_until("killed", 7) == -signal.SIGKILL
    assert not (tmp_path / "killed/manifest.json").exists()
    assert fit_until("killed", 1000) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_statistics_of_another_dataset_are_refused(toys: ToyFolders, tmp_path: Path) -> None:
    other = make_dataset(toys.shards, tmp_path / "dataset", seed=5)
    with pytest.raises(FolderError, match=r"measured on another dataset .* run normalize on this one"):
        fit_to(replace(toys, dataset=other), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_dataset_without_a_valid_split_is_refused(toys: ToyFolders, tmp_path: Path) -> None:
    dataset = make_dataset(toys.shards, tmp_path / "dataset", train_fraction=0.5, valid_fraction=0.0, test_fraction=0.5)
    statistics = make_statistics(dataset, tmp_path / "statistics")
    with pytest.raises(DataError, match="has no valid split: organize with valid_fraction above 0"):
        fit_to(replace(toys, dataset=dataset, statistics=statistics), tmp_path / "model")


def test_more_events_than_there_are_are_refused(toys: ToyFolders, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="30 events of class photon, 31 are asked for"):
        fit_to(toys, tmp_path / "model", events_per_class=31)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": 33}, "crop must be at most 32, the size of the images, got 33"),
        ({"architecture": "cnn3d_opt", "crop": 8}, "too small for 4 halvings"),
        ({"architecture": "bearnet", "crop": 7}, "too small for bearnet"),
        ({"architecture": "cnn3d", "use_time": False}, "looks at movies"),
    ],
)
def test_networks_that_do_not_fit_are_refused_before_events_are_read(
    settings: dict[str, Any], message: str, toys: ToyFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "read_events", None)
    with pytest.raises(SettingError, match=message):
        fit_to(toys, tmp_path / "model", **settings)


def test_a_changed_dataset_is_refused_before_the_fit(toys: ToyFolders, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(toys.dataset, tmp_path / "dataset"))
    shard = next(dataset.glob("train-*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(FolderError, match=shard.name):
        fit_to(replace(toys, dataset=dataset), tmp_path / "model")
