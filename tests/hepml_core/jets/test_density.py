from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hepml_core.jets.density import (
    FREQUENCY_BITS,
    FURTHER_INPUTS,
    MOST_ACTIVATION,
    MOST_WEIGHT,
    WEIGHT_STEP,
    DensityNetwork,
    ExactNetwork,
    to_frequencies,
)
from hepml_core.jets.tokens import FEATURE_STEPS

VARIABLES, TOKENS, HIDDEN, CONTEXTS = 3, 20, 16, 7
UNIT = 1 << 10
"""Weights are multiples of 1/UNIT, so the sums of a layer are finer than those of the layer before by that."""


def network_of(seed: int, scale: float = 1.0) -> DensityNetwork:
    torch.manual_seed(seed)
    network = DensityNetwork(VARIABLES, TOKENS, HIDDEN, CONTEXTS)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(scale)
    return network


def inputs(rows: int, seed: int = 0) -> NDArray[np.int64]:
    width = 2 * VARIABLES + FURTHER_INPUTS
    return np.random.default_rng(seed).integers(-FEATURE_STEPS, FEATURE_STEPS + 1, (rows, width))


def contexts(network: ExactNetwork, input_nd: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return contexts as they are chosen for all variables at once, which are those of one after the other."""
    given_nd = np.insert(input_nd, 0, 1, axis=1)
    context_vn = network.contexts(given_nd.astype(np.float32))
    for variable in range(VARIABLES):
        assert np.array_equal(network.contexts_of(variable, torch.from_numpy(given_nd).double()), context_vn[variable])
    return context_vn


def contexts_in_whole_numbers(network: ExactNetwork, variable: int, input_nd: NDArray[np.int64]) -> list[int]:
    """Compute contexts with Python's integers, of which none is ever rounded."""
    weights, biases = (
        {name: tensor[variable].tolist() for name, tensor in network.weights.items() if name.startswith(kind)}
        for kind in ("weight", "bias")
    )
    known = range(input_nd.shape[1] - VARIABLES + variable)
    weights["weight1_vdh"] = [weights["weight1_vdh"][place] for place in known]
    layers = list(zip(weights.values(), biases.values(), strict=True))
    chosen = []
    for row in input_nd[:, known].tolist():
        activations, unit = row, 1
        for number, (weight, bias) in enumerate(layers):
            sums = [
                int(shift) * unit * UNIT
                + sum(int(line[place] * UNIT) * one for one, line in zip(activations, weight, strict=True))
                for place, shift in enumerate(bias[0])
            ]
            unit *= UNIT
            assert max(map(abs, sums)) <= 1 << 53, "a double does not hold the sum"
            most = MOST_ACTIVATION * unit if number == 1 else 1 << 53
            activations = [min(max(one, 0), most) for one in sums]
        chosen.append(sums.index(max(sums)))
    return chosen


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_contexts_are_those_of_arithmetic_in_whole_numbers(scale: float) -> None:
    network, input_nd = ExactNetwork.of(network_of(1, scale)), inputs(150)
    for variable, found_n in enumerate(contexts(network, input_nd)):
        assert found_n.tolist() == contexts_in_whole_numbers(network, variable, input_nd)
    if scale == 1:
        assert len(set(found_n.tolist())) > 1


@pytest.mark.parametrize("hidden", [64, 256])
def test_a_double_holds_the_largest_sums_of_the_widest_network(hidden: int) -> None:
    inputs_most = 255  # and a one
    first = inputs_most * MOST_WEIGHT * FEATURE_STEPS + MOST_ACTIVATION
    second = hidden * MOST_WEIGHT * first + MOST_ACTIVATION
    third = hidden * MOST_WEIGHT * MOST_ACTIVATION + MOST_ACTIVATION
    for layer, most in enumerate((first, second, third), start=1):
        assert most / WEIGHT_STEP**layer <= 2**53


def test_the_order_of_sums_the_batch_and_the_threads_change_nothing() -> None:
    network = ExactNetwork.of(network_of(2, 20.0))
    input_nd = inputs(3000)
    chance = torch.Generator().manual_seed(0)
    first, second = (torch.randperm(HIDDEN, generator=chance) for _ in range(2))
    shuffled = ExactNetwork(
        {
            "weight1_vdh": network.weights["weight1_vdh"][:, :, first],
            "bias1_vh": network.weights["bias1_vh"][:, :, first],
            "weight2_vhh": network.weights["weight2_vhh"][:, first][:, :, second],
            "bias2_vh": network.weights["bias2_vh"][:, :, second],
            "weight3_vhk": network.weights["weight3_vhk"][:, second],
            "bias3_vk": network.weights["bias3_vk"],
        }
    )
    expected_n = contexts(network, input_nd)[2]
    assert len(set(expected_n.tolist())) > 2
    assert np.array_equal(contexts(shuffled, input_nd)[2], expected_n)
    one_by_one = np.concatenate([contexts(network, row_d[None])[2] for row_d in input_nd[:300]])
    assert np.array_equal(one_by_one, expected_n[:300])
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            assert np.array_equal(contexts(network, input_nd)[2], expected_n)
    finally:
        torch.set_num_threads(threads)


def test_variables_that_are_not_known_yet_are_not_looked_at() -> None:
    network, input_nd = ExactNetwork.of(network_of(3)), inputs(500)
    for variable in range(VARIABLES):
        other_nd = input_nd.copy()
        other_nd[:, variable - VARIABLES :] = FEATURE_STEPS
        chosen_n = contexts(network, input_nd)[variable]
        assert np.array_equal(contexts(network, other_nd)[variable], chosen_n)
    assert not np.array_equal(contexts(network, input_nd[::-1])[2], chosen_n)


def test_a_trained_network_and_its_rounded_form_choose_alike() -> None:
    network, input_nd = network_of(4), inputs(2000)
    scaled_nd, token_nv = torch.from_numpy(input_nd / FEATURE_STEPS).float(), torch.zeros(2000, VARIABLES).long()
    exact = ExactNetwork.of(network)
    with torch.no_grad():
        score_vnk = network._scores(scaled_nd)
        of_file, mixed, between, mean = (
            network(scaled_nd, token_nv, *choice)
            for choice in ((), *((torch.tensor(part),) for part in (0.0, 0.5, 1.0)))
        )
    for variable in range(VARIABLES):
        chosen_n = contexts(exact, input_nd)[variable]
        assert (score_vnk[variable].argmax(1).numpy() == chosen_n).mean() > 0.95
    assert of_file["loss"] == of_file["chosen"]
    assert mixed["loss"] == mixed["mixed"] < mean["loss"]  # a mixture never takes more than the mean over its parts
    assert between["loss"] == pytest.approx((mixed["loss"] + mean["loss"]) / 2)


@settings(deadline=None)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 205)),
        elements=st.one_of(st.just(0.0), st.floats(1e-300, 1e6)),
    )
)
def test_frequencies_are_at_least_one_and_fill_the_range(probability_kt: NDArray[np.float64]) -> None:
    probability_kt[:, 0] += 1e-9
    frequency_kt = to_frequencies(probability_kt)
    assert frequency_kt.min() >= 1
    assert (frequency_kt.sum(1) == 1 << FREQUENCY_BITS).all()
    share_kt = probability_kt / probability_kt.sum(1, keepdims=True) * ((1 << FREQUENCY_BITS) - probability_kt.shape[1])
    assert np.abs(frequency_kt - 1 - share_kt).max() <= 1 + 1e-6
