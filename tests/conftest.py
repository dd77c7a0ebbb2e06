"""Fixtures of more than one test file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from hepml_core.event_images.config import ConvertConfig, NormalizeConfig, OrganizeConfig
from hepml_core.event_images.convert import convert
from hepml_core.event_images.normalize import normalize
from hepml_core.event_images.organize import organize
from hepml_core.storage import LocalFolder
from tests.class_folders import bright_and_dark

pytest.register_assert_rewrite("tests.kills")

# The same cases in every run: a failure is that of a change, not of a day. HYPOTHESIS_PROFILE=default looks further.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real HEP files."""
    folder = Path(os.environ.get("HEPML_REAL_DATA", Path(__file__).parents[2] / "shared/data"))
    if not folder.is_dir():
        pytest.skip(f"there are no real files at {folder}; HEPML_REAL_DATA names another folder")
    return folder


@dataclass(frozen=True)
class Toy:
    """Folders of a small sample of two classes, bright and dark, that any network can tell."""

    source: LocalFolder
    shards: LocalFolder
    dataset: LocalFolder
    statistics: LocalFolder


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A converted, organized and measured sample, to be read only."""
    root = tmp_path_factory.mktemp("toy")
    made = Toy(*(LocalFolder(root / name) for name in ("source", "shards", "dataset", "statistics")))
    convert(LocalFolder(bright_and_dark(root / "source")), made.shards, ConvertConfig(records_per_shard=50))
    split = OrganizeConfig(exact=True, train_fraction=0.5, valid_fraction=0.2, test_fraction=0.3)
    organize(made.shards, made.dataset, split)
    normalize(made.dataset, made.statistics, NormalizeConfig())
    return made


@dataclass(frozen=True)
class Trained:
    """A model of the toy sample and its report."""

    model: LocalFolder
    report: LocalFolder
    metrics: dict[str, float]
    """What evaluate returned."""


@pytest.fixture(scope="session")
def trained(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small network that has learned the toy sample, to be read only."""
    # Lazily: torch takes seconds, and most tests need none.
    from hepml_core.event_images.config import EvaluateConfig, TrainConfig
    from hepml_core.event_images.evaluate import evaluate
    from hepml_core.event_images.train import train

    root = tmp_path_factory.mktemp("trained")
    model, report = LocalFolder(root / "model"), LocalFolder(root / "report")
    train(toy.dataset, toy.statistics, model, TrainConfig(epochs=3, batch_size=8, learning_rate=3e-3, device="cpu"))
    metrics = evaluate(toy.dataset, model, report, EvaluateConfig(replicas=50, device="cpu"))
    return Trained(model, report, dict(metrics))
