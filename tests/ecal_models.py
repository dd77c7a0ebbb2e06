"""A model whose scores are known, for tests of what is made of scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Output, read_manifest
from hepml_core.config import build_config
from hepml_core.ecal.config import TrainConfig
from hepml_core.ecal.hits import Hits
from hepml_core.storage import Folder, LocalFolder
from hepml_core.training.history import write_history

Score = Callable[[Hits], NDArray[np.float64]]


def make_model(dataset: Path, model: Path, *, facts: Mapping[str, Any] | None = None, **settings: Any) -> Path:
    """Write a model folder without weights, as train would for a dataset."""
    manifest = read_manifest(LocalFolder(dataset), "dataset", "ecal")
    config = build_config(TrainConfig, settings)
    output = Output(LocalFolder(model), "model", "ecal", config, {"dataset": manifest.digest})
    losses = [
        {"epoch": n, "train_loss": 0.7 / n, "valid_loss": 0.8 / n, "learning_rate": 1e-3, "wall_time": 1e9 + n}
        for n in (1, 2, 3)
    ]
    write_history(output.files, losses)
    output.keep_written()
    kept = {name: manifest.facts[name] for name in ("class_names", "height", "width", "reading")}
    normalization = {"energy": "log", "energy_scale": 1.5, "log_energy": 0.002, "time": "trigger", "time_scale": 0.4}
    output.publish(
        metrics={"best_epoch": 2}, facts={**kept, "crop": config.crop, "normalization": normalization, **(facts or {})}
    )
    return model


class KnownScores:
    """Stands for ``Classifier``: the folder is read, the score of each event is computed by a function of its hits.

    Attributes:
        seen: The hits of each call.
    """

    def __init__(self, score: Score) -> None:
        self._score = score
        self.seen: list[Hits] = []

    def __call__(self, model: Folder, device: str) -> KnownScores:
        """Open a model folder, as the constructor of ``Classifier`` does."""
        assert device in ("auto", "cpu", "gpu")
        self.manifest = read_manifest(model, "model", "ecal")
        self.facts = self.manifest.facts
        return self

    def electron_probabilities(self, hits: Hits, batch_size: int) -> Iterator[NDArray[np.float64]]:
        """Yield the scores of the events in batches."""
        self.seen.append(hits)
        score_e = self._score(hits)
        for start in range(0, len(hits), batch_size):
            yield score_e[start : start + batch_size]


def second_cluster(hits: Hits) -> NDArray[np.float64]:
    """Tell the electrons of tests/ecal_shards.py without a mistake: by the energy three crystals beside the middle."""
    rows, columns = hits.shape
    at_h = hits.crystal_h == (rows // 2) * columns + columns // 2 + 3
    energy_e = np.bincount(hits.event_h[at_h], hits.energy_h[at_h], minlength=len(hits)).astype(np.float64)
    return energy_e + np.where(energy_e > 0.04, 0.75, 0.01)


def noise(hits: Hits) -> NDArray[np.float64]:
    """Tell nothing: digits of the energy that mean nothing, from 0 to 1."""
    energy_e = np.bincount(hits.event_h, hits.energy_h.astype(np.float64), minlength=len(hits)).astype(np.float64)
    return energy_e * 1e4 % 1


def blurred(hits: Hits) -> NDArray[np.float64]:
    """Tell electrons from photons, with mistakes."""
    return 0.35 * (second_cluster(hits) > 0.5) + 0.65 * noise(hits)
