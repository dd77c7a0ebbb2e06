"""A learned density of the indices of jets: the probability of each variable given those before it.

For every variable a small network looks at where the variables before it stand in their distributions, and at all those of
the jet before it in the event, and chooses one of some contexts; each context is a table of probabilities of the
variable's token. The loss is the expected number of bits, so what is learned is what a file will take.

Coding needs the same choice on every machine. So the trained parameters are rounded to multiples of powers of two, such
that every product and every sum in double precision is exact, whatever the order of its terms.

Suffixes: n row, v variable, d input, h hidden unit, k context, t token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hepml_core.jets.tokens import FEATURE_STEPS

IntArray = NDArray[np.int64]

LN2 = math.log(2)
WEIGHT_STEP = 2.0**-10
MOST_WEIGHT = 8.0
"""Weights have 13 bits and inputs 7, so sums over at most 256 of them have 28, 10 of which are fractional; sums over at most
256 hidden units have 49, 20 fractional, of which MOST_ACTIVATION leaves 32; the scores have 53, as many as a double."""
MOST_ACTIVATION = 31 * FEATURE_STEPS
"""The activations of the second hidden layer are at most this; those of trained networks stay below."""
FREQUENCY_BITS = 13
FURTHER_INPUTS = 3
"""Inputs besides the variables of this jet and of the one before: its place in the event, whether it is the first, and
how many jets the event has."""
MOST_PLACES = 15
WEIGHTS = ("weight1_vdh", "weight2_vhh", "weight3_vhk")
BIASES = ("bias1_vh", "bias2_vh", "bias3_vk")
ROWS_IN_CACHE = 512
"""Rows that go through the layers at once."""


class DensityNetwork(nn.Module):
    """Chooses contexts for all variables of a row at once; holds the tables.

    Args:
        variables: Number of variables, in coding order.
        tokens: Largest number of tokens of a variable.
        hidden: Width of the two hidden layers.
        contexts: Number of contexts of a variable.
    """

    def __init__(self, variables: int, tokens: int, hidden: int, contexts: int) -> None:
        super().__init__()
        inputs = 2 * variables + FURTHER_INPUTS
        self.shape = (variables, tokens, hidden, contexts)
        before_vd = torch.ones(variables, inputs)
        before_vd[:, -variables:] = torch.tril(torch.ones(variables, variables), -1)
        self.before_vd: Tensor
        self.register_buffer("before_vd", before_vd)
        scale = 1 / math.sqrt(inputs)
        self.weight1_vdh = nn.Parameter(torch.empty(variables, inputs, hidden).uniform_(-2 * scale, 2 * scale))
        self.bias1_vh = nn.Parameter(torch.empty(variables, 1, hidden).uniform_(-0.5, 0.5))
        self.weight2_vhh = nn.Parameter(torch.empty(variables, hidden, hidden).normal_(0, math.sqrt(2 / hidden)))
        self.bias2_vh = nn.Parameter(torch.zeros(variables, 1, hidden))
        self.weight3_vhk = nn.Parameter(torch.empty(variables, hidden, contexts).normal_(0, 0.3 / math.sqrt(hidden)))
        self.bias3_vk = nn.Parameter(torch.zeros(variables, 1, contexts))
        self.logit_vkt = nn.Parameter(_bumps(contexts, tokens).repeat(variables, 1, 1))

    def forward(self, input_nd: Tensor, token_nv: Tensor, choice: Tensor | None = None) -> dict[str, Tensor]:
        """Return bits a row, those of places within bins not counted.

        Inputs are the variables of the jet before, the further ones, and the variables of this jet, of which each variable
        sees those before it. ``mixed`` is what the mixture of all contexts takes, ``chosen`` what the most likely one alone
        does, as in a file. ``loss`` is ``chosen``, or what leads to it: a part ``choice`` of the mean over contexts, which,
        linear in the shares, rewards a clear choice, and for the rest ``mixed``, in which contexts share a row and so learn
        from it.
        """
        score_vnk = self._scores(input_nd)
        variables, tokens = self.shape[:2]
        log_vtk = functional.log_softmax(self.logit_vkt, 2).transpose(1, 2)
        row_m = (token_nv.t().long() + torch.arange(variables, device=token_nv.device)[:, None] * tokens).reshape(-1)
        bits_vnk = -log_vtk.reshape(variables * tokens, -1).index_select(0, row_m).view_as(score_vnk) / LN2
        share_vnk = score_vnk.log_softmax(2)
        mixed = -torch.logsumexp(share_vnk - bits_vnk * LN2, 2).mean(1).sum() / LN2
        mean = (share_vnk.exp() * bits_vnk).sum(2).mean(1).sum()
        chosen = bits_vnk.gather(2, score_vnk.argmax(2, keepdim=True)).mean(1).sum()
        loss = chosen if choice is None else torch.lerp(mixed, mean, choice)
        return {"loss": loss, "mixed": mixed, "chosen": chosen}

    def _scores(self, input_nd: Tensor) -> Tensor:
        weight1_vdh = self.weight1_vdh * self.before_vd[:, :, None]
        input_vnd = input_nd.expand(self.shape[0], *input_nd.shape)
        hidden_vnh = torch.baddbmm(self.bias1_vh, input_vnd, weight1_vdh).relu()
        hidden_vnh = torch.baddbmm(self.bias2_vh, hidden_vnh, self.weight2_vhh).relu()
        return torch.baddbmm(self.bias3_vk, hidden_vnh, self.weight3_vhk)


def _bumps(contexts: int, tokens: int) -> Tensor:
    """Return tables to start from: bumps at places and of widths that cover the distribution, which is flat in tokens."""
    widths = torch.tensor([0.02, 0.06, 0.2, 1.0])
    places = -(-contexts // len(widths))
    place_t = torch.linspace(0, 1, tokens)
    center_k = torch.linspace(0, 1, places).repeat_interleave(len(widths))[:contexts]
    width_k = widths.repeat(places)[:contexts]
    bump_kt = -(((place_t - center_k[:, None]) / width_k[:, None]) ** 2) / 2
    return torch.logaddexp(bump_kt, torch.full_like(bump_kt, -6.0))


@dataclass(frozen=True)
class ExactNetwork:
    """A trained network, rounded; it chooses the same contexts on every machine.

    Attributes:
        weights: Parameters of the three layers by name, as in DensityNetwork: doubles that are multiples of powers of 2.
    """

    weights: Mapping[str, Tensor]

    @classmethod
    def of(cls, network: DensityNetwork) -> ExactNetwork:
        """Round a trained network."""
        limit = MOST_WEIGHT - WEIGHT_STEP
        plain = {name: tensor.detach().double() for name, tensor in network.named_parameters()}
        weights = {name: plain[name].clamp(-limit, limit) / WEIGHT_STEP for name in WEIGHTS}
        biases = {name: (plain[name] * FEATURE_STEPS).clamp(-MOST_ACTIVATION, MOST_ACTIVATION) for name in BIASES}
        return cls.of_integers({name: tensor.round() for name, tensor in {**weights, **biases}.items()})

    @classmethod
    def of_integers(cls, integers: Mapping[str, Tensor]) -> ExactNetwork:
        """Build from what ``to_integers`` returned."""
        weights = {name: integers[name].double() * WEIGHT_STEP for name in WEIGHTS}
        weights |= {name: integers[name].double() for name in BIASES}
        return cls(weights)

    def to_integers(self) -> dict[str, Tensor]:
        """Return all parameters as whole numbers of few bytes."""
        weights = {name: (self.weights[name] / WEIGHT_STEP).to(torch.int16) for name in WEIGHTS}
        return weights | {name: self.weights[name].round().to(torch.int32) for name in BIASES}

    def contexts(self, input_nd: NDArray[np.float32]) -> IntArray:
        """Return the context of each variable for each row; shape (variables, rows).

        Args:
            input_nd: A one, and the inputs as DensityNetwork has them, but whole numbers of 1/FEATURE_STEPS.
        """
        context_vn = np.empty((len(self._layers), len(input_nd)), np.int64)
        room = self._room(len(input_nd))
        given_nd = torch.empty(room.rows, input_nd.shape[1], dtype=torch.float64)
        known = [given_nd[:, : len(layers[0])] for layers in self._layers]
        with torch.inference_mode():
            # All variables of some rows, and then the next rows: so their inputs stay in the cache.
            for some in room.slices(len(input_nd)):
                given_nd.numpy()[:] = input_nd[some]
                for known_nd, layers, context_n in zip(known, self._layers, context_vn, strict=True):
                    room.choose(known_nd, layers, context_n[some])
        return context_vn

    def contexts_of(self, variable: int, input_nd: Tensor) -> IntArray:
        """Return the context of one variable for each row.

        Args:
            variable: Its place in the coding order.
            input_nd: As for ``contexts``, in doubles; those of variables that are not known yet are not looked at.
        """
        context_n = np.empty(len(input_nd), np.int64)
        room, layers = self._room(len(input_nd)), self._layers[variable]
        known_nd = input_nd[:, : len(layers[0])]
        with torch.inference_mode():
            for some in room.slices(len(input_nd)):
                room.choose(known_nd[some], layers, context_n[some])
        return context_n

    def _room(self, rows: int) -> _Room:
        _, second_hh, third_hk = self._layers[0]
        return _Room(min(rows, ROWS_IN_CACHE), len(second_hh) - 1, len(third_hk) - 1, third_hk.shape[1])

    @cached_property
    def _layers(self) -> list[list[Tensor]]:
        """For each variable the weights of the three layers for what it knows, with the biases as one row more."""
        variables, inputs, _ = self.weights["weight1_vdh"].shape
        layers = []
        for number in range(variables):
            first, second, third = (self.weights[name][number] for name in WEIGHTS)
            bias1, bias2, bias3 = (self.weights[name][number] for name in BIASES)
            known = torch.cat([bias1, first[: inputs - variables + number]])
            layers.append([known, torch.cat([second, bias2]), torch.cat([third, bias3])])
        return layers


class _Room:
    """Room for what some rows become in the layers of a variable.

    Beside what goes into a layer stands a one, by which its biases come with the product.
    """

    def __init__(self, rows: int, hidden1: int, hidden2: int, contexts: int) -> None:
        self.rows = rows
        # Rows begin with a cache line of 8 doubles.
        self._whole1_nh, self._whole2_nh = (
            torch.ones(rows, hidden + 8 - hidden % 8, dtype=torch.float64) for hidden in (hidden1, hidden2)
        )
        self._given1_nh, self._given2_nh = self._whole1_nh[:, : hidden1 + 1], self._whole2_nh[:, : hidden2 + 1]
        self._product1_nh, self._product2_nh = self._whole1_nh[:, :hidden1], self._whole2_nh[:, :hidden2]
        self._score_nk = torch.empty(rows, contexts, dtype=torch.float64)
        self._score = self._score_nk.numpy()

    def slices(self, rows: int) -> Iterator[slice]:
        """Yield slices of as many rows as there is room for; the last ones are taken together with some before them."""
        for stop in range(self.rows, rows + self.rows, self.rows or 1):
            yield slice(min(stop, rows) - self.rows, min(stop, rows))

    def choose(self, known_nd: Tensor, layers: Sequence[Tensor], context_n: IntArray) -> None:
        """Write the context of each row."""
        first_dh, second_hh, third_hk = layers
        torch.mm(known_nd, first_dh, out=self._product1_nh)
        self._whole1_nh.relu_()
        torch.mm(self._given1_nh, second_hh, out=self._product2_nh)
        self._whole2_nh.clamp_(0, MOST_ACTIVATION)
        torch.mm(self._given2_nh, third_hk, out=self._score_nk)
        # Of equal scores the first counts. numpy is several times as fast at this as torch.
        self._score.argmax(1, out=context_n)


def to_frequencies(probability_kt: NDArray[np.float64]) -> IntArray:
    """Return whole frequencies, at least 1 each, that add up to 2**FREQUENCY_BITS in each row."""
    tokens = probability_kt.shape[1]
    free = (1 << FREQUENCY_BITS) - tokens
    share_kt = probability_kt / probability_kt.sum(1, keepdims=True) * free
    frequency_kt: IntArray = np.floor(share_kt).astype(np.int64)
    order_kt = np.argsort(np.argsort(frequency_kt - share_kt, axis=1, kind="stable"), axis=1, kind="stable")
    frequency_kt += order_kt < (free - frequency_kt.sum(1, keepdims=True))
    return frequency_kt + 1
