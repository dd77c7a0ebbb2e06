"""Train: fit a DenseNet to the pictures; the model folder holds all that is needed to apply it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hepml_core.artifacts import Manifest, Output, check_files, read_manifest
from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.event_images.batches import IntArray, PictureBatch, PictureSet
from hepml_core.event_images.config import TrainConfig
from hepml_core.event_images.model import HEAD, ImageClassifier, build_model, load_start_weights, read_start_weights
from hepml_core.event_images.normalize import STATISTICS
from hepml_core.storage import Folder
from hepml_core.tfrecord import hash64
from hepml_core.training.checkpoints import WEIGHTS, save_weights
from hepml_core.training.config import fit_identity
from hepml_core.training.devices import seeded
from hepml_core.training.fit import LossOf, Phase, fit

log = logging.getLogger(__name__)


def train(dataset: Folder, statistics: Folder, model: Folder, config: TrainConfig) -> Mapping[str, float]:
    """Fit the train split, keep the epoch that is best on the valid split; the test split is not looked at.

    With ``head_epochs`` the classifier at the network's end is fitted first and the rest is truly frozen; then the
    whole network is. The model folder can be used alone: it holds weights, class names, picture shape and normalization.

    Raises:
        FolderError: An input is not whole, the statistics are of another dataset, or ``model`` holds something else.
        DataError: There is no valid split, or a picture is damaged.
        SettingError: The pictures are too small for the network.
        TrainingError: The fit cannot go on.
    """
    manifest = read_manifest(dataset, "dataset", "event_images")
    measured = read_manifest(statistics, "statistics", "event_images")
    if measured.inputs["dataset"] != manifest.digest:
        raise FolderError(f"{statistics} was measured on another dataset than {dataset}: run normalize on this one")
    inputs = {"dataset": manifest.digest, "statistics": measured.digest}
    if config.start_weights:
        inputs["start_weights"] = f"{hash64(read_start_weights(config.start_weights)):x}"
    output = Output(model, "model", "event_images", config, inputs)
    if output.finished:
        log.info("%s is already there", model)
        return output.finished.metrics
    check_files(dataset, manifest)
    check_files(statistics, measured)
    facts = _model_facts(manifest, json.loads(statistics.read(STATISTICS)), config)
    training, validation = (PictureSet(dataset, manifest, split) for split in ("train", "valid"))
    if not len(validation):
        raise DataError(
            f"{dataset} has no valid split, which chooses the best epoch: organize with valid_fraction above 0"
        )
    with seeded(config.seed):
        network = build_model_of(facts)
    _check_size(network, facts)
    if config.start_weights:
        load_start_weights(network, config.start_weights)
    result = fit(
        network,
        loss_of=_loss_of(training.label_n, len(facts["class_names"]), config),
        train=TrainingBatches(training, config),
        valid=ValidationBatches(validation, config),
        config=config,
        folder=model,
        identity=fit_identity(config, *inputs.values()),
        phases=_phases(config),
    )
    if result.writes:
        output.write(WEIGHTS, save_weights(network, {"event_images": json.dumps(facts)}))
        output.write("history.csv", model.read("history.csv"))
        output.publish(metrics={"best_epoch": result.best_epoch, **result.metrics}, facts=facts)
    return {"best_epoch": result.best_epoch, **result.metrics}


class TrainingBatches:
    """The train split in random order; every process gets another part of it."""

    def __init__(self, pictures: PictureSet, config: TrainConfig) -> None:
        self._pictures, self._config = pictures, config

    def steps(self, world: int) -> int:
        """Return the number of batches a process and epoch; what is left of the last one waits for another epoch."""
        return max(1, len(self._pictures) // world // self._config.batch_size)

    def epoch(self, number: int, rank: int, world: int) -> Iterator[Mapping[str, Tensor]]:
        """Yield a process's share of an epoch: a part of the dataset's circle that starts elsewhere in each epoch."""
        start = int(np.random.default_rng([self._config.seed, number]).integers(len(self._pictures)))
        share = len(self._pictures) // world
        record_n = (start + rank * share + np.arange(share)) % len(self._pictures)
        chance = np.random.default_rng([self._config.seed, number, rank, world])
        batches = self._pictures.shuffled(np.sort(record_n), self._config.batch_size, chance)
        for _, batch in zip(range(self.steps(world)), batches, strict=False):
            yield _to_torch(batch)


class ValidationBatches:
    """The valid split in order; every process gets a part of it."""

    def __init__(self, pictures: PictureSet, config: TrainConfig) -> None:
        self._pictures, self._config = pictures, config

    def steps(self, world: int) -> int:
        """Return the largest number of batches that a process gets."""
        return math.ceil(math.ceil(len(self._pictures) / world) / self._config.batch_size)

    def epoch(self, number: int, rank: int, world: int) -> Iterator[Mapping[str, Tensor]]:  # noqa: ARG002
        """Yield a process's part; it is the same in every epoch."""
        record_n = np.array_split(np.arange(len(self._pictures)), world)[rank]
        return map(_to_torch, self._pictures.in_order(record_n, self._config.batch_size))


def build_model_of(facts: Mapping[str, Any]) -> ImageClassifier:
    """Build the network that a model folder's facts describe, with random weights."""
    # A channel that never varies has no scale; it is left as it is.
    return build_model(
        facts["architecture"],
        classes=len(facts["class_names"]),
        channels=facts["channels"],
        mean_c=facts["mean"],
        std_c=[std or 1.0 for std in facts["std"]],
        dropout=facts["dropout"],
    )


def _check_size(network: ImageClassifier, facts: Mapping[str, Any]) -> None:
    """Refuse pictures that shrink to nothing on their way through the network."""
    height, width = facts["height"], facts["width"]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros((1, height, width, facts["channels"]), dtype=torch.uint8))
    except RuntimeError as error:
        raise SettingError(
            f"pictures of {width}x{height} pixels are too small for the network {facts['architecture']}: "
            "convert with a larger image_size"
        ) from error


def _model_facts(dataset: Manifest, statistics: Mapping[str, Any], config: TrainConfig) -> dict[str, Any]:
    return {
        **{name: dataset.facts[name] for name in ("class_names", "height", "width", "channels", "image_size")},
        "mean": statistics["mean"],
        "std": statistics["std"],
        "architecture": config.architecture,
        "dropout": config.dropout,
    }


def _phases(config: TrainConfig) -> list[Phase]:
    return [Phase("head", config.head_epochs, HEAD), Phase("whole", config.epochs)]


def _loss_of(label_n: IntArray, classes: int, config: TrainConfig) -> LossOf:
    """Return cross-entropy and accuracy; with balanced weights every class contributes the same."""
    weight_c = torch.ones(classes)
    if config.class_weights == "balanced":
        count_c = np.bincount(label_n, minlength=classes)
        weight_c = torch.tensor(len(label_n) / (classes * np.maximum(count_c, 1)), dtype=torch.float32)

    def loss_of(network: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        logit_bc = network(batch["image"]).float()
        label_b = batch["label"]
        weight_b = weight_c.to(label_b.device)[label_b]
        loss_b = functional.cross_entropy(logit_bc, label_b, reduction="none")
        accuracy = (logit_bc.argmax(1) == label_b).float().mean()
        return {"loss": (weight_b * loss_b).mean(), "accuracy": accuracy}

    return loss_of


def _to_torch(batch: PictureBatch) -> dict[str, Tensor]:
    return {"image": torch.from_numpy(batch.image_byxc), "label": torch.from_numpy(batch.label_b)}
