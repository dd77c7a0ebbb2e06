"""The block against the same layers one after another, with the same features dropped."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hepml_core.ecal import convolution_block
from hepml_core.ecal.convolution_block import Activation, ConvolutionBlock
from hepml_core.training.devices import seeded

DROPOUT = 0.25
"""A whole number of 256ths."""


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution_block, "BYTES_AT_ONCE", 2 * 8 * 5 * 6 * 7 * 8)


def block(activation: Activation, dropout: float, *, falling: bool) -> ConvolutionBlock:
    """Return a block in double precision whose normalization, if wanted, turns some channels over."""
    with seeded(1):
        made = ConvolutionBlock(2, 8, 3, activation, dropout).double()
        with torch.no_grad():
            made.normalization.weight.uniform_(-1 if falling else 0.3, 1)
            made.normalization.bias.normal_()
    assert bool((made.normalization.weight < 0).any()) == falling
    return made


def features(events: int = 5) -> Tensor:
    return torch.randn((events, 2, 5, 6, 7), dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def by_layers(block: ConvolutionBlock, feature: Tensor, live: Tensor) -> Tensor:
    """Apply the layers one after another, leaving out what is not live."""
    convolved = block.convolution(feature)
    active = functional.relu(convolved) if block.activation == "relu" else functional.elu(convolved)
    return functional.max_pool3d(block.normalization(active * live / (1 - block.dropout)), 2)


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("dropout", [0.0, DROPOUT])
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_results_gradients_and_statistics_are_those_of_the_layers(
    activation: Activation, dropout: float, falling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = block(activation, dropout, falling=falling), block(activation, dropout, falling=falling)
    drawn: list[Tensor] = []
    draw = convolution_block._random_bytes

    def remember(like: Tensor) -> Tensor:
        drawn.append(draw(like))
        return drawn[-1]

    monkeypatch.setattr(convolution_block, "_random_bytes", remember)
    feature = features().requires_grad_()
    result = ours(feature)
    live = torch.cat(drawn) >= 256 * dropout if dropout else torch.ones(())
    assert not dropout or len(drawn) == 3  # two events at once
    reference_feature = features().requires_grad_()
    expected = by_layers(theirs, reference_feature, live)
    torch.testing.assert_close(result, expected)
    slope = torch.randn(result.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    result.backward(slope)
    expected.backward(slope)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(feature.grad, reference_feature.grad)
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)
    torch.testing.assert_close(list(ours.buffers()), list(theirs.buffers()))


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_evaluation_is_that_of_the_layers_without_dropout(activation: Activation) -> None:
    made = block(activation, DROPOUT, falling=True)
    made(features())
    made.eval()
    with torch.no_grad():
        torch.testing.assert_close(made(features()), by_layers(made, features(), torch.tensor(1 - DROPOUT)))


def test_the_asked_share_is_dropped_and_what_is_left_makes_up_for_it() -> None:
    drawn = convolution_block._random_bytes(torch.empty(7, 8, 11, 12, 13))
    assert drawn.shape == (7, 8, 11, 12, 13)
    values = drawn.flatten().float()
    assert float((values < 64).float().mean()) == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / len(values)) ** 0.5)
    assert torch.bincount(drawn.flatten().long()).count_nonzero() == 256


def test_neighbours_are_dropped_independently() -> None:
    live = (convolution_block._random_bytes(torch.empty(4, 8, 16, 16, 16)) >= 128).float() - 0.5
    limit = 5 * 0.25 / live.numel() ** 0.5
    for axis in range(5):
        neighbour = live.roll(1, axis)
        assert abs(float((live * neighbour).mean())) < limit


def test_the_same_seed_drops_the_same() -> None:
    made = block("relu", DROPOUT, falling=False)
    results = []
    for _ in range(2):
        with seeded(5):
            results.append(copy.deepcopy(made)(features()))
    assert torch.equal(*results)
    with seeded(6):
        assert not torch.equal(made(features()), results[0])


def test_mixed_precision_is_near_to_the_full_one_and_keeps_its_statistics() -> None:
    full = block("relu", 0.0, falling=True).float()
    mixed = copy.deepcopy(full)
    with torch.autocast("cpu", torch.bfloat16):
        result = mixed(features().float())
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), full(features().float()), rtol=0.05, atol=0.05)
    running = mixed.normalization.running_var
    assert running is not None
    assert running.dtype == torch.float32
    torch.testing.assert_close(running, full.normalization.running_var, rtol=0.01, atol=1e-3)
    result.float().square().sum().backward()
    assert all(one.grad is not None and one.grad.dtype == torch.float32 for one in mixed.parameters())
