"""Fit a density: choose grids and bins, train the network, round it, and count its tables anew."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepml_core.artifacts import Manifest, Output, check_files, read_manifest
from hepml_core.errors import DataError, FolderError, SettingError
from hepml_core.jets.batches import TrainingRows, ValidationRows
from hepml_core.jets.bounds import Bound, bound_of, parse_bounds
from hepml_core.jets.config import TrainConfig
from hepml_core.jets.density import DensityNetwork, ExactNetwork, to_frequencies
from hepml_core.jets.density_coder import DensityCoder, Prepared, prepare
from hepml_core.jets.grids import Grid, check_grid
from hepml_core.jets.neighbours import are_alike, differences, is_later
from hepml_core.jets.relations import residuals
from hepml_core.jets.rows import read_rows
from hepml_core.jets.tokens import FEATURE_STEPS, Alphabet, Bins, choose_bins
from hepml_core.storage import Folder
from hepml_core.training.checkpoints import read_tensors, write_tensors
from hepml_core.training.devices import Batch, seeded
from hepml_core.training.fit import FitResult, fit

log = logging.getLogger(__name__)

DENSITY = "density.safetensors"
TOKENS = 64
CHOICE, CHOICE_START, CHOICE_END = 0.5, 0.15, 0.65
"""Part of the loss that rewards a clear choice of contexts: nothing up to a part of the training, then more until another.
From the first step on it makes networks choose few contexts and stay with them, which costs 1 % of the bytes."""
SMOOTHING = 16.0
"""Weight of a trained table against the counts of the training rows, in rows."""

IntArray = NDArray[np.int64]
Columns = Mapping[str, NDArray[Any]]


def fit_density(
    dataset: Folder, manifest: Manifest, output: Output, model: Folder, config: TrainConfig, identity: str
) -> Mapping[str, float]:
    """Fit a density to the train split, keep the epoch of fewest bits on the valid split, publish the model folder.

    Raises:
        SettingError: The rows are whole events, or a bound has no grid.
        DataError: A split is empty.
    """
    if manifest.facts["rows"] != "objects":
        raise SettingError("a density is fitted to rows of objects, not of whole events: convert with rows=objects")
    variables = list(manifest.facts["variables"])
    asked = parse_bounds(config.bounds)
    grids = {name: Grid(name, bound_of(name, asked)) for name in variables}
    for name, grid in grids.items():
        check_grid(name, grid.bound, np.dtype(np.float32))
    rows = {split: _read_events(dataset, manifest, split, variables) for split in ("train", "valid")}
    alphabets = choose_alphabets(grids, *rows["train"])
    prepared = {split: prepare(grids, alphabets, *given) for split, given in rows.items()}
    with seeded(config.seed):
        tokens = max(one.tokens for one in alphabets.values())
        network = DensityNetwork(len(variables), tokens, config.hidden, config.contexts)
    result = _fit(network, prepared, model, config, identity)
    coder = DensityCoder(grids, alphabets, *_finish(network, list(alphabets.values()), prepared["train"]))
    bits = coder.bits(*rows["valid"])
    metrics = {
        "best_epoch": result.best_epoch,
        **result.metrics,
        "bits_per_row": sum(bits.values()),
        **{f"bits_{name}": value for name, value in bits.items()},
    }
    if result.writes:
        facts = _facts(coder, manifest, config)
        output.write(DENSITY, _to_bytes(coder, facts))
        output.write("history.csv", model.read("history.csv"))
        output.publish(metrics=metrics, facts=facts)
        log.info("%.2f bytes a row on the valid split, with the bounds held", metrics["bits_per_row"] / 8)
    return metrics


@dataclasses.dataclass(frozen=True)
class Density:
    """A model folder of a density, read.

    Attributes:
        manifest: The folder's manifest.
        variables: Its variables.
        bounds: Bound of each.
    """

    manifest: Manifest
    variables: tuple[str, ...]
    bounds: Mapping[str, Bound]
    _alphabets: Mapping[str, Alphabet]
    _network: ExactNetwork
    _frequency_vkt: IntArray

    def coder(self, factors: Mapping[str, float] | None = None) -> DensityCoder:
        """Return a coder of values whose units are ``factors`` of those of the variables."""
        given = factors or {}
        grids = {name: Grid(name, self.bounds[name], given.get(name, 1.0)) for name in self.variables}
        return DensityCoder(grids, self._alphabets, self._network, self._frequency_vkt)


def read_density(model: Folder) -> Density:
    """Read the model folder of a density.

    Raises:
        FolderError: It is no whole model folder of this domain, or not of a density.
        DataError: Its content is damaged.
    """
    manifest = read_manifest(model, "model", "jets")
    if manifest.facts["method"] != "density":
        raise FolderError(f"{model} is an {manifest.facts['method']}, not a density")
    check_files(model, manifest)
    tensors, _ = read_tensors(model.read(DENSITY), f"{model}/{DENSITY}")
    variables = tuple(manifest.facts["variables"])
    try:
        alphabets = {name: _alphabet(tensors, name) for name in variables}
        frequency_vkt = tensors.pop("frequency_vkt").numpy().astype(np.int64)
        bounds = {name: Bound(**manifest.facts["bounds"][name]) for name in variables}
        network = ExactNetwork.of_integers(tensors)
    except (KeyError, TypeError) as error:
        raise DataError(f"{model}/{DENSITY} lacks {error}: train the model again") from error
    return Density(manifest, variables, bounds, alphabets, network, frequency_vkt)


def bits_per_variable(model: Folder, value_nf: NDArray[np.float32], event_n: NDArray[np.uint64]) -> dict[str, float]:
    """Return the mean number of bits that a model folder's density takes for each variable.

    Args:
        model: The model folder.
        value_nf: Rows (n, f) of its variables, in its order; those of an event together, in the order of the event.
        event_n: Identity of each row's event.
    """
    density = read_density(model)
    first_e = np.flatnonzero(np.append(True, event_n[1:] != event_n[:-1]))
    count_e = np.diff(first_e, append=len(event_n))
    return density.coder().bits(dict(zip(density.variables, value_nf.T, strict=True)), count_e)


def bits_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the bits of a batch; see ``DensityNetwork.forward``."""
    bits: dict[str, Tensor] = network(batch["input"], batch["token"], batch.get("choice"))
    return bits


@dataclasses.dataclass(frozen=True)
class ChoosingRows:
    """Training rows, and with each batch what part of its loss rewards a clear choice.

    Attributes:
        rows: The rows.
        epochs: Epochs of the training.
    """

    rows: TrainingRows
    epochs: int

    def steps(self, world: int) -> int:
        """See ``training.fit.Batches``."""
        return self.rows.steps(world)

    def epoch(self, number: int, rank: int, world: int) -> Iterator[Batch]:
        """See ``training.fit.Batches``."""
        steps = self.steps(world)
        for step, batch in enumerate(self.rows.epoch(number, rank, world)):
            done = (number + step / steps) / self.epochs
            choice = CHOICE * min(1.0, max(0.0, (done - CHOICE_START) / (CHOICE_END - CHOICE_START)))
            yield {**batch, "choice": torch.tensor(choice)}


def _read_events(
    dataset: Folder, manifest: Manifest, split: str, variables: list[str]
) -> tuple[dict[str, NDArray[Any]], IntArray]:
    """Return the values of a split with the jets of an event together and in order, and how many each event has."""
    columns = read_rows(dataset, manifest, split, ["event", "position", *variables])
    if not len(columns["event"]):
        raise DataError(f"{dataset} has no {split} split: organize with {split}_fraction above 0")
    order_n = np.lexsort((columns["position"], columns["event"]))
    _, count_e = np.unique(columns["event"], return_counts=True)
    return {name: columns[name][order_n] for name in variables}, count_e.astype(np.int64)


def choose_alphabets(grids: Mapping[str, Grid], values: Columns, count_e: IntArray) -> dict[str, Alphabet]:
    """Choose bins for a sample of jets, and of their differences to the jet before where these are much smaller.

    Raises:
        DataError: No value of a variable can be kept within its bound.
    """
    alphabets: dict[str, Alphabet] = {}
    known: dict[str, IntArray] = {}
    later_n = is_later(count_e)
    for name, residual_n, index_n, good_n in residuals(grids, values, known):
        if not good_n.any():
            raise DataError(f"no value of {name} in the train split fits its bound: set another with bounds={name}=…")
        residual_n, known[name] = np.where(good_n, residual_n, 0), np.where(good_n, index_n, 0)
        difference_n = differences(residual_n, later_n)[later_n & good_n]
        falls = len(difference_n) > 0 and are_alike(residual_n, later_n)
        alphabets[name] = Alphabet(
            choose_bins(residual_n[good_n], TOKENS), choose_bins(difference_n, TOKENS) if falls else None
        )
    return alphabets


def _fit(
    network: DensityNetwork, prepared: Mapping[str, Prepared], model: Folder, config: TrainConfig, identity: str
) -> FitResult:
    rows = {
        split: {
            "input": torch.from_numpy(one.input_nd[:, 1:] / np.float32(FEATURE_STEPS)),
            "token": torch.from_numpy(one.token_vn.astype(np.uint8).T.copy()),
        }
        for split, one in prepared.items()
    }
    return fit(
        network,
        loss_of=bits_loss,
        train=ChoosingRows(TrainingRows(rows["train"], config.batch_size, config.seed), config.epochs),
        valid=ValidationRows(rows["valid"], config.batch_size),
        config=config,
        folder=model,
        identity=identity,
    )


def _finish(network: DensityNetwork, alphabets: list[Alphabet], prepared: Prepared) -> tuple[ExactNetwork, IntArray]:
    """Round the network; fill its tables with what is found in the contexts that it now chooses."""
    exact = ExactNetwork.of(network)
    trained_vkt = network.logit_vkt.detach().double().softmax(2).numpy()
    frequency_vkt = np.zeros(trained_vkt.shape, np.int64)
    context_vn = exact.contexts(prepared.input_nd)
    contexts, tokens = trained_vkt.shape[1:]
    for number, one in enumerate(alphabets):
        cell_n = context_vn[number] * tokens + prepared.token_vn[number]
        count_kt = np.bincount(cell_n, minlength=contexts * tokens).reshape(contexts, tokens)[:, : one.tokens]
        prior_kt = trained_vkt[number, :, : one.tokens]
        weight_kt = count_kt + SMOOTHING * prior_kt / prior_kt.sum(1, keepdims=True)
        frequency_vkt[number, :, : one.tokens] = to_frequencies(weight_kt)
    return exact, frequency_vkt


def _facts(coder: DensityCoder, manifest: Manifest, config: TrainConfig) -> dict[str, Any]:
    return {
        "method": "density",
        "variables": list(coder.grids),
        "order": coder.order,
        "bounds": {name: dataclasses.asdict(grid.bound) for name, grid in coder.grids.items()},
        "contexts": config.contexts,
        "hidden": config.hidden,
        "rows": manifest.facts["rows"],
    }


def _to_bytes(coder: DensityCoder, facts: Mapping[str, Any]) -> bytes:
    tensors = {"frequency_vkt": torch.from_numpy(coder.frequency_vkt.astype(np.int16))}
    for name, alphabet in coder.alphabets.items():
        tensors[f"edge_t.{name}"] = torch.from_numpy(alphabet.own.edge_t)
        if alphabet.later:
            tensors[f"later_edge_t.{name}"] = torch.from_numpy(alphabet.later.edge_t)
    return write_tensors({**tensors, **coder.network.to_integers()}, {"jets": json.dumps(facts)})


def _alphabet(tensors: dict[str, Tensor], name: str) -> Alphabet:
    own, later = tensors.pop(f"edge_t.{name}"), tensors.pop(f"later_edge_t.{name}", None)
    return Alphabet(Bins(own.numpy()), None if later is None else Bins(later.numpy()))
