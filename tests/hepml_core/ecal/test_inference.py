"""Applying a model folder: order, batches, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hepml_core.config import build_config
from hepml_core.ecal.config import TrainConfig
from hepml_core.ecal.hits import Hits
from hepml_core.ecal.inference import Classifier
from hepml_core.ecal.train import train
from hepml_core.errors import DataError, FolderError
from hepml_core.storage import LocalFolder
from tests.ecal_shards import ToyFolders, events_of, make_folders


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> ToyFolders:
    """Folders of 30 events of each class, to be read only."""
    return make_folders(tmp_path_factory.mktemp("toys"), 30)


@pytest.fixture(scope="module")
def model(toys: ToyFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, to be read only."""
    folder = tmp_path_factory.mktemp("fitted") / "model"
    config = build_config(TrainConfig, {"epochs": 1, "batch_size": 10, "device": "cpu"})
    train(LocalFolder(toys.dataset), LocalFolder(toys.statistics), LocalFolder(folder), config)
    return folder


def scores(model: Path, hits: Hits, batch_size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.concatenate(list(Classifier(LocalFolder(model), "cpu").electron_probabilities(hits, batch_size)))


def test_probabilities_come_in_order_whatever_the_batches(model: Path, toys: ToyFolders) -> None:
    hits = events_of(toys.dataset, "test").hits
    whole_e = scores(model, hits, 1000)
    assert whole_e.shape == (len(hits),)
    assert ((whole_e > 0) & (whole_e < 1)).all()
    assert len(set(whole_e)) == len(hits)
    np.testing.assert_allclose(scores(model, hits, 4), whole_e, rtol=1e-5)
    turned_e = np.arange(len(hits))[::-1]
    np.testing.assert_allclose(scores(model, hits.of(turned_e), 1000), whole_e[turned_e], rtol=1e-5)


def test_no_events_give_no_probabilities(model: Path, toys: ToyFolders) -> None:
    hits = events_of(toys.dataset, "test").hits.of(np.array([], np.int64))
    assert list(Classifier(LocalFolder(model), "cpu").electron_probabilities(hits, 10)) == []


def test_images_of_another_size_are_refused(model: Path, toys: ToyFolders) -> None:
    hits = events_of(toys.dataset, "test").hits.cropped(20)
    with pytest.raises(DataError, match="fitted to images of 32 x 32 crystals, these have 20 x 20"):
        scores(model, hits, 10)


def test_a_changed_model_folder_is_refused(model: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(model, tmp_path / "model"))
    content = bytearray((changed / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (changed / "model.safetensors").write_bytes(content)
    with pytest.raises(FolderError, match=r"model\.safetensors was changed"):
        Classifier(LocalFolder(changed), "cpu")
