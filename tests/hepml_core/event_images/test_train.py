"""A fit of pictures: what goes into it, what it refuses, and what the model folder is good for."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hepml_core.artifacts import Manifest
from hepml_core.config import build_config
from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.event_images import train as train_module
from hepml_core.event_images.batches import PictureSet
from hepml_core.event_images.config import (
    ConvertConfig,
    NormalizeConfig,
    OrganizeConfig,
    PredictConfig,
    TrainConfig,
)
from hepml_core.event_images.convert import convert
from hepml_core.event_images.normalize import normalize
from hepml_core.event_images.organize import organize
from hepml_core.event_images.predict import predict
from hepml_core.event_images.train import train
from hepml_core.storage import Folder, LocalFolder
from hepml_core.training.checkpoints import read_tensors
from hepml_core.training.history import read_history
from tests.class_folders import contents, manifest_of, noise_classes, picture, png, write
from tests.conftest import Toy, Trained

QUICK = TrainConfig(epochs=1, batch_size=16, device="cpu")


def weights_of(model: Path) -> dict[str, Tensor]:
    return read_tensors((model / "model.safetensors").read_bytes(), "the weights")[0]


def prepared(source: Path, *, channels: Any = 3, image_size: int = 0, valid: float = 0.25) -> tuple[Folder, Folder]:
    """Convert, organize and measure a source; return dataset and statistics."""
    folders = [LocalFolder(source.with_name(f"{source.name} {name}")) for name in ("shards", "dataset", "statistics")]
    shards, dataset, statistics = folders
    convert(LocalFolder(source), shards, ConvertConfig(channels=channels, image_size=image_size))
    split = OrganizeConfig(exact=True, train_fraction=0.75 - valid, valid_fraction=valid, test_fraction=0.25)
    organize(shards, dataset, split)
    normalize(dataset, statistics, NormalizeConfig())
    return dataset, statistics


def test_a_fit_learns_and_tells_its_epochs(trained: Trained) -> None:
    history = read_history(trained.model)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    manifest = manifest_of(trained.model.path)
    best = int(manifest["metrics"]["best_epoch"])
    assert manifest["metrics"]["valid_loss"] == min(float(row["valid_loss"]) for row in history)
    assert manifest["metrics"]["valid_loss"] == pytest.approx(float(history[best - 1]["valid_loss"]))
    assert manifest["metrics"]["valid_accuracy"] > 0.9
    assert manifest["facts"]["class_names"] == ["bright", "dark"]


def test_the_model_folder_alone_classifies(toy: Toy, tmp_path: Path) -> None:
    dataset, statistics = (
        shutil.copytree(folder.path, tmp_path / folder.path.name) for folder in (toy.dataset, toy.statistics)
    )
    train(LocalFolder(dataset), LocalFolder(statistics), LocalFolder(tmp_path / "model"), QUICK)
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    for name in ("manifest.json", "model.safetensors", "history.csv"):
        shutil.copy(tmp_path / "model" / name, kept / name)
    for gone in (dataset, statistics, tmp_path / "model"):
        shutil.rmtree(gone)
    source = write(tmp_path / "new", {"one.png": png(picture(1, size=(32, 32)))})
    predict(LocalFolder(source), LocalFolder(kept), LocalFolder(tmp_path / "predictions"), PredictConfig(device="cpu"))
    assert (tmp_path / "predictions/predictions.csv").read_text().startswith("key,predicted,p_bright,p_dark\none.png,")


def test_a_changed_model_folder_is_refused(trained: Trained, tmp_path: Path) -> None:
    model = Path(shutil.copytree(trained.model.path, tmp_path / "model"))
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(FolderError, match=r"model\.safetensors was changed"):
        predict(LocalFolder(tmp_path), LocalFolder(model), LocalFolder(tmp_path / "predictions"), PredictConfig())


def test_statistics_of_another_dataset_are_refused(toy: Toy, tmp_path: Path) -> None:
    _, statistics = prepared(noise_classes(tmp_path / "source", count=20))
    with pytest.raises(FolderError, match=r"measured on another dataset .* run normalize on this one"):
        train(toy.dataset, statistics, LocalFolder(tmp_path / "model"), QUICK)
    assert not (tmp_path / "model").exists()


def test_a_dataset_without_a_valid_split_is_refused(tmp_path: Path) -> None:
    dataset, statistics = prepared(noise_classes(tmp_path / "source", count=8), valid=0)
    with pytest.raises(DataError, match="no valid split"):
        train(dataset, statistics, LocalFolder(tmp_path / "model"), QUICK)


def test_a_cut_dataset_is_refused_before_the_fit(toy: Toy, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(toy.dataset.path, tmp_path / "dataset"))
    shard = next(dataset.glob("valid-*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(FolderError, match=shard.name):
        train(LocalFolder(dataset), toy.statistics, LocalFolder(tmp_path / "model"), QUICK)


def test_pictures_too_small_for_the_network_are_refused_before_the_fit(tmp_path: Path) -> None:
    dataset, statistics = prepared(noise_classes(tmp_path / "source", count=8))
    with pytest.raises(SettingError, match="8x8 pixels are too small for the network small"):
        train(dataset, statistics, LocalFolder(tmp_path / "model"), QUICK)


def test_the_test_split_is_not_looked_at(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Watched(PictureSet):
        def __init__(self, dataset: Folder, manifest: Manifest, split: str) -> None:
            opened.append(split)
            super().__init__(dataset, manifest, split)

    monkeypatch.setattr(train_module, "PictureSet", Watched)
    train(toy.dataset, toy.statistics, LocalFolder(tmp_path / "model"), QUICK)
    assert opened == ["train", "valid"]


def test_the_same_settings_give_the_same_weights_and_a_second_run_does_nothing(toy: Toy, tmp_path: Path) -> None:
    one, two = LocalFolder(tmp_path / "one"), LocalFolder(tmp_path / "two")
    first = train(toy.dataset, toy.statistics, one, QUICK)
    train(toy.dataset, toy.statistics, two, QUICK)
    assert contents(one.path)["model.safetensors"] == contents(two.path)["model.safetensors"]
    before = {path: path.stat().st_mtime_ns for path in one.path.rglob("*")}
    assert train(toy.dataset, toy.statistics, one, QUICK) == first
    assert {path: path.stat().st_mtime_ns for path in one.path.rglob("*")} == before
    with pytest.raises(FolderError, match="epochs was 1, is 2"):
        train(toy.dataset, toy.statistics, one, replace(QUICK, epochs=2))


def test_balanced_weights_make_every_class_weigh_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    label_n = np.repeat([0, 1, 2], [50, 30, 4])

    class Undecided(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.zeros(len(image), 3)

    def losses(class_weights: Any) -> list[float]:
        """Return the total loss of each class."""
        loss_of = train_module._loss_of(label_n, 3, TrainConfig(class_weights=class_weights))
        batches: list[Mapping[str, Tensor]] = [
            {"image": torch.zeros(count, 1), "label": torch.full((count,), label)}
            for label, count in enumerate((50, 30, 4))
        ]
        return [float(loss_of(Undecided(), batch)["loss"]) * len(batch["label"]) for batch in batches]

    assert losses("balanced") == pytest.approx([84 / 3 * np.log(3)] * 3, rel=1e-5)
    assert losses("none") == pytest.approx([50 * np.log(3), 30 * np.log(3), 4 * np.log(3)], rel=1e-5)


def test_balanced_weights_change_the_fit(toy: Toy, tmp_path: Path) -> None:
    source = noise_classes(tmp_path / "source", count=0)
    for label, (name, count) in enumerate({"many": 40, "rare": 8}.items()):
        write(source, {f"{name}/{n}.png": png(picture(1000 * label + n, size=(16, 16))) for n in range(count)})
    dataset, statistics = prepared(source)
    models = {weights: LocalFolder(tmp_path / weights) for weights in ("none", "balanced")}
    for weights, model in models.items():
        train(
            dataset,
            statistics,
            model,
            build_config(TrainConfig, {"epochs": 1, "device": "cpu", "class_weights": weights}),
        )
    assert contents(models["none"].path)["model.safetensors"] != contents(models["balanced"].path)["model.safetensors"]


def test_head_epochs_leave_the_backbone_bit_for_bit(toy: Toy, trained: Trained, tmp_path: Path) -> None:
    config = replace(QUICK, epochs=0, head_epochs=2, start_weights=str(trained.model.path / "model.safetensors"))
    train(toy.dataset, toy.statistics, LocalFolder(tmp_path / "model"), config)
    start, after = weights_of(trained.model.path), weights_of(tmp_path / "model")
    changed = {name for name in start if not torch.equal(start[name], after[name])}
    assert changed == {"backbone.classifier.weight", "backbone.classifier.bias"}
    assert [row["phase"] for row in read_history(LocalFolder(tmp_path / "model"))] == ["head", "head"]


def test_the_whole_network_learns_after_the_head(toy: Toy, trained: Trained, tmp_path: Path) -> None:
    config = replace(QUICK, head_epochs=1, start_weights=str(trained.model.path / "model.safetensors"))
    train(toy.dataset, toy.statistics, LocalFolder(tmp_path / "model"), config)
    assert [row["phase"] for row in read_history(LocalFolder(tmp_path / "model"))] == ["head", "whole"]


def test_no_epochs_at_all_are_refused(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="epochs"):
        train(toy.dataset, toy.statistics, LocalFolder(tmp_path / "model"), replace(QUICK, epochs=0))


@pytest.mark.parametrize("settings", [{"dropout": 1}, {"head_epochs": -1}, {"batch_size": 0}, {"class_weights": "all"}])
def test_nonsense_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(settings))):
        build_config(TrainConfig, settings)
