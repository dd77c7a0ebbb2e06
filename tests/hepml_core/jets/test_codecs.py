from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hepml_core.errors import DataError
from hepml_core.jets import codecs
from hepml_core.jets.bounds import Bound
from hepml_core.jets.codecs import (
    LATENT_STEPS,
    ROWS_TRIED,
    AutoencoderCodec,
    Codec,
    ColumnCodec,
    pack_exceptions,
    unpack_exceptions,
)
from hepml_core.jets.grids import Grid
from hepml_core.jets.inference import Reconstructor
from tests.hepml_core.jets.coding import BOUNDS, FOUR, Models, Values, assert_within, odd_jets, same
from tests.hepml_core.jets.jet_files import four_vectors

ONES = dict.fromkeys(FOUR, 1.0)
NO_BOUNDS: dict[str, Grid | None] = {}


def grids_of(bounds: Mapping[str, Bound] = BOUNDS, factors: Mapping[str, float] = ONES) -> dict[str, Grid | None]:
    return {name: Grid(name, bound, factors[name]) if bound.size else None for name, bound in bounds.items()}


@pytest.fixture(scope="module")
def reconstructor(models: Models) -> Reconstructor:
    return Reconstructor(models.autoencoder, "cpu")


def autoencoder(reconstructor: Reconstructor, grids: Mapping[str, Grid | None], latent_step: float = 0.0) -> Codec:
    return AutoencoderCodec(reconstructor, grids, ONES, latent_step)


def through(codec: Codec, values: Mapping[str, NDArray[Any]]) -> Values:
    count_e = np.array([len(values["pt"])])
    parts = codec.encode(values, count_e)
    return codec.decode(parts, count_e, {name: value_n.dtype for name, value_n in values.items()})


@pytest.mark.parametrize("name", ["columns", "autoencoder"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-2, 1e-4])
def test_odd_and_ordinary_values_come_back_within_their_bounds(
    reconstructor: Reconstructor, name: str, dtype: Any, size: float
) -> None:
    bounds = {name: Bound(size, bound.relative) for name, bound in BOUNDS.items()}
    values = odd_jets(1000, dtype)
    codec = ColumnCodec(grids_of(bounds)) if name == "columns" else autoencoder(reconstructor, grids_of(bounds))
    assert_within(values, through(codec, values), bounds)


def test_pieces_that_fit_the_cache_change_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    values, count_e, codec = odd_jets(1000), np.array([1000]), ColumnCodec(grids_of())
    whole = codec.encode(values, count_e)
    monkeypatch.setattr(codecs, "VALUES_IN_CACHE", 7)
    assert codec.encode(values, count_e) == whole


@pytest.mark.parametrize("relative", [False, True])
def test_an_energy_that_pt_and_eta_tell_takes_few_bytes_and_comes_back(relative: bool) -> None:
    chance = np.random.default_rng(0)
    values = {"pt": chance.uniform(20, 500, 4000), "eta": chance.uniform(0.1, 2.5, 4000)}
    values["E"] = values["pt"] * np.cosh(values["eta"])
    bounds = {"pt": Bound(1e-3, True), "eta": Bound(1e-3, relative), "E": Bound(1e-3, True)}
    grids = {name: Grid(name, bound) for name, bound in bounds.items()}
    codec, alone = ColumnCodec(grids), ColumnCodec({"E": grids["E"]})
    sizes = [len(part) for part in codec.encode(values, np.array([4000]))]
    of_energy, of_energy_alone = sum(sizes[4:6]), sum(map(len, alone.encode(values, np.array([4000]))))
    assert of_energy == of_energy_alone if relative else of_energy < of_energy_alone / 3
    assert_within(values, through(codec, values), bounds)


def test_doubles_that_no_float32_holds_come_back_within_their_bounds(reconstructor: Reconstructor) -> None:
    values = {name: value_n.astype(np.float64) for name, value_n in four_vectors(50).items()}
    for name in FOUR:
        values[name][3:7] = 1e300, -1e300, 5e-324, 1e-200
    for codec in (ColumnCodec(grids_of()), autoencoder(reconstructor, grids_of())):
        assert_within(values, through(codec, values), BOUNDS)


@pytest.mark.parametrize("whole", ["pt", "m"])
def test_a_value_that_its_index_does_not_hold_tells_nothing_of_others(whole: str) -> None:
    values = {name: np.arange(300, 2000).astype(np.int32 if name == whole else np.float64) for name in ("pt", "m")}
    values |= {"eta": np.zeros(1700), "E": np.hypot(values["pt"], values["m"])}
    bounds = {name: Bound(1e-3, name != "eta") for name in values}
    grids = {name: Grid(name, bound) for name, bound in bounds.items()}
    index_n, _ = grids[whole].to_index(values[whole])
    assert not grids[whole].holds(values[whole], grids[whole].to_value(index_n, np.dtype(np.int32))).all()
    assert_within(values, through(ColumnCodec(grids), values), bounds)


def test_exact_values_come_back_bit_by_bit_beside_rounded_ones(reconstructor: Reconstructor) -> None:
    bounds = BOUNDS | {"m": Bound(0, True)}
    values = odd_jets(500)
    for codec in (ColumnCodec(grids_of(bounds)), autoencoder(reconstructor, grids_of(bounds))):
        kept = through(codec, values)
        assert kept["m"].tobytes() == values["m"].tobytes()
        assert_within(values, kept, bounds)


@pytest.mark.parametrize("value", [np.nan, -1.0, 0.0, np.inf])
def test_a_block_of_jets_that_no_model_can_take_is_kept_too(reconstructor: Reconstructor, value: float) -> None:
    values = {name: np.full(3, value, np.float32) for name in FOUR}
    assert_within(values, through(autoencoder(reconstructor, grids_of()), values), BOUNDS)
    kept = through(autoencoder(reconstructor, NO_BOUNDS), values)
    assert all(same(values[name], kept[name]).all() for name in FOUR)


@pytest.mark.parametrize("jets", [1, 2])
def test_very_few_jets_are_coded_like_many(reconstructor: Reconstructor, jets: int) -> None:
    values = four_vectors(jets)
    assert_within(values, through(autoencoder(reconstructor, grids_of()), values), BOUNDS)


def test_without_bounds_jets_are_what_the_model_reconstructs_and_odd_ones_are_not_lost(
    reconstructor: Reconstructor,
) -> None:
    values = four_vectors(400)
    values["pt"][7], values["eta"][8] = -1, np.nan
    kept = through(autoencoder(reconstructor, NO_BOUNDS, latent_step=1e-5), values)
    for name in FOUR:
        assert same(values[name][7:9], kept[name][7:9]).all()
    ordinary_n = np.delete(np.arange(400), [7, 8])
    found = reconstructor.reconstruct(np.stack([values[name][ordinary_n] for name in reconstructor.variables], axis=1))
    for number, name in enumerate(reconstructor.variables):
        assert np.allclose(kept[name][ordinary_n], found.output_nf[:, number], rtol=1e-2, atol=1e-2)


def test_a_finer_step_of_the_latent_variables_takes_more_bytes_and_comes_nearer_to_the_network(
    reconstructor: Reconstructor,
) -> None:
    values, count_e = four_vectors(2000), np.array([2000])
    of_network = reconstructor.reconstruct(
        np.stack([values[name] for name in reconstructor.variables], axis=1)
    ).output_nf
    latents, sizes, distances = reconstructor.network.latent, [], []
    for step in (1e-4, 1e-1):
        codec = autoencoder(reconstructor, NO_BOUNDS, latent_step=step)
        sizes.append(sum(map(len, codec.encode(values, count_e)[1 : 1 + latents])))
        kept = through(codec, values)
        kept_nf = np.stack([kept[name] for name in reconstructor.variables], axis=1)
        distances.append(np.abs(kept_nf - of_network).mean(axis=0))
    assert sizes[0] > 1.5 * sizes[1]
    assert (distances[0] < distances[1] / 10).all()


def test_the_step_that_is_chosen_takes_the_fewest_bytes_of_those_tried_and_keeps_the_bounds(
    reconstructor: Reconstructor,
) -> None:
    values, count_e = four_vectors(4 * ROWS_TRIED), np.array([4 * ROWS_TRIED])

    def size(step: float) -> int:
        return sum(map(len, autoencoder(reconstructor, grids_of(), step).encode(values, count_e)))

    sizes = [size(step) for step in LATENT_STEPS]
    assert size(0.0) in sizes
    assert size(0.0) < 1.02 * min(sizes) < max(sizes) / 1.05
    assert_within(values, through(autoencoder(reconstructor, grids_of()), values), BOUNDS)


class Other:
    """A reconstructor that finds slightly other values, as another machine may."""

    def __init__(self, reconstructor: Reconstructor, factor: float) -> None:
        self._factor = factor
        self._reconstructor = reconstructor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reconstructor, name)

    def decode(self, latent_nz: NDArray[np.float32]) -> NDArray[np.float32]:
        output_nf = self._reconstructor.decode(latent_nz)
        sign_nf = np.random.default_rng(0).choice([-1.0, 1.0], output_nf.shape)
        return (output_nf.astype(np.float64) * (1 + self._factor * sign_nf)).astype(np.float32)


def test_a_machine_that_rounds_a_little_otherwise_gives_the_same_jets(reconstructor: Reconstructor) -> None:
    values, count_e = odd_jets(20_000), np.array([20_000])
    dtypes = {name: value_n.dtype for name, value_n in values.items()}
    parts = autoencoder(reconstructor, grids_of()).encode(values, count_e)
    other: Any = Other(reconstructor, 2e-6)
    here, there = (
        AutoencoderCodec(one, grids_of(), ONES, 1e-3).decode(parts, count_e, dtypes) for one in (reconstructor, other)
    )
    for name in FOUR:
        assert here[name].tobytes() == there[name].tobytes()


def test_a_machine_whose_values_would_break_the_bounds_is_told_so(reconstructor: Reconstructor) -> None:
    values, count_e = four_vectors(2000), np.array([2000])
    dtypes = {name: value_n.dtype for name, value_n in values.items()}
    parts = autoencoder(reconstructor, grids_of()).encode(values, count_e)
    other: Any = Other(reconstructor, 1e-3)
    with pytest.raises(DataError, match="decompress on the same kind of device"):
        AutoencoderCodec(other, grids_of(), ONES, 1e-3).decode(parts, count_e, dtypes)


def test_the_threads_of_the_decoder_change_nothing(reconstructor: Reconstructor) -> None:
    values, count_e = four_vectors(5000), np.array([5000])
    dtypes = {name: value_n.dtype for name, value_n in values.items()}
    codec = autoencoder(reconstructor, grids_of())
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        parts = codec.encode(values, count_e)
        torch.set_num_threads(1)
        assert_within(values, codec.decode(parts, count_e, dtypes), BOUNDS)
    finally:
        torch.set_num_threads(threads)


def test_a_prediction_without_an_index_corrects_nothing() -> None:
    grid = Grid("m", Bound(1e-3, True), 1e-3)
    output_n = np.array([-1.0, 0.0, np.nan, np.inf, 1.0, 1e-30, np.exp(5 * grid.step)], np.float32)
    assert codecs._nearest(grid, output_n).tolist() == [0, 0, 0, 0, 0, round(np.log(1e-30) / grid.step), 5]


def test_predictions_near_the_middle_between_two_indices_are_marked() -> None:
    grid = Grid("eta", Bound(1e-3, False))
    output_n = np.array([0.0, 0.4, 0.5, 0.50001, 0.6, 1.4999999, np.nan, np.inf]) * grid.step
    unsure_n = codecs._unsure(grid, output_n.astype(np.float32))
    assert unsure_n.tolist() == [False, False, True, False, False, True, False, False]


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32)), st.data())
def test_exceptions_go_back_to_their_places(value_n: NDArray[np.float32], data: st.DataObject) -> None:
    which_n = data.draw(hnp.arrays(bool, len(value_n)))
    filled_n = np.zeros_like(value_n)
    place_n = unpack_exceptions(pack_exceptions(value_n, which_n), filled_n)
    assert np.array_equal(place_n, np.flatnonzero(which_n))
    assert same(filled_n, np.where(which_n, value_n, 0)).all()


def test_no_exceptions_take_no_bytes_and_places_beyond_the_end_are_damage() -> None:
    assert pack_exceptions(np.ones(5), np.zeros(5, bool)) == b""
    content = pack_exceptions(np.ones(5), np.arange(5) == 4)
    with pytest.raises(DataError, match="a place is beyond the last value"):
        unpack_exceptions(content, np.ones(4))
    for cut in range(1, len(content)):
        with pytest.raises(DataError, match="packed numbers are damaged"):
            unpack_exceptions(content[:cut], np.ones(5))
