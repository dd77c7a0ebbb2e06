"""Weights and checkpoints as files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hepml_core.errors import DataError, FolderError
from hepml_core.storage import open_folder
from hepml_core.training.checkpoints import Checkpoints, load_weights, read_tensors, restore, save_weights
from hepml_core.training.state import FitState


def net(width: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width, 2))


def test_weights_come_back_bit_for_bit_with_their_metadata() -> None:
    model, other = net(), net()
    metadata = load_weights(other, save_weights(model, {"classes": "higgs,qcd"}))
    assert metadata == {"classes": "higgs,qcd"}
    assert all(torch.equal(one, other.state_dict()[name]) for name, one in model.state_dict().items())


def test_weights_in_another_memory_order_and_tied_ones_are_saved() -> None:
    model = net().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model[3].bias = model[1].bias = nn.Parameter(torch.ones(2))
    tensors, _ = read_tensors(save_weights(model), "weights")
    assert torch.equal(tensors["0.weight"], model[0].weight)
    assert torch.equal(tensors["1.bias"], tensors["3.bias"])


def test_weights_of_another_model_are_refused_by_name_and_shape() -> None:
    with pytest.raises(DataError, match=r"of another shape: 0\.weight \(4, 2, 3, 3\) instead of \(3, 2, 3, 3\)"):
        load_weights(net(3), save_weights(net(4)))
    with pytest.raises(DataError, match=r"missing: 3\.weight, 3\.bias"):
        load_weights(net(), save_weights(net()[:3]))
    weights = save_weights(net())
    for _ in range(8):  # safetensors hands tensors out in an order that changes from read to read
        with pytest.raises(DataError, match=r"not of this model: 3\.bias, 3\.weight"):
            load_weights(net()[:3], weights)


@pytest.mark.parametrize("content", [b"", b"torn", pickle.dumps({"weight": 1}), save_weights(net())[:-1]])
def test_what_is_no_whole_safetensors_file_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="the weights cannot be read as safetensors"):
        load_weights(net(), content)


@pytest.mark.parametrize("rule", [torch.optim.Adam, torch.optim.NAdam, torch.optim.SGD])
def test_model_optimizer_and_state_come_back(tmp_path: Path, rule: type[torch.optim.Optimizer]) -> None:
    model, other = (net().to(memory_format=torch.channels_last) for _ in range(2))  # type: ignore[call-overload]
    options: dict[str, Any] = {"momentum": 0.9} if rule is torch.optim.SGD else {}
    optimizer, fresh = rule(model.parameters(), lr=0.1, **options), rule(other.parameters(), lr=0.1, **options)  # type: ignore[call-arg]
    model(torch.ones(2, 2, 3, 3)).sum().backward()
    optimizer.step()
    state = FitState(epoch=3, best_epoch=3, best_value=0.1 + 0.2, history=[{"epoch": 1, "loss": 1 / 3}])
    checkpoints = Checkpoints(open_folder(tmp_path), "one")
    checkpoints.write(model, optimizer, state)
    restored = restore(checkpoints.read_last() or b"")
    restored.load_model(other)
    restored.load_optimizer(other, fresh)
    assert restored.state == state
    for parameter, twin in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(parameter, twin)
        assert optimizer.state[parameter].keys() == fresh.state[twin].keys()
        for name, value in optimizer.state[parameter].items():
            assert torch.equal(value, fresh.state[twin][name])
            assert value.stride() == fresh.state[twin][name].stride()


def test_the_best_epoch_that_the_last_checkpoint_names_is_always_there(tmp_path: Path) -> None:
    """A kill between the two files leaves the new best beside the old one."""
    checkpoints = Checkpoints(open_folder(tmp_path), "one")
    model = net()
    checkpoints.write(model, None, FitState(epoch=1, best_epoch=1))
    (tmp_path / "best-0002.safetensors").write_bytes(save_weights(model))
    found = restore(checkpoints.read_last() or b"")
    assert checkpoints.read_best(found.state.best_epoch)
    checkpoints.write(model, None, FitState(epoch=2, best_epoch=2))
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["best-0002.safetensors", "last.safetensors"]


def test_a_lost_best_epoch_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"best-0004\.safetensors is missing.*delete the folder"):
        Checkpoints(open_folder(tmp_path), "one").read_best(4)


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "last.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"last\.safetensors cannot be read"):
        Checkpoints(open_folder(tmp_path), "one").read_last()
