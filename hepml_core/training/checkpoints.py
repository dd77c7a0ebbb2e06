"""Weights and checkpoints as safetensors: plain tensors and JSON, so that reading one runs no code (a pickle may).

A fit's checkpoints are ``last.safetensors`` (weights, optimizer and state, to resume from) and
``best-NNNN.safetensors`` (weights of the best epoch so far). ``last`` names its ``best``, so that the two belong
together whenever the fit is killed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from hepml_core.artifacts import Manifest, check_files, read_manifest
from hepml_core.errors import DataError, FolderError
from hepml_core.storage import Folder
from hepml_core.training.state import FitState

NetworkT = TypeVar("NetworkT", bound=nn.Module)

WEIGHTS = "model.safetensors"
"""Weights of a model folder."""
LAST = "last.safetensors"
_MODEL, _OPTIMIZER = "model/", "optimizer/"
_NAMES_SHOWN = 5


def save_weights(model: nn.Module, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return a model's weights and buffers as the bytes of a safetensors file; ``metadata`` travels inside."""
    return write_tensors(model.state_dict(), metadata)


def write_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return tensors as the bytes of a safetensors file; ``metadata`` travels inside."""
    return save_tensors(_plain(tensors), dict(metadata or {}))


def load_weights(model: nn.Module, content: bytes, what: str = "the weights") -> dict[str, str]:
    """Load what ``save_weights`` returned and give back the metadata.

    Raises:
        DataError: The content is no whole safetensors file, or it belongs to another model; names and shapes are told.
    """
    tensors, metadata = read_tensors(content, what)
    _load_into(model, tensors, what)
    return metadata


def load_model(model: Folder, domain: str, build: Callable[[Mapping[str, Any]], NetworkT]) -> tuple[Manifest, NetworkT]:
    """Return the manifest and the network of a model folder.

    Args:
        model: The folder.
        domain: Whose model it must be.
        build: Makes the network, with any weights, from the manifest's facts.

    Raises:
        FolderError: The folder is no whole model folder of this domain.
        DataError: The weights are of another network.
    """
    manifest = read_manifest(model, "model", domain)
    network = build(manifest.facts)
    check_files(model, manifest)
    load_weights(network, model.read(WEIGHTS), f"{model}/{WEIGHTS}")
    return manifest, network


def read_tensors(content: bytes, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a safetensors file.

    Raises:
        DataError: The content is no whole safetensors file.
    """
    try:
        tensors = load_tensors(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError) as error:
        raise DataError(f"{what} cannot be read as safetensors: {error}") from error
    return tensors, header.get("__metadata__", {})


class Checkpoints:
    """Checkpoints of one fit in a folder."""

    def __init__(self, folder: Folder, identity: str) -> None:
        self._folder, self._identity = folder, identity

    def read_last(self) -> bytes | None:
        """Return the last checkpoint, or None where the fit starts.

        Raises:
            FolderError: The checkpoint belongs to a fit of another identity.
            DataError: The checkpoint is damaged.
        """
        try:
            content = self._folder.read(LAST)
        except FileNotFoundError:
            return None
        _, metadata = read_tensors(content, self._name(LAST))
        if metadata.get("identity") != self._identity:
            raise FolderError(
                f"{self._folder} holds a checkpoint of another fit (other data, settings or start weights): "
                "delete the folder to start anew, or write the model to another folder"
            )
        return content

    def read_best(self, epoch: int) -> bytes:
        """Return the best epoch's weights.

        Raises:
            FolderError: They are gone.
        """
        try:
            return self._folder.read(_best_name(epoch))
        except FileNotFoundError as error:
            raise FolderError(
                f"{self._name(_best_name(epoch))} is missing, though the last checkpoint names it: "
                f"delete the folder {self._folder} to start anew"
            ) from error

    def write(self, model: nn.Module, optimizer: torch.optim.Optimizer | None, state: FitState) -> None:
        """Publish the last checkpoint and, where this epoch is the best, its weights; drop what is superseded."""
        if state.best_epoch == state.epoch:
            metadata = {"identity": self._identity, "epoch": str(state.epoch)}
            self._folder.write(_best_name(state.epoch), save_weights(model, metadata))
        tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
        if optimizer is not None:
            tensors |= {_OPTIMIZER + name: tensor for name, tensor in _optimizer_tensors(model, optimizer).items()}
        metadata = {"identity": self._identity, "state": json.dumps(asdict(state))}
        self._folder.write(LAST, write_tensors(tensors, metadata))
        for file in list(self._folder.walk("best-")):
            if file.name != _best_name(state.best_epoch):
                self._folder.delete(file.name)

    def _name(self, name: str) -> str:
        return f"{self._folder}/{name}"


@dataclass(frozen=True, slots=True)
class Restored:
    """A last checkpoint, read."""

    state: FitState
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]

    def load_model(self, model: nn.Module) -> None:
        """Put the weights into the model."""
        _load_into(model, self.model, "the last checkpoint")

    def load_optimizer(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put the optimizer's tensors into an optimizer of the same parameters; none stored means a fresh one."""
        if not self.optimizer:
            return
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        state: dict[int, dict[str, Tensor]] = {}
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, parameter in enumerate(parameters):
            prefix = names[id(parameter)] + "/"
            found = {
                key.removeprefix(prefix): tensor for key, tensor in self.optimizer.items() if key.startswith(prefix)
            }
            state[number] = {key: _like(tensor, parameter) for key, tensor in found.items()}
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def restore(content: bytes) -> Restored:
    """Read what ``Checkpoints.read_last`` returned."""
    tensors, metadata = read_tensors(content, "the last checkpoint")
    return Restored(
        FitState(**json.loads(metadata["state"])),
        {name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)},
        {name.removeprefix(_OPTIMIZER): tensor for name, tensor in tensors.items() if name.startswith(_OPTIMIZER)},
    )


def _best_name(epoch: int) -> str:
    return f"best-{epoch:04d}.safetensors"


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies as safetensors wants them: on the CPU, contiguous, sharing no memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def _like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Give an optimizer's tensor the memory order of its parameter, which decides how sums are rounded."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor


def _load_into(model: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    own = model.state_dict()
    complaints = [
        *_complain("missing", [name for name in own if name not in tensors]),
        *_complain("not of this model", sorted(name for name in tensors if name not in own)),
        *_complain(
            "of another shape",
            [
                f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
                for name in own
                if name in tensors and tensors[name].shape != own[name].shape
            ],
        ),
    ]
    if complaints:
        raise DataError(f"{what} do not fit this {type(model).__name__}:\n  " + "\n  ".join(complaints))
    model.load_state_dict(dict(tensors))


def _complain(about: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return [f"{about}: {', '.join(names[:_NAMES_SHOWN])}{more}"] if names else []
