from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hepml_core.jets.rans import MOST_LANES, Decoder, Encoder
from hepml_core.jets.tokens import FEATURE_STEPS, Alphabet, Bins, choose_bins

IntArray = NDArray[np.int64]
TOKENS = 64
SAMPLES = hnp.arrays(np.int64, st.integers(1, 300), elements=st.integers(-(1 << 41), 1 << 41))


def through(bins: Bins, index_n: IntArray) -> tuple[IntArray, IntArray]:
    """Return tokens and indices as they come back of what was coded by tokens that are known."""
    token_n = bins.to_token(index_n)
    encoder = Encoder()
    bins.encode_places(index_n, token_n, encoder)
    return token_n, bins.decode_places(token_n, Decoder(encoder.finish()))


@settings(deadline=None)
@given(SAMPLES, SAMPLES)
def test_every_index_comes_back_from_its_bin_or_escapes(sample_n: IntArray, other_n: IntArray) -> None:
    bins = choose_bins(sample_n, TOKENS)
    assert 4 <= bins.tokens <= 255  # a token fits a byte
    token_n, back_n = through(bins, sample_n)
    assert (token_n < bins.escape).all(), "a value of the sample has no bin"
    assert np.array_equal(back_n, sample_n)
    token_n, back_n = through(bins, other_n)
    inside_n = (other_n >= bins.edge_t[0]) & (other_n < bins.edge_t[-1])
    assert np.array_equal(token_n < bins.escape, inside_n)
    assert np.array_equal(back_n, np.where(inside_n, other_n, 0))


@settings(deadline=None)
@given(SAMPLES, SAMPLES)
def test_features_are_whole_numbers_in_range_that_rise_with_the_value(sample_n: IntArray, other_n: IntArray) -> None:
    bins = choose_bins(sample_n, TOKENS)
    index_n = np.sort(np.concatenate([sample_n, other_n]))
    token_n = bins.to_token(index_n)
    feature_n = bins.feature(index_n, token_n)
    assert feature_n.dtype == np.int64
    assert np.abs(feature_n).max() <= FEATURE_STEPS
    assert (np.diff(feature_n) >= 0).all()


def test_what_lies_beyond_the_bins_is_seen_at_their_ends() -> None:
    bins = choose_bins(np.arange(1000), TOKENS)
    ends = np.array([bins.edge_t[0], bins.edge_t[-1] - 1])
    beyond = np.array([-(1 << 62), 1 << 62])
    assert (bins.to_token(beyond) == bins.escape).all()
    assert np.array_equal(bins.feature(beyond, bins.to_token(beyond)), bins.feature(ends, bins.to_token(ends)))


def test_many_indices_get_the_tokens_that_few_get() -> None:
    chance = np.random.default_rng(0)
    bins = choose_bins(chance.integers(-40, 40, 200), TOKENS)
    index_n = np.concatenate([chance.integers(-100, 100, 2000), [-(1 << 62), 1 << 62], bins.edge_t, bins.edge_t - 1])
    few = np.concatenate([bins.to_token(some_n) for some_n in np.array_split(index_n, 300)])
    assert bins.edge_t[-1] - bins.edge_t[0] > 10
    assert np.array_equal(bins.to_token(index_n), few)


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    chance = np.random.default_rng(0)
    sample_n = np.concatenate([chance.integers(-5000, 5000, 2000), np.repeat([0, 17, 3000], 200)])
    bins = choose_bins(sample_n, TOKENS)
    for value in (0, 17, 3000):
        (token,) = bins.to_token(np.array([value]))
        assert bins.edge_t[token : token + 2].tolist() == [value, value + 1]
    assert bins.bits_inside(bins.to_token(np.array([17]))).tolist() == [0]


def test_bins_are_of_about_equal_probability_and_reach_beyond_the_sample() -> None:
    sample_n = np.rint(np.random.default_rng(0).normal(0, 1e5, 100_000)).astype(np.int64)
    bins = choose_bins(sample_n, TOKENS)
    share_t = np.bincount(bins.to_token(sample_n), minlength=bins.tokens) / len(sample_n)
    assert share_t.max() < 1.2 / TOKENS
    assert bins.edge_t[0] < sample_n.min() - 50_000
    assert bins.edge_t[-1] > sample_n.max() + 50_000


def test_only_jets_behind_the_first_are_written_by_the_bins_of_differences() -> None:
    own, later = choose_bins(np.arange(1000), TOKENS), choose_bins(np.arange(-5, 5), TOKENS)
    alphabet = Alphabet(own, later)
    assert [alphabet.of_rank(rank) for rank in range(3)] == [own, later, later]
    assert Alphabet(own).of_rank(1) is own
    assert (alphabet.tokens, Alphabet(later, own).tokens, Alphabet(later).tokens) == (
        own.tokens,
        own.tokens,
        later.tokens,
    )


@pytest.mark.parametrize("width", [3, 1000, 1 << 10, (1 << 10) + 1, 1 << 26, (1 << 33) + 5, 1 << 42])
def test_a_place_in_a_bin_of_any_width_takes_the_logarithm_of_its_width(width: int) -> None:
    bins = Bins(np.array([-7, -7 + width, -6 + width]))
    index_n = np.random.default_rng(0).integers(-7, -7 + width, 40_000)
    index_n[:2] = -7, width - 8
    token_n, back_n = through(bins, index_n)
    assert np.array_equal(back_n, index_n)
    encoder = Encoder()
    bins.encode_places(index_n, token_n, encoder)
    bits = bins.bits_inside(token_n)
    assert np.allclose(bits, np.log2(width))
    assert len(encoder.finish()) <= 1.01 * bits.sum() / 8 + 8 * MOST_LANES
