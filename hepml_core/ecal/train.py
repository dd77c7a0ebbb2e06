"""Train: fit a network to the showers; the model folder holds all that is needed to apply it."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from hepml_core.artifacts import Manifest, Output, check_files, read_manifest
from hepml_core.ecal.batches import TrainingHits, ValidationHits
from hepml_core.ecal.config import TrainConfig
from hepml_core.ecal.event_records import Events
from hepml_core.ecal.hit_set import read_events
from hepml_core.ecal.hits import Hits
from hepml_core.ecal.model import NetworkSettings, Normalization, ShowerClassifier, build_model
from hepml_core.ecal.normalize import STATISTICS
from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.storage import Folder
from hepml_core.training.checkpoints import WEIGHTS, save_weights
from hepml_core.training.config import fit_identity
from hepml_core.training.devices import Batch, seeded
from hepml_core.training.fit import fit

log = logging.getLogger(__name__)


def train(dataset: Folder, statistics: Folder, model: Folder, config: TrainConfig) -> Mapping[str, float]:
    """Fit the train split, keep the epoch that is best on the valid split; the test split is not looked at.

    The model folder can be used alone: it holds weights, class names, image size, time windows and normalization. Events
    are held in memory as hits.

    Raises:
        FolderError: An input is not whole, the statistics are of another dataset, or ``model`` holds something else.
        DataError: There is no valid split, or a class has fewer events than asked for.
        SettingError: The network does not fit the images, or ``crop`` is larger than they are.
        TrainingError: The fit cannot go on.
    """
    manifest = read_manifest(dataset, "dataset", "ecal")
    measured = read_manifest(statistics, "statistics", "ecal")
    if measured.inputs["dataset"] != manifest.digest:
        raise FolderError(f"{statistics} was measured on another dataset than {dataset}: run normalize on this one")
    inputs = {"dataset": manifest.digest, "statistics": measured.digest}
    output = Output(model, "model", "ecal", config, inputs)
    if output.finished:
        log.info("%s is already there", model)
        return output.finished.metrics
    check_files(dataset, manifest)
    check_files(statistics, measured)
    facts = _model_facts(manifest, json.loads(statistics.read(STATISTICS)), config)
    with seeded(config.seed):
        network = build_model_of(facts)
    log.info("%s has %d parameters", config.architecture, sum(one.numel() for one in network.parameters()))
    training = _read(dataset, manifest, "train", config.events_per_class, facts["crop"])
    validation = _read(dataset, manifest, "valid", config.valid_events_per_class, facts["crop"])
    result = fit(
        network,
        loss_of=classification_loss,
        train=TrainingHits(training, config.batch_size, config.seed, mirror=config.mirror),
        valid=ValidationHits(validation, config.batch_size),
        config=config,
        folder=model,
        identity=fit_identity(config, *inputs.values()),
    )
    metrics = {"best_epoch": result.best_epoch, **result.metrics}
    if result.writes:
        output.write(WEIGHTS, save_weights(network, {"ecal": json.dumps(facts)}))
        output.write("history.csv", model.read("history.csv"))
        output.publish(metrics=metrics, facts=facts)
    return metrics


def build_model_of(facts: Mapping[str, Any]) -> ShowerClassifier:
    """Build the network that a model folder's facts describe, with random weights."""
    shape = (facts["crop"], facts["crop"]) if facts["crop"] else (facts["height"], facts["width"])
    return build_model(NetworkSettings(**facts["network"]), Normalization(**facts["normalization"]), shape)


def cropped(hits: Hits, crop: int) -> Hits:
    """Return the hits that a model of this crop sees; 0 is all."""
    return hits.cropped(crop) if crop else hits


def classification_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the mean cross-entropy and the accuracy."""
    logit_bc = network(batch["crystal"], batch["energy"], batch["time"]).float()
    label_b = batch["label"]
    accuracy = (logit_bc.argmax(1) == label_b).float().mean()
    return {"loss": functional.cross_entropy(logit_bc, label_b), "accuracy": accuracy}


def _model_facts(dataset: Manifest, statistics: Mapping[str, Any], config: TrainConfig) -> dict[str, Any]:
    height, width = dataset.facts["height"], dataset.facts["width"]
    if config.crop > min(height, width):
        raise SettingError(f"crop must be at most {min(height, width)}, the size of the images, got {config.crop}")
    return {
        **{name: dataset.facts[name] for name in ("class_names", "height", "width", "reading")},
        "crop": config.crop,
        "normalization": {field.name: statistics[field.name] for field in dataclasses.fields(Normalization)},
        "network": {field.name: getattr(config, field.name) for field in dataclasses.fields(NetworkSettings)},
    }


def _read(dataset: Folder, manifest: Manifest, split: str, events_per_class: int, crop: int) -> Events:
    """Read the events of a split, cropped."""
    if not manifest.shards(split):
        raise DataError(f"{dataset} has no {split} split: organize with {split}_fraction above 0")
    events = read_events(dataset, manifest, split, events_per_class)
    return dataclasses.replace(events, hits=cropped(events.hits, crop))
