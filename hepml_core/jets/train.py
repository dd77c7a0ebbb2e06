"""Train: fit an autoencoder or a density to the jets; the model folder holds all that is needed to apply it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hepml_core.artifacts import Manifest, Output, check_files, read_manifest
from hepml_core.errors import DataError, FolderError
from hepml_core.jets.batches import TrainingRows, ValidationRows
from hepml_core.jets.config import TrainConfig
from hepml_core.jets.density_fit import fit_density
from hepml_core.jets.features import Features, FloatArray
from hepml_core.jets.model import PRINCIPAL, Autoencoder, build_autoencoder, start_from_components
from hepml_core.jets.normalize import STATISTICS, read_statistics
from hepml_core.jets.rows import read_values
from hepml_core.storage import Folder
from hepml_core.training.checkpoints import WEIGHTS, save_weights
from hepml_core.training.config import fit_identity
from hepml_core.training.devices import Batch, seeded
from hepml_core.training.fit import FitResult, Phase, fit

log = logging.getLogger(__name__)

MOST_VALUES = 1000
"""A variable with at most so many values in the training rows is reconstructed to the nearest of them."""


def train(dataset: Folder, statistics: Folder, model: Folder, config: TrainConfig) -> Mapping[str, float]:
    """Fit the train split, keep the epoch that is best on the valid split; the test split is not looked at.

    The model folder can be used alone: it holds weights, variables, widths and the statistics.

    Raises:
        FolderError: An input is not whole, the statistics are of another dataset, or ``model`` holds something else.
        DataError: There is no valid split, or a value is outside a transform's domain.
        SettingError: The network does not fit the variables.
        TrainingError: The fit cannot go on.
    """
    manifest = read_manifest(dataset, "dataset", "jets")
    measured, scaler = read_statistics(statistics)
    if measured.inputs["dataset"] != manifest.digest:
        raise FolderError(f"{statistics} was measured on another dataset than {dataset}: run normalize on this one")
    inputs = {"dataset": manifest.digest, "statistics": measured.digest}
    output = Output(model, "model", "jets", config, inputs)
    if output.finished:
        log.info("%s is already there", model)
        return output.finished.metrics
    check_files(dataset, manifest)
    if config.method == "density":
        return fit_density(dataset, manifest, output, model, config, fit_identity(config, *inputs.values()))
    values = {split: read_values(dataset, manifest, split) for split in ("train", "valid")}
    for split, value_nf in values.items():
        if not len(value_nf):
            raise DataError(f"{dataset} has no {split} split: organize with {split}_fraction above 0")
    features = Features(tuple(manifest.facts["variables"]), scaler, config.angles)
    facts = _model_facts(manifest, values["train"], features, config)
    with seeded(config.seed):
        network = build_of(facts)
    log.info("%s has %d parameters", network.node_string, sum(one.numel() for one in network.parameters()))
    scaled = {split: _scaled(features, one, config) for split, one in values.items()}
    if config.network == PRINCIPAL:
        log.info("principal components alone have a loss of %.3g", start_from_components(network, scaled["train"]))
    result = _fit(network, scaled, model, config, inputs)
    metrics = {"best_epoch": result.best_epoch, **result.metrics}
    if result.writes:
        output.write(WEIGHTS, save_weights(network, {"jets": json.dumps(facts)}))
        output.write(STATISTICS, statistics.read(STATISTICS))
        output.write("history.csv", model.read("history.csv"))
        output.publish(metrics=metrics, facts=facts)
    return metrics


def build_of(facts: Mapping[str, Any]) -> Autoencoder:
    """Build the network that a model folder's facts describe, with random weights."""
    network = build_autoencoder(
        facts["network"], facts["features"], facts["nodes"], facts["dropout"], last_bias=facts["last_bias"]
    )
    return network.double() if facts["double"] else network


def reconstruction_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the mean squared error over all scaled features."""
    scaled_nf = batch["row"]
    return {"loss": functional.mse_loss(network(scaled_nf), scaled_nf)}


def _fit(
    network: Autoencoder, scaled: Mapping[str, Tensor], model: Folder, config: TrainConfig, inputs: Mapping[str, str]
) -> FitResult:
    return fit(
        network,
        loss_of=reconstruction_loss,
        train=TrainingRows({"row": scaled["train"]}, config.batch_size, config.seed),
        valid=ValidationRows({"row": scaled["valid"]}, 2 * config.batch_size),
        config=config,
        folder=model,
        identity=fit_identity(config, *inputs.values()),
        phases=_phases(network, config),
    )


def _phases(network: Autoencoder, config: TrainConfig) -> list[Phase]:
    steps = config.phases() or [(config.epochs, config.learning_rate)]
    phases = [Phase(f"step_{number}", epochs, None, rate) for number, (epochs, rate) in enumerate(steps, 1)]
    linear = tuple(name for name, module in network.named_modules() if isinstance(module, nn.Linear))
    return [*phases, Phase("settle", config.settle_epochs, linear, config.settle_rate)]


def _scaled(features: Features, value_nf: FloatArray, config: TrainConfig) -> Tensor:
    scaled = torch.from_numpy(features.forward(value_nf))
    return scaled.double() if config.double else scaled


def _model_facts(manifest: Manifest, value_nf: FloatArray, features: Features, config: TrainConfig) -> dict[str, Any]:
    facts = manifest.facts
    names = list(facts["variables"])
    return {
        "method": "autoencoder",
        "network": config.network,
        "nodes": list(config.nodes),
        "dropout": list(config.dropout),
        "last_bias": config.last_bias,
        "angles": config.angles,
        "double": config.double,
        "features": features.width,
        "variables": names,
        "rows": facts["rows"],
        "grids": {name: grid for name in names if (grid := _grid(name, value_nf[:, names.index(name)]))},
    }


def _grid(name: str, value_n: FloatArray) -> list[float]:
    """Return the values of an area, which comes in whole numbers of ghosts, where they are few."""
    if name != "ActiveArea":
        return []
    found = np.unique(value_n[: 1 << 20])
    return found.tolist() if len(found) <= MOST_VALUES else []
