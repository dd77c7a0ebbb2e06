from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.jets.bounds import Bound, bound_of
from hepml_core.jets.density import DensityNetwork, ExactNetwork, to_frequencies
from hepml_core.jets.density_coder import DensityCoder, prepare, ranks
from hepml_core.jets.density_fit import choose_alphabets, read_density
from hepml_core.jets.grids import Grid
from hepml_core.jets.packing import pack, unpack
from hepml_core.jets.root_files import energy_of
from hepml_core.jets.variables import VARIABLES
from tests.hepml_core.jets.coding import BOUNDS, Models, Values, assert_within, odd_jets
from tests.hepml_core.jets.jet_files import four_vectors

IntArray = NDArray[np.int64]
CONTEXTS = 5


def coder_of(values: Mapping[str, NDArray[Any]], count_e: IntArray, **bounds: Bound) -> DensityCoder:
    """Return a coder whose bins and tables fit the values, and whose contexts are chosen by a network of chance."""
    grids = {name: Grid(name, bound_of(name, bounds)) for name in values}
    alphabets = choose_alphabets(grids, values, count_e)
    torch.manual_seed(0)
    tokens = max(one.tokens for one in alphabets.values())
    network = ExactNetwork.of(DensityNetwork(len(grids), tokens, 8, CONTEXTS))
    prepared = prepare(grids, alphabets, values, count_e)
    frequency_vkt = np.zeros((len(grids), CONTEXTS, tokens), np.int64)
    context_vn = network.contexts(prepared.input_nd)
    for number, one in enumerate(alphabets.values()):
        count_kt = np.full((CONTEXTS, one.tokens), 1e-3)
        np.add.at(count_kt, (context_vn[number], prepared.token_vn[number]), 1)
        frequency_vkt[number, :, : one.tokens] = to_frequencies(count_kt)
    return DensityCoder(grids, alphabets, network, frequency_vkt)


def through(coder: DensityCoder, values: Mapping[str, NDArray[Any]], count_e: IntArray) -> Values:
    parts = coder.encode(values, count_e)
    return coder.decode(parts, count_e, {name: value_n.dtype for name, value_n in values.items()})


def falling(jets: int, count_e: IntArray) -> Values:
    """Return four-vectors whose pt falls from jet to jet of an event."""
    values = four_vectors(jets)
    values["pt"] = values["pt"][np.lexsort((-values["pt"], np.repeat(np.arange(len(count_e)), count_e)))]
    return values


def counts(events: int, seed: int = 0) -> IntArray:
    return np.random.default_rng(seed).integers(0, 6, events)


def every_variable(jets: int) -> Values:
    """Return all variables that there are, related as the coder expects, some of whole numbers."""
    chance = np.random.default_rng(1)
    values = {name: chance.normal(0, 100 * one.bound, jets).astype(np.float32) for name, one in VARIABLES.items()}
    values |= four_vectors(jets)
    values["E"] = energy_of(values["pt"], values["eta"], values["m"])
    values["ActiveArea4vec_phi"] = (values["phi"] + 0.05 + np.pi) % np.float32(2 * np.pi) - np.float32(np.pi)
    values["N90Constituents"] = chance.integers(1, 40, jets).astype(np.int32)
    values["FracSamplingMaxIndex"] = chance.integers(0, 24, jets).astype(np.float32)
    values["LeadingClusterPt"] = values["pt"] * np.float32(0.4)
    return values


def test_all_variables_come_back_within_their_bounds_and_types() -> None:
    count_e = counts(300)
    values = every_variable(int(count_e.sum()))
    kept = through(coder_of(values, count_e), values, count_e)
    assert_within(values, kept, {name: bound_of(name, {}) for name in values})
    assert np.array_equal(kept["N90Constituents"], values["N90Constituents"])
    assert not np.array_equal(kept["pt"], values["pt"])  # that is where the bytes are saved


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_odd_values_come_back_exactly_or_within_bounds_from_a_density_that_never_saw_them(
    models: Models, dtype: Any
) -> None:
    count_e = counts(200)
    values = odd_jets(int(count_e.sum()), dtype)
    coder = read_density(models.density).coder()
    kept = through(coder, values, count_e)
    assert_within(values, kept, BOUNDS)
    strange_n = ~np.isfinite(values["pt"]) | (values["pt"] < 0)
    assert strange_n.any()
    assert np.array_equal(kept["pt"][strange_n], values["pt"][strange_n], equal_nan=True)


@settings(deadline=None, max_examples=12)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.integers(0, 1000), st.booleans())
def test_jets_of_any_events_come_back_to_their_places(of_events: list[int], seed: int, falls: bool) -> None:
    count_e = np.array([*of_events, 1])
    values = four_vectors(int(count_e.sum()), seed)
    values["pt"] = np.arange(1, 1 + len(values["pt"]), dtype=np.float32) * 7
    learned_e = np.full(50, 4)
    coder = coder_of(falling(200, learned_e) if falls else four_vectors(200), learned_e)
    assert (coder.alphabets["pt"].later is not None) == falls
    assert_within(values, through(coder, values, count_e), BOUNDS)


def test_jets_whose_pt_falls_take_fewer_bits_than_those_in_any_order() -> None:
    count_e = np.full(5000, 4)
    any_order, falls = four_vectors(20_000), falling(20_000, count_e)
    in_any_order, in_order = (coder_of(one, count_e).bits(one, count_e) for one in (any_order, falls))
    # The order of four jets says log2(4!) bits.
    assert 0.5 * np.log2(24) / 4 < in_any_order["pt"] - in_order["pt"] < 1.1 * np.log2(24) / 4
    assert in_order["phi"] == pytest.approx(in_any_order["phi"], abs=0.05)


def test_odd_values_among_jets_whose_pt_falls_come_back_exactly_or_within_bounds() -> None:
    count_e = counts(300)
    coder = coder_of(falling(int(count_e.sum()), count_e), count_e)
    assert coder.alphabets["pt"].later
    values = odd_jets(int(count_e.sum()))
    assert_within(values, through(coder, values, count_e), BOUNDS)


def test_a_mass_that_no_index_keeps_tells_nothing_of_the_energy() -> None:
    count_e = np.full(100, 3)
    values = {name: every_variable(300)[name] for name in ("pt", "eta", "m", "E")}
    coder = coder_of(values, count_e)
    values["m"][::5] = np.nan
    assert_within(values, through(coder, values, count_e), {name: bound_of(name, {}) for name in values})


def test_units_of_a_file_are_those_that_come_back(models: Models) -> None:
    factors = {"pt": 1e-3, "m": 1e-3}
    in_gev = four_vectors(300)
    in_mev = {name: value_n / np.float32(factors.get(name, 1)) for name, value_n in in_gev.items()}
    density, count_e = read_density(models.density), np.full(100, 3)
    assert_within(in_mev, through(density.coder(factors), in_mev, count_e), BOUNDS)
    size_gev, size_mev = (
        sum(map(len, density.coder(given).encode(values, count_e)))
        for given, values in (({}, in_gev), (factors, in_mev))
    )
    assert abs(size_gev - size_mev) < 20  # of the same jets, but for the rounding of MeV


def test_the_threads_of_the_decoder_change_nothing(models: Models) -> None:
    count_e = counts(2000)
    values = four_vectors(int(count_e.sum()))
    coder = read_density(models.density).coder()
    dtypes = {name: value_n.dtype for name, value_n in values.items()}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        parts = coder.encode(values, count_e)
        torch.set_num_threads(1)
        assert coder.encode(values, count_e) == parts
        assert_within(values, coder.decode(parts, count_e, dtypes), BOUNDS)
    finally:
        torch.set_num_threads(threads)


def test_coded_jets_take_the_bits_that_are_told_and_a_constant() -> None:
    count_e = counts(20_000)
    values = four_vectors(int(count_e.sum()))
    coder = coder_of(values, count_e)
    parts = coder.encode(values, count_e)
    promised = sum(coder.bits(values, count_e).values()) * count_e.sum() / 8
    assert sum(map(len, parts)) <= 1.01 * promised + 2048 + 50
    # pt falls exponentially: -log2 of its density in steps of 1e-3 relative, in bits.
    step = coder.grids["pt"].step
    best = np.mean((values["pt"] - 20) / 50 / np.log(2) + np.log2(50 / (values["pt"] * step)))
    assert best - 0.1 < coder.bits(values, count_e)["pt"] < best + 0.25


def test_a_related_variable_takes_fewer_bits_than_one_alone() -> None:
    count_e = np.full(5000, 2)
    values = every_variable(10_000)
    bits = coder_of({name: values[name] for name in ("pt", "eta", "m", "E")}, count_e).bits(values, count_e)
    assert bits["E"] < 2.5
    alone = coder_of({"E": values["E"]}, count_e).bits({"E": values["E"]}, count_e)
    assert alone["E"] > bits["E"] + 6


def test_events_are_taken_rank_by_rank() -> None:
    assert [rank_n.tolist() for rank_n in ranks(np.array([2, 0, 3, 1]))] == [[0, 2, 5], [1, 3], [4]]
    assert list(ranks(np.zeros(3, np.int64))) == []


def test_damaged_content_is_told_or_gives_as_many_jets(models: Models) -> None:
    count_e = counts(60)
    values = odd_jets(int(count_e.sum()))
    coder = read_density(models.density).coder()
    dtypes = {name: value_n.dtype for name, value_n in values.items()}
    parts = coder.encode(values, count_e)
    with pytest.raises(DataError, match="the coded numbers are cut"):
        coder.decode([parts[0][: len(parts[0]) // 2], *parts[1:]], count_e, dtypes)
    with pytest.raises(DataError, match="packed numbers are damaged"):
        coder.decode([parts[0], b"p\1\2", *parts[2:]], count_e, dtypes)
    with pytest.raises(DataError, match="the escaped numbers of pt are cut"):
        coder.decode([parts[0], pack(np.empty(0, np.int64)), *parts[2:]], count_e, dtypes)
    more = pack(np.append(unpack(parts[1], np.int64, None), [0, 0]))
    with pytest.raises(DataError, match="2 of pt are left over"):
        coder.decode([parts[0], more, *parts[2:]], count_e, dtypes)
    found = 0
    for place in range(0, len(parts[0]), 11):
        flipped = bytearray(parts[0])
        flipped[place] ^= 0xFF
        try:
            kept = coder.decode([bytes(flipped), *parts[1:]], count_e, dtypes)
            assert all(len(value_n) == count_e.sum() for value_n in kept.values())
        except DataError:
            found += 1
    assert found > 0
